"""The jobs in a PostgreSQL database, which any number of servers may share.

A job is safe from power loss before its 202 leaves. What may be lost is committed without waiting for the disk. What
changes is told to the other servers in the same transaction. Owners' rows are locked in the order of their names, so
that no two transactions wait for each other.
"""

import secrets
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from translation_server.core.change_feed import LAST, FeedPosition, end_of
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job, State
from translation_server.storage.batching import Arrival, Arrivals, Outcome
from translation_server.storage.pages import page
from translation_server.storage.postgres.database import LOCK, MARK, Connection, Database, Unsure
from translation_server.storage.postgres.inserting import LOCK_OWNER, add_all, is_there, new_of
from translation_server.storage.postgres.notifications import Listener, tell
from translation_server.storage.protocol import CHECK_TIMEOUT, Cutoff, Idempotency, StoreChange, Stored
from translation_server.storage.rows import (
    ACCEPTED,
    AMENDED,
    CLEAR,
    COLUMNS,
    COUNT_KEY,
    DATA_KEY,
    EMPTIED,
    EMPTIED_ENTIRELY,
    END,
    ENDING,
    MOST_TRIMMED,
    NAMES,
    PURGE_EMPTIED,
    RECOUNT,
    job_of,
    row_of,
)

PROBE = f"""
    SAVEPOINT before;
    INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, paused_for, changed_at)
    VALUES ('', -pg_backend_pid(), '', 0, 0, 'error', 0, 0);
    ROLLBACK TO before;
    UPDATE {MARK} SET version = version
"""
"""Takes the room that a job takes, gives it back, and leaves something to commit that changes nothing."""

PURGE_JOBS = f"""
    WITH ended AS (
        SELECT ordinal FROM jobs WHERE owner = $1 AND {END} <= $2 AND changed_at <= $3 ORDER BY {END} LIMIT $4
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM jobs USING ended WHERE owner = $1 AND jobs.ordinal = ended.ordinal RETURNING jobs.ordinal
"""
"""Skips what another server is purging."""


