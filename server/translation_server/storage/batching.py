"""Jobs that come while others are being written wait, and are then written together: one commit serves them all."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from translation_server.core.job import Job
from translation_server.storage.protocol import Idempotency, Stored

TOGETHER = 500
"""Jobs that are written together at most."""

Outcome = Stored | Exception
"""What has become of an arrival."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What `Store.add` is given, and when, on the monotonic clock."""

    owner: str
    accept: Callable[[int], Job]
    idempotency: Idempotency | None
    came_at: float = field(default_factory=time.monotonic)


class Arrivals:
    """Where jobs wait to be written.

    Args:
        write: writes some; its outcomes are theirs, and an exception is that of them all.
    """

    def __init__(self, write: Callable[[Sequence[Arrival]], Awaitable[Sequence[Outcome]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Arrival, asyncio.Future[Stored]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, arrival: Arrival) -> Stored:
        """Has a job written."""
        written: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await written

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            outcomes = await self._outcomes([arrival for arrival, _ in some])
            for (_, written), outcome in zip(some, outcomes, strict=True):
                if written.done():  # whoever asked for it has given up
                    continue
                if isinstance(outcome, Exception):
                    written.set_exception(outcome)
                else:
                    written.set_result(outcome)
        self._writing = None

    async def _outcomes(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        try:
            return await self._write(arrivals)
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            return [error] * len(arrivals)
