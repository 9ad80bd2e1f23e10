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

from translation_server.core.faults import ACTIONS, counted_as
from translation_server.core.job import Job, State
from translation_server.stores.arrivals import Arrival, Arrivals, Outcome
from translation_server.stores.postgres_adding import LOCK_OWNER, add_all, is_there, new_of
from translation_server.stores.postgres_database import LOCK, Connection, Database, Unsure
from translation_server.stores.postgres_news import Listener, tell
from translation_server.stores.protocol import Idempotency, News, Old, Stored
from translation_server.stores.rows import (
    ACCEPTED,
    AMENDED,
    COLUMNS,
    END,
    FEW_PENDING,
    IN_STATE,
    MANY_PENDING,
    NAMES,
    NO_ORDINAL,
    job_of,
    row_of,
)

CLEARING = 60.0
"""Seconds that it may take to forget an owner."""

CHECKING = 1.0
"""Seconds that a check may take: who asks is a health check."""

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
        return await self._select("owner = :owner AND id = ANY(:ids)", parameters) if possible else []

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        parameters = {"owner": owner, "before": NO_ORDINAL if before is None else before, "now": now, "limit": limit}
        where = f"owner = :owner AND ordinal < :before AND {IN_STATE[state]}"
        if state is State.PENDING and not await self._fetch(MANY_PENDING, parameters):
            where = f"owner = :owner AND ordinal = ANY (ARRAY ({FEW_PENDING}))"
        return await self._select(f"{where} ORDER BY ordinal DESC LIMIT :limit", parameters)

    async def amend(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""

        async def amend(connection: Connection) -> Job | None:
            statement = f"SELECT {COLUMNS} FROM jobs WHERE owner = $1 AND id = $2 FOR UPDATE"
            row = await connection.fetchrow(statement, owner, job_id)
            before = row and job_of(row)
            job = before and change(before)
            if job and job != before:
                marks = ", ".join(f"${number}" for number in range(1, len(NAMES) + 1))
                update = f"UPDATE jobs SET ({COLUMNS}) = ({marks}) WHERE owner = $2 AND ordinal = $3"
                await connection.execute(update, *row_of(job))
                await tell(connection, self._sender, [News(owner, range(job.ordinal, job.ordinal + 1))])
            return job

        return await self._database.transaction(amend) if _can_be_stored(job_id) else None

    async def ending(self, owner: str, after: float) -> list[Job]:
        """See Store."""
        return await self._select(f"owner = :owner AND {END} > :after", {"owner": owner, "after": after})

    async def accepted(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return await self._select(ACCEPTED, {"owner": owner, "since": since})

    async def amended(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return await self._select(AMENDED, {"owner": owner, "since": since})

    async def news(self, seconds: float) -> Sequence[News] | None:
        """See Store."""
        return await self._listener.news(seconds)

    async def world(self, owner: str) -> str | None:
        """See Store."""
        statement = "SELECT world FROM owners WHERE name = $1"
        world: str | None = await self._database.run(lambda connection: connection.fetchval(statement, owner))
        return world

    async def change_world(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> str:
        """See Store."""

        async def change_world(connection: Connection) -> str:
            world = change(await connection.fetchval(LOCK_OWNER, owner))
            await connection.execute("UPDATE owners SET world = $2 WHERE name = $1", owner, world)
            if recount:
                await connection.execute("DELETE FROM tallies WHERE owner = $1", owner)
            await tell(connection, self._sender, [News(owner)])
            return world

        return await self._database.transaction(change_world)

    async def tally(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""

        async def tally(connection: Connection) -> None:
            owners_lock = zlib.crc32(owner.encode()) - 2**31
            await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, owners_lock)
            count, *fired = await _tallies(connection, owner, [subject, *rules])
            counted = Counter([subject, *draw(count + 1, fired)])
            statement = """
                INSERT INTO tallies SELECT $1, * FROM unnest($2::text[], $3::bigint[])
                ON CONFLICT (owner, subject) DO UPDATE SET count = tallies.count + excluded.count
            """
            await connection.execute(statement, owner, list(counted), list(counted.values()))

        await self._database.transaction(tally, durable=False)

    async def untally(self, owner: str, subject: str) -> None:
        """See Store."""
        statement = "UPDATE tallies SET count = count - 1 WHERE owner = $1 AND subject = $2"
        await self._database.transaction(
            lambda connection: connection.execute(statement, owner, subject), durable=False
        )

    async def tallies(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return await self._database.run(lambda connection: _tallies(connection, owner, subjects))

    async def record(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        of_owners = defaultdict(list)
        for owner, entry in entries:
            of_owners[owner].append(entry)

        async def record(connection: Connection) -> None:
            names = sorted(of_owners)
            last = await connection.fetch(
                "INSERT INTO owners (name, requests) SELECT * FROM unnest($1::text[], $2::bigint[])"
                " ON CONFLICT (name) DO UPDATE SET requests = owners.requests + excluded.requests"
                " RETURNING name, requests",
                names,
                [len(of_owners[name]) for name in names],
            )
            numbered = [
                (name, number, entry)
                for name, count in last
                for number, entry in enumerate(of_owners[name], count - len(of_owners[name]) + 1)
            ]
            await connection.executemany("INSERT INTO requests VALUES ($1, $2, $3)", numbered)
            too_many = [(name, count - limit) for name, count in last if count > limit]
            await connection.executemany("DELETE FROM requests WHERE owner = $1 AND number <= $2", too_many)

        await self._database.transaction(record, durable=False)

    async def journal(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        statement = "SELECT number, entry FROM requests WHERE owner = $1 AND number > $2 ORDER BY number LIMIT $3"
        found = await self._database.run(lambda connection: connection.fetch(statement, owner, after, limit))
        return [(number, entry) for number, entry in found]

    async def owner_after(self, name: str) -> str | None:
        """See Store."""
        statement = "SELECT name FROM owners WHERE name > $1 ORDER BY name LIMIT 1"
        found: str | None = await self._database.run(lambda connection: connection.fetchval(statement, name))
        return found

    async def purge(self, owner: str, old: Old, limit: int) -> int:
        """See Store."""

        async def purge(connection: Connection) -> int:
            rows = await connection.fetch(PURGE_JOBS, owner, old.moment, old.before, limit)
            asked = [counted_as(action, ordinal) for (ordinal,) in rows for action in ACTIONS]
            await connection.execute("DELETE FROM tallies WHERE owner = $1 AND subject = ANY($2)", owner, asked)
            await connection.execute("DELETE FROM requests WHERE owner = $1 AND number <= $2", owner, old.entry)
            return len(rows)

        return await self._database.transaction(purge, durable=False)

    async def clear(self, owner: str) -> None:
        """See Store."""

        async def clear(connection: Connection) -> None:
            await connection.execute("DELETE FROM owners WHERE name = $1", owner)
            for table in ("jobs", "tallies", "requests"):
                await connection.execute(f"DELETE FROM {table} WHERE owner = $1", owner)

        await self._database.transaction(clear, patience=CLEARING)

    async def check(self) -> None:
        """See Store."""
        await self._database.run(lambda connection: connection.execute("SELECT FROM jobs LIMIT 0"), CHECKING)

    async def close(self) -> None:
        """See Store."""
        await self._listener.close()
        await self._database.close()

    async def _select(self, where: str, parameters: Mapping[str, object]) -> list[Job]:
        return [job_of(row) for row in await self._fetch(f"SELECT {COLUMNS} FROM jobs WHERE {where}", parameters)]

    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The rows of a statement with parameters by name."""
        names = [name for name in parameters if f":{name}" in statement]
        for number, name in enumerate(names, 1):
            statement = statement.replace(f":{name}", f"${number}")
        values = [parameters[name] for name in names]
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


async def _tallies(connection: Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    statement = "SELECT subject, count FROM tallies WHERE owner = $1 AND subject = ANY($2)"
    found = dict(await connection.fetch(statement, owner, subjects))
    return [found.get(subject, 0) for subject in subjects]


def _can_be_stored(text: str) -> bool:
    """Whether PostgreSQL's texts can hold it: no job has an id that they cannot."""
    return "\0" not in text
