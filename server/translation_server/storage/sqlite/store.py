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
from functools import partial
from pathlib import Path
from typing import Any

from translation_server.core.change_feed import LAST, FeedPosition, end_of
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job, State
from translation_server.private_files import make_file, make_folder
from translation_server.storage.batching import Arrival, Arrivals, Outcome
from translation_server.storage.pages import page
from translation_server.storage.protocol import (
    CHECK_TIMEOUT,
    Cutoff,
    Idempotency,
    IdTaken,
    KeyReused,
    Stored,
)
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
from translation_server.storage.sqlite.database import Worker, lossy, migrate, probe, read_only, told_of, transaction

MARKS = ", ".join("?" * len(NAMES))


class SqliteStore:
    """A Store in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens the file, making it and its folder where there are none, and brings its schema up to date.

        Raises:
            StoreError: the file cannot be written, is corrupt, belongs to another program or to a newer version.
        """
        with told_of(path):
            make_folder(path.parent)
            make_file(path)
        self._writer = Worker(path, partial(migrate, path))
        self._reader = Worker(path, read_only)
        self._arrivals = Arrivals(lambda arrivals: self._writer.run(_add_all, arrivals, since=arrivals[0].came_at))

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        return await self._arrivals.add(Arrival(owner, accept, idempotency))

    async def find(self, owner: str, job_id: str) -> Job | None:
        """See Store."""
        return await self._reader.run(_find, owner, job_id)

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """See Store."""
        return await self._reader.run(_find_many, owner, job_ids)

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        asked = {"owner": owner, "before": LAST if before is None else before, "now": now, "limit": limit}
        return await page(self._fetch, "ordinal IN ({})", state, asked)

    async def change(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""
        return await self._writer.run(_amend, owner, job_id, change)

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        return sorted(await self._behind(ENDING, owner, position, limit), key=end_of)[:limit]

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        """See Store."""
        return await self._reader.run(_jobs, ACCEPTED, {"owner": owner, "after": ordinal, "limit": limit})

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        found = await self._behind(AMENDED, owner, position, limit)
        return sorted(found, key=lambda job: (job.changed_at, job.ordinal))[:limit]

    async def wait_for_changes(self, seconds: float) -> None:
        """See Store."""
        await asyncio.sleep(seconds)

    async def version(self) -> object:
        """See Store."""
        return await self._writer.run(_data_version)

    async def read_sandbox(self, owner: str) -> str | None:
        """See Store."""
        return await self._reader.run(_sandbox_state, owner)

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        """See Store."""
        return await self._writer.run(_change_sandbox, owner, change, reset_counts)

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""
        await self._writer.run(_tally, owner, subject, rules, draw)

    async def uncount_fault(self, owner: str, subject: str) -> None:
        """See Store."""
        await self._writer.run(_untally, owner, subject)

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return await self._reader.run(_tallies, owner, subjects)

    async def add_requests(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        await self._writer.run(_record, entries, limit)

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        statement = f"""
            SELECT number, record FROM requests WHERE owner = {DATA_KEY} AND number > :after
            ORDER BY number LIMIT :limit
        """
        parameters = {"owner": owner, "after": after, "limit": -1 if limit is None else limit}
        return await self._reader.run(lambda connection: connection.execute(statement, parameters).fetchall())

    async def next_owner(self, name: str) -> str | None:
        """See Store."""
        statement = "SELECT name FROM owners WHERE name > ? ORDER BY name LIMIT 1"
        found = await self._reader.run(lambda connection: connection.execute(statement, (name,)).fetchall())
        return found[0][0] if found else None

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        """See Store."""
        return await self._writer.run(_purge, owner, cutoff, limit)

    async def reset_sandbox(self, owner: str, sandbox: str | None = None) -> None:
        """See Store."""
        await self._writer.run(_clear, owner, sandbox)

    async def purge_queued(self, limit: int) -> bool:
        """See Store."""
        return await self._writer.run(_purge_emptied, limit)

    async def check(self) -> None:
        """See Store."""
        await self._reader.run(_select, "TRUE LIMIT 1", {})
        await self._writer.run(probe, patience=CHECK_TIMEOUT)

    async def close(self) -> None:
        """See Store."""
        self._reader.close()
        self._writer.close()

    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return await self._reader.run(lambda connection: connection.execute(statement, parameters).fetchall())

    async def _behind(self, statement: str, owner: str, after: FeedPosition, limit: int) -> list[Job]:
        parameters = {"owner": owner, "at": after.at, "ordinal": after.ordinal, "limit": limit}
        return await self._reader.run(_jobs, statement, parameters)


def _data_version(connection: sqlite3.Connection) -> object:
    """What becomes another when another connection has committed something, and only then."""
    return connection.execute("PRAGMA data_version").fetchall()


def _add_all(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Adds what can be added; an error of one is no other's, and changes nothing."""

    def added(arrival: Arrival) -> Outcome:
        try:
            return _add(connection, arrival)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            return error

    with transaction(connection):
        return [added(arrival) for arrival in arrivals]


def _add(connection: sqlite3.Connection, arrival: Arrival) -> Stored:
    owner, idempotency = arrival.owner, arrival.idempotency
    statement = "SELECT jobs, coalesce(data_key, name) FROM owners WHERE name = ?"
    [(last, key)] = connection.execute(statement, (owner,)).fetchall() or [(0, owner)]
    if idempotency is not None:
        statement = "SELECT id, fingerprint FROM jobs WHERE owner = ? AND idempotency_key = ?"
        for job_id, fingerprint in connection.execute(statement, (key, idempotency.key)).fetchall():
            earlier = _find(connection, owner, job_id)
            if earlier is None or not idempotency.matches(fingerprint):
                raise KeyReused(idempotency.key)
            return Stored(earlier, replayed=True)
    job = arrival.accept(last + 1)
    if connection.execute("SELECT 1 FROM jobs WHERE owner = ? AND id = ?", (key, job.id)).fetchall():
        raise IdTaken(job.id)
    connection.execute(
        "INSERT INTO owners (name, jobs) VALUES (:owner, :ordinal) ON CONFLICT (name) DO UPDATE SET jobs = :ordinal",
        {"owner": owner, "ordinal": job.ordinal},
    )
    connection.execute(
        f"INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint) VALUES ({MARKS}, ?, ?)",
        (*row_of(job, key), idempotency and idempotency.key, idempotency and idempotency.fingerprint),
    )
    return Stored(job, replayed=False)


def _amend(connection: sqlite3.Connection, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
    with transaction(connection):
        before = _find(connection, owner, job_id)
        job = before and change(before)
        if job and job != before:
            key = _key(connection, owner, DATA_KEY)
            connection.execute(
                f"UPDATE jobs SET ({COLUMNS}) = ({MARKS}) WHERE owner = ? AND ordinal = ?",
                (*row_of(job, key), key, job.ordinal),
            )
        return job


def _sandbox_state(connection: sqlite3.Connection, owner: str) -> str | None:
    found = connection.execute("SELECT sandbox FROM owners WHERE name = ?", (owner,)).fetchall()
    return found[0][0] if found else None


def _change_sandbox(
    connection: sqlite3.Connection, owner: str, change: Callable[[str | None], str], reset_counts: bool
) -> str:
    with transaction(connection):
        sandbox = change(_sandbox_state(connection, owner))
        connection.execute(
            "INSERT INTO owners (name, jobs, sandbox) VALUES (:owner, 0, :sandbox)"
            " ON CONFLICT (name) DO UPDATE SET sandbox = :sandbox",
            {"owner": owner, "sandbox": sandbox},
        )
        if reset_counts:
            for statement in RECOUNT:
                connection.execute(statement, {"owner": owner})
        return sandbox


def _tallies(connection: sqlite3.Connection, owner: str, subjects: Sequence[str]) -> list[int]:
    marks = ", ".join("?" * len(subjects))
    statement = f"SELECT subject, count FROM fault_counts WHERE owner = ? AND subject IN ({marks})"
    found = dict(connection.execute(statement, (_key(connection, owner, COUNT_KEY), *subjects)).fetchall())
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
        key = _key(connection, owner, COUNT_KEY)
        for counted in (subject, *draw(count + 1, fired)):
            connection.execute(
                "INSERT INTO fault_counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (key, counted)
            )


def _untally(connection: sqlite3.Connection, owner: str, subject: str) -> None:
    with lossy(connection):
        statement = f"UPDATE fault_counts SET count = count - 1 WHERE owner = {COUNT_KEY} AND subject = :subject"
        connection.execute(statement, {"owner": owner, "subject": subject})


def _record(connection: sqlite3.Connection, entries: Sequence[tuple[str, str]], limit: int) -> None:
    of_owners = defaultdict(list)
    for owner, entry in entries:
        of_owners[owner].append(entry)
    with lossy(connection):
        for owner, new in of_owners.items():
            [(last, key)] = connection.execute(
                "INSERT INTO owners (name, jobs, requests) VALUES (:owner, 0, :new)"
                " ON CONFLICT (name) DO UPDATE SET requests = requests + :new"
                " RETURNING requests, coalesce(data_key, name)",
                {"owner": owner, "new": len(new)},
            ).fetchall()
            connection.execute(  # one statement for all: while it runs, this process can serve requests
                "INSERT INTO requests SELECT ?, ? + key, value FROM json_each(?)",
                (key, last - len(new) + 1, json.dumps(new)),
            )
            connection.execute(
                "DELETE FROM requests WHERE owner = :owner AND number <= :last"
                " AND number <= (SELECT min(number) FROM requests WHERE owner = :owner) + :most",
                {"owner": key, "last": last - limit, "most": MOST_TRIMMED},
            )


def _purge(connection: sqlite3.Connection, owner: str, cutoff: Cutoff, limit: int) -> int:
    with lossy(connection):
        ended = f"SELECT ordinal FROM jobs WHERE owner = ? AND {END} <= ? AND changed_at <= ? ORDER BY {END} LIMIT ?"
        kept, counted = _key(connection, owner, DATA_KEY), _key(connection, owner, COUNT_KEY)
        gone = [one for (one,) in connection.execute(ended, (kept, cutoff.ended_by, cutoff.changed_by, limit))]
        asked = [(counted, counted_as(action, ordinal)) for ordinal in gone for action in ACTIONS]
        connection.executemany("DELETE FROM jobs WHERE owner = ? AND ordinal = ?", [(kept, one) for one in gone])
        connection.executemany("DELETE FROM fault_counts WHERE owner = ? AND subject = ?", asked)
        connection.execute("DELETE FROM requests WHERE owner = ? AND number <= ?", (kept, cutoff.request))
        return len(gone)


def _clear(connection: sqlite3.Connection, owner: str, sandbox: str | None) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO owners (name, jobs) VALUES (?, 0) ON CONFLICT DO NOTHING", (owner,))
        for statement in CLEAR:
            connection.execute(statement, {"owner": owner, "sandbox": sandbox})


def _purge_emptied(connection: sqlite3.Connection, limit: int) -> bool:
    if not connection.execute(EMPTIED).fetchall():
        return False
    with lossy(connection):
        for relation, owner in connection.execute(EMPTIED).fetchall():  # another process may have been faster
            purged = connection.execute(PURGE_EMPTIED[relation], {"owner": owner, "limit": limit}).rowcount
            if purged < limit:
                connection.execute(EMPTIED_ENTIRELY, {"relation": relation, "owner": owner})
    return True


def _key(connection: sqlite3.Connection, owner: str, key: str) -> str:
    """The owner's key of a kind, DATA_KEY or COUNT_KEY, while a transaction keeps it from changing."""
    found: str = connection.execute(f"SELECT {key}", {"owner": owner}).fetchone()[0]
    return found


def _find(connection: sqlite3.Connection, owner: str, job_id: str) -> Job | None:
    found = _select(connection, f"owner = {DATA_KEY} AND id = :id", {"owner": owner, "id": job_id})
    return found[0] if found else None


def _find_many(connection: sqlite3.Connection, owner: str, job_ids: Iterable[str]) -> list[Job]:
    """One by one: for many ids in one statement, SQLite would read all jobs of the owner."""
    found = (_find(connection, owner, job_id) for job_id in dict.fromkeys(job_ids))
    return [job for job in found if job]


def _select(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> list[Job]:
    return _jobs(connection, f"SELECT {COLUMNS} FROM jobs WHERE {where}", parameters)


def _jobs(connection: sqlite3.Connection, statement: str, parameters: Mapping[str, object]) -> list[Job]:
    return [job_of(row) for row in connection.execute(statement, parameters)]
