"""The time of a flow: its deadline, the allowance of the last request, and the cost so far.

There is one deadline, on the monotonic clock, over sleeps, requests and reads. A sleep that would pass it ends at it,
and one last poll is sent there, so an unlucky interval does not miss a job that ended in time.

The last poll, and the start of a job, may outlast the deadline by an allowance:

- 20 ms plus 1.5 times the slowest round trip so far, and at least 30 ms.
- At most 40 ms if the latest round trip took less than 25 ms. The server is near then, and a slower round trip before
  was a busy machine or a new connection. With 10 ms for leaving, a wait ends within 50 ms.
- 1 s in the first second of a flow, until the server has answered once, so a timeout of 0 works over a slow link too.
- At most a fifth of the time of what follows a wait and has a fixed end (`until`).

The allowance counts from the deadline: a flow that wakes up late does not leave later, but its last poll gets at least
half of the allowance. Further last polls share what the first one leaves.
"""

from dataclasses import dataclass, field, replace
from math import inf

LEAST_ALLOWANCE = 0.03  # seconds
SLACK = 0.02  # seconds
NEAR_ROUND_TRIP = 0.025  # seconds: the round trip to a near server
NEAR_ALLOWANCE = 0.04  # seconds: more than 1.5 times that
FIRST_ALLOWANCE = 1.0  # seconds: for the name lookup, the connection and the handshake of a far server
LEAST_TIME_LEFT = 0.001  # seconds: less time left counts as none


@dataclass
class FlowTime:
    """The time of a flow, as its inputs report it, and its cost so far. Times are in seconds."""

    now: float  # when the last input happened
    deadline: float = inf  # when the flow has to end
    slowest: float | None = None  # the slowest round trip so far, or of a flow before; None before the first
    began: float = field(init=False)
    trip: float | None = field(init=False)  # the latest round trip
    answered: bool = False  # whether the server has answered, this flow or one before
    last: bool = False  # whether the last request was sent at the deadline
    requests: int = 0
    polls: int = 0  # those of the requests that only read
    bytes: int = 0  # the size of the answers to the polls
    asleep: float = 0.0
    longest_allowance: float = inf

    def __post_init__(self) -> None:
        self.began, self.trip = self.now, self.slowest

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        left = self.deadline - self.now
        return left if left > LEAST_TIME_LEFT else 0.0

    @property
    def allowance(self) -> float:
        """How many seconds the last request may outlast the deadline."""
        if self.slowest is None and self.now - self.began < FIRST_ALLOWANCE:
            return min(FIRST_ALLOWANCE, self.longest_allowance)
        allowance = max(LEAST_ALLOWANCE, SLACK + 1.5 * (self.slowest or 0.0))
        near = self.trip is not None and self.trip < NEAR_ROUND_TRIP
        return min(allowance, NEAR_ALLOWANCE if near else inf, self.longest_allowance)

    @property
    def over(self) -> bool:
        """Whether the allowance is used up too."""
        return self.last and self.now >= self.deadline + self.allowance

    def until(self, end: float) -> "FlowTime":
        """Returns the time of what follows this flow: it ends at `end` at the latest, the allowance included."""
        allowance = max(0.0, end - self.now) / 5
        return replace(self, deadline=end - allowance, longest_allowance=allowance, last=False)
