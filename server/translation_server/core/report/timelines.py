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
from translation_server.core.request_log import ReportedJob, RequestRecord

POLLS = frozenset({"poll", "batch_poll"})
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
    record: RequestRecord
    told: ReportedJob | None

    @property
    def is_end(self) -> bool:
        """Whether it told that the job had ended."""
        return self.told is not None and self.told.state is not State.PENDING


@dataclass(frozen=True)
class Timeline:
    """What was asked and told of a job, the oldest first, and when it ended, if that is known."""

    job_id: str
    ended: float | None
    steps: list[Step]

    @cached_property
    def polls(self) -> list[tuple[RequestRecord | None, Step]]:
        """Each look at the job, with what the same program did about the job before."""
        last: dict[str | None, RequestRecord] = {}
        polls = []
        for step in self.steps:
            if step.record.action in POLLS:
                polls.append((last.get(step.record.agent), step))
            last[step.record.agent] = step.record
        return polls

    @cached_property
    def learned(self) -> int | None:
        """Which step told the end first."""
        return next((number for number, step in enumerate(self.steps) if step.is_end), None)

    @property
    def lateness(self) -> float | None:
        """The seconds from the job's end to the answer that told it, if both are known."""
        if self.ended is None or self.learned is None:
            return None
        return max(0.0, answered(self.steps[self.learned].record) - self.ended)


class LogicalRequest(NamedTuple):
    """What a program asks for, if it can ask again: by which of its names, and who asks."""

    by: str
    name: str
    agent: str | None


