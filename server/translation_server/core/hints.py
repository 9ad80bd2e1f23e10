"""When a client should look next: advice from what a real server would know, never from a job's secret fate."""

import math

from translation_server.core.job import Look
from translation_server.core.sandbox import Sandbox

LOOKS_PER_SPREAD = 8
"""How many looks a client is advised to make between the earliest and the latest end a job can have."""


def retry_after(look: Look, sandbox: Sandbox) -> int:
    """Whole seconds, at least 1, until the next look is worth its while.

    No job ends before ``min_delay``, so the first look waits for it; from then on the looks are spread evenly
    over the time in which the end can come.
    """
    until_earliest = sandbox.min_delay - look.elapsed
    spread = (sandbox.max_delay - sandbox.min_delay) / LOOKS_PER_SPREAD
    return max(1, math.ceil(until_earliest if until_earliest > 0 else spread))
