"""What goes wrong for whom: the rules of each sandbox, drawn for each request and counted in the store."""

from collections.abc import Callable, Sequence
from functools import partial

from translation_server.core.entropy import seeded_entropy
from translation_server.core.faults.rules import FaultContext, Firing, Rule, counted_as, decide
from translation_server.core.job import JobSnapshot
from translation_server.core.sandbox import SandboxState
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import Store


class Faults:
    """Everybody's faults.

    Args:
        store: where they are counted.
        sandboxes: where the rules are.
        jobs: finds the jobs that requests are about.
        clock: real seconds since the epoch.
        entropy: random bytes for one fault, where the sandbox has no seed.
    """

    def __init__(
        self,
        store: Store,
        sandboxes: SandboxCache,
        jobs: Synchroniser,
        *,
        clock: Callable[[], float],
        entropy: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._jobs = jobs
        self._clock = clock
        self._entropy = entropy

    async def draw_faults(
        self, owner: str, asked: FaultContext, job_id: str | None = None, *, own: Sequence[Rule] = ()
    ) -> list[Firing]:
        """What goes wrong with a request, about a job if one is named; it is counted.

        Args:
            owner: whose request it is.
            asked: the request, as far as it tells by itself.
            job_id: the job that it names.
            own: its own rules, instead of those of the sandbox; they are not counted.
        """
        sandbox = await self._sandboxes.of(owner)
        rules = own or sandbox.settings.faults
        if not rules:
            return []
        job = None if job_id is None else await self._jobs.find(owner, job_id)
        now = sandbox.clock.at(self._clock())
        asked = asked._replace(seconds=max(0.0, now - sandbox.since))
        if job_id is not None and job is None:
            asked = asked._replace(states=frozenset())
        elif job is not None and asked.action == "poll" and not asked.long_poll:
            asked = asked._replace(states={JobSnapshot(job, now).state})
        ordinal = 0 if job is None else job.ordinal
        firings: list[Firing] = []

        def draw(nth: int, fired: Sequence[int]) -> Sequence[str]:
            drawn = partial(self._drawn, sandbox, owner, asked.action, ordinal, nth)
            firings[:] = decide(rules, asked._replace(nth=nth), fired or [0] * len(rules), drawn)
            if own:
                firings[:] = [firing._replace(number=None) for firing in firings]
            return [_rule(firing.number) for firing in firings if firing.number is not None]

        counted = [] if own else [_rule(number) for number in range(len(rules))]
        await self._store.tally(owner, counted_as(asked.action, ordinal), counted, draw)
        return firings

    async def not_fired(self, owner: str, firing: Firing) -> None:
        """Takes back the count of a rule that had nothing to strike."""
        if firing.number is not None:
            await self._store.untally(owner, _rule(firing.number))

    async def fired(self, owner: str) -> list[int]:
        """How often each of the owner's faults has fired."""
        rules = (await self._sandboxes.of(owner)).settings.faults
        return await self._store.tallies(owner, [_rule(number) for number in range(len(rules))])

    def _drawn(self, sandbox: SandboxState, owner: str, *of: object) -> bytes:
        seed = sandbox.settings.seed
        return self._entropy() if seed is None else seeded_entropy(seed, owner, "fault", *of)


def _rule(number: int) -> str:
    """The subject under which a rule's firings are counted."""
    return f"rule {number}"
