"""Limits how many deliveries a receiver gets at the same time.

A receiver begins with one at a time. After each that ends quickly, it gets one more, up to the limit; after a slow one,
it gets one at a time again. So a thousand receivers that do not answer take few of the deliveries that a process makes
at the same time, and leave the others to those that do.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

QUICK = 1.0  # within how many seconds a quick receiver answers


@dataclass(eq=False)
class _Receiver:
    limit: int = 1  # how many deliveries it may have at the same time
    begun: int = 0  # how many it has
    expected: int = 0  # how many it has, or will have
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Receivers:
    """Lets each receiver have up to ``limit`` deliveries at the same time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._receivers: dict[str, _Receiver] = {}

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncIterator[None]:
        """Waits until the receiver of a URL may have one more delivery, which ends with the block."""
        name = urlsplit(url).netloc
        receiver = self._receivers.setdefault(name, _Receiver())
        receiver.expected += 1
        try:
            async with receiver.changed:
                await receiver.changed.wait_for(lambda: receiver.begun < receiver.limit)
                receiver.begun += 1
            began = time.monotonic()
            try:
                yield
            finally:
                is_quick = time.monotonic() - began < QUICK
                receiver.begun -= 1
                receiver.limit = min(receiver.limit + 1, self._limit) if is_quick else 1
                async with receiver.changed:
                    receiver.changed.notify(max(0, receiver.limit - receiver.begun))
        finally:
            receiver.expected -= 1
            if not receiver.expected:
                del self._receivers[name]
