"""Limits how many deliveries a receiver gets at the same time.

A receiver is a host and a port, for one owner. It begins with one delivery at a time. After each that ends quickly, it
gets one more, up to the limit; after a slow one, it gets one at a time again. So a thousand receivers that do not
answer take few of the deliveries that a process makes at the same time, and leave the others to those that do. Few
deliveries wait for a slow receiver; the others are left out, and read again when there is room.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

QUICK = 1.0  # within how many seconds a quick receiver answers
MAX_WAITING = 100  # how many deliveries may have or await a turn of a slow receiver


class CrowdedError(Exception):
    """A delivery was left out, because too many others already wait for a slow receiver."""


@dataclass(eq=False)
class _Receiver:
    limit: int = 1  # how many deliveries it may have at the same time
    begun: int = 0  # how many it has
    expected: int = 0  # how many it has, or will have
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def is_free(self) -> bool:
        return self.begun < self.limit

    @property
    def is_crowded(self) -> bool:
        return self.limit == 1 and self.expected > MAX_WAITING


class Receivers:
    """Lets each receiver have up to ``limit`` deliveries at the same time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._receivers: dict[tuple[str, str], _Receiver] = {}
        self._left_out = set[tuple[str, str]]()

    @asynccontextmanager
    async def turn(self, owner: str, url: str) -> AsyncIterator[None]:
        """Waits until an owner's receiver may have one more delivery, which ends with the block.

        Raises:
            CrowdedError: the delivery is left out for now.
        """
        name = owner, urlsplit(url).netloc
        receiver = self._receivers.setdefault(name, _Receiver())
        receiver.expected += 1
        try:
            async with receiver.changed:
                await receiver.changed.wait_for(lambda: receiver.is_free or receiver.is_crowded)
                if not receiver.is_free:
                    self._left_out.add(name)
                    raise CrowdedError
                receiver.begun += 1
            began = time.monotonic()
            try:
                yield
            finally:
                is_quick = time.monotonic() - began < QUICK
                receiver.begun -= 1
                receiver.limit = min(receiver.limit + 1, self._limit) if is_quick else 1
                async with receiver.changed:
                    if receiver.is_crowded:
                        receiver.changed.notify_all()
                    else:
                        receiver.changed.notify(max(0, receiver.limit - receiver.begun))
        finally:
            receiver.expected -= 1
            if not receiver.expected:
                del self._receivers[name]
                self._left_out.discard(name)

    def has_room_again(self, owner: str, url: str) -> bool:
        """Whether there is room for deliveries of an owner's receiver that were left out since the last call."""
        name = owner, urlsplit(url).netloc
        receiver = self._receivers.get(name)
        if name not in self._left_out or (receiver and receiver.is_crowded):
            return False
        self._left_out.discard(name)
        return True
