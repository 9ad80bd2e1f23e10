"""The store in a PostgreSQL database, which any number of servers may share.

A job is safe from a power cut before its 202 leaves. Data that may be lost is committed without waiting for the disk.
Each transaction notifies the other servers of its changes. It locks the rows of owners in the order of their names, so
no two transactions block each other.
"""

import secrets
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from translation_server.core.change_feed import MAX_PAGE_SIZE
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job
from translation_server.core.webhook_events import delivery_id, next_event_at
from translation_server.core.webhooks import Delivery
from translation_server.storage import statements as sql
from translation_server.storage.batching import Addition, GroupCommit, Written
from translation_server.storage.deliveries import ALLOW_URL, CHANGED_DELIVERY, LEASE, RELEASE, DeliveryReader
from translation_server.storage.postgres.database import (
    LOCK,
    START_TIMEOUT,
    TIMEOUT,
    VERSION_TABLE,
    Connection,
    Database,
    UnknownCommit,
)
from translation_server.storage.postgres.inserting import LOCK_OWNER, add_all, is_stored, new_jobs
from translation_server.storage.postgres.notifications import RETRY_PAUSE, Listener, notify
from translation_server.storage.postgres.parameters import number_parameters
from translation_server.storage.protocol import CHECK_TIMEOUT, Cutoff, Idempotency, ShownEnd, StoreChange, Stored, sole
from translation_server.storage.rows import COLUMNS, NAMES, delivery_of, delivery_row, job_of, row_of

PLACEHOLDERS = ", ".join(f"${number}" for number in range(1, len(NAMES) + 1))

FIND = f"SELECT {COLUMNS} FROM jobs WHERE owner = {sql.DATA_KEY} AND id = ANY(:ids)"

SIZE = """
    (octet_length(echo) + octet_length(pauses) + coalesce(octet_length(output), 0)
    + coalesce(octet_length(webhook), 0))
"""

FETCH_PAGE = f"""
    SELECT {COLUMNS} FROM (
        SELECT *, sum({SIZE}) OVER (ORDER BY {{order}} ROWS UNBOUNDED PRECEDING) - {SIZE} AS size_before
        FROM ({{statement}}) AS found
    ) AS found
    WHERE size_before < {MAX_PAGE_SIZE} ORDER BY {{order}}
"""

CHANGE_JOB = f"UPDATE jobs SET ({COLUMNS}) = ({PLACEHOLDERS}) WHERE owner = $2 AND ordinal = $3"

JOBS_TO_RECORD = f"""
    SELECT {COLUMNS} FROM jobs WHERE owner = {sql.DATA_KEY} AND ordinal = ANY(:ordinals) ORDER BY ordinal FOR UPDATE
"""

RECORD_EVENT = "UPDATE jobs SET notified = $3, next_event_at = $4 WHERE owner = $1 AND ordinal = $2"

RECORD_DELIVERY = """
    INSERT INTO deliveries VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, ordinal, stage)
    DO UPDATE SET (next_at, gone_url, document) = (excluded.next_at, excluded.gone_url, excluded.document)
"""

READ_REQUESTS = f"""
    SELECT number, record FROM requests WHERE owner = {sql.DATA_KEY} AND number > :after ORDER BY number LIMIT :limit
"""

COUNT = f"""
    INSERT INTO fault_counts SELECT {sql.COUNT_KEY}, * FROM unnest(:subjects::text[], :counts::bigint[])
    ON CONFLICT (owner, subject) DO UPDATE SET count = fault_counts.count + excluded.count
"""

COUNTS = f"SELECT subject, count FROM fault_counts WHERE owner = {sql.COUNT_KEY} AND subject = ANY(:subjects)"

PROBE = f"""
    SAVEPOINT before;
    INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, paused_for, changed_at)
    VALUES ('', -pg_backend_pid(), '', 0, 0, 'error', 0, 0);
    ROLLBACK TO before;
    UPDATE {VERSION_TABLE} SET version = version
"""
"""Allocates the space of a job and frees it, and makes a change without effect, so that it has a commit."""