@dataclass(frozen=True)
class Analysis:
    """The journal in its order.

    ``general`` are the spoiled answers that name no job, ``denied`` the requests with wrong credentials, or with none.
    """

    records: list[RequestRecord]
    timelines: dict[str, Timeline]
    tries: dict[LogicalRequest, list[RequestRecord]]
    general: list[RequestRecord]
    newest: float
    denied: int

    @cached_property
    def submits(self) -> list[RequestRecord]:
        """The submissions."""
        return [record for record in self.records if record.action == "submit"]

    @cached_property
    def early(self) -> dict[str, list[Step]]:
        """The looks at each job that came sooner than its client had been told to."""
        return self._of_all_jobs(self._early)

    @cached_property
    def after_end(self) -> dict[str, list[Step]]:
        """The looks at each job that came after its client had been told the end."""
        return self._of_all_jobs(_after_end)

    @cached_property
    def retries(self) -> list[tuple[RequestRecord, RequestRecord]]:
        """Each failure, with the request that tried again."""
        return [pair for tries_of_one in self.tries.values() for pair in pairwise(tries_of_one) if _is_retry(*pair)]

    @cached_property
    def runs(self) -> list[tuple[LogicalRequest, list[float]]]:
        """The gaps of retries in a row that followed a plan of the client's own."""
        return [
            (logical_request, run)
            for logical_request, tries_of_one in self.tries.items()
            for run in _runs(tries_of_one)
            if len(run) >= RUN
        ]

    @cached_property
    def duplicates(self) -> list[tuple[RequestRecord, RequestRecord]]:
        """Each submission whose answer was lost, with the one that did the same again as another.

        One that was refused made no job, whether by the server or by a fault in its place.
        Who tried again with the same key is not asked about another job under another key.
        """
        found = []
        tries = Counter(record.key for record in self.submits)
        lost: defaultdict[str, deque[RequestRecord]] = defaultdict(deque)
        keys: set[str | None] = set()
        for record in self.submits:
            if BAD_REQUEST <= record.status < SERVER_ERROR or "status" in record.faults or record.digest is None:
                continue
            new = record.key is None or record.key not in keys
            keys.add(record.key)
            waiting = lost[record.digest]
            while waiting and answered(waiting[0]) + SAME_SUBMIT < record.at:
                waiting.popleft()
            if new and waiting and ("hang" in waiting[0].faults or answered(waiting[0]) <= record.at):
                found.append((waiting.popleft(), record))
            if has_failed(record) and (record.key is None or tries[record.key] == 1):
                waiting.append(record)
        return found

    @cached_property
    def hindrances(self) -> tuple[list[float], list[float]]:
        """When each thing came that may have kept a client from a job; until when one up to it did."""
        slow = [record for record in self.records if record.faults and record.took >= SLOW]
        found = sorted(self.general + slow, key=AT)
        return [record.at for record in found], list(accumulate(map(answered, found), max))

    def is_late(self, timeline: Timeline) -> bool:
        """Whether a client could have known of the end sooner: it was told to come, or waited too long at a time."""
        if timeline.ended is None or not timeline.learned:
            return False
        before, record = (step.record for step in timeline.steps[timeline.learned - 1 : timeline.learned + 1])
        if before.hint is None:
            first = timeline.steps[0].record
            allowed = max(LATE_UNHINTED, LATE_PART * max(record.at - first.at, record.moment - first.moment))
        else:
            allowed = LATE_HINTED + LATE_PART * before.hint
        if record.at - max(timeline.ended, due(before)) <= allowed or is_spoiled(before):
            return False
        if not LATE.issuperset(before.faults + record.faults):
            return False
        came, until = self.hindrances
        last = bisect_right(came, record.at)
        return not last or until[last - 1] < before.at

    def is_uncollected(self, timeline: Timeline) -> bool:
        """Whether a job has ended, not only just now, and nothing told it."""
        return timeline.ended is not None and timeline.learned is None and self.newest - timeline.ended > UNCOLLECTED

    def is_abandoned(self, timeline: Timeline) -> bool:
        """Whether nobody will come for a job that ended, and not because the client was kept from it."""
        steps = [step.record for step in timeline.steps]
        first, last = steps[0], steps[-1]
        patience = LATE_PART * (last.at - first.at) if math.isinf(due(last)) else 0.0
        waits = max(answered(last) + patience, due(last)) + UNCOLLECTED >= self.newest
        if waits or not self.is_uncollected(timeline) or "huge-retry-after" in last.faults:
            return False
        good = next((record for record in reversed(steps) if not is_spoiled(record)), first)
        others = bisect_left(self.general, good.at, key=AT)
        tries = [record for record in steps if record.at >= good.at and is_spoiled(record)]
        tries += self.general[others : others + ENOUGH_TRIES]
        return len(tries) < ENOUGH_TRIES and all(has_failed(record) and "hang" not in record.faults for record in tries)

    def _early(self, timeline: Timeline) -> Iterator[Step]:
        for before, step in timeline.polls:
            if (
                before is None
                or (step.record.wait and before.status not in REFUSED)
                or not is_sooner(before, step.record)
            ):
                continue
            if bisect_left(self.general, before.at, key=AT) == bisect_right(self.general, step.record.at, key=AT):
                yield step

    def _of_all_jobs(self, find: Callable[[Timeline], Iterator[Step]]) -> dict[str, list[Step]]:
        """Without the looks at many jobs that are found for some of them only."""
        found = [(job_id, step) for job_id, timeline in self.timelines.items() for step in find(timeline)]
        votes = Counter(step.number for _, step in found)
        told = {step.number: step.record.jobs for _, step in found}
        agreed = {number for number, jobs in told.items() if votes[number] >= len({one.job_id for one in jobs})}
        kept: defaultdict[str, list[Step]] = defaultdict(list)
        for job_id, step in found:
            if step.number in agreed:
                kept[job_id].append(step)
        return kept


