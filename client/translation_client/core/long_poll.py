"""Long polls: when a wait uses them, and when it stops.

A server that applied `Prefer: wait` [1] is polled again at once, and holds that poll until the job ends. The first poll
asks for 0 s, which costs nothing and shows whether the server supports it. If it does not, the schedule sets the next
poll; each poll asks again. Long polls are given up step by step:

- A long poll that returns long before its time (the server is shutting down, or does not keep its word) is followed by
  a pause: 1 s, then 2 s, then 4 s, up to the schedule's delay.
- A long poll that fails (a proxy cut it off) is followed by a short one, and the next long one asks for half the time.
  After five failures there are no more long polls. These failures do not count as failures in a row.

[1] RFC 7240, section 4.3.
"""

from dataclasses import dataclass

from translation_client.core.decode import wait_applied
from translation_client.core.effects import Reply

UNPROVEN = 5  # the longest time to ask for, in seconds, until the server has shown that it holds polls
MOST_DOUBLINGS = 20


@dataclass
class LongPoll:
    """The long polls of one wait."""

    longest: int  # whole seconds for which a poll may be held; 0 turns long polls off
    requested: int = 0  # how many seconds the last poll asked for
    proven: bool = False  # whether the last answer said that the server holds polls
    early: int = 0  # how many long polls in a row returned long before their time

    def pause(self, reply: Reply, delay: float, left: float) -> float:
        """Returns seconds until the poll after this answer: 0 before a long poll, else the schedule's delay."""
        applied = wait_applied(reply)
        self.proven = applied is not None
        if applied is None or not self.seconds(left):
            return delay
        if not self.requested or reply.took >= max(1, min(applied, self.requested)) / 2:
            self.early = 0
            return 0.0
        self.early = min(self.early + 1, MOST_DOUBLINGS)
        return min(delay, 2.0 ** (self.early - 1))

    def seconds(self, left: float) -> int:
        """Returns how many seconds the next poll may be held."""
        return max(0, int(min(self.longest if self.proven else UNPROVEN, self.longest, left)))
