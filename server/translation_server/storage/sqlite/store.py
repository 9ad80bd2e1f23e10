"""The store in one SQLite file, which several processes may share.

A commit of jobs waits for the disk, so a power cut loses no job whose 202 was sent. Jobs that are submitted during a
commit are written together in the next one. The file's write lock keeps ordinals and idempotency keys unique across
processes. Fault counts, request records and purges may be lost: their commits do not wait for the disk (`unsynced`).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from translation_server.core.change_feed import LAST, MAX_PAGE_SIZE
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job, JobKey
from translation_server.core.webhook_events import delivery_id, next_event_at
from translation_server.core.webhooks import Delivery
from translation_server.private_files import create_file, create_folder
from translation_server.storage import statements as sql
from translation_server.storage.batching import Addition, GroupCommit, Written
from translation_server.storage.deliveries import ALLOW_URL, CHANGED_DELIVERY, LEASE, RELEASE, DeliveryReader
from translation_server.storage.protocol import (
    CHECK_TIMEOUT,
    Cutoff,
    Idempotency,
    IdTaken,
    KeyReused,
    ShownEnd,
    Stored,
    sole,
)
from translation_server.storage.rows import COLUMNS, NAMES, delivery_of, delivery_row, job_of, row_of, size_of
from translation_server.storage.sqlite.database import (
    LOCK_TIMEOUT,
    Worker,
    migrate,
    probe,
    read_only,
    store_errors,
    transaction,
    unsynced,
)
from translation_server.storage.sqlite.request_log import add_requests, read_requests

PLACEHOLDERS = ", ".join("?" * len(NAMES))
JOB = f"SELECT {COLUMNS} FROM jobs WHERE owner = ? AND ordinal = ?"
RECORD_DELIVERY = "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?)"
REPLACE_JOB = f"UPDATE jobs SET ({COLUMNS}) = ({PLACEHOLDERS}) WHERE owner = ? AND ordinal = ?"

Connection = sqlite3.Connection


class SqliteStore(DeliveryReader):
    """A Store in one SQLite file."""

    _in_ordinals = "ordinal IN ({})"

    def __init__(self, path: Path, lock_timeout: float = LOCK_TIMEOUT) -> None:
        """Opens the file and updates its schema; creates the file and its folder if they are missing.

        Args:
            path: the file.
            lock_timeout: how long work waits for other work and for locks of other processes, in seconds.

        Raises:
            StoreError: the file cannot be written, is corrupt, or belongs to another program or to a newer version.
        """
        with store_errors(path):
            create_folder(path.parent)
            create_file(path)
        self._writer = Worker(path, partial(self._migrate, path), lock_timeout)
        self._reader = Worker(path, read_only, lock_timeout)
        self._additions = GroupCommit(lambda batch: self._writer.run(_add_all, batch, since=batch[0].called_at))

    def _migrate(self, path: Path, connection: Connection) -> None:
        self.file_key = migrate(path, connection)

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
        def find(connection: Connection) -> list[Job]:
            jobs, size = list[Job](), 0
            # One statement per id: with many ids in one statement, SQLite would read all jobs of the owner.
            for job_id in dict.fromkeys(job_ids):
                jobs += (found := _find(connection, owner, JobKey(job_id, api, kind)))
                size += sum(job.size for job in found)
                if size >= MAX_PAGE_SIZE:
                    break
            return jobs

        return await self._reader.run(find)

    async def change(
        self, owner: str, job_id: str, change: Callable[[Job], Job], *, api: str | None = None, kind: str | None = None
    ) -> Job | None:
        return await self._writer.run(_change, owner, JobKey(job_id, api, kind), change)

    async def wait_for_changes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def version(self) -> object:
        # data_version changes exactly when another connection commits.
        return await self._writer.run(lambda connection: connection.execute("PRAGMA data_version").fetchall())

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        return await self._writer.run(_change_sandbox, owner, change, reset_counts)

    async def reset_sandbox(self, owner: str, text: str | None = None) -> None:
        await self._writer.run(_reset_sandbox, owner, text)

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        await self._writer.run(_count_faults, owner, subject, rules, draw)

    async def uncount_fault(self, owner: str, subject: str) -> None:
        await self._writer.run(_uncount_fault, owner, subject)

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        return await self._reader.run(_fault_counts, owner, subjects)

    async def add_requests(self, records: Sequence[tuple[str, str]], limit: int) -> None:
        await self._writer.run(add_requests, records, limit)

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        return await self._reader.run(read_requests, owner, after, LAST if limit is None else limit)

    async def add_shown_ends(self, ends: Sequence[ShownEnd]) -> list[bool]:
        def add(connection: Connection) -> list[bool]:
            with unsynced(connection):
                return [bool(connection.execute(sql.ADD_SHOWN_END, end._asdict()).fetchall()) for end in ends]

        return await self._writer.run(add)

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        return await self._writer.run(_purge, owner, cutoff, limit)

    async def purge_queued(self, limit: int) -> bool:
        return await self._writer.run(_purge_queued, limit)

    async def record_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> None:
        await self._writer.run(_record_deliveries, owner, deliveries)

    async def change_delivery(
        self, owner: str, delivery_id: str, change: Callable[[Delivery], Delivery]
    ) -> Delivery | None:
        return await self._writer.run(_change_delivery, owner, delivery_id, change)

    async def allow_url(self, owner: str, url: str) -> None:
        await self._writer.run(
            lambda connection: connection.execute(ALLOW_URL, {"owner": owner, "url": url}).fetchall()
        )

    async def lease(self, owner: str, holder: str, seconds: float) -> bool:
        def lease(connection: Connection) -> bool:
            parameters = {"owner": owner, "holder": holder, "seconds": seconds, "now": time.time()}
            with unsynced(connection):
                return bool(connection.execute(LEASE, parameters).fetchall())

        return await self._writer.run(lease)

    async def release(self, owner: str, holder: str) -> None:
        await self._writer.run(
            lambda connection: connection.execute(RELEASE, {"owner": owner, "holder": holder}).fetchall()
        )

    async def check(self) -> None:
        await self._fetch("SELECT * FROM jobs LIMIT 1", {})
        await self._writer.run(probe, timeout=CHECK_TIMEOUT)

    async def close(self) -> None:
        self._reader.close()
        self._writer.close()

    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return await self._reader.run(lambda connection: connection.execute(statement, parameters).fetchall())

    async def _fetch_page(
        self,
        statement: str,
        order: str,  # noqa: ARG002 - SQLite finds the rows in the order that the statement describes
        parameters: Mapping[str, object],
    ) -> list[tuple[Any, ...]]:
        def fetch(connection: Connection) -> list[tuple[Any, ...]]:
            rows, size = [], 0
            with closing(connection.execute(statement, parameters)) as found:
                for row in found:
                    rows.append(row)
                    size += size_of(row)
                    if size >= MAX_PAGE_SIZE:
                        break
            return rows

        return await self._reader.run(fetch)


def _add_all(connection: Connection, batch: Sequence[Addition]) -> list[Written]:
    """Adds the jobs of a batch; an addition that fails changes nothing and does not affect the others."""

    def add(addition: Addition) -> Written:
        try:
            return _add(connection, addition)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the caller of this addition gets it
            return error

    with transaction(connection):
        return [add(addition) for addition in batch]


def _add(connection: Connection, addition: Addition) -> Stored:
    owner, idempotency = addition.owner, addition.idempotency
    statement = "SELECT jobs, coalesce(data_key, name) FROM owners WHERE name = ?"
    [(last, key)] = connection.execute(statement, (owner,)).fetchall() or [(0, owner)]
    if idempotency is not None:
        statement = f"SELECT fingerprint, {COLUMNS} FROM jobs WHERE owner = ? AND idempotency_key = ?"
        for fingerprint, *row in connection.execute(statement, (key, idempotency.key)).fetchall():
            if not idempotency.matches(fingerprint):
                raise KeyReused(idempotency.key)
            return Stored(job_of(row), replayed=True)
    job = addition.accept(last + 1)
    if _find(connection, owner, job.key):
        raise IdTaken(job.id)
    connection.execute(
        "INSERT INTO owners (name, jobs) VALUES (:owner, :ordinal) ON CONFLICT (name) DO UPDATE SET jobs = :ordinal",
        {"owner": owner, "ordinal": job.ordinal},
    )
    connection.execute(
        f"INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint) VALUES ({PLACEHOLDERS}, ?, ?)",
        (*row_of(job, key), idempotency and idempotency.key, idempotency and idempotency.fingerprint),
    )
    if addition.job_input is not None:
        connection.execute("INSERT INTO inputs VALUES (?, ?, ?)", (key, job.ordinal, addition.job_input))
    return Stored(job, replayed=False)


def _change(connection: Connection, owner: str, job_key: JobKey, change: Callable[[Job], Job]) -> Job | None:
    with transaction(connection):
        before = sole(_find(connection, owner, job_key))
        job = before and change(before)
        if job and job != before:
            key = _key(connection, owner, sql.DATA_KEY)
            connection.execute(REPLACE_JOB, (*row_of(job, key), key, job.ordinal))
        return job


def _record_deliveries(connection: Connection, owner: str, deliveries: Sequence[Delivery]) -> None:
    with unsynced(connection):
        key = _key(connection, owner, sql.DATA_KEY)
        for delivery in deliveries:
            rows = connection.execute(JOB, (key, delivery.ordinal)).fetchall()
            if not rows or delivery_id(job := job_of(rows[0]), delivery.stage) != delivery.id:
                continue
            attempted = replace(job, notified=max(job.notified, delivery.stage))
            connection.execute(
                "UPDATE jobs SET notified = ?, next_event_at = ? WHERE owner = ? AND ordinal = ?",
                (attempted.notified, next_event_at(attempted), key, job.ordinal),
            )
            connection.execute(RECORD_DELIVERY, delivery_row(delivery, key))


def _change_delivery(
    connection: Connection, owner: str, delivery_id: str, change: Callable[[Delivery], Delivery]
) -> Delivery | None:
    with unsynced(connection):
        for key, document in connection.execute(CHANGED_DELIVERY, {"owner": owner, "id": delivery_id}).fetchall():
            delivery = change(delivery_of(document))
            connection.execute(RECORD_DELIVERY, delivery_row(delivery, key))
            return delivery
    return None


def _change_sandbox(connection: Connection, owner: str, change: Callable[[str | None], str], reset_counts: bool) -> str:
    with transaction(connection):
        row = connection.execute(sql.READ_SANDBOX, {"owner": owner}).fetchone()
        text = change(row and row[0])
        connection.execute(
            "INSERT INTO owners (name, jobs, sandbox) VALUES (:owner, 0, :sandbox)"
            " ON CONFLICT (name) DO UPDATE SET sandbox = :sandbox",
            {"owner": owner, "sandbox": text},
        )
        if reset_counts:
            for statement in sql.RESET_COUNTS:
                connection.execute(statement, {"owner": owner})
        return text


def _reset_sandbox(connection: Connection, owner: str, text: str | None) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO owners (name, jobs) VALUES (?, 0) ON CONFLICT DO NOTHING", (owner,))
        for statement in sql.RESET_SANDBOX:
            connection.execute(statement, {"owner": owner, "sandbox": text})


def _fault_counts(connection: Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    placeholders = ", ".join("?" * len(subjects))
    statement = f"SELECT subject, count FROM fault_counts WHERE owner = ? AND subject IN ({placeholders})"
    counts = dict(connection.execute(statement, (_key(connection, owner, sql.COUNT_KEY), *subjects)).fetchall())
    return [counts.get(subject, 0) for subject in subjects]


def _count_faults(
    connection: Connection,
    owner: str,
    subject: str,
    rules: Sequence[str],
    draw: Callable[[int, Sequence[int]], Iterable[str]],
) -> None:
    statement = "INSERT INTO fault_counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1"
    with unsynced(connection):
        count, *fired = _fault_counts(connection, owner, (subject, *rules))
        key = _key(connection, owner, sql.COUNT_KEY)
        counted = (subject, *draw(count + 1, fired))
        connection.executemany(statement, [(key, counted_subject) for counted_subject in counted])


def _uncount_fault(connection: Connection, owner: str, subject: str) -> None:
    with unsynced(connection):
        connection.execute(sql.UNCOUNT, {"owner": owner, "subject": subject})


def _purge(connection: Connection, owner: str, cutoff: Cutoff, limit: int) -> int:
    old = f"owner = ? AND {sql.END} <= ? AND changed_at <= ? AND {sql.HAS_NOTHING_TO_DELIVER}"
    statement = f"SELECT ordinal FROM jobs WHERE {old} ORDER BY {sql.END} LIMIT ?"
    with unsynced(connection):
        data_key, count_key = _key(connection, owner, sql.DATA_KEY), _key(connection, owner, sql.COUNT_KEY)
        rows = connection.execute(statement, (data_key, cutoff.ended_by, cutoff.changed_by, limit)).fetchall()
        subjects = [(count_key, counted_as(action, ordinal)) for (ordinal,) in rows for action in ACTIONS]
        jobs = [(data_key, ordinal) for (ordinal,) in rows]
        for table in ("jobs", "inputs", "deliveries", "shown_ends"):
            connection.executemany(f"DELETE FROM {table} WHERE owner = ? AND ordinal = ?", jobs)
        connection.executemany("DELETE FROM fault_counts WHERE owner = ? AND subject = ?", subjects)
        connection.execute("DELETE FROM requests WHERE owner = ? AND number <= ?", (data_key, cutoff.request))
        return len(jobs)


def _purge_queued(connection: Connection, limit: int) -> bool:
    if not connection.execute(sql.NEXT_QUEUED).fetchall():
        return False
    with unsynced(connection):
        # Again, because another process may have emptied the queue.
        for relation, owner in connection.execute(sql.NEXT_QUEUED).fetchall():
            purged = connection.execute(sql.PURGE_QUEUED[relation], {"owner": owner, "limit": limit}).rowcount
            if purged < limit:
                connection.execute(sql.DEQUEUE, {"relation": relation, "owner": owner})
    return True


def _key(connection: Connection, owner: str, key: str) -> str:
    """Returns the value of an owner's `DATA_KEY` or `COUNT_KEY`, which is constant during a transaction."""
    found: str = connection.execute(f"SELECT {key}", {"owner": owner}).fetchone()[0]
    return found


def _find(connection: Connection, owner: str, job_key: JobKey) -> list[Job]:
    of_kind = sql.of_kind(job_key.api, job_key.kind)
    # Without this hint, SQLite reads all jobs of the owner if the API and the kind are not given.
    jobs = "jobs INDEXED BY jobs_by_id"
    statement = f"SELECT {COLUMNS} FROM {jobs} WHERE owner = {sql.DATA_KEY} AND id = :job_id{of_kind}"
    return [job_of(row) for row in connection.execute(statement, {"owner": owner, **job_key._asdict()}).fetchall()]