def analyze(request_log: Sequence[RequestRecord], ended: Mapping[str, float], refused: int = 0) -> Analysis:
    """The case of a journal.

    Args:
        request_log: its entries.
        ended: when jobs ended, beyond what the journal tells of it.
        refused: how many requests were refused for their credentials, beyond what the journal tells of it.
    """
    records = sorted(request_log, key=AT)
    news = [told for record in records for told in record.jobs]
    ends = {end.job_id: end.ended_at for end in news if end.ended_at is not None and end.state is not State.CANCELLED}
    ends |= ended
    known = ends.keys() | {told.job_id for told in news}
    timelines: dict[str, Timeline] = {}
    tries: defaultdict[LogicalRequest, list[RequestRecord]] = defaultdict(list)
    general = []
    for number, record in enumerate(records):
        named = next((part for part in reversed(record.path.split("/")) if part in known), None)
        jobs: dict[str, ReportedJob | None] = {} if named is None else {named: None}
        for job_id, told in (jobs | {told.job_id: told for told in record.jobs}).items():
            timelines.setdefault(job_id, Timeline(job_id, ends.get(job_id), [])).steps.append(
                Step(number, record, told)
            )
        if named is None and record.action != "submit" and is_spoiled(record):
            general.append(record)
        if logical_request := _logical_request(record, named):
            tries[logical_request].append(record)
    denied = refused + sum(record.refused + is_denied(record) for record in records)
    return Analysis(records, timelines, tries, general, max(map(answered, records), default=0.0), denied)


def _logical_request(record: RequestRecord, named: str | None) -> LogicalRequest | None:
    """What a request asks for, if it can be asked for again."""
    if record.action == "submit":
        by, name = ("digest", record.digest) if record.key is None else ("key", record.key)
    elif record.action == "cancel" or named is None:
        by, name = "cancel" if record.action == "cancel" else "path", record.path
    else:
        by, name = "job", named
    return None if name is None or record.action in {None, "event"} else LogicalRequest(by, name, record.agent)


def answered(record: RequestRecord) -> float:
    """When its answer was there."""
    return record.at + record.took


def has_failed(record: RequestRecord) -> bool:
    """Whether there was no answer, or one that says to try again."""
    silent = record.status == 0 and record.action != "event"
    return silent or not BROKEN.isdisjoint(record.faults) or record.status in REFUSED or record.status >= SERVER_ERROR


def is_spoiled(record: RequestRecord) -> bool:
    """Whether it told its client nothing that is so."""
    return has_failed(record) or not TRUE.issuperset(record.faults)


def is_denied(record: RequestRecord) -> bool:
    """Whether its credentials were not right."""
    return record.status in DENIED and not record.faults


def due(record: RequestRecord) -> float:
    """When its client was told to come back, as far as that binds; else long ago."""
    spoiled = record.status not in REFUSED and is_spoiled(record)
    if record.hint is None or record.hint > LONGEST_HINT or spoiled or "huge-retry-after" in record.faults:
        return -math.inf
    return answered(record) + record.hint


def is_sooner(before: RequestRecord, record: RequestRecord) -> bool:
    """Whether a request came sooner than the answer before allowed."""
    return answered(before) <= record.at < due(before) - EARLY_PART * (before.hint or 0.0) - EARLY


def _is_retry(failure: RequestRecord, record: RequestRecord) -> bool:
    return has_failed(failure) and (record.action != "submit" or record.at - answered(failure) <= SAME_SUBMIT)


def _after_end(timeline: Timeline) -> Iterator[Step]:
    """The looks at a job after its program was told its end by a look, and nothing else since."""
    told_at: dict[str | None, float] = {}
    for _, step in timeline.polls:
        record = step.record
        if not step.is_end or is_spoiled(record):
            told_at.pop(record.agent, None)
        elif record.at > told_at.setdefault(record.agent, answered(record)):
            yield step


def _runs(tries_of_one: list[RequestRecord]) -> Iterator[list[float]]:
    """The gaps of retries in a row; without those that the server had asked for, and where a client hung up first."""
    run: list[float] = []
    for failure, record in pairwise(tries_of_one):
        gap = record.at - answered(failure)
        if not _is_retry(failure, record) or gap < 0 or "hang" in failure.faults:
            yield run
            run = []
        elif math.isinf(due(failure)) or is_sooner(failure, record):
            run.append(gap)
    yield run
