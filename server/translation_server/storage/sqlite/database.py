"""One SQLite file: how it is opened, migrated and accessed.

Theory of operation: with write-ahead logging, readers continue while one writer commits, and ``synchronous=FULL`` makes
a commit wait for the disk. A worker is a thread with its own connection; a process has one for writes and one for
reads. A write takes the file's only write lock at its beginning (``BEGIN IMMEDIATE``).
"""

import asyncio
import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from translation_server.private_files import make_private
from translation_server.storage.protocol import KEY_BYTES, StoreError
from translation_server.storage.sqlite.migrations import MIGRATIONS
from translation_server.storage.statements import ADD_FILE_KEY, FILE_KEY

APPLICATION_ID = 0x7C0B_1A75  # marks a file as this server's, in the header field that SQLite has for this

LOCK_TIMEOUT = 5.0
"""How long work waits for other work and for the write locks of other processes, in seconds, before it fails."""

REMEDIES = {
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_IOERR": "the disk failed to read or write it: check the disk and its free space",
    "SQLITE_READONLY": "it cannot be written: give this user write access to the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened: give this user write access to the file and its folder",
    "SQLITE_BUSY": "another process keeps it locked: end that process, or wait for it",
    "SQLITE_NOTADB": "it is not a SQLite database: name another file in DATABASE_URL",
    "SQLITE_CORRUPT": "it is corrupt: restore it from a backup, or name another file in DATABASE_URL",
}
"""The remedy for an error, by the beginning of SQLite's name for it."""

REPLACED = "the file, its -wal or its -shm was deleted, replaced or cut: put it back and restart the server"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """A thread with its own connection, which does one piece of work at a time.

    Work that has waited too long is not started, because its caller has most likely given up. Work is also refused
    while the files are missing, replaced or cut: what is written to a deleted file is lost when this process ends. So
    they are checked again after each commit, before the caller learns of it.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None], lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self._paths = [path, *companions(path)]
        self._busy_timeout = -1
        self._log_size = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        try:
            with store_errors(path):
                self._connection = self._thread.submit(_connect, path, prepare, lock_timeout).result()
                self._files = [_identity(_status(file)) for file in self._paths]
        except StoreError:
            self._thread.shutdown()
            raise

    async def run(
        self,
        work: Callable[[sqlite3.Connection, *Ts], T],
        *args: *Ts,
        since: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - SQLite itself has to observe it
    ) -> T:
        """Calls ``work`` with the connection and the arguments, in the thread, after the work that was queued before.

        Args:
            work: what to do.
            args: its arguments.
            since: when the caller began to wait, on the monotonic clock; by default now.
            timeout: how long the work may wait before it fails, in seconds; by default the lock timeout.

        Raises:
            StoreError: the work was not done, and nothing has changed.
        """
        deadline = (time.monotonic() if since is None else since) + (self._lock_timeout if timeout is None else timeout)

        def run() -> T:
            left = deadline - time.monotonic()
            if left < 0:
                raise StoreError("too much other work was waiting: try again")
            if not self._in_place():
                self._save_log()
                raise StoreError(REPLACED)
            busy_timeout = int(left * 10) * 100  # milliseconds, in steps, so it seldom has to be set
            if busy_timeout != self._busy_timeout:
                self._connection.execute(f"PRAGMA busy_timeout = {busy_timeout}")
                self._busy_timeout = busy_timeout
            changes = self._connection.total_changes
            result = work(self._connection, *args)
            if self._connection.total_changes != changes and not self._in_place() and not self._save_log():
                raise StoreError(REPLACED)
            return result

        with store_errors(self._path):
            return await asyncio.wrap_future(self._thread.submit(run))

    def _in_place(self) -> bool:
        """Whether the paths still lead to the files that the connection has open, and the log is whole."""
        statuses = [_status(file) for file in self._paths]
        log = statuses[1]
        return log is not None and [*map(_identity, statuses)] == self._files and self._log_is_whole(log.st_size)

    def _log_is_whole(self, size: int) -> bool:
        """Whether the write-ahead log has all its frames, each a page and 24 bytes after a header of 32.

        The log seldom becomes smaller: another process may have copied it into the database file, and emptied it.
        """
        if size < self._log_size:
            try:
                [(_, frames, _)] = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                [(page_size,)] = self._connection.execute("PRAGMA page_size").fetchall()
            except sqlite3.DatabaseError:  # frames are missing
                return False
            if frames > 0 and size < 32 + frames * (page_size + 24):
                return False
        self._log_size = size
        return True

    def _save_log(self) -> bool:
        """Copies a deleted write-ahead log into the database file, if that file is in place; returns whether it did.

        The connection still has both open. If there is a new log, another process may have written to the file: then
        it stays as it is.
        """
        log = self._paths[1]
        with contextlib.suppress(OSError, sqlite3.Error):
            if _status(log) is None and _identity(_status(self._path)) == self._files[0]:
                [(busy, logged, saved)] = self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
                return not busy and logged == saved and _identity(_status(self._path)) == self._files[0]
        return False

    def close(self) -> None:
        """Closes the connection and ends the thread."""
        self._thread.submit(self._connection.close)
        self._thread.shutdown()


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turns errors of the database and the file system into a StoreError that says what to do."""
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


def companions(path: Path) -> list[Path]:
    """Returns the paths of the write-ahead log and of its index, which SQLite keeps beside the file."""
    real = path.resolve()  # where SQLite looks for them
    return [Path(f"{real}-wal"), Path(f"{real}-shm")]


def _status(path: Path) -> os.stat_result | None:
    """Returns the status of a file; None without a file."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result | None) -> tuple[int, int] | None:
    """Returns the identity of a file, which differs for another file with the same name; None without a file."""
    return status and (status.st_dev, status.st_ino)


def _connect(path: Path, prepare: Callable[[sqlite3.Connection], None], lock_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def probe(connection: sqlite3.Connection) -> None:
    """Commits to the disk without a lasting change; it needs as many pages as a job, and frees them."""
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
    _version(connection)  # a first read opens the files beside the database


def migrate(path: Path, connection: sqlite3.Connection) -> bytes:
    """Brings the schema up to date, and returns the key that signs the URLs of files.

    Always writes the version, so a file that cannot be written shows at start.
    """
    _version(connection)
    for file in (path, *companions(path)):  # new companions get the mode of the database file
        make_private(file)
    _enable_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection):
        for statement in chain.from_iterable(MIGRATIONS[_version(connection) :]):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute(ADD_FILE_KEY.format("?"), (secrets.token_bytes(KEY_BYTES),))
        [(key,)] = connection.execute(FILE_KEY).fetchall()
    return bytes(key)


def _enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Retries, because SQLite's lock timeout does not cover processes that switch at the same time."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    """Returns the version of the schema in the file, 0 for a new file.

    Raises:
        StoreError: the file belongs to another program or to a newer version.
    """
    [(application, version, tables)] = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchall()
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise StoreError("it belongs to another program: name another file in DATABASE_URL")
    if version > len(MIGRATIONS):
        raise StoreError("a newer version of this server has written it: use that version, or name another file")
    return int(version)


@contextlib.contextmanager
def unsynced(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that does not wait for the disk: a power cut may undo it, a crash of the process does not."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        with transaction(connection):
            yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that holds the write lock from its beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