class PostgresStore:
    """A Store in a PostgreSQL database."""

    def __init__(self, url: str, name: str) -> None:
        """Reaches the database and brings its schema up to date; messages call it by the name.

        Raises:
            StoreError: it cannot be reached, or belongs to another program or to a newer version.
        """
        self._database = Database(url, name)
        self._sender = secrets.token_hex(4)
        self._listener = Listener(self._database, self._sender)
        self._arrivals = Arrivals(self._add_all)

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        return await self._arrivals.add(Arrival(owner, accept, idempotency))

    async def find(self, owner: str, job_id: str) -> Job | None:
        """See Store."""
        found = await self.find_many(owner, [job_id])
        return found[0] if found else None

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """See Store."""
        possible = [job_id for job_id in job_ids if _can_be_stored(job_id)]
        parameters = {"owner": owner, "ids": possible}
        return await self._select(f"owner = {DATA_KEY} AND id = ANY(:ids)", parameters) if possible else []

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        asked = {"owner": owner, "before": LAST if before is None else before, "now": now, "limit": limit}
        return await page(self._fetch, "ordinal = ANY (ARRAY ({}))", state, asked)

    async def change(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""

        async def change_job(connection: Connection) -> Job | None:
            statement, values = _numbered(
                f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND id = :id FOR UPDATE", owner=owner, id=job_id
            )
            row = await connection.fetchrow(statement, *values)
            before = row and job_of(row)
            job = before and change(before)
            if job and job != before:
                marks = ", ".join(f"${number}" for number in range(1, len(NAMES) + 1))
                update = f"UPDATE jobs SET ({COLUMNS}) = ({marks}) WHERE owner = $2 AND ordinal = $3"
                await connection.execute(update, *row_of(job, row["owner"]))
                await tell(connection, self._sender, [StoreChange(owner, range(job.ordinal, job.ordinal + 1))])
            return job

        return await self._database.transaction(change_job) if _can_be_stored(job_id) else None

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        return sorted(await self._behind(ENDING, owner, position, limit), key=end_of)[:limit]

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        """See Store."""
        return await self._jobs(ACCEPTED, {"owner": owner, "after": ordinal, "limit": limit})

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        found = await self._behind(AMENDED, owner, position, limit)
        return sorted(found, key=lambda job: (job.changed_at, job.ordinal))[:limit]

    async def wait_for_changes(self, seconds: float) -> Sequence[StoreChange] | None:
        """See Store."""
        return await self._listener.wait_for_changes(seconds)

    async def version(self) -> None:
        """See Store."""

    async def read_sandbox(self, owner: str) -> str | None:
        """See Store."""
        statement = "SELECT sandbox FROM owners WHERE name = $1"
        sandbox: str | None = await self._database.run(lambda connection: connection.fetchval(statement, owner))
        return sandbox

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        """See Store."""

        async def change_sandbox(connection: Connection) -> str:
            sandbox = change(await connection.fetchval(LOCK_OWNER, owner))
            await connection.execute("UPDATE owners SET sandbox = $2 WHERE name = $1", owner, sandbox)
            if reset_counts:
                await _lock_tallies(connection, owner)
                await _execute(connection, RECOUNT, owner=owner)
            await tell(connection, self._sender, [StoreChange(owner)])
            return sandbox

        return await self._database.transaction(change_sandbox)

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""

        async def count_faults(connection: Connection) -> None:
            await _lock_tallies(connection, owner)
            count, *fired = await _tallies(connection, owner, [subject, *rules])
            counted = Counter([subject, *draw(count + 1, fired)])
            statement = f"""
                INSERT INTO fault_counts SELECT {COUNT_KEY}, * FROM unnest(:subjects ::text[], :counts ::bigint[])
                ON CONFLICT (owner, subject) DO UPDATE SET count = fault_counts.count + excluded.count
            """
            counts = list(counted.values())
            await _execute(connection, [statement], owner=owner, subjects=list(counted), counts=counts)

        await self._database.transaction(count_faults, durable=False)

    async def uncount_fault(self, owner: str, subject: str) -> None:
        """See Store."""
        statement = f"UPDATE fault_counts SET count = count - 1 WHERE owner = {COUNT_KEY} AND subject = :subject"
        await self._database.transaction(
            lambda connection: _execute(connection, [statement], owner=owner, subject=subject), durable=False
        )

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return await self._database.run(lambda connection: _tallies(connection, owner, subjects))

    async def add_requests(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        of_owners = defaultdict(list)
        for owner, entry in entries:
            of_owners[owner].append(entry)

        async def add_requests(connection: Connection) -> None:
            names = sorted(of_owners)
            last = await connection.fetch(
                "INSERT INTO owners (name, requests) SELECT * FROM unnest($1::text[], $2::bigint[])"
                " ON CONFLICT (name) DO UPDATE SET requests = owners.requests + excluded.requests"
                " RETURNING name, requests, coalesce(data_key, name)",
                names,
                [len(of_owners[name]) for name in names],
            )
            numbered = [
                (key, number, entry)
                for name, count, key in last
                for number, entry in enumerate(of_owners[name], count - len(of_owners[name]) + 1)
            ]
            await connection.executemany("INSERT INTO requests VALUES ($1, $2, $3)", numbered)
            too_many = [(key, count - limit, MOST_TRIMMED) for _, count, key in last if count > limit]
            await connection.executemany(
                "DELETE FROM requests WHERE owner = $1 AND number <= $2"
                " AND number <= (SELECT min(number) FROM requests WHERE owner = $1) + $3",
                too_many,
            )

        await self._database.transaction(add_requests, durable=False)

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        statement = f"""
            SELECT number, record FROM requests WHERE owner = {DATA_KEY} AND number > :after
            ORDER BY number LIMIT :limit
        """
        found = await self._fetch(statement, {"owner": owner, "after": after, "limit": limit})
        return [(number, entry) for number, entry in found]

    async def next_owner(self, name: str) -> str | None:
        """See Store."""
        statement = "SELECT name FROM owners WHERE name > $1 ORDER BY name LIMIT 1"
        found: str | None = await self._database.run(lambda connection: connection.fetchval(statement, name))
        return found

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        """See Store."""

        async def purge(connection: Connection) -> int:
            keys, [of_owner] = _numbered(f"SELECT {DATA_KEY}, {COUNT_KEY}", owner=owner)
            kept, counted = await connection.fetchrow(keys, of_owner)
            rows = await connection.fetch(PURGE_JOBS, kept, cutoff.ended_by, cutoff.changed_by, limit)
            asked = [counted_as(action, ordinal) for (ordinal,) in rows for action in ACTIONS]
            await connection.execute("DELETE FROM fault_counts WHERE owner = $1 AND subject = ANY($2)", counted, asked)
            await connection.execute("DELETE FROM requests WHERE owner = $1 AND number <= $2", kept, cutoff.request)
            return len(rows)

        return await self._database.transaction(purge, durable=False)

    async def reset_sandbox(self, owner: str, sandbox: str | None = None) -> None:
        """See Store."""

        async def reset_sandbox(connection: Connection) -> None:
            await connection.execute(LOCK_OWNER, owner)
            await _lock_tallies(connection, owner)
            await _execute(connection, CLEAR, owner=owner, sandbox=sandbox)
            await tell(connection, self._sender, [StoreChange(owner)])

        await self._database.transaction(reset_sandbox)

    async def purge_queued(self, limit: int) -> bool:
        """See Store."""

        async def purge(connection: Connection) -> bool:
            emptied = await connection.fetchrow(f"{EMPTIED} FOR UPDATE SKIP LOCKED")
            if emptied is None:
                return False
            relation, owner = emptied
            statement, values = _numbered(PURGE_EMPTIED[relation], owner=owner, limit=limit)
            purged = await connection.execute(statement, *values)
            if int(purged.split()[-1]) < limit:
                await _execute(connection, [EMPTIED_ENTIRELY], relation=relation, owner=owner)
            return True

        return await self._database.transaction(purge, durable=False)

    async def check(self) -> None:
        """See Store."""
        await self._database.transaction(lambda connection: connection.execute(PROBE), patience=CHECK_TIMEOUT)

    async def close(self) -> None:
        """See Store."""
        await self._listener.close()
        await self._database.close()

    async def _select(self, where: str, parameters: Mapping[str, object]) -> list[Job]:
        return await self._jobs(f"SELECT {COLUMNS} FROM jobs WHERE {where}", parameters)

    async def _behind(self, statement: str, owner: str, after: FeedPosition, limit: int) -> list[Job]:
        parameters = {"owner": owner, "at": after.at, "ordinal": after.ordinal, "limit": limit}
        return await self._jobs(statement, parameters)

    async def _jobs(self, statement: str, parameters: Mapping[str, object]) -> list[Job]:
        return [job_of(row) for row in await self._fetch(statement, parameters)]

    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The rows of a statement with parameters by name."""
        statement, values = _numbered(statement, **parameters)
        rows: Sequence[Sequence[Any]] = await self._database.run(
            lambda connection: connection.fetch(statement, *values)
        )
        return rows

    async def _add_all(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = ()

        async def add(connection: Connection) -> None:
            nonlocal outcomes
            outcomes = await add_all(connection, self._sender, arrivals)

        try:
            await self._database.transaction(add)
        except Unsure:
            new = new_of(outcomes)
            if new and not await self._database.transaction(lambda connection: is_there(connection, new[0])):
                raise
        return outcomes


def _numbered(statement: str, **parameters: object) -> tuple[str, list[object]]:
    """A statement with parameters by name as one with parameters by number, and those that it has."""
    names = [name for name in parameters if f":{name}" in statement]
    for number, name in enumerate(names, 1):
        statement = statement.replace(f":{name}", f"${number}")
    return statement, [parameters[name] for name in names]


async def _execute(connection: Connection, statements: Iterable[str], **parameters: object) -> None:
    for statement in statements:
        numbered, values = _numbered(statement, **parameters)
        await connection.execute(numbered, *values)


async def _lock_tallies(connection: Connection, owner: str) -> None:
    """Has the transaction wait for others that count for the owner, and these for it."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, zlib.crc32(owner.encode()) - 2**31)


async def _tallies(connection: Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    statement = f"SELECT subject, count FROM fault_counts WHERE owner = {COUNT_KEY} AND subject = ANY(:subjects)"
    numbered, values = _numbered(statement, owner=owner, subjects=subjects)
    found = dict(await connection.fetch(numbered, *values))
    return [found.get(subject, 0) for subject in subjects]


def _can_be_stored(text: str) -> bool:
    """Whether PostgreSQL's texts can hold it: no job has an id that they cannot."""
    return "\0" not in text
