"""The analysis of a request log: the timeline of each job, and the tries of each logical request.

A client is judged by what it was told. An answer that a fault spoiled told it nothing, and the client is not to blame
for what a fault kept it from doing.

Theory of operation: the records are put in the order of their times. Each job has a timeline: the requests about it,
and what their answers said of it. Each logical request, which a program may retry, has its tries. Times are wall time
in seconds since the epoch, durations are seconds.
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

DELAYED = frozenset({"latency", "drip"})
"""The faults after which the answer only comes later."""

TRUTHFUL = DELAYED | {"huge-retry-after"}
"""The faults after which the answer still says how its jobs stand."""

MAX_BINDING_HINT = 3600.0
"""Hints over this many seconds bind no client."""

TOLERANCE, TOLERANCE_SECONDS = 0.1, 0.05
"""The share of a hint, and the seconds on top, by which a poll may come sooner."""

LATE_AFTER_HINT, LATE_WITHOUT_HINT, LATE_SHARE = 2.0, 5.0, 0.5
"""The seconds by which a client may be late, and the share: of its hint or, without one, of the job's age."""

COLLECT_WITHIN = 2.0
"""The seconds after its end within which a job need not be collected yet."""

ENOUGH_TRIES = 3
"""After this many failures in a row a client may give up."""

SLOW = 1.0
"""A faulty request that took this many seconds may have kept its client from others."""

MIN_RUN = 3
"""This many retries in a row make a run."""

SAME_SUBMIT = 60.0
"""The seconds within which an equal submission counts as a retry."""

AT = attrgetter("at")


class Step(NamedTuple):
    """A request on the timeline of a job: its number, its record, and what its answer said of the job."""

    number: int
    record: RequestRecord
    job: ReportedJob | None

    @property
    def is_end(self) -> bool:
        """Whether the answer said that the job had ended."""
        return self.job is not None and self.job.state is not State.PENDING


@dataclass(frozen=True)
class Timeline:
    """The requests about a job, the oldest first, and when the job ended, if that is known."""

    job_id: str
    ended: float | None
    steps: list[Step]

    @cached_property
    def polls(self) -> list[tuple[RequestRecord | None, Step]]:
        """Each poll of the job, and the last request of the same program about the job before it."""
        last: dict[str | None, RequestRecord] = {}
        polls = []
        for step in self.steps:
            if step.record.action in POLLS:
                polls.append((last.get(step.record.agent), step))
            last[step.record.agent] = step.record
        return polls

    @cached_property
    def learned(self) -> int | None:
        """The index of the first step whose answer showed the end."""
        return next((index for index, step in enumerate(self.steps) if step.is_end), None)

    @property
    def lateness(self) -> float | None:
        """The seconds from the job's end to the answer that showed it, if both are known."""
        if self.ended is None or self.learned is None:
            return None
        return max(0.0, answered(self.steps[self.learned].record) - self.ended)


class LogicalRequest(NamedTuple):
    """What a program asks for, in one try or several: by which kind of name, the name, and the program."""

    by: str
    name: str
    agent: str | None


