"""Faults: draws for each request which fault rules of the sandbox fire, and counts them in the store."""

from collections.abc import Callable, Sequence
from functools import partial

from translation_server.core.clock import WallTime
from translation_server.core.entropy import seeded_entropy
from translation_server.core.faults.rules import FaultContext, FaultRule, Firing, counted_as, decide
from translation_server.core.job import JobKey, JobSnapshot
from translation_server.core.sandbox import SandboxState
from translation_server.core.webhooks import Delivery
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import FaultCountStore


class Faults:
    """Draws and counts the faults of all sandboxes; ``entropy`` returns random bytes where a sandbox has no seed."""

    def __init__(
        self,
        store: FaultCountStore,
        sandboxes: SandboxCache,
        jobs: Synchroniser,
        *,
        clock: Callable[[], WallTime],
        entropy: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._jobs = jobs
        self._clock = clock
        self._entropy = entropy

    async def draw_faults(
        self, owner: str, context: FaultContext, key: JobKey | None = None, *, own: Sequence[FaultRule] = ()
    ) -> list[Firing]:
        """Returns the rules that fire for a request, and counts them.

        The time of ``context`` and its job's state are filled in here. ``own`` are rules that the request brings,
        instead of those of the sandbox; they are not counted.
        """
        sandbox = await self._sandboxes.of(owner)
        rules = own or sandbox.settings.faults
        if not rules:
            return []
        job = None if key is None else await self._jobs.find(owner, *key)
        now = sandbox.clock.virtual(self._clock())
        context = context._replace(seconds=max(0.0, now - sandbox.faults_since))
        if key is not None and job is None:
            context = context._replace(states=frozenset())
        elif job is not None and context.action == "poll" and not context.long_poll:
            context = context._replace(states={JobSnapshot(job, now).state})
        ordinal = 0 if job is None else job.ordinal
        firings: list[Firing] = []

        def draw(nth: int, fired: Sequence[int]) -> Sequence[str]:
            entropy = partial(self._draw, sandbox, context.action, ordinal, nth)
            firings[:] = decide(rules, context._replace(nth=nth), fired or [0] * len(rules), entropy)
            if own:
                firings[:] = [firing._replace(number=None) for firing in firings]
            return [_subject(firing.number) for firing in firings if firing.number is not None]

        subjects = [] if own else [_subject(number) for number in range(len(rules))]
        await self._store.count_faults(owner, counted_as(context.action, ordinal), subjects, draw)
        return firings

    async def draw_webhook_fault(self, owner: str, context: FaultContext, delivery: Delivery) -> Firing | None:
        """Returns the rule that fires for an attempt of a delivery, and counts it.

        The number of the attempt decides, not how many attempts were counted: an attempt that is made again because its
        server was killed meets the same fault. The time of ``context`` is filled in here.
        """
        sandbox = await self._sandboxes.of(owner)
        rules = sandbox.settings.faults
        if not any("webhook" in (rule.route or rule.targets) for rule in rules):
            return None
        seconds = max(0.0, sandbox.clock.virtual(self._clock()) - sandbox.faults_since)
        entropy = partial(self._draw, sandbox, "webhook", delivery.ordinal, delivery.stage, context.nth)
        firings: list[Firing] = []

        def draw(_: int, fired: Sequence[int]) -> Sequence[str]:
            firings[:] = decide(rules, context._replace(seconds=seconds), fired, entropy)[:1]
            return [_subject(number) for number, *_ in firings if number is not None]

        subjects = [_subject(number) for number in range(len(rules))]
        await self._store.count_faults(owner, counted_as("webhook", delivery.ordinal), subjects, draw)
        return firings[0] if firings else None

    async def not_fired(self, owner: str, firing: Firing) -> None:
        """Takes back the count of a rule that turned out to have no effect."""
        if firing.number is not None:
            await self._store.uncount_fault(owner, _subject(firing.number))

    async def fired(self, owner: str) -> list[int]:
        """Returns how often each of the owner's rules has fired."""
        rules = (await self._sandboxes.of(owner)).settings.faults
        return await self._store.fault_counts(owner, [_subject(number) for number in range(len(rules))])

    def _draw(self, sandbox: SandboxState, *draw: object) -> bytes:
        seed = sandbox.settings.seed
        return self._entropy() if seed is None else seeded_entropy(seed, "fault", *draw)


def _subject(number: int) -> str:
    """Returns the subject under which a rule's firings are counted."""
    return f"rule {number}"
