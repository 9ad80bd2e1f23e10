"""The jobs in this process's memory, for servers that live no longer than a test."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from translation_server.core.job import Job, Look, State
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Stored


class MemoryStore:
    """A Store that forgets everything when it is closed."""

    def __init__(self) -> None:
        self._jobs: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self._keys: dict[tuple[str, str], tuple[bytes, str]] = {}

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        jobs = self._jobs[owner]
        if idempotency is not None and (owner, idempotency.key) in self._keys:
            fingerprint, job_id = self._keys[owner, idempotency.key]
            if fingerprint != idempotency.fingerprint:
                raise KeyReused(idempotency.key)
            return Stored(jobs[job_id], replayed=True)
        job = accept(len(jobs) + 1)
        if job.id in jobs:
            raise IdTaken(job.id)
        jobs[job.id] = job
        if idempotency is not None:
            self._keys[owner, idempotency.key] = idempotency.fingerprint, job.id
        return Stored(job, replayed=False)

    async def find(self, owner: str, job_id: str) -> Job | None:
        """See Store."""
        return self._jobs[owner].get(job_id)

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """See Store."""
        jobs = self._jobs[owner]
        return [jobs[job_id] for job_id in dict.fromkeys(job_ids) if job_id in jobs]

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        page: list[Job] = []
        for job in reversed(self._jobs[owner].values()):
            if len(page) == limit:
                break
            if (before is None or job.ordinal < before) and state in {None, Look(job, now).state}:
                page.append(job)
        return page

    async def cancel(self, owner: str, job_id: str, clock: Callable[[], float]) -> Job | None:
        """See Store."""
        now = clock()
        job = self._jobs[owner].get(job_id)
        if job is not None and Look(job, now).state is State.PENDING:
            job = self._jobs[owner][job_id] = replace(job, cancelled_at=now)
        return job

    async def ending(self, owner: str, after: float) -> list[Job]:
        """See Store."""
        return [job for job in self._jobs[owner].values() if job.ends_at > after]

    async def changed(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return [job for job in self._jobs[owner].values() if max(job.created_at, job.cancelled_at or 0.0) >= since]

    async def check(self) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""
        self._jobs.clear()
        self._keys.clear()
