"""Receives webhooks: verifies deliveries, and tells repeated ones apart from new ones.

    seen = Deduplicator("events.db")

    def receive(headers, body):  # the headers and the unchanged body of a POST
        event = verify(headers, body, "whsec_c2VjcmV0")  # UnverifiedWebhook: answer with 400
        with seen.once(event.id) as is_new:  # WebhookInProgress: answer with 503
            if is_new:
                print(event.type, event.status)

Answer with 204 at the end, within a few seconds. After any other answer, the server sends the event again.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock

from translation_client.core.errors import UnverifiedWebhook, WebhookInProgress
from translation_client.core.webhooks import WebhookEvent, verified
from translation_client.dialect_files import DialectLike, find_dialect
from translation_client.private_files import open_private

__all__ = ["Deduplicator", "UnverifiedWebhook", "WebhookEvent", "WebhookInProgress", "verify"]

TOLERANCE = 300.0  # how many seconds a delivery may be old; the value that Standard Webhooks suggests
KEEP = 7 * 86_400.0  # how long ids are kept, in seconds: longer than a server retries
LEASE = 60.0  # after how many seconds an event that is still in progress counts as abandoned, for example by a crash

TABLE = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, at REAL NOT NULL, is_done INTEGER NOT NULL)"
COLUMNS = "SELECT name, pk FROM pragma_table_info('events')"
INDEX = "CREATE INDEX IF NOT EXISTS events_by_time ON events (at)"


def verify(  # noqa: PLR0913 - options are keyword arguments
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str] | None,
    *,
    tolerance: float = TOLERANCE,
    dialect: DialectLike = "start",
    prefix: str | None = None,
    url: str | None = None,
) -> WebhookEvent:
    """Verifies a delivery, and returns its event.

    Args:
        headers: The headers of the request, by their names in any case.
        body: The body as it was received.
        secret: The secret that signs; several while one replaces another. In Standard Webhooks, it is `whsec_` and
            base64. None for an API that signs nothing: then only the form of the body is checked.
        tolerance: How many seconds the delivery may be old, or ahead of this machine's clock, if it has a time.
        dialect: The wire format of the job in it: a name, a file, or a `Dialect`.
        prefix: How the names of the three headers begin, if they are others than the dialect's, such as `svix-`.
        url: The URL that it was posted to, if the API signs this, too.

    Raises:
        UnverifiedWebhook: The delivery is not genuine, too old, or cannot be read.
        ValueError: The secret or the dialect is unusable.
    """
    secrets = [] if secret is None else [secret] if isinstance(secret, str) else secret
    return verified(
        headers,
        body,
        secrets,
        dialect=find_dialect(dialect),
        tolerance=tolerance,
        now=time.time(),
        prefix=prefix,
        url=url,
    )


class Deduplicator:
    """Tells new events from repeated ones: servers deliver at least once.

    Threads may share it. With a file, processes may share it too, and a restart forgets nothing.

    Args:
        path: An SQLite database, which is created if it does not exist; by default the ids are kept in memory.
        keep: How long ids are kept, in seconds.
        lease: After how many seconds an event that is still in progress counts as abandoned.
        clock: Returns the seconds since 1970.

    Raises:
        ValueError: The file is unusable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        keep: float = KEEP,
        lease: float = LEASE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keep, self._lease, self._clock, self._lock = keep, lease, clock, Lock()
        try:
            self._database = _open(path)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise ValueError(
                f"path must be an SQLite database that can be written, not {str(path)!r}: {error}"
            ) from None

    @contextmanager
    def once(self, event_id: str) -> Iterator[bool]:
        """Yields whether an event is new. It counts as handled when the block ends without an exception.

        Raises:
            WebhookInProgress: The same event is in another such block now.
            sqlite3.Error: The file cannot be read or written.
        """
        began = self._begin(event_id)
        try:
            yield began is not None
        except BaseException:
            self._execute("DELETE FROM events WHERE id = ? AND at = ? AND is_done = 0", event_id, began)
            raise
        self._execute("UPDATE events SET is_done = 1 WHERE id = ? AND at = ?", event_id, began)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _begin(self, event_id: str) -> float | None:
        """Returns the time at which the handling of a new event begins; None if it was handled before."""
        now = self._clock()
        self._execute("DELETE FROM events WHERE at < ?", now - self._keep)
        begun = self._execute(
            "INSERT INTO events VALUES (?, ?, 0) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
            " WHERE is_done = 0 AND at < ? RETURNING id",
            event_id,
            now,
            now - self._lease,
        )
        if begun:
            return now
        if self._execute("SELECT id FROM events WHERE id = ? AND is_done = 0", event_id):
            raise WebhookInProgress(f"event {event_id} is being handled: let the server send it again")
        return None

    def _execute(self, statement: str, *values: object) -> list[object]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _open(path: str | os.PathLike[str] | None) -> sqlite3.Connection:
    """Opens a file, or memory, and makes what is missing in it.

    Raises:
        OSError: The file cannot be opened.
        ValueError: Its path is unusable, or it has another table of this name.
        sqlite3.Error: It is not an SQLite database, or cannot be written.
    """
    if path is not None:
        os.close(open_private(os.fspath(path), os.O_RDWR | os.O_CREAT))
    database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    with ExitStack() as stack:
        stack.callback(database.close)
        database.execute(TABLE)
        if database.execute(COLUMNS).fetchall() != [("id", 1), ("at", 0), ("is_done", 0)]:
            raise ValueError("its table events is not that of a Deduplicator")
        database.execute(INDEX)
        stack.pop_all()
    return database
