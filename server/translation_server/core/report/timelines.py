"""What a journal says of each job, and what may be asked of its entries.

The law of this file: a client is judged by what it was told. An answer that a fault spoiled told it nothing, and what
a fault kept it from is not its doing.

Theory of operation: the requests are put in the order of their times. Each job has a trail: what was asked and told of
it. Each thing that can be asked for again has a chain: one program's requests for it. Times are real ones in seconds
since the epoch, durations are seconds.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import NamedTuple

from translation_server.core.job import State
from translation_server.core.request_log import Entry, Told

LOOKS = frozenset({"look", "bulk"})
DENIED = frozenset({401, 403})
REFUSED = frozenset({429, 503})
BAD_REQUEST, SERVER_ERROR = 400, 500

BROKEN = frozenset({"reset", "empty", "malformed", "truncate", "garbage", "hang"})
"""The faults after which there is no answer."""
LATE = frozenset({"latency", "drip"})
"""The faults after which the answer is only late."""
TRUE = LATE | {"huge-retry-after"}
"""The faults after which the answer still says how its jobs stand."""

LONGEST_HINT = 3600.0
EARLY_PART, EARLY = 0.1, 0.05
"""The part of a hint, and the seconds more, by which a look may be sooner."""
LATE_HINTED, LATE_UNHINTED, LATE_PART = 2.0, 5.0, 0.5
"""The seconds by which a client may be late, and the part: of its hint, or without one, of the job's age."""
UNCOLLECTED = 2.0
ENOUGH_TRIES = 3
"""After so many failures in a row a client may give up."""
SLOW = 1.0
RUN = 3
"""So many retries are a run."""
SAME_SUBMIT = 60.0

AT = attrgetter("at")


class Step(NamedTuple):
    """A request, its number, and what it told of the job on whose trail it is."""

    number: int
    entry: Entry
    told: Told | None

    @property
    def is_end(self) -> bool:
        """Whether it told that the job had ended."""
        return self.told is not None and self.told.state is not State.PENDING


@dataclass(frozen=True)
class Trail:
    """What was asked and told of a job, the oldest first, and when it ended, if that is known."""

    job_id: str
    ended: float | None
    steps: list[Step]

    @cached_property
    def looks(self) -> list[tuple[Entry | None, Step]]:
        """Each look at the job, with what the same program did about the job before."""
        last: dict[str | None, Entry] = {}
        looks = []
        for step in self.steps:
            if step.entry.action in LOOKS:
                looks.append((last.get(step.entry.agent), step))
            last[step.entry.agent] = step.entry
        return looks

    @cached_property
    def learned(self) -> int | None:
        """Which step told the end first."""
        return next((number for number, step in enumerate(self.steps) if step.is_end), None)

    @property
    def lateness(self) -> float | None:
        """The seconds from the job's end to the answer that told it, if both are known."""
        if self.ended is None or self.learned is None:
            return None
        return max(0.0, answered(self.steps[self.learned].entry) - self.ended)


class Thing(NamedTuple):
    """What a program asks for, if it can ask again: by which of its names, and who asks."""

    by: str
    name: str
    agent: str | None


