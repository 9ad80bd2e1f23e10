"""Limits on connections: how many a process keeps, and which it closes first when there are too many.

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

from translation_server.api.addresses import address_key, parse_address, trusted_proxies
from translation_server.api.problems import RETRY_AFTER, Problem

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)
TICK = 1.0  # the time between two sweeps, in seconds
MAX_CONNECTIONS = 16_384

RESERVE, RESERVE_DIVISOR = 64, 8  # connections leave free 64 file descriptors, or an eighth of all if that is more

SHARE = 3, 4  # the default share of all connections that one address may have, as a fraction
LOG_INTERVAL = 60  # after how many ticks a limit that is still reached is logged again


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on clients' use of a process; times are in seconds."""

    head_timeout: float = 10.0  # how long the head of a request may take
    min_rate: float = 1024.0  # the least rate of a request's body, and of reading an answer, in bytes a second
    connections: int = MAX_CONNECTIONS
    per_address: int | None = None  # from one address; loopback and ``trusted`` addresses have no limit
    trusted: str = ""  # the addresses and networks of proxies, separated by commas
    body_grace: float = 10.0  # how long a body may take before its rate counts
    answer_grace: float = 60.0  # how long a client may take to begin to read an answer before its rate counts


class Connection(Protocol):
    """A connection that a guard counts and watches."""

    surplus: bool  # whether it exceeds the limit of connections

    def check(self) -> None:
        """Closes the connection if its client is too slow; called at each tick."""

    def abandon(self) -> None:
        """Closes the connection at once."""


@dataclass(slots=True)
class Guard:
    """All connections of one process.

    ``watched`` are those that are receiving a body or sending an answer. ``waiting`` are those that are idle or have an
    incomplete head, the longest first. At the limit, the waiting ones are closed in this order.
    """

    limits: Limits = field(default_factory=Limits)
    now: int = 0  # the number of ticks since the first connection
    watched: dict[Connection, None] = field(default_factory=dict)
    waiting: dict[Connection, None] = field(default_factory=dict)
    _open: dict[Connection, str | None] = field(default_factory=dict)
    _by_source: Counter[str] = field(default_factory=Counter)
    _logged: dict[str, int] = field(default_factory=dict)
    _sweeping: bool = False

    def admit(self, connection: Connection, address: str | None, loop: asyncio.AbstractEventLoop) -> Problem | None:
        """Counts a new connection. Returns how to refuse it if its address has too many.

        If all connections are in use, the new one is ``surplus``: it may make a health check, and is closed after it.
        """
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(TICK, self._sweep, loop)
        limits, source = self.limits, self._source(address)
        per_address = limits.per_address or limits.connections * SHARE[0] // SHARE[1]
        if source is not None and self._by_source[source] >= per_address:
            self._log("connections: refusing %s, which has MAX_CONNECTIONS_PER_ADDRESS=%d", source, per_address)
            detail = f"Your address has {per_address} connections: close some, or raise MAX_CONNECTIONS_PER_ADDRESS."
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(RETRY_AFTER)})
        if len(self._open) >= limits.connections:
            self._log("connections: MAX_CONNECTIONS=%d are open, closing idle ones", limits.connections)
            while len(self._open) >= limits.connections and self.waiting:  # some may be surplus ones
                self._close_oldest()
            connection.surplus = len(self._open) >= limits.connections
        self._open[connection] = source
        self.waiting[connection] = None
        if source is not None:
            self._by_source[source] += 1
        return None

    def watch(self, connection: Connection) -> None:
        """Checks a connection at each tick, until it is lost or needs no check any more."""
        if connection in self._open:
            self.watched[connection] = None

    def lost(self, connection: Connection) -> None:
        """Stops counting a connection."""
        self.waiting.pop(connection, None)
        self.watched.pop(connection, None)
        source = self._open.pop(connection, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def _close_oldest(self) -> None:
        """Closes the connection that has been waiting longest, if there is one."""
        oldest = next(iter(self.waiting), None)
        if oldest is not None:
            self.lost(oldest)
            oldest.abandon()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = bool(self._open)
        if self._sweeping:  # before the checks, so that an error in one of them does not end the sweeps
            loop.call_later(TICK, self._sweep, loop)
        self.now += 1
        for connection in self.watched | self.waiting:  # not long polls: there may be ten thousand
            connection.check()
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:  # asyncio would only stop accepting connections
            self._log("connections: no file descriptor is left, closing idle ones: %s", error.strerror)
            for _ in range(RESERVE):
                self._close_oldest()

    def _source(self, host: str | None) -> str | None:
        """Returns the key under which connections of a host are counted; None if it may have any number."""
        address = parse_address(host or "")  # a Unix socket has no host
        if address is None or address.is_loopback or trusted_proxies(self.limits.trusted).trusts(address):
            return None
        return address_key(address)

    def _log(self, message: str, *values: object) -> None:
        """Logs that a limit is reached, at most once in a `LOG_INTERVAL`."""
        if self.now >= self._logged.get(message, -LOG_INTERVAL) + LOG_INTERVAL:
            self._logged[message] = self.now
            logger.warning(message, *values)


def connections_within_descriptors(wanted: int) -> int:
    """Returns how many of the wanted connections the process has file descriptors for, with some in reserve."""
    if sys.platform == "win32":  # has no such limit
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - max(RESERVE, soft // RESERVE_DIVISOR)))


def raise_descriptor_limit() -> None:
    """Raises the process's limit of file descriptors as far as it may."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
