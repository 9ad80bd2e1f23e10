"""One PostgreSQL database: how it is reached, brought up to date, and worked on.

Theory of operation: a process has a few connections, which are made when they are needed. Work that meets a lost
connection, or a database that is not there, is begun anew on another one until patience runs out; so a restart of the
database is a pause. Only a commit is never repeated: whether it was done can no longer be told from here. What a
transaction needs of the session is set in the transaction, so that a pooler in between may lend out its connections
for one transaction at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

import asyncpg

from translation_server.storage.postgres.migrations import MIGRATIONS
from translation_server.storage.protocol import StoreError

logger = logging.getLogger(__name__)

CONNECTIONS = 8
"""Connections that a process has at most, besides the one on which it listens."""

PATIENCE = 2.5
"""Seconds after which work is given up that the database has not done."""

START_PATIENCE = 10.0
"""Seconds for which a server that starts waits for its database to be there."""

PAUSE = 0.1
"""Seconds from one attempt to the next."""

RELEASE = 1.0
"""Seconds that a connection may take to get over work that was given up."""

IDLE = 5.0
"""Seconds after which the database ends a transaction whose server has fallen silent: it holds locks."""

OPTIONS: Mapping[str, Any] = {"timeout": PATIENCE, "server_settings": {"application_name": "translation-server"}}
"""How connections are made."""

LOCK = 0x7C0B_1A75
"""The number of the advisory lock that is held while the schema is changed."""

MARK = "translation_server"
"""The table that marks a schema as ours, and holds its version."""

TABLES = """
    SELECT coalesce(bool_or(relname = $1), FALSE), count(*) FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
"""
"""Whether there is the mark, and how many tables there are but for those of PostgreSQL's extensions."""

SETTINGS = f"""
    SET LOCAL lock_timeout = '{PATIENCE}s';
    SET LOCAL idle_in_transaction_session_timeout = '{IDLE}s';
    SET LOCAL synchronous_commit =
"""
BEGIN = {durable: f"BEGIN; {SETTINGS} {'on' if durable else 'off'}" for durable in (True, False)}
"""How a transaction begins: one that waits for the disk, and one that a power cut may undo."""

T = TypeVar("T")
Connection = Any
"""An asyncpg.Connection: the package does not tell its types."""

REMEDIES: Mapping[type[Exception], str] = {
    asyncpg.InvalidAuthorizationSpecificationError: "it refuses the user or the password of DATABASE_URL: mend them",
    asyncpg.InvalidCatalogNameError: "there is no such database: create it, or name another in DATABASE_URL",
    asyncpg.InvalidSchemaNameError: "there is no such schema in it: create it, or name another in DATABASE_URL",
    asyncpg.InsufficientPrivilegeError: "the user of DATABASE_URL has no right to this: grant all on the schema",
    asyncpg.ReadOnlySQLTransactionError: "it takes no writes: name the primary server in DATABASE_URL",
    asyncpg.UndefinedTableError: "its tables were taken away: restart the server, which makes them",
    asyncpg.TooManyConnectionsError: "it takes no more connections: raise its max_connections, or run fewer servers",
    asyncpg.DiskFullError: "its disk is full: make room",
    asyncpg.LockNotAvailableError: "somebody keeps locked what is needed: try again",
    asyncpg.OperatorInterventionError: "it is starting or stopping: try again",
    ValueError: "DATABASE_URL cannot be read: it is postgresql://user:password@host:port/name,"
    " with %40 for an @ in the password, %2F for a /, and so on",
    TimeoutError: "it does not answer in time: try again",
    OSError: "it cannot be reached: start it, or mend DATABASE_URL",
}
"""What to do about each kind of error."""

LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that breaks at the wrong moment
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""What another attempt may not meet again."""


class Unsure(StoreError):  # noqa: N818 - says what has happened
    """The connection was lost over a commit, which may have been done or not."""


class Database:
    """One database, and this process's connections to it.

    Args:
        url: as PostgreSQL's own programs take it.
        name: what messages call it.

    Raises:
        StoreError: it cannot be reached, or belongs to another program or to a newer version.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._pool: Any = None
        with ThreadPoolExecutor(1) as thread:  # a loop may be running where this is called from
            thread.submit(asyncio.run, self._prepare()).result()

    async def connect(self) -> Connection:
        """A connection of the caller's own."""
        return await asyncpg.connect(self._url, **OPTIONS)

    async def run(self, work: Callable[[Connection], Awaitable[T]], patience: float | None = None) -> T:
        """Does a piece of work that may be done again; so it is, where a connection is lost, while patience lasts.

        Raises:
            StoreError: it could not be done.
        """
        return await self._persist(work, patience, lambda: True)

    async def transaction(
        self, work: Callable[[Connection], Awaitable[T]], *, durable: bool = True, patience: float | None = None
    ) -> T:
        """Does a piece of work, all of it or nothing.

        Args:
            work: what to do with the connection; begun anew where one is lost.
            durable: whether to wait for the disk; if not, a power cut may undo it.
            patience: seconds after which it is given up, if not the usual.

        Raises:
            StoreError: nothing has changed.
            Unsure: it may have been done or not.
        """
        committing = False

        async def transacted(connection: Connection) -> T:
            nonlocal committing
            await connection.execute(BEGIN[durable])
            try:
                done = await work(connection)
            except Exception:
                with suppress(*LOST):
                    await connection.execute("ROLLBACK")
                raise
            except BaseException:
                connection.terminate()
                raise
            committing = True
            await connection.execute("COMMIT")
            return done

        return await self._persist(transacted, patience, lambda: not committing)

    async def close(self) -> None:
        """Ends the connections."""
        if self._pool is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE):
                    await self._pool.close()

    def told(self, error: Exception) -> StoreError:
        """An error as a line for a person."""
        remedies = (remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))
        return StoreError(f"the database {self._name}: {next(remedies, str(error).partition(chr(10))[0])}")

    async def _persist(
        self, work: Callable[[Connection], Awaitable[T]], patience: float | None, repeatable: Callable[[], bool]
    ) -> T:
        give_up_at = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            try:
                async with asyncio.timeout(give_up_at - time.monotonic()):
                    return await self._attempt(work)
            except LOST as error:
                if not repeatable():
                    raise Unsure(f"the database {self._name}: the connection was lost over a commit") from error
                if time.monotonic() + PAUSE > give_up_at:
                    raise self.told(error) from error
            except asyncpg.PostgresError as error:
                raise self.told(error) from error
            await asyncio.sleep(PAUSE)

    async def _attempt(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._pool is None:  # it belongs to the loop that needs it first, and is made at once: it connects later
            self._pool = await asyncpg.create_pool(
                self._url, min_size=0, max_size=CONNECTIONS, reset=_as_it_is, **OPTIONS
            )
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        finally:
            with suppress(*LOST):
                await self._pool.release(connection, timeout=RELEASE)

    async def _prepare(self) -> None:
        give_up_at, patient = time.monotonic() + START_PATIENCE, False
        while True:
            try:
                connection = await self.connect()
                try:
                    async with connection.transaction():
                        await self._migrate(connection)
                finally:
                    connection.terminate()
            except (ValueError, asyncpg.PostgresError, *LOST) as error:
                again = isinstance(error, LOST) and not isinstance(error, ValueError)
                if not again or time.monotonic() + PAUSE > give_up_at:
                    raise self.told(error) from error
                if not patient:
                    logger.warning("%s; waiting for it", self.told(error))
                    patient = True
            else:
                return
            await asyncio.sleep(PAUSE)

    async def _migrate(self, connection: Connection) -> None:
        """Makes the schema ours; the version is always written, which shows at start whether anything can be.

        Raises:
            StoreError: it is not ours to change.
        """
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        marked, tables = await connection.fetchrow(TABLES, MARK)
        if tables and not marked:
            refusal = "it belongs to another program: name another, or a schema in it with ?search_path=name"
            raise StoreError(f"the database {self._name}: {refusal}")
        if not marked:
            await connection.execute(f"CREATE TABLE {MARK} (version INTEGER NOT NULL)")
            await connection.execute(f"INSERT INTO {MARK} VALUES (0)")
        version = await connection.fetchval(f"SELECT version FROM {MARK}")
        if version > len(MIGRATIONS):
            refusal = "a newer version of this server has written it: use that one, or name another"
            raise StoreError(f"the database {self._name}: {refusal}")
        for statement in chain.from_iterable(MIGRATIONS[version:]):
            await connection.execute(statement)
        await connection.execute(f"UPDATE {MARK} SET version = $1", len(MIGRATIONS))


async def _as_it_is(_: Connection) -> None:
    """What a connection that comes back needs: nothing, since no session is ever set."""
