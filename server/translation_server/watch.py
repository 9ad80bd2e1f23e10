"""Who waits for something to happen to jobs, and what wakes them.

Theory of operation: that a job ends is no news, since its end is known from the beginning; whoever waits for it sets a
timer. News are only that a job was accepted, that something was done to one, or that its owner's world has changed, as
when the clock was set. Here in this process they are told at once. What other processes on the same store do is told
by the store, or else asked for twice a second, for all who wait together, while somebody waits.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

from translation_server.core.job import Job
from translation_server.freshness import FRESH, MARGIN
from translation_server.stores import News, Store, StoreError
from translation_server.worlds import Worlds

logger = logging.getLogger(__name__)


class Ear:
    """Hears of an owner's jobs; ``over`` once nobody may wait any longer, since the server is going down."""

    def __init__(self) -> None:
        self.over = False
        self._news: list[Job] = []
        self._woken = asyncio.get_running_loop().create_future()

    def hear(self, job: Job | None) -> None:
        """Takes note of a job, or of nothing, and wakes whoever waits."""
        if job is not None:
            self._news.append(job)
        if not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, seconds: float) -> list[Job]:
        """The jobs heard of since the last time; without one, nothing for so many seconds."""
        await asyncio.wait([self._woken], timeout=seconds)
        news, self._news = self._news, []
        if self._woken.done():
            self._woken = asyncio.get_running_loop().create_future()
        return news


class Watch:
    """Tells those who wait of jobs that were accepted or changed, and of changed worlds.

    Args:
        store: where other processes' doings show.
        worlds: where they show as well.
        clock: real seconds since the epoch.
    """

    def __init__(self, store: Store, worlds: Worlds, clock: Callable[[], float]) -> None:
        self._store = store
        self._worlds = worlds
        self._clock = clock
        self._ears: defaultdict[tuple[str, str | None], set[Ear]] = defaultdict(set)
        self._begun: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    @contextlib.contextmanager
    def listening(self, owner: str, job_id: str | None = None) -> Iterator[Ear]:
        """Within it, the ear hears of the owner's jobs, or of one of them, and of some more than once."""
        ear, of = Ear(), (owner, job_id)
        ear.over = self._over.is_set()
        self._ears[of].add(ear)
        self._begun.add(owner)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        try:
            yield ear
        finally:
            self._ears[of].discard(ear)
            if not self._ears[of]:
                del self._ears[of]
            if not self._ears and self._asking:
                self._asking.cancel()
                self._asking = None

    def tell(self, job: Job) -> None:
        """Tells of a job that was accepted or changed."""
        for of in ((job.owner, job.id), (job.owner, None)):
            for ear in self._ears.get(of, ()):
                ear.hear(job)

    def wake(self, owner: str) -> None:
        """Wakes all who wait for something of an owner's, since their world has changed."""
        for ear in [ear for (of, _), ears in self._ears.items() if of == owner for ear in ears]:
            ear.hear(None)

    async def rest(self, seconds: float) -> None:
        """Waits for so many seconds; less, if the server goes down meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def release(self) -> None:
        """Lets everybody go, from now on."""
        self._over.set()
        for ear in {ear for ears in self._ears.values() for ear in ears}:
            ear.over = True
            ear.hear(None)

    async def _ask(self) -> None:
        since, missed = self._clock() - MARGIN, True
        while True:
            news = await self._store.news(FRESH)
            owners, begun, self._begun = {owner for owner, _ in self._ears}, self._begun, set()
            try:
                for new in news or ():
                    if new.owner in owners:
                        await self._pass_on(new)
                for owner in owners if missed or news is None else owners & begun:
                    await self._worlds.refresh(owner)
                    accepted = await self._store.accepted(owner, since) if (owner, None) in self._ears else []
                    for job in (*accepted, *await self._store.amended(owner, since)):
                        self.tell(job)
                since, missed = self._clock() - MARGIN, False
            except Exception as error:
                logger.warning("%s", error, exc_info=not isinstance(error, StoreError))
                missed = True

    async def _pass_on(self, new: News) -> None:
        if not new.ordinals:
            await self._worlds.refresh(new.owner)
            return
        count, end = len(new.ordinals), new.ordinals.stop
        for job in await self._store.page(new.owner, limit=count, before=end, state=None, now=0.0):
            self.tell(job)
