"""The jobs in one SQLite file, which several processes may share.

Theory of operation: write-ahead logging lets readers go on while one writer commits, and ``synchronous=FULL`` makes
a commit wait for the disk, so a job is safe from power loss before its 202 leaves. A process has two lanes to the
file, one that writes and one that reads, each a thread with a connection of its own. A write takes the file's one
write lock at its beginning (``BEGIN IMMEDIATE``): between processes, ordinals and idempotency keys need nothing more.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from translation_server.core.job import Fate, Job, State, Submission
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Stored, StoreError

APPLICATION_ID = 0x7C0B_1A75
"""Marks a file as ours, in the place that SQLite's file format has for that."""

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process's write before giving up."""

MIGRATIONS = (
    (
        """
        CREATE TABLE owners (
            name TEXT PRIMARY KEY,
            jobs INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE jobs (
            owner           TEXT NOT NULL,
            ordinal         INTEGER NOT NULL,
            id              TEXT NOT NULL,
            created_at      REAL NOT NULL,
            delay           REAL NOT NULL,
            outcome         TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
            cancelled_at    REAL,
            source_language TEXT,
            target_language TEXT,
            video_length    REAL,
            idempotency_key TEXT,
            fingerprint     BLOB,
            PRIMARY KEY (owner, ordinal),
            UNIQUE (owner, id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
    ),
    (
        "CREATE INDEX jobs_by_beginning ON jobs (owner, created_at)",
        "CREATE INDEX jobs_by_end ON jobs (owner, created_at + delay)",
        "CREATE INDEX jobs_by_cancel ON jobs (owner, cancelled_at) WHERE cancelled_at IS NOT NULL",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN message TEXT",
        "ALTER TABLE jobs ADD COLUMN held_at REAL",
        "ALTER TABLE jobs ADD COLUMN held_for REAL NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN changed_at REAL NOT NULL DEFAULT 0",
        "UPDATE jobs SET changed_at = max(created_at, coalesce(cancelled_at, 0))",
        "DROP INDEX jobs_by_beginning",
        "DROP INDEX jobs_by_end",
        "DROP INDEX jobs_by_cancel",
        "CREATE INDEX jobs_by_change ON jobs (owner, changed_at)",
        "CREATE INDEX jobs_by_end ON jobs (owner, created_at + delay + held_for)",
        "CREATE INDEX jobs_held ON jobs (owner) WHERE held_at IS NOT NULL",
        "ALTER TABLE owners ADD COLUMN world TEXT",
        "ALTER TABLE owners ADD COLUMN requests INTEGER NOT NULL DEFAULT 0",
        """
        CREATE TABLE tallies (
            owner   TEXT NOT NULL,
            subject TEXT NOT NULL,
            count   INTEGER NOT NULL,
            PRIMARY KEY (owner, subject)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE requests (
            owner  TEXT NOT NULL,
            number INTEGER NOT NULL,
            entry  TEXT NOT NULL,
            PRIMARY KEY (owner, number)
        ) STRICT, WITHOUT ROWID
        """,
    ),
)
"""The statements that lead from each version of the schema to the next; the version is the count of those done."""

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

REMEDIES = {
    "SQLITE_FULL": "the disk is full: make room",
    "SQLITE_IOERR": "the disk failed to read or write it: check the disk and its room",
    "SQLITE_READONLY": "it cannot be written: give this user the right to write the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened: give this user the right to write the file and its folder",
    "SQLITE_BUSY": "another process keeps it locked: end that process, or wait for it",
    "SQLITE_NOTADB": "it is no SQLite database: name another file in DATABASE_URL",
    "SQLITE_CORRUPT": "it is corrupt: restore it from a backup, or name another file in DATABASE_URL",
}
"""What to do about each kind of error that SQLite names, by the beginning of the name."""

P = ParamSpec("P")
T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object]


class SqliteStore:
    """A Store in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens the file, making it and its folder where there are none, and brings its schema up to date.

        Raises:
            StoreError: the file cannot be written, is corrupt, belongs to another program or to a newer version.
        """
        with _told_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _Lane(path, _migrate)
        self._reader = _Lane(path, _read_only)

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        return await self._writer.run(_add, owner, accept, idempotency)

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


class _Lane:
    """One thread and its connection: a SQLite connection serves one piece of work at a time.

    Work that had to wait too long is not begun: whoever asked for it has most likely given up.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        try:
            with _told_of(path):
                self._connection = self._thread.submit(_connect, path, prepare).result()
                self._file = _identity(path)
        except StoreError:
            self._thread.shutdown()
            raise

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        queued_at = time.monotonic()

        def guarded() -> T:
            if time.monotonic() > queued_at + LOCK_TIMEOUT:
                raise StoreError("too much was waiting to be done before: try again")
            if _identity(self._path) != self._file:
                raise StoreError("it was taken away or replaced: put it back and restart the server")
            return work(self._connection, *args, **kwargs)

        with _told_of(self._path):
            return await asyncio.wrap_future(self._thread.submit(guarded))

    def close(self) -> None:
        self._thread.submit(self._connection.close)
        self._thread.shutdown()


@contextlib.contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Turns what the database and the file system report into a StoreError that says what to do."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"the database {path}: {error}") from None
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((text for prefix, text in REMEDIES.items() if name.startswith(prefix)), str(error))
        raise StoreError(f"the database {path}: {remedy}") from error
    except OSError as error:
        raise StoreError(f"the database {path}: {error.strerror}: {error.filename}") from error


def _identity(path: Path) -> tuple[int, int]:
    """Tells a file from another of the same name."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _connect(path: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def _migrate(connection: sqlite3.Connection) -> None:
    """Makes the file ours; the version is always written, which shows at start whether the file can be."""
    _version(connection)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    with _transaction(connection):
        for statement in chain.from_iterable(MIGRATIONS[_version(connection) :]):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches to write-ahead logging; SQLite's own lock timeout does not cover processes that switch at once."""
    give_up_at = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    """The version of the schema in the file, 0 for a new one.

    Raises:
        StoreError: the file is not ours to read or to change.
    """
    [(application, version, tables)] = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version",
    ).fetchall()
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise StoreError("it belongs to another program: name another file in DATABASE_URL")
    if version > len(MIGRATIONS):
        raise StoreError("a newer version of this server has written it: use that one, or name another file")
    return int(version)


@contextlib.contextmanager
def _lossy(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that does not wait for the disk: a power cut may undo it, the end of the process does not."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        with _transaction(connection):
            yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _add(
    connection: sqlite3.Connection,
    owner: str,
    accept: Callable[[int], Job],
    idempotency: Idempotency | None,
) -> Stored:
    with _transaction(connection):
        if idempotency is not None:
            where = "owner = ? AND idempotency_key = ?"
            if earlier := _select(connection, where, (owner, idempotency.key)):
                where += " AND fingerprint = ?"
                if not _select(connection, where, (owner, idempotency.key, idempotency.fingerprint)):
                    raise KeyReused(idempotency.key)
                return Stored(earlier[0], replayed=True)
        [(ordinal,)] = connection.execute(
            "INSERT INTO owners (name, jobs) VALUES (?, 1)"
            " ON CONFLICT (name) DO UPDATE SET jobs = jobs + 1 RETURNING jobs",
            (owner,),
        ).fetchall()
        job = accept(ordinal)
        if _find(connection, owner, job.id):
            raise IdTaken(job.id)
        connection.execute(
            f"INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint) VALUES ({', '.join('?' * 16)})",
            (*_row(job), idempotency and idempotency.key, idempotency and idempotency.fingerprint),
        )
    return Stored(job, replayed=False)


def _amend(connection: sqlite3.Connection, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
    with _transaction(connection):
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
    with _transaction(connection):
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
    with _lossy(connection):
        count, *fired = _tallies(connection, owner, (subject, *rules))
        for counted in (subject, *draw(count + 1, fired)):
            connection.execute(
                "INSERT INTO tallies VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (owner, counted)
            )


def _record(connection: sqlite3.Connection, entries: Sequence[tuple[str, str]], limit: int) -> None:
    of_owners = defaultdict(list)
    for owner, entry in entries:
        of_owners[owner].append(entry)
    with _lossy(connection):
        for owner, new in of_owners.items():
            [(last,)] = connection.execute(
                "INSERT INTO owners (name, jobs, requests) VALUES (:owner, 0, :new)"
                " ON CONFLICT (name) DO UPDATE SET requests = requests + :new RETURNING requests",
                {"owner": owner, "new": len(new)},
            ).fetchall()
            numbered = ((owner, number, entry) for number, entry in enumerate(new, last - len(new) + 1))
            connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", numbered)
            connection.execute("DELETE FROM requests WHERE owner = ? AND number <= ?", (owner, last - limit))


def _clear(connection: sqlite3.Connection, owner: str) -> None:
    with _transaction(connection):
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