@dataclass(frozen=True)
class Case:
    """The journal in its order.

    ``general`` are the spoiled answers that name no job, ``denied`` the requests with wrong credentials, or with none.
    """

    entries: list[Entry]
    trails: dict[str, Trail]
    chains: dict[Thing, list[Entry]]
    general: list[Entry]
    newest: float
    denied: int

    @cached_property
    def submits(self) -> list[Entry]:
        """The submissions."""
        return [entry for entry in self.entries if entry.action == "submit"]

    @cached_property
    def early(self) -> dict[str, list[Step]]:
        """The looks at each job that came sooner than its client had been told to."""
        return self._of_all_jobs(self._early)

    @cached_property
    def after_end(self) -> dict[str, list[Step]]:
        """The looks at each job that came after its client had been told the end."""
        return self._of_all_jobs(_after_end)

    @cached_property
    def retries(self) -> list[tuple[Entry, Entry]]:
        """Each failure, with the request that tried again."""
        return [pair for chain in self.chains.values() for pair in pairwise(chain) if _is_retry(*pair)]

    @cached_property
    def runs(self) -> list[tuple[Thing, list[float]]]:
        """The gaps of retries in a row that followed a plan of the client's own."""
        return [(thing, run) for thing, chain in self.chains.items() for run in _runs(chain) if len(run) >= RUN]

    @cached_property
    def duplicates(self) -> list[tuple[Entry, Entry]]:
        """Each submission whose answer was lost, with the one that did the same again as another.

        One that was refused made no job, whether by the server or by a fault in its place.
        Who tried again with the same key is not asked about another job under another key.
        """
        found = []
        tries = Counter(entry.key for entry in self.submits)
        lost: defaultdict[str, deque[Entry]] = defaultdict(deque)
        keys: set[str | None] = set()
        for entry in self.submits:
            if BAD_REQUEST <= entry.status < SERVER_ERROR or "status" in entry.faults or entry.digest is None:
                continue
            new = entry.key is None or entry.key not in keys
            keys.add(entry.key)
            waiting = lost[entry.digest]
            while waiting and answered(waiting[0]) + SAME_SUBMIT < entry.at:
                waiting.popleft()
            if new and waiting and ("hang" in waiting[0].faults or answered(waiting[0]) <= entry.at):
                found.append((waiting.popleft(), entry))
            if has_failed(entry) and (entry.key is None or tries[entry.key] == 1):
                waiting.append(entry)
        return found

    @cached_property
    def hindrances(self) -> tuple[list[float], list[float]]:
        """When each thing came that may have kept a client from a job; until when one up to it did."""
        slow = [entry for entry in self.entries if entry.faults and entry.took >= SLOW]
        found = sorted(self.general + slow, key=AT)
        return [entry.at for entry in found], list(accumulate(map(answered, found), max))

    def is_late(self, trail: Trail) -> bool:
        """Whether a client could have known of the end sooner: it was told to come, or waited too long at a time."""
        if trail.ended is None or not trail.learned:
            return False
        before, entry = (step.entry for step in trail.steps[trail.learned - 1 : trail.learned + 1])
        if before.hint is None:
            first = trail.steps[0].entry
            allowed = max(LATE_UNHINTED, LATE_PART * max(entry.at - first.at, entry.moment - first.moment))
        else:
            allowed = LATE_HINTED + LATE_PART * before.hint
        if entry.at - max(trail.ended, due(before)) <= allowed or is_spoiled(before):
            return False
        if not LATE.issuperset(before.faults + entry.faults):
            return False
        came, until = self.hindrances
        last = bisect_right(came, entry.at)
        return not last or until[last - 1] < before.at

    def is_uncollected(self, trail: Trail) -> bool:
        """Whether a job has ended, not only just now, and nothing told it."""
        return trail.ended is not None and trail.learned is None and self.newest - trail.ended > UNCOLLECTED

    def is_abandoned(self, trail: Trail) -> bool:
        """Whether nobody will come for a job that ended, and not because the client was kept from it."""
        steps = [step.entry for step in trail.steps]
        first, last = steps[0], steps[-1]
        patience = LATE_PART * (last.at - first.at) if math.isinf(due(last)) else 0.0
        waits = max(answered(last) + patience, due(last)) + UNCOLLECTED >= self.newest
        if waits or not self.is_uncollected(trail) or "huge-retry-after" in last.faults:
            return False
        good = next((entry for entry in reversed(steps) if not is_spoiled(entry)), first)
        others = bisect_left(self.general, good.at, key=AT)
        tries = [entry for entry in steps if entry.at >= good.at and is_spoiled(entry)]
        tries += self.general[others : others + ENOUGH_TRIES]
        return len(tries) < ENOUGH_TRIES and all(has_failed(entry) and "hang" not in entry.faults for entry in tries)

    def _early(self, trail: Trail) -> Iterator[Step]:
        for before, step in trail.looks:
            if (
                before is None
                or (step.entry.wait and before.status not in REFUSED)
                or not is_sooner(before, step.entry)
            ):
                continue
            if bisect_left(self.general, before.at, key=AT) == bisect_right(self.general, step.entry.at, key=AT):
                yield step

    def _of_all_jobs(self, find: Callable[[Trail], Iterator[Step]]) -> dict[str, list[Step]]:
        """Without the looks at many jobs that are found for some of them only."""
        found = [(job_id, step) for job_id, trail in self.trails.items() for step in find(trail)]
        votes = Counter(step.number for _, step in found)
        told = {step.number: step.entry.jobs for _, step in found}
        agreed = {number for number, jobs in told.items() if votes[number] >= len({one.job_id for one in jobs})}
        kept: defaultdict[str, list[Step]] = defaultdict(list)
        for job_id, step in found:
            if step.number in agreed:
                kept[job_id].append(step)
        return kept


