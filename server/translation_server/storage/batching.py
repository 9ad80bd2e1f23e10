"""Group commit: jobs that arrive during a write are written together in the next commit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from translation_server.core.job import Job
from translation_server.storage.protocol import Idempotency, OnCommit, Stored

MAX_BATCH = 500  # how many jobs one commit writes at most
MAX_BATCH_SIZE = 4 * 2**20  # how many characters of inputs one commit writes at most, not counting its last job
Written = Stored | Exception  # the result of one addition


@dataclass(frozen=True, slots=True)
class Addition:
    """The arguments of one `JobStore.add`, and the time of its call on the monotonic clock."""

    owner: str
    accept: Callable[[int], Job]
    idempotency: Idempotency | None
    job_input: str | None = None
    called_at: float = field(default_factory=time.monotonic)


class GroupCommit:
    """Collects additions while others are being written.

    ``write`` writes a batch in one commit and returns the result of each addition; it raises where all have failed.

    Attributes:
        on_commit: Called after each commit with the seconds that each addition has waited, and whether it succeeded.
    """

    def __init__(self, write: Callable[[Sequence[Addition]], Awaitable[Sequence[Written]]]) -> None:
        self._write = write
        self.on_commit: OnCommit | None = None
        self._waiting: list[tuple[Addition, asyncio.Future[Stored]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, addition: Addition) -> Stored:
        """Returns once the job is written."""
        result: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((addition, result))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await result

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._take()
            written = await self._write_batch([addition for addition, _ in batch])
            for (_, result), outcome in zip(batch, written, strict=True):
                if result.done():  # the caller was cancelled
                    continue
                if isinstance(outcome, Exception):
                    result.set_exception(outcome)
                else:
                    result.set_result(outcome)
        self._writing = None

    def _take(self) -> list[tuple[Addition, asyncio.Future[Stored]]]:
        """Removes and returns the next additions to write."""
        sizes = accumulate(len(addition.job_input or "") for addition, _ in self._waiting[:MAX_BATCH])
        count = 1 + sum(size < MAX_BATCH_SIZE for size in sizes)
        batch, self._waiting = self._waiting[: min(count, MAX_BATCH)], self._waiting[min(count, MAX_BATCH) :]
        return batch

    async def _write_batch(self, batch: Sequence[Addition]) -> Sequence[Written]:
        written: Sequence[Written] = ()
        try:
            written = await self._write(batch)
        except Exception as error:  # noqa: BLE001 - every caller gets it
            return [error] * len(batch)
        finally:
            if self.on_commit:
                now = time.monotonic()
                self.on_commit([now - addition.called_at for addition in batch], bool(written))
        return written
