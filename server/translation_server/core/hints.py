"""Hints: when a client should poll next. ``honest`` hints use only the distribution of delays, as a real server would.

The cost of a wait, in seconds, is ``poll_cost`` for each poll plus the lateness. If pending jobs end with the hazard
rate h, the cost is lowest for polls at intervals of √(2·poll_cost/h) (Keller 1974; see `delays`). Each job has a phase,
which shifts all of its polls by the same fraction of an interval. This spreads the polls of many clients evenly over
time, and raises the cost by one or two percent.
"""

import math
import zlib
from typing import NamedTuple

from translation_server.core.delays import Delays
from translation_server.core.job import JobSnapshot, State
from translation_server.core.sandbox import SandboxSettings

MIN_HINT = 0.001  # the least hint, in seconds
MIN_OVERDUE_HINT = 0.05  # the least hint for a job that is overdue: pending after the longest delay. In seconds

LAST_INTERVALS = math.sqrt(2)
"""If fewer intervals than this remain until the latest possible end, a poll before that end does not pay off."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""The golden ratio minus 1: the fractional parts of its first n multiples are spread evenly from 0 to 1, for any n."""


class NextPoll(NamedTuple):
    """The virtual time at which to poll next, and the virtual time until which this plan is valid."""

    at: float
    until: float

    def seconds(self, now: float, rate: float) -> float:
        """Returns the hint in seconds of wall time; ``rate`` is the clock's, see `next_poll`."""
        return max(MIN_HINT, (self.at - now) / (rate or 1.0))


def hint(snapshot: JobSnapshot, settings: SandboxSettings, rate: float = 1.0) -> float | None:
    """Returns the seconds of wall time until the caller should poll again; for the rest see `next_poll`."""
    poll = next_poll(snapshot, settings, rate)
    return poll and poll.seconds(snapshot.now, rate)


def next_poll(snapshot: JobSnapshot, settings: SandboxSettings, rate: float) -> NextPoll | None:
    """Returns when the caller should poll again; None once the job has ended, and where hints are off.

    ``rate`` is the clock's. While the clock is frozen, its rate is 0, and the plan is that of a clock of wall time.
    """
    if snapshot.state is not State.PENDING or settings.hints == "none":
        return None
    job = snapshot.job
    if job.counts_polls:  # only polls bring its end closer
        return NextPoll(snapshot.now, snapshot.now)
    if settings.hints == "exact" and job.paused_at is None:
        return NextPoll(job.due_at, job.due_at)
    begins = job.created_at + settings.extra_delay(job.submission.video_length)
    elapsed = max(0.0, snapshot.now - begins)
    due, until = plan(settings.delay, settings.poll_cost * (rate or 1.0), elapsed, phase(job.owner, job.ordinal))
    return NextPoll(begins + due, begins + until)


def phase(owner: str, ordinal: int) -> float:
    """Returns the phase of an owner's n-th job, from 0 to less than 1."""
    return (zlib.crc32(owner.encode()) / 2**32 + ordinal * GOLDEN) % 1


def plan(delays: Delays, poll_cost: float, elapsed: float, phase: float) -> tuple[float, float]:
    """Returns the job's age at the next poll, and the age until which this plan is valid, in seconds.

    Of the polls with this phase, the next one is the one nearest to one interval from now, so a late client returns to
    its plan. An overdue job is polled less and less often: the n-th time, n² · poll_cost seconds after the longest
    delay.

    Args:
        delays: How long jobs take.
        poll_cost: How many seconds of lateness one poll is worth.
        elapsed: The age of the pending job, in seconds.
        phase: The job's phase, from 0 to less than 1.
    """
    if elapsed >= delays.latest:
        overdue = elapsed - delays.latest
        return elapsed + max(MIN_OVERDUE_HINT, poll_cost + 2 * math.sqrt(poll_cost * overdue)), elapsed
    interval = math.sqrt(2 * poll_cost)
    made, most = delays.poll_integral(elapsed) / interval, delays.poll_integral(delays.latest) / interval
    offset = phase - 0.5
    target = round(made + 1 - offset) + offset
    if most - made < LAST_INTERVALS or target >= most:
        return delays.latest, delays.latest
    until = min(target - 0.5, most - LAST_INTERVALS)
    return delays.inverse_poll_integral(target * interval), delays.inverse_poll_integral(until * interval)