def open_case(journal: Sequence[Entry], ended: Mapping[str, float], refused: int = 0) -> Case:
    """The case of a journal.

    Args:
        journal: its entries.
        ended: when jobs ended, beyond what the journal tells of it.
        refused: how many requests were refused for their credentials, beyond what the journal tells of it.
    """
    entries = sorted(journal, key=AT)
    news = [told for entry in entries for told in entry.jobs]
    ends = {end.job_id: end.ended_at for end in news if end.ended_at is not None and end.state is not State.CANCELLED}
    ends |= ended
    known = ends.keys() | {told.job_id for told in news}
    trails: dict[str, Trail] = {}
    chains: defaultdict[Thing, list[Entry]] = defaultdict(list)
    general = []
    for number, entry in enumerate(entries):
        named = next((part for part in reversed(entry.path.split("/")) if part in known), None)
        jobs: dict[str, Told | None] = {} if named is None else {named: None}
        for job_id, told in (jobs | {told.job_id: told for told in entry.jobs}).items():
            trails.setdefault(job_id, Trail(job_id, ends.get(job_id), [])).steps.append(Step(number, entry, told))
        if named is None and entry.action != "submit" and is_spoiled(entry):
            general.append(entry)
        if thing := _thing(entry, named):
            chains[thing].append(entry)
    denied = refused + sum(entry.refused + is_denied(entry) for entry in entries)
    return Case(entries, trails, chains, general, max(map(answered, entries), default=0.0), denied)


def _thing(entry: Entry, named: str | None) -> Thing | None:
    """What a request asks for, if it can be asked for again."""
    if entry.action == "submit":
        by, name = ("digest", entry.digest) if entry.key is None else ("key", entry.key)
    elif entry.action == "cancel" or named is None:
        by, name = "cancel" if entry.action == "cancel" else "path", entry.path
    else:
        by, name = "job", named
    return None if name is None or entry.action in {None, "event"} else Thing(by, name, entry.agent)


def answered(entry: Entry) -> float:
    """When its answer was there."""
    return entry.at + entry.took


def has_failed(entry: Entry) -> bool:
    """Whether there was no answer, or one that says to try again."""
    silent = entry.status == 0 and entry.action != "event"
    return silent or not BROKEN.isdisjoint(entry.faults) or entry.status in REFUSED or entry.status >= SERVER_ERROR


def is_spoiled(entry: Entry) -> bool:
    """Whether it told its client nothing that is so."""
    return has_failed(entry) or not TRUE.issuperset(entry.faults)


def is_denied(entry: Entry) -> bool:
    """Whether its credentials were not right."""
    return entry.status in DENIED and not entry.faults


def due(entry: Entry) -> float:
    """When its client was told to come back, as far as that binds; else long ago."""
    spoiled = entry.status not in REFUSED and is_spoiled(entry)
    if entry.hint is None or entry.hint > LONGEST_HINT or spoiled or "huge-retry-after" in entry.faults:
        return -math.inf
    return answered(entry) + entry.hint


def is_sooner(before: Entry, entry: Entry) -> bool:
    """Whether a request came sooner than the answer before allowed."""
    return answered(before) <= entry.at < due(before) - EARLY_PART * (before.hint or 0.0) - EARLY


def _is_retry(failure: Entry, entry: Entry) -> bool:
    return has_failed(failure) and (entry.action != "submit" or entry.at - answered(failure) <= SAME_SUBMIT)


def _after_end(trail: Trail) -> Iterator[Step]:
    """The looks at a job after its program was told its end by a look, and nothing else since."""
    told_at: dict[str | None, float] = {}
    for _, step in trail.looks:
        entry = step.entry
        if not step.is_end or is_spoiled(entry):
            told_at.pop(entry.agent, None)
        elif entry.at > told_at.setdefault(entry.agent, answered(entry)):
            yield step


def _runs(chain: list[Entry]) -> Iterator[list[float]]:
    """The gaps of retries in a row; without those that the server had asked for, and where a client hung up first."""
    run: list[float] = []
    for failure, entry in pairwise(chain):
        gap = entry.at - answered(failure)
        if not _is_retry(failure, entry) or gap < 0 or "hang" in failure.faults:
            yield run
            run = []
        elif math.isinf(due(failure)) or is_sooner(failure, entry):
            run.append(gap)
    yield run