@dataclass(frozen=True)
class Analysis:
    """A request log in order.

    Attributes:
        records: All records, the oldest first.
        timelines: The timeline of each job, by its id.
        tries: The tries of each logical request.
        spoiled: The records of spoiled answers that name no job.
        newest: When the last answer was sent.
        denied: The number of requests with wrong credentials, or without.
    """

    records: list[RequestRecord]
    timelines: dict[str, Timeline]
    tries: dict[LogicalRequest, list[RequestRecord]]
    spoiled: list[RequestRecord]
    newest: float
    denied: int

    @cached_property
    def submits(self) -> list[RequestRecord]:
        """The submissions."""
        return [record for record in self.records if record.action == "submit"]

    @cached_property
    def early(self) -> dict[str, list[Step]]:
        """The polls of each job that came sooner than the server had asked for."""
        return self._of_all_jobs(self._early)

    @cached_property
    def after_end(self) -> dict[str, list[Step]]:
        """The polls of each job that came after an answer had shown the end to the client."""
        return self._of_all_jobs(_after_end)

    @cached_property
    def retries(self) -> list[tuple[RequestRecord, RequestRecord]]:
        """Each failure, with the request that retried it."""
        return [pair for tries in self.tries.values() for pair in pairwise(tries) if _is_retry(*pair)]

    @cached_property
    def runs(self) -> list[tuple[LogicalRequest, list[float]]]:
        """The pauses of each run of retries that the client timed by itself."""
        return [(request, run) for request, tries in self.tries.items() for run in _runs(tries) if len(run) >= MIN_RUN]

    @cached_property
    def duplicates(self) -> list[tuple[RequestRecord, RequestRecord]]:
        """Each submission whose answer was lost, with an equal one that came as another.

        A submission that the server or a fault refused made no job. A program that retried with the same key is not
        blamed for another job with another key.
        """
        found = []
        tries = Counter(record.key for record in self.submits)
        lost: defaultdict[str, deque[RequestRecord]] = defaultdict(deque)
        keys: set[str | None] = set()
        for record in self.submits:
            if BAD_REQUEST <= record.status < SERVER_ERROR or "status" in record.faults or record.digest is None:
                continue
            is_new = record.key is None or record.key not in keys
            keys.add(record.key)
            waiting = lost[record.digest]
            while waiting and answered(waiting[0]) + SAME_SUBMIT < record.at:
                waiting.popleft()
            if is_new and waiting and ("hang" in waiting[0].faults or answered(waiting[0]) <= record.at):
                found.append((waiting.popleft(), record))
            if has_failed(record) and (record.key is None or tries[record.key] == 1):
                waiting.append(record)
        return found

    @cached_property
    def hindrances(self) -> tuple[list[float], list[float]]:
        """The times of requests that may have kept a client from a job, and until when any of them up to each did."""
        slow = [record for record in self.records if record.faults and record.took >= SLOW]
        found = sorted(self.spoiled + slow, key=AT)
        return [record.at for record in found], list(accumulate(map(answered, found), max))

    def is_late(self, timeline: Timeline) -> bool:
        """Whether the client could have learned the end sooner: it ignored a hint, or paused for too long."""
        if timeline.ended is None or not timeline.learned:
            return False
        before, record = (step.record for step in timeline.steps[timeline.learned - 1 : timeline.learned + 1])
        if before.hint is None:
            first = timeline.steps[0].record
            allowed = max(
                LATE_WITHOUT_HINT, LATE_SHARE * max(record.at - first.at, record.virtual_at - first.virtual_at)
            )
        else:
            allowed = LATE_AFTER_HINT + LATE_SHARE * before.hint
        if record.at - max(timeline.ended, due(before)) <= allowed or is_spoiled(before):
            return False
        if not DELAYED.issuperset(before.faults + record.faults):
            return False
        times, until = self.hindrances
        last = bisect_right(times, record.at)
        return not last or until[last - 1] < before.at

    def is_uncollected(self, timeline: Timeline) -> bool:
        """Whether a job has ended some time ago, and no answer has shown it."""
        return timeline.ended is not None and timeline.learned is None and self.newest - timeline.ended > COLLECT_WITHIN

    def is_abandoned(self, timeline: Timeline) -> bool:
        """Whether the client gave up a job that ended, although no fault kept it from polling."""
        steps = [step.record for step in timeline.steps]
        first, last = steps[0], steps[-1]
        patience = LATE_SHARE * (last.at - first.at) if math.isinf(due(last)) else 0.0
        may_come = max(answered(last) + patience, due(last)) + COLLECT_WITHIN >= self.newest
        if may_come or not self.is_uncollected(timeline) or "huge-retry-after" in last.faults:
            return False
        good = next((record for record in reversed(steps) if not is_spoiled(record)), first)
        start = bisect_left(self.spoiled, good.at, key=AT)
        tries = [record for record in steps if record.at >= good.at and is_spoiled(record)]
        tries += self.spoiled[start : start + ENOUGH_TRIES]
        return len(tries) < ENOUGH_TRIES and all(has_failed(record) and "hang" not in record.faults for record in tries)

    def _early(self, timeline: Timeline) -> Iterator[Step]:
        for before, step in timeline.polls:
            if (
                before is None
                or (step.record.wait and before.status not in REFUSED)
                or not is_sooner(before, step.record)
            ):
                continue
            if bisect_left(self.spoiled, before.at, key=AT) == bisect_right(self.spoiled, step.record.at, key=AT):
                yield step

    def _of_all_jobs(self, find: Callable[[Timeline], Iterator[Step]]) -> dict[str, list[Step]]:
        """Returns the steps found for each job; a batch poll has to be found for all of its jobs."""
        found = [(job_id, step) for job_id, timeline in self.timelines.items() for step in find(timeline)]
        votes = Counter(step.number for _, step in found)
        jobs = {step.number: {job.job_id for job in step.record.jobs} for _, step in found}
        agreed = {number for number, ids in jobs.items() if votes[number] >= len(ids)}
        steps_by_job: defaultdict[str, list[Step]] = defaultdict(list)
        for job_id, step in found:
            if step.number in agreed:
                steps_by_job[job_id].append(step)
        return steps_by_job


