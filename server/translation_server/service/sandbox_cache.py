"""The cache of sandboxes: each user's settings and clock, as they were changed last, by any process.

A sandbox is read from the store at most twice a second while its user sends requests, and only if other processes may
have written to the store. A change by this process holds at once.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from translation_server.core.clock import Clock, VirtualTime, WallTime
from translation_server.core.lru import LRU
from translation_server.core.sandbox import SandboxSettings, SandboxState
from translation_server.documents import read_sandbox, reset_document
from translation_server.service.single_flight import SingleFlight
from translation_server.service.staleness import Staleness
from translation_server.storage import SandboxStore

MAX_OWNERS = 20_000  # how many owners a process caches, unless it has more users; each takes about 3 KiB
MAX_SIZE = 32 * 2**20  # how many characters of their sandboxes it caches


class _CachedState(NamedTuple):
    text: str | None
    defaults: SandboxSettings
    sandbox: SandboxState
    read_at: float


class SandboxCache:
    """Caches the sandboxes of the users who were active last, by their names.

    Args:
        store: where they are stored.
        defaults: returns the settings of users who have set nothing.
        started: the wall time from which the server's own faults count their seconds.
        changeable: whether users may change their sandboxes. If not, there are no faults.
        on_change: called with the user whose sandbox has changed, and whether it was reset.
        staleness: decides which cached values are out of date.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: SandboxStore,
        defaults: Callable[[], SandboxSettings],
        *,
        started: WallTime,
        changeable: bool,
        on_change: Callable[[str, bool], None],
        staleness: Staleness,
    ) -> None:
        self.changeable = changeable
        self.staleness = staleness
        self._store = store
        self._defaults = defaults
        self._started = VirtualTime(started)
        self._on_change = on_change
        self.states = LRU[str, _CachedState](MAX_OWNERS, self._evicted)
        self._size = 0
        self._reads = SingleFlight[SandboxState]()
        self._state_of_all = SandboxState(defaults())

    def get(self, owner: str) -> SandboxState | None:
        """Returns a user's sandbox from the cache; None where it has to be read."""
        defaults = self._defaults()
        if not self.changeable:
            if self._state_of_all.settings != defaults:
                self._state_of_all = SandboxState(defaults)
            return self._state_of_all
        cached = self.states.get(owner)
        if cached is None or self.staleness.is_stale(cached.read_at, owner, self._reads):
            return None
        same = cached.defaults is defaults or cached.defaults == defaults
        return cached.sandbox if same else self._put(owner, cached.text, cached.read_at)

    async def of(self, owner: str) -> SandboxState:
        """Returns a user's sandbox; changes by other processes show within a second."""
        if sandbox := self.get(owner):
            return sandbox
        if owner in self.states:
            await self.staleness.check()
            if sandbox := self.get(owner):
                return sandbox
        return await self._reads.run(owner, lambda: self._read(owner))

    def known_clock(self, owner: str) -> Clock:
        """Returns a user's clock as it was read last; before the first read, a clock that was never set."""
        cached = self.states.get(owner)
        return cached.sandbox.clock if cached else Clock()

    async def clock(self, owner: str) -> Clock:
        """Returns a user's clock without caching it."""
        if not self.changeable:
            return Clock()
        return read_sandbox(await self._store.read_sandbox(owner), self._defaults(), self._started).clock

    async def refresh(self, owner: str, read_at: float = math.inf) -> None:
        """Reads a user's sandbox, unless it was read at this time or later, on the monotonic clock."""
        cached = self.states.get(owner)
        if self.changeable and (cached is None or cached.read_at < read_at):
            await self._read(owner)

    async def change(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> SandboxState:
        """Changes a user's sandbox and returns it."""
        try:
            return self._put(owner, await self._store.change_sandbox(owner, change, reset_counts=reset_counts))
        except BaseException:  # it may have been changed
            self._drop(owner)
            raise

    async def clear(self, owner: str, wall: WallTime) -> None:
        """Resets a user's sandbox: everything from before this wall time is deleted."""
        text = reset_document(wall)
        self._put(owner, text)  # already now: records that are written meanwhile must not survive the reset
        try:
            await self._store.reset_sandbox(owner, text)
        except BaseException:
            self._drop(owner)
            raise
        self._put(owner, text)
        self._on_change(owner, True)

    async def _read(self, owner: str) -> SandboxState:
        read_at, text = time.monotonic(), await self._store.read_sandbox(owner)
        cached = self.states.get(owner)
        return cached.sandbox if cached and cached.read_at > read_at else self._put(owner, text, read_at)

    def _put(self, owner: str, text: str | None, read_at: float | None = None) -> SandboxState:
        before, defaults = self.states.get(owner), self._defaults()
        if before and (before.text, before.defaults) == (text, defaults):
            sandbox = before.sandbox
        else:
            sandbox = read_sandbox(text, defaults, self._started)
        self._size += len(text or "") - len(before.text or "" if before else "")
        self.states[owner] = _CachedState(text, defaults, sandbox, time.monotonic() if read_at is None else read_at)
        while self._size > MAX_SIZE and len(self.states) > 1:
            self._evicted(*self.states.popitem(last=False))
        if before and before.text != text:
            self._on_change(owner, before.sandbox.reset_at != sandbox.reset_at)
        return sandbox

    def _drop(self, owner: str) -> None:
        if cached := self.states.pop(owner, None):
            self._size -= len(cached.text or "")

    def _evicted(self, owner: str, cached: _CachedState) -> None:
        """Drops the jobs too: the sandbox may be reset without this process noticing."""
        self._size -= len(cached.text or "")
        self._on_change(owner, True)
