"""Limits how many deliveries a receiver gets at the same time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Receivers:
    """Lets each receiver have up to ``limit`` deliveries at the same time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._users = Counter[str]()

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncIterator[None]:
        """Waits until the receiver of a URL may have one more delivery, which ends with the block."""
        receiver = urlsplit(url).netloc
        semaphore = self._semaphores.setdefault(receiver, asyncio.Semaphore(self._limit))
        self._users[receiver] += 1
        try:
            async with semaphore:
                yield
        finally:
            self._users[receiver] -= 1
            if not self._users[receiver]:
                del self._users[receiver], self._semaphores[receiver]
