"""When a client should look next: advice from what a real server would know, never from a job's secret fate.

A wait costs ``worth`` seconds for each look and one for each second of lateness. Where a pending job ends at the rate
h, looks at intervals of √(2·worth/h) cost least (Keller 1974); counted in these intervals, they lie at whole numbers.
A job's phase moves all of its own by the same part of an interval, so that a crowd looks evenly and not in step;
this costs a hundredth or two more.
"""

import math
import zlib

from translation_server.core.delays import Delays
from translation_server.core.job import Look, State
from translation_server.core.sandbox import Sandbox

SOONEST = 0.001
"""Seconds that every hint is at least."""

SOONEST_OVERDUE = 0.05
"""Seconds that a hint is at least for a job that should have ended."""

ONE_IS_ENOUGH = math.sqrt(2)
"""With fewer intervals than this left until the end is certain, a look before it costs more than it gains."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, without their whole parts, fill the interval from 0 to 1 evenly, however many they are."""


def hint(look: Look, sandbox: Sandbox, rate: float = 1.0) -> float | None:
    """Real seconds until the caller should look again; None once the job has ended, and where there are no hints.

    ``rate`` is how many seconds pass on the sandbox's clock for each of them.
    """
    if look.state is not State.PENDING or sandbox.hints == "none":
        return None
    job = look.job
    if sandbox.hints == "exact" and job.held_at is None:
        return max(SOONEST, (job.ends_at - look.now) / rate)
    longer = sandbox.longer(job.submission.video_length)
    elapsed, worth = look.elapsed - longer, sandbox.lateness_worth * rate
    due = next_look(sandbox.delay, worth, max(0.0, elapsed), phase(job.owner, job.ordinal)) - min(0.0, elapsed)
    return max(SOONEST, due / rate)


def phase(owner: str, ordinal: int) -> float:
    """Where between two looks of a plan, from 0 to less than 1, the looks at an owner's n-th job lie."""
    return (zlib.crc32(owner.encode()) / 2**32 + ordinal * GOLDEN) % 1


def next_look(delays: Delays, worth: float, elapsed: float, phase: float) -> float:
    """Seconds until the next look is worth its while.

    Args:
        delays: How long jobs take.
        worth: The seconds of lateness that one look is worth.
        elapsed: Seconds for which the job has been pending.
        phase: Which of the equally good plans to keep to, from 0 to less than 1.

    Returns:
        At least 1 ms. It leads to the look of this phase that is nearest to one interval away, so a client that is
        late comes back to its plan. A job that should have ended is looked at ever more seldom, as one of an unknown
        kind is: n² · worth seconds after it should have ended.
    """
    if elapsed >= delays.latest:
        return max(SOONEST_OVERDUE, worth + 2 * math.sqrt(worth * (elapsed - delays.latest)))
    interval = math.sqrt(2 * worth)
    made, most = delays.looks(elapsed) / interval, delays.looks(delays.latest) / interval
    offset = phase - 0.5
    target = round(made + 1 - offset) + offset
    is_last = most - made < ONE_IS_ENOUGH or target >= most
    return max(SOONEST, (delays.latest if is_last else delays.when(target * interval)) - elapsed)
