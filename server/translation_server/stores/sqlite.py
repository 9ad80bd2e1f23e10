"""The jobs in one SQLite file, which several processes may share.

A job is safe from power loss before its 202 leaves; between processes, ordinals and idempotency keys need nothing more
than the file's write lock. Jobs that come while others are being written wait, and are then written together: a commit
waits for the disk, and one serves them all. What may be lost is committed without waiting for the disk.
"""

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from translation_server.core.job import Fate, Job, State, Submission
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Stored, StoreError
from translation_server.stores.sqlite_file import Lane, lossy, migrate, read_only, told_of, transaction

COLUMNS = """
    id, owner, ordinal, created_at, delay, outcome, message, source_language, target_language, video_length,
    cancelled_at, held_at, held_for, changed_at
"""

NOT_CANCELLED = "(cancelled_at IS NULL OR cancelled_at > :now)"
ENDED = "held_at IS NULL AND created_at + delay + held_for <= :now"
IN_STATE = {
    None: "TRUE",
    State.PENDING: f"{NOT_CANCELLED} AND NOT ({ENDED})",
    State.COMPLETED: f"{NOT_CANCELLED} AND {ENDED} AND outcome = 'completed'",
    State.ERROR: f"{NOT_CANCELLED} AND {ENDED} AND outcome = 'error'",
    State.CANCELLED: "cancelled_at <= :now",
}
"""Law 1 in SQL: the same function of (job, now) as ``Look.state``, for the filter of a page."""

NO_ORDINAL = 2**63 - 1
"""More than any ordinal: the largest number that SQLite holds."""

Parameters = Sequence[object] | Mapping[str, object]


class Arrival(NamedTuple):
    """What `Store.add` is given."""

    owner: str
    accept: Callable[[int], Job]
    idempotency: Idempotency | None


