"""The users' worlds: each user's sandbox and clock, as they were last set by whichever process.

A world is read from the store at most twice a second while its user sends requests, and only if others may have written
to it; what this process sets holds for it at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from translation_server.core.clock import Clock
from translation_server.core.sandbox import Sandbox, World
from translation_server.documents import begin_anew, read_world
from translation_server.service.single_flight import OWNERS, Asking, Others
from translation_server.storage import Store


class _Kept(NamedTuple):
    text: str | None
    defaults: Sandbox
    world: World
    read_at: float


class Worlds:
    """Everybody's world.

    Args:
        store: where they are kept.
        defaults: the settings that hold where a user has set nothing.
        started: the real time from which the server's own faults count their seconds.
        changeable: whether users may set anything; where not, nothing goes wrong.
        tell: called with the user whose world is found to have changed, and whether it was emptied.

    Attributes:
        others: Tells whether other processes have written to the store.
        keep: How many users' worlds are kept in memory at a time; the oldest goes first.
    """

    def __init__(
        self,
        store: Store,
        defaults: Callable[[], Sandbox],
        *,
        started: float,
        changeable: bool,
        tell: Callable[[str, bool], None],
    ) -> None:
        self._store = store
        self._defaults = defaults
        self._started = started
        self._tell = tell
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.others = Others(store)
        self._reading = Asking[World](self.others)
        self._world_of_all = World(defaults())
        self.changeable = changeable
        self.keep = OWNERS

    def at_hand(self, owner: str) -> World | None:
        """A user's world, half a second old at most; None where it has to be read."""
        defaults = self._defaults()
        if not self.changeable:
            if self._world_of_all.sandbox != defaults:
                self._world_of_all = World(defaults)
            return self._world_of_all
        kept = self._kept.get(owner)
        if kept is None or self._reading.is_due(owner, kept.read_at):
            return None
        same = kept.defaults is defaults or kept.defaults == defaults
        return kept.world if same else self._keep(owner, kept.text, kept.read_at)

    async def of(self, owner: str) -> World:
        """A user's world, half a second old or, while it is being read, little more."""
        if world := self.at_hand(owner):
            return world
        if owner in self._kept:
            await self.others.ask()
            if world := self.at_hand(owner):
                return world
        return await self._reading.ask(owner, lambda: self._read(owner))

    async def clock(self, owner: str) -> Clock:
        """A user's clock, of which nothing is kept at hand."""
        if not self.changeable:
            return Clock()
        return read_world(await self._store.world(owner), self._defaults(), self._started).clock

    async def refresh(self, owner: str) -> None:
        """Reads a user's world, which may have changed."""
        if self.changeable:
            await self._read(owner)

    async def change(self, owner: str, change: Callable[[str | None], str], *, recount: bool = False) -> World:
        """A user's world once it has been changed."""
        try:
            return self._keep(owner, await self._store.change_world(owner, change, recount=recount))
        except BaseException:  # it may have been changed
            self._kept.pop(owner, None)
            raise

    async def clear(self, owner: str, real: float) -> None:
        """Forgets everything of a user that was before this real time."""
        text = begin_anew(real)
        self._keep(owner, text)  # before as well, for what is about to be written down
        try:
            await self._store.clear(owner, text)
        except BaseException:
            self._kept.pop(owner, None)
            raise
        self._keep(owner, text)
        self._tell(owner, True)

    async def _read(self, owner: str) -> World:
        began, text = time.monotonic(), await self._store.world(owner)
        kept = self._kept.get(owner)
        return kept.world if kept and kept.read_at > began else self._keep(owner, text, began)

    def _keep(self, owner: str, text: str | None, read_at: float | None = None) -> World:
        before, defaults = self._kept.get(owner), self._defaults()
        if before and (before.text, before.defaults) == (text, defaults):
            world = before.world
        else:
            world = read_world(text, defaults, self._started)
        self._kept[owner] = _Kept(text, defaults, world, time.monotonic() if read_at is None else read_at)
        self._kept.move_to_end(owner)
        if len(self._kept) > self.keep:
            gone, _ = self._kept.popitem(last=False)
            self._tell(gone, True)  # whether it will be emptied meanwhile cannot be seen
        if before and before.text != text:
            self._tell(owner, before.world.begun != world.begun)
        return world
