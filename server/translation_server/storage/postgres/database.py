"""One PostgreSQL database: how it is connected to, migrated and accessed.

Theory of operation: a process has a small pool of connections, which are opened on demand. Work that meets a lost
connection, or a database that is down, is repeated on another connection until its timeout. So a restart of the
database is only a pause. A commit is never repeated, because its result is unknown. A transaction sets the session
settings that it needs itself, so a connection pooler in transaction mode can be used.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

import asyncpg

from translation_server.storage.postgres.migrations import MIGRATIONS
from translation_server.storage.protocol import KEY_BYTES, StoreError
from translation_server.storage.statements import ADD_FILE_KEY, FILE_KEY

logger = logging.getLogger(__name__)
MAX_CONNECTIONS = 8  # how many connections a process has at most, besides the one on which it listens
TIMEOUT = 2.5  # how long work may take, with all repetitions, in seconds
START_TIMEOUT = 10.0  # how long a server that starts waits for its database, in seconds
RETRY_PAUSE = 0.1  # how long to wait before work is repeated, in seconds
RELEASE_TIMEOUT = 1.0  # how long a connection may take to recover from work that was given up, in seconds

IDLE_TIMEOUT = 5.0
"""How long the database waits for the next statement of a transaction before it rolls it back, in seconds: it holds
locks."""

LOCK = 0x7C0B_1A75  # the advisory lock that a process takes to migrate the schema
VERSION_TABLE = "translation_server"  # the table that holds the version of the schema, and marks it as this server's

TABLES = """
    SELECT coalesce(bool_or(relname = $1), FALSE), count(*) FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
"""
"""Returns whether a table exists, and how many tables there are, without those of PostgreSQL's extensions."""

BEGIN = f"""
    BEGIN;
    SET LOCAL lock_timeout = '{{lock_timeout}}s';
    SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s';
    SET LOCAL synchronous_commit = {{synchronous_commit}}
"""

T = TypeVar("T")
Connection = Any  # an asyncpg.Connection; asyncpg has no types

REMEDIES: Mapping[type[Exception], str] = {
    asyncpg.InvalidAuthorizationSpecificationError: "it refuses the user or the password: correct DATABASE_URL",
    asyncpg.InvalidCatalogNameError: "there is no such database: create it, or name another one in DATABASE_URL",
    asyncpg.InvalidSchemaNameError: "there is no such schema in it: create it, or name another one in DATABASE_URL",
    asyncpg.InsufficientPrivilegeError: "the user in DATABASE_URL lacks a privilege: grant all on the schema",
    asyncpg.ReadOnlySQLTransactionError: "it is read-only: name the primary server in DATABASE_URL",
    asyncpg.UndefinedTableError: "its tables were dropped: restart the server, which creates them",
    asyncpg.TooManyConnectionsError: "it has too many connections: raise its max_connections, or run fewer servers",
    asyncpg.DiskFullError: "its disk is full: free some space",
    asyncpg.LockNotAvailableError: "another session keeps a lock: try again",
    asyncpg.OperatorInterventionError: "it is starting or stopping: try again",
    ValueError: "DATABASE_URL is malformed: use postgresql://user:password@host:port/name,"
    " with %40 for an @ in the password, %2F for a /, and so on",
    TimeoutError: "it does not answer in time: try again",
    OSError: "it cannot be reached: start it, or correct DATABASE_URL",
}
"""The remedy for each kind of error."""

RETRYABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised where a connection breaks during some operations
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""Errors that may not occur again in another attempt."""


class UnknownCommit(StoreError):  # noqa: N818 - says what has happened
    """The connection was lost during a commit, which may have succeeded or failed."""


class Database:
    """One database, and this process's connections to it.

    Args:
        url: its URL, as libpq takes it.
        name: its name in messages.
        timeout: how long work may take, with all repetitions, in seconds.
        start_timeout: how long to wait for the database at first, in seconds.

    Attributes:
        timeout: The argument.
        file_key: The key that signs the URLs of files.

    Raises:
        StoreError: it cannot be reached, or belongs to another program or to a newer version.
    """

    def __init__(self, url: str, name: str, *, timeout: float = TIMEOUT, start_timeout: float = START_TIMEOUT) -> None:
        self.timeout = timeout
        self.file_key = b""
        self._url = url
        self._name = name
        self._start_timeout = start_timeout
        self._options = {"timeout": timeout, "server_settings": {"application_name": "translation-server"}}
        self._begin = {  # by durability: a transaction that waits for the disk, or one that a power cut may undo
            True: BEGIN.format(lock_timeout=timeout, synchronous_commit="on"),
            False: BEGIN.format(lock_timeout=timeout, synchronous_commit="off"),
        }
        self._pool: Any = None
        with ThreadPoolExecutor(1) as thread:  # the caller may have a running event loop
            thread.submit(asyncio.run, self._prepare()).result()

    async def connect(self) -> Connection:
        """Returns a new connection that is not part of the pool."""
        return await asyncpg.connect(self._url, **self._options)

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Calls ``work`` with a connection; repeats it after a lost connection, so it must be repeatable.

        Raises:
            StoreError: it was not done in time.
        """
        return await self._retry(work, self.timeout, lambda: True)

    async def transaction(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        durable: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - attempts share it
    ) -> T:
        """Calls ``work`` within a transaction; repeats it after a connection that was lost before the commit.

        Args:
            work: what to do with the connection.
            durable: whether the commit waits for the disk; if not, a power cut may undo it.
            timeout: how long all attempts may take, in seconds; by default the database's.

        Raises:
            StoreError: nothing has changed.
            UnknownCommit: the commit may have succeeded or failed.
        """
        committing = False

        async def attempt(connection: Connection) -> T:
            nonlocal committing
            await connection.execute(self._begin[durable])
            try:
                result = await work(connection)
            except Exception:
                with suppress(*RETRYABLE):
                    await connection.execute("ROLLBACK")
                raise
            except BaseException:
                connection.terminate()
                raise
            committing = True
            await connection.execute("COMMIT")
            return result

        return await self._retry(attempt, self.timeout if timeout is None else timeout, lambda: not committing)

    async def close(self) -> None:
        """Closes the connections."""
        if self._pool is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_TIMEOUT):
                    await self._pool.close()

    def store_error(self, error: Exception) -> StoreError:
        """Returns a StoreError that says what to do about an error."""
        remedies = (remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))
        return StoreError(f"the database {self._name}: {next(remedies, str(error).partition(chr(10))[0])}")

    async def _retry(
        self, attempt: Callable[[Connection], Awaitable[T]], seconds: float, repeatable: Callable[[], bool]
    ) -> T:
        deadline = time.monotonic() + seconds
        last: Exception | None = None
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self._with_connection(attempt)
            except RETRYABLE as error:
                if not repeatable():
                    raise UnknownCommit(
                        f"the database {self._name}: the connection was lost during a commit"
                    ) from error
                if last is None or not isinstance(error, TimeoutError):  # it may only say that time is up
                    last = error
                if time.monotonic() + RETRY_PAUSE > deadline:
                    raise self.store_error(last) from last
            except asyncpg.PostgresError as error:
                raise self.store_error(error) from error
            await asyncio.sleep(RETRY_PAUSE)

    async def _with_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._pool is None:  # created here because it belongs to the running event loop; it connects on demand
            self._pool = await asyncpg.create_pool(
                self._url, min_size=0, max_size=MAX_CONNECTIONS, reset=_keep_session, **self._options
            )
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        finally:
            with suppress(*RETRYABLE):
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT)

    async def _prepare(self) -> None:
        """Waits for the database and migrates it."""
        deadline, logged = time.monotonic() + self._start_timeout, False
        while True:
            try:
                connection = await self.connect()
                try:
                    async with connection.transaction():
                        await self._migrate(connection)
                finally:
                    connection.terminate()
            except (ValueError, asyncpg.PostgresError, *RETRYABLE) as error:
                retryable = isinstance(error, RETRYABLE) and not isinstance(error, ValueError)
                if not retryable or time.monotonic() + RETRY_PAUSE > deadline:
                    raise self.store_error(error) from error
                if not logged:
                    logger.warning("%s; waiting for it up to %g s", self.store_error(error), self._start_timeout)
                    logged = True
            else:
                return
            await asyncio.sleep(RETRY_PAUSE)

    async def _migrate(self, connection: Connection) -> None:
        """Brings the schema up to date; always writes the version, so a database without write access shows at start.

        Raises:
            StoreError: the schema belongs to another program or to a newer version.
        """
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        exists, tables = await connection.fetchrow(TABLES, VERSION_TABLE)
        if tables and not exists:
            refusal = "it belongs to another program: name another one, or a schema in it with ?search_path=name"
            raise StoreError(f"the database {self._name}: {refusal}")
        if not exists:
            await connection.execute(f"CREATE TABLE {VERSION_TABLE} (version INTEGER NOT NULL)")
            await connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES (0)")
        version = await connection.fetchval(f"SELECT version FROM {VERSION_TABLE}")
        if version > len(MIGRATIONS):
            refusal = "a newer version of this server has written it: use that version, or name another database"
            raise StoreError(f"the database {self._name}: {refusal}")
        for statement in chain.from_iterable(MIGRATIONS[version:]):
            await connection.execute(statement)
        await connection.execute(f"UPDATE {VERSION_TABLE} SET version = $1", len(MIGRATIONS))
        await connection.execute(ADD_FILE_KEY.format("$1"), secrets.token_bytes(KEY_BYTES))
        self.file_key = await connection.fetchval(FILE_KEY)


async def _keep_session(_: Connection) -> None:
    """Replaces asyncpg's reset of released connections, which costs a round trip: no session state is ever set."""
