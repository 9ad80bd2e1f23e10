"""Looks that the server holds until the job ends: long-polling, one wait at a time.

A server that says it applied `Prefer: wait` [1] is asked again at once, and holds the look until the job ends. The
first question is for no wait at all, which costs nothing and tells. Where the server does not hold looks the schedule
says when the next is due, and each asks anew. Holding is given up step by step:

- A held look that comes back long before its time (the server is going down, or does not keep its word) is followed by
  a pause: 1 s, then 2 s, then 4 s, up to the schedule's delay.
- One that fails (a proxy cut it off) is followed by one that is not held, and the next is held half as long: from five
  failures on, looks are not held. They do not count as failures in a row.

[1] RFC 7240, section 4.3.
"""

from dataclasses import dataclass, replace

from translation_client.core.decode import wait_applied
from translation_client.core.effects import Reply, Send

UNPROVEN = 5  # seconds that a look may be held by a server that has not shown whether it holds any
MOST_DOUBLINGS = 20


@dataclass
class LongPoll:
    """How the looks of one wait are held by the server.

    Attributes:
        most: Whole seconds that a look may be held; 0 is not at all.
        asked: For how many seconds the last look might have been held.
        proven: Whether the last answer said that the server holds looks.
        early: How many held looks in a row came back long before their time.
    """

    most: int
    asked: int = 0
    proven: bool = False
    early: int = 0

    def pause(self, reply: Reply, delay: float, left: float) -> float:
        """Seconds until the look that follows this answer: none if that will be held, else the schedule's delay."""
        applied = wait_applied(reply)
        self.proven = applied is not None
        if applied is None or not self.seconds(left):
            return delay
        if not self.asked or reply.took >= max(1, min(applied, self.asked)) / 2:
            self.early = 0
            return 0.0
        self.early = min(self.early + 1, MOST_DOUBLINGS)
        return min(delay, 2.0 ** (self.early - 1))

    def seconds(self, left: float) -> int:
        """How long the next look may be held."""
        return max(0, int(min(self.most if self.proven else UNPROVEN, self.most, left)))


def prefer(send: Send, seconds: int) -> Send:
    """The request, with the wish to be held for so many seconds."""
    return replace(send, headers={**send.headers, "Prefer": f"wait={seconds}"})