def analyze(request_log: Sequence[RequestRecord], ended: Mapping[str, float], refused: int = 0) -> Analysis:
    """Returns the analysis of a request log.

    Args:
        request_log: the records.
        ended: when jobs ended, by their ids, beyond what the records say.
        refused: the number of requests that were refused for their credentials, beyond what the records say.
    """
    records = sorted(request_log, key=AT)
    jobs = [job for record in records for job in record.jobs]
    ends = {job.job_id: job.ended_at for job in jobs if job.ended_at is not None and job.state is not State.CANCELLED}
    ends |= ended
    known = ends.keys() | {job.job_id for job in jobs}
    timelines: dict[str, Timeline] = {}
    tries: defaultdict[LogicalRequest, list[RequestRecord]] = defaultdict(list)
    spoiled = []
    for number, record in enumerate(records):
        named = next((part for part in reversed(record.path.split("/")) if part in known), None)
        concerned: dict[str, ReportedJob | None] = {} if named is None else {named: None}
        for job_id, job in (concerned | {job.job_id: job for job in record.jobs}).items():
            timelines.setdefault(job_id, Timeline(job_id, ends.get(job_id), [])).steps.append(Step(number, record, job))
        if named is None and record.action != "submit" and is_spoiled(record):
            spoiled.append(record)
        if request := _logical_request(record, named):
            tries[request].append(record)
    denied = refused + sum(record.refused + is_denied(record) for record in records)
    return Analysis(records, timelines, tries, spoiled, max(map(answered, records), default=0.0), denied)


def _logical_request(record: RequestRecord, named: str | None) -> LogicalRequest | None:
    """Returns the logical request that a record is a try of, if it can be retried."""
    if record.action == "submit":
        by, name = ("digest", record.digest) if record.key is None else ("key", record.key)
    elif record.action == "cancel" or named is None:
        by, name = "cancel" if record.action == "cancel" else "path", record.path
    else:
        by, name = "job", named
    return None if name is None or record.action in {None, "event"} else LogicalRequest(by, name, record.agent)


def answered(record: RequestRecord) -> float:
    """Returns when a request was answered."""
    return record.at + record.took


def has_failed(record: RequestRecord) -> bool:
    """Whether there was no answer, or one that says to try again."""
    unanswered = record.status == 0 and record.action != "event"
    return (
        unanswered or not BROKEN.isdisjoint(record.faults) or record.status in REFUSED or record.status >= SERVER_ERROR
    )


def is_spoiled(record: RequestRecord) -> bool:
    """Whether the answer told its client nothing true."""
    return has_failed(record) or not TRUTHFUL.issuperset(record.faults)


def is_denied(record: RequestRecord) -> bool:
    """Whether the server refused the credentials, and not a fault."""
    return record.status in DENIED and not record.faults


def due(record: RequestRecord) -> float:
    """Returns when the client should come back, and -infinity if the answer binds it to no time."""
    spoiled = record.status not in REFUSED and is_spoiled(record)
    if record.hint is None or record.hint > MAX_BINDING_HINT or spoiled or "huge-retry-after" in record.faults:
        return -math.inf
    return answered(record) + record.hint


def is_sooner(before: RequestRecord, record: RequestRecord) -> bool:
    """Whether a request came sooner than the answer before it allowed."""
    earliest = due(before) - TOLERANCE * (before.hint or 0.0) - TOLERANCE_SECONDS
    return answered(before) <= record.at < earliest


def _is_retry(failure: RequestRecord, record: RequestRecord) -> bool:
    return has_failed(failure) and (record.action != "submit" or record.at - answered(failure) <= SAME_SUBMIT)


def _after_end(timeline: Timeline) -> Iterator[Step]:
    """Yields the polls after a poll that showed the end to the same program, and no other answer since."""
    learned_at: dict[str | None, float] = {}
    for _, step in timeline.polls:
        record = step.record
        if not step.is_end or is_spoiled(record):
            learned_at.pop(record.agent, None)
        elif record.at > learned_at.setdefault(record.agent, answered(record)):
            yield step


def _runs(tries: list[RequestRecord]) -> Iterator[list[float]]:
    """Yields the pauses of retries in a row, without those that the server asked for and those after a hang."""
    run: list[float] = []
    for failure, record in pairwise(tries):
        pause = record.at - answered(failure)
        if not _is_retry(failure, record) or pause < 0 or "hang" in failure.faults:
            yield run
            run = []
        elif math.isinf(due(failure)) or is_sooner(failure, record):
            run.append(pause)
    yield run