class SqliteStore:
    """A Store in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens the file, making it and its folder where there are none, and brings its schema up to date.

        Raises:
            StoreError: the file cannot be written, is corrupt, belongs to another program or to a newer version.
        """
        with told_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Lane(path, migrate)
        self._reader = Lane(path, read_only)
        self._arrived: list[tuple[Arrival, asyncio.Future[Stored]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        written: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._arrived.append((Arrival(owner, accept, idempotency), written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_arrivals())
        return await written

    async def _write_arrivals(self) -> None:
        while self._arrived:
            (arrivals, written), self._arrived = zip(*self._arrived, strict=True), []
            try:
                outcomes: Sequence[Stored | Exception] = await self._writer.run(_add_all, arrivals)
            except StoreError as error:
                outcomes = [error] * len(arrivals)
            for future, outcome in zip(written, outcomes, strict=True):
                if future.done():  # whoever asked for it has given up
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        self._writing = None

    async def find(self, owner: str, job_id: str) -> Job | None:
        """See Store."""
        return await self._reader.run(_find, owner, job_id)

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """See Store."""
        marks = ", ".join("?" * len(job_ids))
        where = f"owner = ? AND id IN ({marks})"
        return await self._reader.run(_select, where, (owner, *job_ids))

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        where = f"""
            owner = :owner AND ordinal < :before AND {IN_STATE[state]}
            ORDER BY ordinal DESC LIMIT :limit
        """
        parameters = {"owner": owner, "before": NO_ORDINAL if before is None else before, "now": now, "limit": limit}
        return await self._reader.run(_select, where, parameters)

    async def amend(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""
        return await self._writer.run(_amend, owner, job_id, change)

    async def ending(self, owner: str, after: float) -> list[Job]:
        """See Store."""
        ending = "owner = :owner AND created_at + delay + held_for > :after"
        held = f"SELECT {COLUMNS} FROM jobs WHERE owner = :owner AND held_at IS NOT NULL"
        return await self._reader.run(_select, f"{ending} UNION {held}", {"owner": owner, "after": after})

    async def changed(self, owner: str, since: float) -> list[Job]:
        """See Store."""
        return await self._reader.run(_select, "owner = ? AND changed_at >= ?", (owner, since))

    async def world(self, owner: str) -> str | None:
        """See Store."""
        return await self._reader.run(_world, owner)

    async def change_world(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> str:
        """See Store."""
        return await self._writer.run(_change_world, owner, change, recount)

    async def tally(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""
        await self._writer.run(_tally, owner, subject, rules, draw)

    async def untally(self, owner: str, subject: str) -> None:
        """See Store."""
        await self._writer.run(_untally, owner, subject)

    async def tallies(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return await self._reader.run(_tallies, owner, subjects)

    async def record(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        await self._writer.run(_record, entries, limit)

    async def journal(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        statement = "SELECT number, entry FROM requests WHERE owner = ? AND number > ? ORDER BY number LIMIT ?"
        parameters = owner, after, -1 if limit is None else limit
        return await self._reader.run(lambda connection: connection.execute(statement, parameters).fetchall())

    async def clear(self, owner: str) -> None:
        """See Store."""
        await self._writer.run(_clear, owner)

    async def check(self) -> None:
        """See Store."""
        await self._reader.run(_select, "TRUE LIMIT 1", ())

    async def close(self) -> None:
        """See Store."""
        self._reader.close()
        self._writer.close()


def _add_all(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Stored | Exception]:
    """Adds what can be added; an error of one is no other's, and changes nothing."""

    def added(arrival: Arrival) -> Stored | Exception:
        try:
            return _add(connection, *arrival)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            return error

    with transaction(connection):
        return [added(arrival) for arrival in arrivals]


def _add(
    connection: sqlite3.Connection, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None
) -> Stored:
    if idempotency is not None:
        statement = "SELECT id, fingerprint FROM jobs WHERE owner = ? AND idempotency_key = ?"
        for job_id, fingerprint in connection.execute(statement, (owner, idempotency.key)).fetchall():
            earlier = _find(connection, owner, job_id)
            if earlier is None or fingerprint != idempotency.fingerprint:
                raise KeyReused(idempotency.key)
            return Stored(earlier, replayed=True)
    found = connection.execute("SELECT jobs FROM owners WHERE name = ?", (owner,)).fetchall()
    job = accept(found[0][0] + 1 if found else 1)
    if connection.execute("SELECT 1 FROM jobs WHERE owner = ? AND id = ?", (owner, job.id)).fetchall():
        raise IdTaken(job.id)
    connection.execute(
        "INSERT INTO owners (name, jobs) VALUES (:owner, :ordinal) ON CONFLICT (name) DO UPDATE SET jobs = :ordinal",
        {"owner": owner, "ordinal": job.ordinal},
    )
    connection.execute(
        f"INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint) VALUES ({', '.join('?' * 16)})",
        (*_row(job), idempotency and idempotency.key, idempotency and idempotency.fingerprint),
    )
    return Stored(job, replayed=False)


def _amend(connection: sqlite3.Connection, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
    with transaction(connection):
        before = _find(connection, owner, job_id)
        job = before and change(before)
        if job and job != before:
            marks = ", ".join("?" * 14)
            connection.execute(
                f"UPDATE jobs SET ({COLUMNS}) = ({marks}) WHERE owner = ? AND ordinal = ?",
                (*_row(job), job.owner, job.ordinal),
            )
        return job


def _world(connection: sqlite3.Connection, owner: str) -> str | None:
    found = connection.execute("SELECT world FROM owners WHERE name = ?", (owner,)).fetchall()
    return found[0][0] if found else None


def _change_world(
    connection: sqlite3.Connection, owner: str, change: Callable[[str | None], str], recount: bool
) -> str:
    with transaction(connection):
        world = change(_world(connection, owner))
        connection.execute(
            "INSERT INTO owners (name, jobs, world) VALUES (:owner, 0, :world)"
            " ON CONFLICT (name) DO UPDATE SET world = :world",
            {"owner": owner, "world": world},
        )
        if recount:
            connection.execute("DELETE FROM tallies WHERE owner = ?", (owner,))
        return world


def _tallies(connection: sqlite3.Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    marks = ", ".join("?" * len(subjects))
    statement = f"SELECT subject, count FROM tallies WHERE owner = ? AND subject IN ({marks})"
    found = dict(connection.execute(statement, (owner, *subjects)).fetchall())
    return [found.get(subject, 0) for subject in subjects]


def _tally(
    connection: sqlite3.Connection,
    owner: str,
    subject: str,
    rules: Sequence[str],
    draw: Callable[[int, Sequence[int]], Iterable[str]],
) -> None:
    with lossy(connection):
        count, *fired = _tallies(connection, owner, (subject, *rules))
        for counted in (subject, *draw(count + 1, fired)):
            connection.execute(
                "INSERT INTO tallies VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (owner, counted)
            )


def _untally(connection: sqlite3.Connection, owner: str, subject: str) -> None:
    with lossy(connection):
        statement = "UPDATE tallies SET count = count - 1 WHERE owner = ? AND subject = ?"
        connection.execute(statement, (owner, subject))


def _record(connection: sqlite3.Connection, entries: Sequence[tuple[str, str]], limit: int) -> None:
    of_owners = defaultdict(list)
    for owner, entry in entries:
        of_owners[owner].append(entry)
    with lossy(connection):
        for owner, new in of_owners.items():
            [(last,)] = connection.execute(
                "INSERT INTO owners (name, jobs, requests) VALUES (:owner, 0, :new)"
                " ON CONFLICT (name) DO UPDATE SET requests = requests + :new RETURNING requests",
                {"owner": owner, "new": len(new)},
            ).fetchall()
            connection.execute(  # one statement for all: while it runs, this process can serve requests
                "INSERT INTO requests SELECT ?, ? + key, value FROM json_each(?)",
                (owner, last - len(new) + 1, json.dumps(new)),
            )
            connection.execute("DELETE FROM requests WHERE owner = ? AND number <= ?", (owner, last - limit))


def _clear(connection: sqlite3.Connection, owner: str) -> None:
    with transaction(connection):
        connection.execute("DELETE FROM owners WHERE name = ?", (owner,))
        for table in ("jobs", "tallies", "requests"):
            connection.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))


def _find(connection: sqlite3.Connection, owner: str, job_id: str) -> Job | None:
    found = _select(connection, "owner = ? AND id = ?", (owner, job_id))
    return found[0] if found else None


def _select(connection: sqlite3.Connection, where: str, parameters: Parameters) -> list[Job]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE {where}", parameters)
    return [
        Job(
            id=job_id,
            owner=owner,
            ordinal=ordinal,
            created_at=created_at,
            fate=Fate(delay, State(outcome), message),
            submission=Submission(source, target, length),
            cancelled_at=cancelled_at,
            held_at=held_at,
            held_for=held_for,
            changed_at=changed_at,
        )
        for (
            job_id,
            owner,
            ordinal,
            created_at,
            delay,
            outcome,
            message,
            source,
            target,
            length,
            cancelled_at,
            held_at,
            held_for,
            changed_at,
        ) in rows
    ]


def _row(job: Job) -> tuple[object, ...]:
    """The job's values for COLUMNS."""
    return (
        job.id,
        job.owner,
        job.ordinal,
        job.created_at,
        job.fate.delay,
        job.fate.outcome,
        job.fate.message,
        job.submission.source_language,
        job.submission.target_language,
        job.submission.video_length,
        job.cancelled_at,
        job.held_at,
        job.held_for,
        job.changed_at,
    )