PURGE_JOBS = f"""
    WITH ended AS (
        SELECT ordinal FROM jobs
        WHERE owner = $1 AND {sql.END} <= $2 AND changed_at <= $3 AND {sql.HAS_NOTHING_TO_DELIVER}
        ORDER BY {sql.END} LIMIT $4 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM jobs USING ended WHERE owner = $1 AND jobs.ordinal = ended.ordinal RETURNING jobs.ordinal
"""
"""Skips jobs that another server is purging."""


class PostgresStore(DeliveryReader):
    """A Store in a PostgreSQL database."""

    _in_ordinals = "ordinal = ANY (ARRAY ({}))"

    def __init__(
        self,
        url: str,
        name: str,
        *,
        timeout: float = TIMEOUT,
        start_timeout: float = START_TIMEOUT,
        retry_pause: float = RETRY_PAUSE,
    ) -> None:
        """Connects to the database and brings its schema up to date.

        Args:
            url: its URL, as libpq takes it.
            name: its name in messages.
            timeout: how long work may take, with all repetitions, in seconds.
            start_timeout: how long to wait for the database now, in seconds.
            retry_pause: how long to wait before listening again to other servers after a failure, in seconds.

        Raises:
            StoreError: it cannot be reached, or belongs to another program or to a newer version.
        """
        self._database = Database(url, name, timeout=timeout, start_timeout=start_timeout)
        self.file_key = self._database.file_key
        self._sender = secrets.token_hex(4)
        self._listener = Listener(self._database, self._sender, retry_pause)
        self._additions = GroupCommit(self._add_all)

    async def add(
        self,
        owner: str,
        accept: Callable[[int], Job],
        idempotency: Idempotency | None = None,
        job_input: str | None = None,
    ) -> Stored:
        return await self._additions.add(Addition(owner, accept, idempotency, job_input))

    async def find_many(
        self, owner: str, job_ids: Sequence[str], *, api: str | None = None, kind: str | None = None
    ) -> list[Job]:
        if not (storable := [job_id for job_id in job_ids if _is_storable(job_id)]):
            return []
        statement = FIND + sql.of_kind(api, kind)
        return await self._jobs(statement, "ordinal", {"owner": owner, "ids": storable, "api": api, "kind": kind})

    async def change(
        self, owner: str, job_id: str, change: Callable[[Job], Job], *, api: str | None = None, kind: str | None = None
    ) -> Job | None:
        statement = f"{FIND}{sql.of_kind(api, kind)} FOR UPDATE"

        async def change_job(connection: Connection) -> Job | None:
            rows = await _fetch(connection, statement, owner=owner, ids=[job_id], api=api, kind=kind)
            before = sole([job_of(row) for row in rows])
            job = before and change(before)
            if job and job != before:
                await connection.execute(CHANGE_JOB, *row_of(job, rows[0]["owner"]))
                await notify(connection, self._sender, [StoreChange(owner, range(job.ordinal, job.ordinal + 1))])
            return job

        return await self._database.transaction(change_job) if _is_storable(job_id) else None

    async def wait_for_changes(self, seconds: float) -> Sequence[StoreChange] | None:
        return await self._listener.wait_for_changes(seconds)

    async def version(self) -> None: ...

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:

        async def change_sandbox(connection: Connection) -> str:
            text = change(await connection.fetchval(LOCK_OWNER, owner))
            await connection.execute("UPDATE owners SET sandbox = $2 WHERE name = $1", owner, text)
            if reset_counts:
                await _lock_counts(connection, owner)
                await _execute(connection, sql.RESET_COUNTS, owner=owner)
            await notify(connection, self._sender, [StoreChange(owner)])
            return text

        return await self._database.transaction(change_sandbox)

    async def reset_sandbox(self, owner: str, text: str | None = None) -> None:

        async def reset_sandbox(connection: Connection) -> None:
            await connection.execute(LOCK_OWNER, owner)
            await _lock_counts(connection, owner)
            await _execute(connection, sql.RESET_SANDBOX, owner=owner, sandbox=text)
            await notify(connection, self._sender, [StoreChange(owner)])

        await self._database.transaction(reset_sandbox)

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:

        async def count_faults(connection: Connection) -> None:
            await _lock_counts(connection, owner)
            count, *fired = await _fault_counts(connection, owner, [subject, *rules])
            counted = Counter([subject, *draw(count + 1, fired)])
            await _execute(connection, [COUNT], owner=owner, subjects=[*counted], counts=[*counted.values()])

        await self._database.transaction(count_faults, durable=False)

    async def uncount_fault(self, owner: str, subject: str) -> None:
        await self._database.transaction(
            lambda connection: _execute(connection, [sql.UNCOUNT], owner=owner, subject=subject), durable=False
        )

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        return await self._database.run(lambda connection: _fault_counts(connection, owner, subjects))

    async def add_requests(self, records: Sequence[tuple[str, str]], limit: int) -> None:
        by_owner = defaultdict(list)
        for owner, record in records:
            by_owner[owner].append(record)

        async def add_requests(connection: Connection) -> None:
            names = sorted(by_owner)
            owners = await connection.fetch(
                "INSERT INTO owners (name, requests) SELECT * FROM unnest($1::text[], $2::bigint[])"
                " ON CONFLICT (name) DO UPDATE SET requests = owners.requests + excluded.requests"
                " RETURNING name, requests, coalesce(data_key, name)",
                names,
                [len(by_owner[name]) for name in names],
            )
            rows = [
                (key, number, record)
                for name, last, key in owners
                for number, record in enumerate(by_owner[name], last - len(by_owner[name]) + 1)
            ]
            await connection.executemany("INSERT INTO requests VALUES ($1, $2, $3)", rows)
            await connection.executemany(
                "DELETE FROM requests WHERE owner = $1 AND number <= $2"
                " AND number <= (SELECT min(number) FROM requests WHERE owner = $1) + $3",
                [(key, last - limit, sql.MAX_TRIMMED) for _, last, key in owners if last > limit],
            )

        await self._database.transaction(add_requests, durable=False)

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        rows = await self._fetch(READ_REQUESTS, {"owner": owner, "after": after, "limit": limit})
        return [(number, record) for number, record in rows]

    async def add_shown_ends(self, ends: Sequence[ShownEnd]) -> list[bool]:

        async def add(connection: Connection) -> list[bool]:
            in_order = sorted(ends)  # so that no two transactions block each other
            new = {end for end in in_order if await _fetch(connection, sql.ADD_SHOWN_END, **end._asdict())}
            return [end in new for end in ends]

        return await self._database.transaction(add, durable=False)

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:

        async def purge(connection: Connection) -> int:
            [(data_key, count_key)] = await _fetch(connection, f"SELECT {sql.DATA_KEY}, {sql.COUNT_KEY}", owner=owner)
            rows = await connection.fetch(PURGE_JOBS, data_key, cutoff.ended_by, cutoff.changed_by, limit)
            ordinals = [ordinal for (ordinal,) in rows]
            for table in ("inputs", "deliveries", "shown_ends"):
                statement = f"DELETE FROM {table} WHERE owner = $1 AND ordinal = ANY($2)"
                await connection.execute(statement, data_key, ordinals)
            subjects = [counted_as(action, ordinal) for ordinal in ordinals for action in ACTIONS]
            await connection.execute(
                "DELETE FROM fault_counts WHERE owner = $1 AND subject = ANY($2)", count_key, subjects
            )
            await connection.execute("DELETE FROM requests WHERE owner = $1 AND number <= $2", data_key, cutoff.request)
            return len(rows)

        return await self._database.transaction(purge, durable=False)

    async def purge_queued(self, limit: int) -> bool:

        async def purge(connection: Connection) -> bool:
            queued = await connection.fetchrow(f"{sql.NEXT_QUEUED} FOR UPDATE SKIP LOCKED")
            if queued is None:
                return False
            relation, owner = queued
            statement, values = number_parameters(sql.PURGE_QUEUED[relation], {"owner": owner, "limit": limit})
            purged = await connection.execute(statement, *values)
            if int(purged.split()[-1]) < limit:
                await _execute(connection, [sql.DEQUEUE], relation=relation, owner=owner)
            return True

        return await self._database.transaction(purge, durable=False)

    async def record_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> None:

        async def record(connection: Connection) -> None:
            ordinals = [delivery.ordinal for delivery in deliveries]
            rows = await _fetch(connection, JOBS_TO_RECORD, owner=owner, ordinals=ordinals)
            jobs, keys = {row["ordinal"]: job_of(row) for row in rows}, {row["owner"] for row in rows}
            known = [
                delivery
                for delivery in deliveries
                if (job := jobs.get(delivery.ordinal)) and delivery_id(job, delivery.stage) == delivery.id
            ]
            for delivery in known:
                job = jobs[delivery.ordinal]
                jobs[delivery.ordinal] = replace(job, notified=max(job.notified, delivery.stage))
            for key in keys:
                events = [(key, job.ordinal, job.notified, next_event_at(job)) for job in jobs.values()]
                await connection.executemany(RECORD_EVENT, events)
                await connection.executemany(RECORD_DELIVERY, [delivery_row(delivery, key) for delivery in known])

        await self._database.transaction(record, durable=False)

    async def change_delivery(
        self, owner: str, delivery_id: str, change: Callable[[Delivery], Delivery]
    ) -> Delivery | None:
        async def amend(connection: Connection) -> Delivery | None:
            for row in await _fetch(connection, f"{CHANGED_DELIVERY} FOR UPDATE", owner=owner, id=delivery_id):
                delivery = change(delivery_of(row["document"]))
                await connection.execute(RECORD_DELIVERY, *delivery_row(delivery, row["owner"]))
                return delivery
            return None

        return await self._database.transaction(amend, durable=False)

    async def allow_url(self, owner: str, url: str) -> None:
        await self._database.transaction(
            lambda connection: _execute(connection, [ALLOW_URL], owner=owner, url=url), durable=False
        )

    async def lease(self, owner: str, holder: str, seconds: float) -> bool:
        statement = LEASE.replace(":now", "extract(epoch FROM clock_timestamp())")

        async def lease(connection: Connection) -> bool:
            return bool(await _fetch(connection, statement, owner=owner, holder=holder, seconds=seconds))

        return await self._database.transaction(lease, durable=False)

    async def release(self, owner: str, holder: str) -> None:
        await self._database.transaction(
            lambda connection: _execute(connection, [RELEASE], owner=owner, holder=holder), durable=False
        )

    async def check(self) -> None:
        await self._database.transaction(lambda connection: connection.execute(PROBE), timeout=CHECK_TIMEOUT)

    async def close(self) -> None:
        await self._listener.close()
        await self._database.close()

    async def _fetch_page(
        self, statement: str, order: str, parameters: Mapping[str, object]
    ) -> Sequence[Sequence[Any]]:
        return await self._fetch(FETCH_PAGE.format(statement=statement, order=order), parameters)

    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        return await self._database.run(lambda connection: _fetch(connection, statement, **parameters))

    async def _add_all(self, batch: Sequence[Addition]) -> Sequence[Written]:
        written: Sequence[Written] = ()

        async def add(connection: Connection) -> None:
            nonlocal written
            written = await add_all(connection, self._sender, batch)

        try:
            await self._database.transaction(add)
        except UnknownCommit:
            new = new_jobs(written)
            if new and not await self._database.transaction(lambda connection: is_stored(connection, new[0])):
                raise
        return written


async def _fetch(connection: Connection, statement: str, **parameters: object) -> Sequence[Any]:
    """Runs a statement with named parameters and returns its rows."""
    numbered, values = number_parameters(statement, parameters)
    rows: Sequence[Any] = await connection.fetch(numbered, *values)
    return rows


async def _execute(connection: Connection, statements: Iterable[str], **parameters: object) -> None:
    """Runs statements with named parameters."""
    for statement in statements:
        numbered, values = number_parameters(statement, parameters)
        await connection.execute(numbered, *values)


async def _lock_counts(connection: Connection, owner: str) -> None:
    """Makes concurrent transactions count an owner's faults one after the other."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, zlib.crc32(owner.encode()) - 2**31)


async def _fault_counts(connection: Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    counts = dict(await _fetch(connection, COUNTS, owner=owner, subjects=subjects))
    return [counts.get(subject, 0) for subject in subjects]


def _is_storable(text: str) -> bool:
    """Whether PostgreSQL can store a text; a job cannot have an id that it cannot store."""
    return "\0" not in text
