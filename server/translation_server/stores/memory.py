"""The jobs in this process's memory, for servers that live no longer than a test."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from translation_server.core.job import Job, Look, State
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Stored


class MemoryStore:
    """A Store that forgets everything when it is closed."""

    def __init__(self) -> None:
        self._jobs: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self._keys: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._worlds: dict[str, str] = {}
        self._tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._journals: defaultdict[str, deque[tuple[int, str]]] = defaultdict(deque)

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

    async def amend(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""
        job = self._jobs[owner].get(job_id)
        if job is not None:
            job = self._jobs[owner][job_id] = change(job)
        return job

    async def ending(self, owner: str, after: float) -> list[Job]:
        """See Store."""
        return [job for job in self._jobs[owner].values() if job.ends_at > after]

    async def changed(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return [job for job in self._jobs[owner].values() if job.changed_at >= since]

    async def news(self, seconds: float) -> None:
        """See Store."""
        await asyncio.sleep(seconds)

    async def world(self, owner: str) -> str | None:
        """See Store."""
        return self._worlds.get(owner)

    async def change_world(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> str:
        """See Store."""
        world = self._worlds[owner] = change(self._worlds.get(owner))
        if recount:
            self._tallies.pop(owner, None)
        return world

    async def tally(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""
        tallies = self._tallies[owner]
        tallies[subject] += 1
        tallies.update(list(draw(tallies[subject], [tallies[rule] for rule in rules])))

    async def untally(self, owner: str, subject: str) -> None:
        """See Store."""
        self._tallies[owner][subject] -= 1

    async def tallies(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return [self._tallies[owner][subject] for subject in subjects]

    async def record(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        for owner, entry in entries:
            journal = self._journals[owner]
            journal.append((journal[-1][0] + 1 if journal else 1, entry))
            if len(journal) > limit:
                journal.popleft()

    async def journal(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        return list(islice((entry for entry in self._journals[owner] if entry[0] > after), limit))

    async def clear(self, owner: str) -> None:
        """See Store."""
        for of_owners in (self._jobs, self._worlds, self._tallies, self._journals):
            of_owners.pop(owner, None)
        self._keys = {of: job for of, job in self._keys.items() if of[0] != owner}

    async def check(self) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""
        for kept in (self._jobs, self._keys, self._worlds, self._tallies, self._journals):
            kept.clear()
