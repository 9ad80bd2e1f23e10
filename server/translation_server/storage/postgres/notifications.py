"""Changes by other processes, which PostgreSQL announces as they are committed (LISTEN and NOTIFY).

Theory of operation: each transaction that changes something also notifies of the owner and the ordinals; the database
delivers that to all listeners once it is committed. Each process listens on a connection of its own. To prove that
notifications arrive, the process sends itself a heartbeat over another connection. So it detects a connection that died
silently, and a connection pooler in transaction mode, which delivers no notifications.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

from translation_server.storage.postgres.database import Connection, Database
from translation_server.storage.protocol import StoreChange

logger = logging.getLogger(__name__)

CHANNEL = "translation_server"
HEARTBEAT = 10.0  # the time between two heartbeats, in seconds
RETRY_PAUSE = 2.0  # how long to wait before listening again after a failure, in seconds
MAX_WAITING = 10_000  # how many changes may wait to be read. If there are more, the reader has to read everything again


async def notify(connection: Connection, sender: str, changes: Iterable[StoreChange]) -> None:
    """Announces changes to all listeners, once the connection's transaction is committed."""
    texts = [f"{sender} {change.ordinals.start} {change.ordinals.stop} {change.owner}" for change in changes]
    await connection.execute("SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text", CHANNEL, texts)


class Listener:
    """Receives the changes that other processes announce; ``sender`` is the name of this process in its own ones.

    After a failure, it waits ``retry_pause`` seconds before it listens again.
    """

    def __init__(self, database: Database, sender: str, retry_pause: float) -> None:
        self._database = database
        self._sender = sender
        self._retry_pause = retry_pause
        self._changes: list[StoreChange] = []
        self._connected = False
        self._missed = True
        self._wakeup = asyncio.Event()
        self._heartbeat = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def wait_for_changes(self, seconds: float) -> Sequence[StoreChange] | None:
        """See ChangeSource."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        self._wakeup.clear()
        changes, self._changes = self._changes, []
        missed, self._missed = self._missed, not self._connected
        return None if missed else changes

    async def close(self) -> None:
        """Stops listening."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        logged = False
        while True:
            try:
                await self._listen_until_lost()
            except Exception as error:  # noqa: BLE001 - whatever it is, notifications are missed until it listens again
                if self._connected or not logged:
                    logger.warning("%s; polling for changes of other servers", self._database.store_error(error))
                logged, self._connected, self._missed = True, False, True
            await asyncio.sleep(self._retry_pause)

    async def _listen_until_lost(self) -> None:
        connection, closed = await self._database.connect(), asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(CHANNEL, self._receive)
            while not closed.is_set():
                self._heartbeat.clear()
                await self._database.run(lambda other: other.execute("SELECT pg_notify($1, $2)", CHANNEL, self._sender))
                async with asyncio.timeout(self._database.timeout):
                    await self._heartbeat.wait()
                if not self._connected:
                    self._connected = True
                    self._wakeup.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):
                        await closed.wait()
        finally:
            connection.terminate()
        raise ConnectionResetError

    def _receive(self, _connection: Connection, _process: int, _channel: str, text: str) -> None:
        sender, *change = text.split(" ", 3)
        if sender == self._sender:
            self._heartbeat.set()
        elif change:
            start, stop, owner = change
            self._changes.append(StoreChange(owner, range(int(start), int(stop))))
            if len(self._changes) > MAX_WAITING:
                self._changes.clear()
                self._missed = True
            self._wakeup.set()
