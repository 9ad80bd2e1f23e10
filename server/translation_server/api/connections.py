"""How many connections a process keeps, and which go first when there are too many.

Time is counted in ticks of a second: one sweep over all connections costs less than a timer for each of them.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from translation_server.api.addresses import address_of, counted_as, proxies_at
from translation_server.api.problems import RETRY_AFTER, Problem

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two sweeps."""

MAX_CONNECTIONS = 16_384

RESERVE, RESERVED_PART = 64, 8
"""Descriptors that are left for everything but connections: so many, and one in so many of all."""

SHARE = 3, 4
"""The part of all connections that one address may have, unless a setting says otherwise."""

SILENCE = 60
"""Ticks for which a limit that goes on being met is not logged again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of the server's time and room.

    Attributes:
        head_timeout: Seconds that a request's head may take.
        min_rate: Bytes a second that a body has to come at, and an answer to be taken at.
        connections: How many one process keeps.
        per_address: How many of them may come from one address; from loopback and ``trusted`` ones, any number.
        trusted: Addresses and networks of proxies, separated by commas.
        body_grace: Seconds that a body may take before its rate counts.
        answer_grace: Seconds that a client may leave an answer untaken before its rate counts.
    """

    head_timeout: float = 10.0
    min_rate: float = 1024.0
    connections: int = MAX_CONNECTIONS
    per_address: int | None = None
    trusted: str = ""
    body_grace: float = 10.0
    answer_grace: float = 60.0


class Connection(Protocol):
    """A connection, as far as it is counted and watched here."""

    surplus: bool

    def check(self) -> None:
        """Closes the connection if its client is too slow; called once a tick."""

    def abandon(self) -> None:
        """Closes the connection at once."""


@dataclass(slots=True)
class Guard:
    """All connections of one process.

    Attributes:
        limits: What they may take.
        now: The ticks since the first connection.
        watched: Those whose body, or whose answer, is under way.
        waiting: Those that are idle or have an incomplete head, the longest first: at the limit, they go in this order.
    """

    limits: Limits = field(default_factory=Limits)
    now: int = 0
    watched: dict[Connection, None] = field(default_factory=dict)
    waiting: dict[Connection, None] = field(default_factory=dict)
    _open: dict[Connection, str | None] = field(default_factory=dict)
    _of: Counter[str] = field(default_factory=Counter)
    _logged: dict[str, int] = field(default_factory=dict)
    _sweeping: bool = False

    def admit(self, connection: Connection, address: str | None, loop: asyncio.AbstractEventLoop) -> Problem | None:
        """Counts a new connection; the answer to one that comes from an address with too many.

        Where all others are at work, the new one is ``surplus``: good for a health check, and then closed.
        """
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(TICK, self._sweep, loop)
        limits, source = self.limits, self._counted(address)
        most, most_of_one = limits.connections, limits.per_address or limits.connections * SHARE[0] // SHARE[1]
        if source is not None and self._of[source] >= most_of_one:
            self._say("MAX_CONNECTIONS_PER_ADDRESS=%d are open from %s: no more are taken", most_of_one, source)
            detail = f"Your address has {most_of_one} connections: close some, or raise MAX_CONNECTIONS_PER_ADDRESS."
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(RETRY_AFTER)})
        if len(self._open) >= most:
            self._say("MAX_CONNECTIONS=%d are open: idle ones and those with half a head are closed first", most)
            connection.surplus = not self._close_oldest()
        self._open[connection] = source
        self.waiting[connection] = None
        if source is not None:
            self._of[source] += 1
        return None

    def watch(self, connection: Connection) -> None:
        """Has a connection checked at each tick until it is lost, or until it is found that it need not be."""
        if connection in self._open:
            self.watched[connection] = None

    def lost(self, connection: Connection) -> None:
        """Counts a connection no longer."""
        self.waiting.pop(connection, None)
        self.watched.pop(connection, None)
        source = self._open.pop(connection, None)
        if source is not None:
            self._of[source] -= 1
            if not self._of[source]:
                del self._of[source]

    def _close_oldest(self) -> bool:
        """Closes the connection that has been waiting longest, if one is."""
        oldest = next(iter(self.waiting), None)
        if oldest is not None:
            self.lost(oldest)
            oldest.abandon()
        return oldest is not None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = bool(self._open)
        if self._sweeping:  # again, whatever goes wrong in this one
            loop.call_later(TICK, self._sweep, loop)
        self.now += 1
        for connection in self.watched | self.waiting:  # not those that are held: ten thousand cost nothing
            connection.check()
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:  # the event loop's own accept() would close new connections and say nothing
            self._say("no descriptors are left for new connections: idle ones are closed: %s", error.strerror)
            for _ in range(RESERVE):
                self._close_oldest()

    def _counted(self, address: str | None) -> str | None:
        """The name under which an address is counted; None for those that may have any number of connections."""
        found = address_of(address or "")  # a Unix socket has none
        return (
            None
            if found is None or found.is_loopback or proxies_at(self.limits.trusted).trusts(found)
            else counted_as(found)
        )

    def _say(self, line: str, *facts: object) -> None:
        """Logs that a limit is met, unless it was logged a moment ago."""
        if self.now >= self._logged.get(line, -SILENCE) + SILENCE:
            self._logged[line] = self.now
            logger.warning(line, *facts)


def connections_within_descriptors(wanted: int) -> int:
    """How many of the wanted connections fit into the descriptors that the process may have, with some left over."""
    if sys.platform == "win32":  # which knows no such limit
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - max(RESERVE, soft // RESERVED_PART)))


def raise_descriptor_limit() -> None:
    """Lets the process have as many descriptors as it may give itself."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
