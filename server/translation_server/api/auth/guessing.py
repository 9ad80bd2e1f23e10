"""What keeps guessing cheap for the server and slow for who guesses: counts within a minute, and fair turns."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from translation_server.core.lru import LRU

WINDOW = 60.0
"""Seconds for which a try counts."""

KEYS_AT_MOST = 10_000
"""Addresses or names that a window keeps; the one that has been quiet longest goes first."""

CALLERS_AT_MOST = 64
"""Callers that may wait for a turn: a new one waits for one turn of each."""

WAITING_AT_MOST = 2_000
"""Turns that may be waited for in all."""


class Window:
    """Which keys did something at least ``limit`` times within the last minute.

    Args:
        limit: how many times.
        clock: monotonic seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._times = LRU[str, deque[float]](KEYS_AT_MOST)

    def add(self, key: str) -> None:
        """Counts once for a key."""
        times = self._times.get(key) or deque(maxlen=self._limit)
        times.append(self._clock())
        self._times[key] = times

    def left(self, key: str) -> float:
        """The seconds for which a key is still at the limit; 0 if it is not."""
        times = self._times.get(key)
        if times is None or len(times) < self._limit:
            return 0.0
        return max(0.0, times[0] + WINDOW - self._clock())


class Busy(Exception):  # noqa: N818 - says what is the case
    """Too many wait for a turn."""


class Turns:
    """Turns at what only a few may do at a time, given to one caller after the other, however many each waits for.

    Args:
        at_once: how many may have a turn at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._many = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, caller: str) -> AsyncIterator[None]:
        """Within it, the caller has a turn.

        Raises:
            Busy: too many callers wait, or too many turns are waited for, and none of them by a greedier caller.
        """
        if self._free:
            self._free -= 1
        else:
            await self._queue(caller)
        try:
            yield
        finally:
            self._pass_on()

    def _queue(self, caller: str) -> asyncio.Future[None]:
        own = self._waiting.get(caller)
        if own is None and len(self._waiting) >= CALLERS_AT_MOST:
            raise Busy
        if self._many >= WAITING_AT_MOST:
            greediest = max(self._waiting.values(), key=len)
            if len(greediest) <= len(own or ()) + 1:
                raise Busy
            greediest.pop().set_exception(Busy())
            self._many -= 1
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._many += 1
        return turn

    def _pass_on(self) -> None:
        while self._waiting:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            self._many -= 1
            if turns:
                self._waiting[caller] = turns
            if not turn.done():  # else its task was cancelled
                turn.set_result(None)
                return
        self._free += 1
