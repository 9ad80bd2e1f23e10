"""Checks whether the store would accept a job. Anyone can cause a check, and it writes, so a pause follows each."""

import asyncio
import time

from translation_server.service.single_flight import SingleFlight
from translation_server.storage import Store

PAUSE_FACTOR = 9.0  # the pause after a check, as a multiple of the check's duration
MAX_PAUSE = 0.25  # the longest such pause, in seconds


class StoreCheck:
    """Checks a store; concurrent callers share one check."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._checks = SingleFlight[None]()
        self._next_at = 0.0

    async def run(self) -> None:
        """Checks that a job would be accepted now.

        Raises:
            StoreError: it would not be accepted.
        """
        await self._checks.run(None, self._check)

    async def _check(self) -> None:
        await asyncio.sleep(self._next_at - time.monotonic())
        began = time.monotonic()
        await self._store.check()
        ended = time.monotonic()
        self._next_at = ended + min(PAUSE_FACTOR * (ended - began), MAX_PAUSE)
