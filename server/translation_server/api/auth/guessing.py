"""Limits for password guessing: a count of failures within a minute, and a semaphore that is fair to all callers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from translation_server.core.lru import LRU

WINDOW = 60.0  # how long a failure counts, in seconds

MAX_KEYS = 10_000
"""How many addresses or user names are counted; the one without a failure for longest is dropped first."""

MAX_CALLERS = 64  # how many callers may wait. A new caller waits for one turn of each caller before it
MAX_WAITING = 2_000  # how many turns all callers together may wait for


class FailureWindow:
    """Counts failures by key, in a sliding window; ``clock`` returns monotonic seconds."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._times = LRU[str, deque[float]](MAX_KEYS)

    def add(self, key: str) -> bool:
        """Counts a failure; returns whether it brought the key to its limit."""
        below = not self.seconds_left(key)
        times = self._times.get(key) or deque(maxlen=self._limit)
        times.append(self._clock())
        self._times[key] = times
        return below and self.seconds_left(key) > 0

    def seconds_left(self, key: str) -> float:
        """Returns how long a key stays at its limit; 0 if it is below."""
        times = self._times.get(key)
        if times is None or len(times) < self._limit:
            return 0.0
        return max(0.0, times[0] + WINDOW - self._clock())


class LogLimit:
    """Limits the log lines that callers can cause, to ``limit`` per minute; ``clock`` returns monotonic seconds."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._since = clock()
        self._written = self._left_out = 0

    def left_out(self) -> int | None:
        """Returns how many lines were left out before the one to write now; None if that is left out too."""
        if self._clock() >= self._since + WINDOW:
            self._since, self._written = self._clock(), 0
        if self._written >= self._limit:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class BusyError(Exception):
    """Too many callers wait."""


class FairSemaphore:
    """A semaphore with ``value`` places. It serves callers in rotation, however many places each of them waits for."""

    def __init__(self, value: int) -> None:
        self._free = value
        self._number_waiting = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Waits for a turn of the caller, and ends it afterwards.

        Raises:
            BusyError: too many callers wait; or all of them wait for too many turns, and this one for the most.
        """
        if self._free:
            self._free -= 1
        else:
            await self._enqueue(caller)
        try:
            yield
        finally:
            self._release()

    def _enqueue(self, caller: str) -> asyncio.Future[None]:
        own = self._waiting.get(caller)
        if own is None and len(self._waiting) >= MAX_CALLERS:
            raise BusyError
        if self._number_waiting >= MAX_WAITING:
            longest = max(self._waiting.values(), key=len)
            if len(longest) <= len(own or ()) + 1:
                raise BusyError
            longest.pop().set_exception(BusyError())
            self._number_waiting -= 1
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._number_waiting += 1
        return turn

    def _release(self) -> None:
        while self._waiting:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            self._number_waiting -= 1
            if turns:
                self._waiting[caller] = turns
            if not turn.done():  # else its task was cancelled
                turn.set_result(None)
                return
        self._free += 1
