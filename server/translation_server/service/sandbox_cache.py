"""The users' worlds: each user's sandbox and clock, as they were last set by whichever process.

A world is read from the store at most twice a second while its user sends requests, and only if others may have written
to it; what this process sets holds for it at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from translation_server.core.clock import Clock
from translation_server.core.sandbox import SandboxSettings, SandboxState
from translation_server.documents import begin_anew, read_sandbox
from translation_server.service.single_flight import OWNERS, ForeignWrites, SingleFlight
from translation_server.storage import Store


class _CachedState(NamedTuple):
    text: str | None
    defaults: SandboxSettings
    sandbox: SandboxState
    read_at: float


class SandboxCache:
    """Everybody's world.

    Args:
        store: where they are kept.
        defaults: the settings that hold where a user has set nothing.
        started: the real time from which the server's own faults count their seconds.
        changeable: whether users may set anything; where not, nothing goes wrong.
        on_change: called with the user whose world is found to have changed, and whether it was emptied.

    Attributes:
        others: Tells whether other processes have written to the store.
        capacity: How many users' worlds are kept in memory at a time; the oldest goes first.
    """

    def __init__(
        self,
        store: Store,
        defaults: Callable[[], SandboxSettings],
        *,
        started: float,
        changeable: bool,
        on_change: Callable[[str, bool], None],
    ) -> None:
        self._store = store
        self._defaults = defaults
        self._started = started
        self._on_change = on_change
        self._states: OrderedDict[str, _CachedState] = OrderedDict()
        self.others = ForeignWrites(store)
        self._reading = SingleFlight[SandboxState](self.others)
        self._state_of_all = SandboxState(defaults())
        self.changeable = changeable
        self.capacity = OWNERS

    def get(self, owner: str) -> SandboxState | None:
        """A user's world, half a second old at most; None where it has to be read."""
        defaults = self._defaults()
        if not self.changeable:
            if self._state_of_all.settings != defaults:
                self._state_of_all = SandboxState(defaults)
            return self._state_of_all
        cached = self._states.get(owner)
        if cached is None or self._reading.is_due(owner, cached.read_at):
            return None
        same = cached.defaults is defaults or cached.defaults == defaults
        return cached.sandbox if same else self._keep(owner, cached.text, cached.read_at)

    async def of(self, owner: str) -> SandboxState:
        """A user's world, half a second old or, while it is being read, little more."""
        if sandbox := self.get(owner):
            return sandbox
        if owner in self._states:
            await self.others.ask()
            if sandbox := self.get(owner):
                return sandbox
        return await self._reading.ask(owner, lambda: self._read(owner))

    async def clock(self, owner: str) -> Clock:
        """A user's clock, of which nothing is kept at hand."""
        if not self.changeable:
            return Clock()
        return read_sandbox(await self._store.sandbox(owner), self._defaults(), self._started).clock

    async def refresh(self, owner: str) -> None:
        """Reads a user's world, which may have changed."""
        if self.changeable:
            await self._read(owner)

    async def change(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> SandboxState:
        """A user's world once it has been changed."""
        try:
            return self._keep(owner, await self._store.change_sandbox(owner, change, recount=recount))
        except BaseException:  # it may have been changed
            self._states.pop(owner, None)
            raise

    async def clear(self, owner: str, real: float) -> None:
        """Forgets everything of a user that was before this real time."""
        text = begin_anew(real)
        self._keep(owner, text)  # before as well, for what is about to be written down
        try:
            await self._store.clear(owner, text)
        except BaseException:
            self._states.pop(owner, None)
            raise
        self._keep(owner, text)
        self._on_change(owner, True)

    async def _read(self, owner: str) -> SandboxState:
        began, text = time.monotonic(), await self._store.sandbox(owner)
        cached = self._states.get(owner)
        return cached.sandbox if cached and cached.read_at > began else self._keep(owner, text, began)

    def _keep(self, owner: str, text: str | None, read_at: float | None = None) -> SandboxState:
        before, defaults = self._states.get(owner), self._defaults()
        if before and (before.text, before.defaults) == (text, defaults):
            sandbox = before.sandbox
        else:
            sandbox = read_sandbox(text, defaults, self._started)
        self._states[owner] = _CachedState(text, defaults, sandbox, time.monotonic() if read_at is None else read_at)
        self._states.move_to_end(owner)
        if len(self._states) > self.capacity:
            gone, _ = self._states.popitem(last=False)
            self._on_change(gone, True)  # whether it will be emptied meanwhile cannot be seen
        if before and before.text != text:
            self._on_change(owner, before.sandbox.begun != sandbox.begun)
        return sandbox
