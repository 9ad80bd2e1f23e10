"""When a client should look next: advice from what a real server would know, never from a job's secret fate.

A wait costs ``worth`` seconds for each look and one for each second of lateness. Where a pending job ends at the rate
h, looks at intervals of √(2·worth/h) cost least (Keller 1974); counted in these intervals, they lie at whole numbers.
A job's phase moves all of its own by the same part of an interval, so that a crowd looks evenly and not in step;
this costs a hundredth or two more.
"""

import math
import zlib
from typing import NamedTuple

from translation_server.core.delays import Delays
from translation_server.core.job import JobSnapshot, State
from translation_server.core.sandbox import SandboxSettings

SOONEST = 0.001
"""Seconds that every hint is at least."""

SOONEST_OVERDUE = 0.05
"""Seconds that a hint is at least for a job that should have ended."""

ONE_IS_ENOUGH = math.sqrt(2)
"""With fewer intervals than this left until the end is certain, a look before it costs more than it gains."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, without their whole parts, fill the interval from 0 to 1 evenly, however many they are."""


class NextPoll(NamedTuple):
    """At which moment to look next; up to the moment ``until`` it stays the same."""

    at: float
    until: float

    def seconds(self, now: float, rate: float) -> float:
        """Real seconds until then, where ``rate`` of the sandbox's pass in each."""
        return max(SOONEST, (self.at - now) / rate)


def hint(snapshot: JobSnapshot, settings: SandboxSettings, rate: float = 1.0) -> float | None:
    """Real seconds until the caller should look again; None once the job has ended, and where there are no hints.

    ``rate`` is how many seconds pass on the sandbox's clock for each of them.
    """
    found = next_poll(snapshot, settings, rate)
    return found and found.seconds(snapshot.now, rate)


def next_poll(snapshot: JobSnapshot, settings: SandboxSettings, rate: float) -> NextPoll | None:
    """When the caller should look again; None once the job has ended, and where there are no hints."""
    if snapshot.state is not State.PENDING or settings.hints == "none":
        return None
    job = snapshot.job
    if settings.hints == "exact" and job.paused_at is None:
        return NextPoll(job.due_at, job.due_at)
    begins = job.created_at + settings.extra_delay(job.submission.video_length)
    elapsed = max(0.0, snapshot.now - begins)
    due, until = plan(settings.delay, settings.poll_cost * rate, elapsed, phase(job.owner, job.ordinal))
    return NextPoll(begins + due, begins + until)


def phase(owner: str, ordinal: int) -> float:
    """Where between two looks of a plan, from 0 to less than 1, the looks at an owner's n-th job lie."""
    return (zlib.crc32(owner.encode()) / 2**32 + ordinal * GOLDEN) % 1


def seconds_to_next_poll(delays: Delays, worth: float, elapsed: float, phase: float) -> float:
    """Seconds until the next look is worth its while, at least 1 ms; see `plan`."""
    due, _ = plan(delays, worth, elapsed, phase)
    return max(SOONEST, due - elapsed)


def plan(delays: Delays, worth: float, elapsed: float, phase: float) -> tuple[float, float]:
    """After how many seconds of a job the next look is worth its while, and until when this stays so.

    Args:
        delays: How long jobs take.
        worth: The seconds of lateness that one look is worth.
        elapsed: Seconds for which the job has been pending.
        phase: Which of the equally good plans to keep to, from 0 to less than 1.

    Returns:
        The look of this phase that is nearest to one interval away, so a client that is late comes back to its plan;
        the second number is when another one will be nearest. A job that should have ended is looked at ever more
        seldom, as one of an unknown kind is: n² · worth seconds after it should have ended.
    """
    if elapsed >= delays.latest:
        return elapsed + max(SOONEST_OVERDUE, worth + 2 * math.sqrt(worth * (elapsed - delays.latest))), elapsed
    interval = math.sqrt(2 * worth)
    made, most = delays.polls(elapsed) / interval, delays.polls(delays.latest) / interval
    offset = phase - 0.5
    target = round(made + 1 - offset) + offset
    if most - made < ONE_IS_ENOUGH or target >= most:
        return delays.latest, delays.latest
    until = min(target - 0.5, most - ONE_IS_ENOUGH)
    return delays.when(target * interval), delays.when(until * interval)
