"""The jobs in this process's memory, for servers that live no longer than a test."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from translation_server.core.faults import ACTIONS, counted_as
from translation_server.core.job import Job, Look, State
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Old, Stored


class MemoryStore:
    """A Store that forgets everything when it is closed."""

    def __init__(self) -> None:
        self._jobs: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self._ordinals: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._keys: defaultdict[str, dict[str, tuple[bytes, str]]] = defaultdict(dict)
        self._worlds: dict[str, str] = {}
        self._tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._journals: defaultdict[str, deque[tuple[int, str]]] = defaultdict(deque)
        self._all: tuple[dict[str, Any], ...] = (
            self._jobs,
            self._ordinals,
            self._keys,
            self._worlds,
            self._tallies,
            self._journals,
            self._numbers,
        )

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        jobs, keys = self._jobs[owner], self._keys[owner]
        if idempotency is not None and idempotency.key in keys:
            fingerprint, job_id = keys[idempotency.key]
            if not idempotency.fits(fingerprint):
                raise KeyReused(idempotency.key)
            return Stored(jobs[job_id], replayed=True)
        job = accept(self._ordinals[owner] + 1)
        if job.id in jobs:
            raise IdTaken(job.id)
        jobs[job.id] = job
        self._ordinals[owner] += 1
        if idempotency is not None:
            keys[idempotency.key] = idempotency.fingerprint, job.id
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
        return [job for job in self._jobs[owner].values() if Look(job, after).state is State.PENDING]

    async def accepted(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return [job for job in self._jobs[owner].values() if job.changed_at >= since]

    async def amended(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return [job for job in await self.accepted(owner, since) if job.changed_at != job.created_at]

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
            self._numbers[owner] += 1
            journal.append((self._numbers[owner], entry))
            if len(journal) > limit:
                journal.popleft()

    async def journal(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        return list(islice((entry for entry in self._journals[owner] if entry[0] > after), limit))

    async def owner_after(self, name: str) -> str | None:
        """See Store."""
        return min((owner for owner in self._jobs.keys() | self._journals.keys() if owner > name), default=None)

    async def purge(self, owner: str, old: Old, limit: int) -> int:
        """See Store."""
        jobs, tallies, journal = self._jobs[owner], self._tallies[owner], self._journals[owner]
        unchanged = (job for job in jobs.values() if job.changed_at <= old.before)
        ended = (job for job in unchanged if Look(job, old.moment).state is not State.PENDING)
        gone = {job.id: job for job in islice(ended, limit)}
        for job in gone.values():
            del jobs[job.id]
            for action in ACTIONS:
                tallies.pop(counted_as(action, job.ordinal), None)
        if gone:
            self._keys[owner] = {key: made for key, made in self._keys[owner].items() if made[1] not in gone}
        while journal and journal[0][0] <= old.entry:
            journal.popleft()
        return len(gone)

    async def clear(self, owner: str) -> None:
        """See Store."""
        for kept in self._all:
            kept.pop(owner, None)

    async def check(self) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""
        for kept in self._all:
            kept.clear()
