"""One SQLite file: how it is opened, brought up to date, and worked on.

Theory of operation: write-ahead logging lets readers go on while one writer commits, and ``synchronous=FULL`` makes
a commit wait for the disk. A worker is a thread with a connection of its own; a process has one that writes and one
that reads. A write takes the file's one write lock at its beginning (``BEGIN IMMEDIATE``).
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from translation_server.private_files import tighten
from translation_server.storage.protocol import StoreError
from translation_server.storage.sqlite.migrations import MIGRATIONS

APPLICATION_ID = 0x7C0B_1A75
"""Marks a file as ours, in the place that SQLite's file format has for that."""

LOCK_TIMEOUT = 5.0
"""Seconds after which work is given up that has to wait, for other work or for another process's write."""

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

TAKEN_AWAY = "it, or its -wal or -shm, was taken away or replaced: put it back and restart the server"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """One thread and its connection: a SQLite connection serves one piece of work at a time.

    Work that had to wait too long is not begun: whoever asked for it has most likely given up. Nor is work on files
    that are no longer there, or are others: what is written to a file that was deleted ends with this process. So that
    is looked at again once something was committed, before anybody is told of it.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._paths = [path, *beside(path)]
        self._patience = -1
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        try:
            with told_of(path):
                self._connection = self._thread.submit(_connect, path, prepare).result()
                self._files = [_identity(one) for one in self._paths]
        except StoreError:
            self._thread.shutdown()
            raise

    async def run(
        self,
        work: Callable[[sqlite3.Connection, *Ts], T],
        *args: *Ts,
        since: float | None = None,
        patience: float | None = None,
    ) -> T:
        """Does a piece of work with the connection, after those before it.

        Args:
            work: what to do.
            args: what to do it with.
            since: since when it has been waited for on the monotonic clock, if not since now.
            patience: seconds after which it is given up, if not the usual.

        Raises:
            StoreError: it could not be done, and nothing has changed.
        """
        give_up_at = (time.monotonic() if since is None else since) + (LOCK_TIMEOUT if patience is None else patience)

        def guarded() -> T:
            left = give_up_at - time.monotonic()
            if left < 0:
                raise StoreError("too much was waiting to be done before: try again")
            if not self._in_place():
                self._save()
                raise StoreError(TAKEN_AWAY)
            if (patience := int(left * 10) * 100) != self._patience:  # milliseconds, in steps: it seldom has to be set
                self._connection.execute(f"PRAGMA busy_timeout = {patience}")
                self._patience = patience
            changes = self._connection.total_changes
            done = work(self._connection, *args)
            if self._connection.total_changes != changes and not self._in_place() and not self._save():
                raise StoreError(TAKEN_AWAY)
            return done

        with told_of(self._path):
            return await asyncio.wrap_future(self._thread.submit(guarded))

    def _in_place(self) -> bool:
        """Whether the files are those that the connection has open."""
        return [_identity(one) for one in self._paths] == self._files

    def _save(self) -> bool:
        """Saves what a log that was deleted holds, if the file itself is in place; the connection has both open yet.

        Where there is another log, a process that came later may have written to the file: then it stays as it is.
        """
        log = self._paths[1]
        with contextlib.suppress(OSError, sqlite3.Error):
            if _identity(log) is None and _identity(self._path) == self._files[0]:
                [(busy, logged, saved)] = self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
                return not busy and logged == saved and _identity(self._path) == self._files[0]
        return False

    def close(self) -> None:
        """Ends the thread and its connection."""
        self._thread.submit(self._connection.close)
        self._thread.shutdown()


@contextlib.contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Turns what the database and the file system report into a StoreError that says what to do."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"the database {path}: {error}") from None
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((text for prefix, text in REMEDIES.items() if name.startswith(prefix)), str(error))
        raise StoreError(f"the database {path}: {remedy}") from error
    except OSError as error:
        raise StoreError(f"the database {path}: {error.strerror}: {error.filename}") from error


def beside(path: Path) -> list[Path]:
    """The files that SQLite keeps beside this one: the log of what was committed, and its index."""
    real = path.resolve()  # where SQLite looks for them
    return [Path(f"{real}-wal"), Path(f"{real}-shm")]


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells a file from another of the same name, and from none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def probe(connection: sqlite3.Connection) -> None:
    """Commits what changes nothing, as far as to the disk; it takes as many pages as a job, and gives them back."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome) VALUES ('', -1, '', 0, 0, 'error')"
        )
        connection.execute("DELETE FROM jobs WHERE owner = '' AND ordinal = -1")
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        connection.execute(f"PRAGMA user_version = {version}")


def read_only(connection: sqlite3.Connection) -> None:
    """Prepares a connection that changes nothing."""
    connection.execute("PRAGMA query_only = ON")
    _version(connection)  # by reading something, it opens what is beside the file


def migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Makes the file ours; the version is always written, which shows at start whether the file can be."""
    _version(connection)
    for file in (path, *beside(path)):  # those beside it get its mode when they are made
        tighten(file)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection):
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
def lossy(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that does not wait for the disk: a power cut may undo it, the end of the process does not."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        with transaction(connection):
            yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
