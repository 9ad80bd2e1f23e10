"""What other processes do to jobs and worlds, told by a PostgreSQL database as it happens (LISTEN and NOTIFY).

Theory of operation: whoever changes something says in the same transaction whose, and which ordinals; the database
tells all who listen once it is committed. A connection of its own listens. That it hears is made sure of by a beat,
which this process sends itself by another connection: so a connection that died without a word shows, and so does a
pooler that lends out connections for one transaction at a time, behind which nothing is heard.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

from translation_server.storage.postgres.database import PATIENCE, Connection, Database
from translation_server.storage.protocol import StoreChange

logger = logging.getLogger(__name__)

CHANNEL = "translation_server"

BEAT = 10.0
"""Seconds from one beat to the next."""

BEAT_ONCE = "SELECT pg_notify($1, $2)"

AGAIN = 2.0
"""Seconds after which somebody who hears nothing tries to listen again."""

MOST = 10_000
"""News that may wait to be heard; where there are more, all has to be asked."""


async def tell(connection: Connection, sender: str, news: Iterable[StoreChange]) -> None:
    """Tells everybody who listens, once the connection's transaction is committed."""
    texts = [f"{sender} {new.ordinals.start} {new.ordinals.stop} {new.owner}" for new in news]
    await connection.execute("SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text", CHANNEL, texts)


class Listener:
    """Hears what others tell.

    Args:
        database: which tells.
        sender: what this process calls itself when it tells.
    """

    def __init__(self, database: Database, sender: str) -> None:
        self._database = database
        self._sender = sender
        self._news: list[StoreChange] = []
        self._hears = False
        self._missed = True
        self._stirred = asyncio.Event()
        self._beat = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def wait_for_changes(self, seconds: float) -> Sequence[StoreChange] | None:
        """See Store."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        self._stirred.clear()
        news, self._news = self._news, []
        missed, self._missed = self._missed, not self._hears
        return None if missed else news

    async def close(self) -> None:
        """Listens no longer."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        complained = False
        while True:
            try:
                await self._listen_while_it_hears()
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing is heard until it listens again
                if self._hears or not complained:
                    logger.warning("%s; what other servers do is asked for meanwhile", self._database.told(error))
                complained, self._hears, self._missed = True, False, True
            await asyncio.sleep(AGAIN)

    async def _listen_while_it_hears(self) -> None:
        connection, ended = await self._database.connect(), asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, self._hear)
            while not ended.is_set():
                self._beat.clear()
                await self._database.run(lambda other: other.execute(BEAT_ONCE, CHANNEL, self._sender))
                async with asyncio.timeout(PATIENCE):
                    await self._beat.wait()
                if not self._hears:
                    self._hears = True
                    self._stirred.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await ended.wait()
        finally:
            connection.terminate()
        raise ConnectionResetError

    def _hear(self, _connection: Connection, _process: int, _channel: str, text: str) -> None:
        sender, *of = text.split(" ", 3)
        if sender == self._sender:
            self._beat.set()
        elif of:
            start, stop, owner = of
            self._news.append(StoreChange(owner, range(int(start), int(stop))))
            if len(self._news) > MOST:
                self._news.clear()
                self._missed = True
            self._stirred.set()
