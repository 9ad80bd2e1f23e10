"""The analysis of a request log: the timeline of each job, and the tries of each logical request.

The analysis judges a client only by the information that it received (`answers`), and does not blame it for the effects
of faults.

Theory of operation: the records are sorted by time. Each job has a timeline: the requests about it, and the status in
each answer. A logical request is what a program wants to achieve; its tries are the requests that it sends for that.
Times are wall time in seconds since the epoch, durations are seconds.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise, zip_longest
from operator import attrgetter
from typing import NamedTuple

from translation_server.core.job import NATIVE, State
from translation_server.core.report.answers import (
    DELAYED,
    REFUSED,
    answered_at,
    due,
    has_failed,
    is_denied,
    is_refused,
    is_too_early,
    is_unusable,
)
from translation_server.core.report.deliveries import Received, ReportedAttempt
from translation_server.core.request_log import ReportedJob, RequestRecord

POLLS = frozenset({"poll", "batch_poll"})
LATE_AFTER_HINT, LATE_WITHOUT_HINT, LATE_SHARE = 2.0, 5.0, 0.5
"""How late a client may be: seconds plus a share of its hint; without a hint, the larger of seconds and a share of the
job's age."""

COLLECTION_TIME = 2.0  # how many seconds after a job's end its client may take to poll the outcome
TRIES_BEFORE_GIVING_UP = 3  # a client may give up after this many failures in a row
SLOW_REQUEST = 1.0  # a request with a fault that took this many seconds may have blocked its client's other requests
MIN_RUN = 3  # the least number of retries in a row that count as a run
RESUBMIT_WINDOW = 60.0  # an equal submission within this many seconds counts as a retry
AT = attrgetter("at")


class Step(NamedTuple):
    """A request on the timeline of a job: its number, its record, and the job's status in its answer."""

    number: int
    record: RequestRecord
    job: ReportedJob | None

    @property
    def is_end(self) -> bool:
        """Whether the answer showed that the job had ended."""
        return self.job is not None and self.job.state is not State.PENDING


@dataclass(frozen=True)
class Timeline:
    """The requests about a job, the oldest first, and when the job ended, if that is known."""

    job_id: str
    ended: float | None
    steps: list[Step]

    @cached_property
    def polls(self) -> list[tuple[RequestRecord | None, Step]]:
        """Each poll of the job, with the same program's previous request about the job."""
        last: dict[str | None, RequestRecord] = {}
        polls = []
        for step in self.steps:
            if step.record.action in POLLS:
                polls.append((last.get(step.record.agent), step))
            last[step.record.agent] = step.record
        return polls

    @cached_property
    def end_index(self) -> int | None:
        """The index of the first step whose answer showed the end."""
        return next((index for index, step in enumerate(self.steps) if step.is_end), None)

    @property
    def is_native(self) -> bool:
        """Whether the job is one of the native API, which has long polls."""
        return all(step.job is None or step.job.kind is None for step in self.steps)

    @property
    def lateness(self) -> float | None:
        """The seconds from the job's end to the answer that showed it; None if either is unknown."""
        if self.ended is None or self.end_index is None:
            return None
        return max(0.0, answered_at(self.steps[self.end_index].record) - self.ended)


class LogicalRequest(NamedTuple):
    """The identity of a logical request, which all its tries share."""

    kind: str  # the kind of the value that the tries share: job, key, digest, path or cancel
    value: str  # the job's id, the idempotency key, the digest of the submission, or the path
    agent: str | None  # the program that sent them


@dataclass(frozen=True)
class Analysis:
    """A request log, sorted and grouped."""

    records: list[RequestRecord]
    timelines: dict[str, Timeline]  # the timeline of each job, by its id
    tries: dict[LogicalRequest, list[RequestRecord]]  # the tries of each logical request
    unusable: list[
        RequestRecord
    ]  # the records of unusable answers to requests other than submissions, for no known job
    newest: float  # when the last answer was sent
    denied: int  # the number of requests with wrong credentials, or without
    received: Received  # what the receiver of webhooks got

    @cached_property
    def submits(self) -> list[RequestRecord]:
        """The submissions."""
        return [record for record in self.records if record.action == "submit"]

    @cached_property
    def early(self) -> dict[str, list[Step]]:
        """The polls of each job that came earlier than the hint before them.

        One per job is tolerated, since a client polls a last time at its deadline. The first of several polls is not
        tolerated, since it was not the last one. A wait that is resumed begins with a long poll or an event stream; the
        poll before it was the last one of the wait before, and does not count. Nor does the first poll
        after the opening of an event stream: it asks for what happened before the stream.
        """
        polls = {job_id: [step for _, step in timeline.polls] for job_id, timeline in self.timelines.items()}
        return {
            job_id: steps
            for job_id, steps in self._of_all_jobs(self._early).items()
            if len(steps) > 1 or (steps == polls[job_id][:1] != polls[job_id])
        }

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
        """The pauses of each run of retries, without pauses that a hint set."""
        return [(request, run) for request, tries in self.tries.items() for run in _runs(tries) if len(run) >= MIN_RUN]

    @cached_property
    def duplicates(self) -> list[tuple[RequestRecord, RequestRecord]]:
        """Pairs of equal submissions: the answer to the first was lost, and the second started another job.

        Refused submissions do not count, since they start no job. Neither do submissions that the client retried with
        the same idempotency key: a later one with another key is meant as another job.
        """
        found = []
        tries = Counter(record.key for record in self.submits)
        lost: defaultdict[str, deque[RequestRecord]] = defaultdict(deque)
        keys: set[str | None] = set()
        for record in self.submits:
            if is_refused(record) or record.digest is None:
                continue
            is_new = record.key is None or record.key not in keys
            keys.add(record.key)
            waiting = lost[record.digest]
            while waiting and answered_at(waiting[0]) + RESUBMIT_WINDOW < record.at:
                waiting.popleft()
            if is_new and waiting and ("hang" in waiting[0].faults or answered_at(waiting[0]) <= record.at):
                found.append((waiting.popleft(), record))
            if has_failed(record) and (record.key is None or tries[record.key] == 1):
                waiting.append(record)
        return found

    @cached_property
    def disruptions(self) -> tuple[list[float], list[float]]:
        """The start of each request that may have blocked its client, and the latest end of it and all before it."""
        slow = [record for record in self.records if record.faults and record.took >= SLOW_REQUEST]
        found = sorted(self.unusable + slow, key=AT)
        return [record.at for record in found], list(accumulate(map(answered_at, found), max))

    def is_late(self, timeline: Timeline) -> bool:
        """Whether the client learned the end too late because it ignored a hint or paused for too long."""
        if timeline.ended is None or not timeline.end_index or timeline.job_id in self.received.hindered:
            return False
        before, record = (step.record for step in timeline.steps[timeline.end_index - 1 : timeline.end_index + 1])
        if before.hint is None:
            first = timeline.steps[0].record
            age = max(record.at - first.at, record.virtual_at - first.virtual_at)
            allowed = max(LATE_WITHOUT_HINT, LATE_SHARE * age)
        else:
            allowed = LATE_AFTER_HINT + LATE_SHARE * before.hint
        if record.at - max(timeline.ended, due(before)) <= allowed or is_unusable(before):
            return False
        if not DELAYED.issuperset(before.faults + record.faults):
            return False
        times, until = self.disruptions
        last = bisect_right(times, record.at)
        return not last or until[last - 1] < before.at

    def is_uncollected(self, timeline: Timeline) -> bool:
        """Whether a job ended more than `COLLECTION_TIME` ago, and no answer has shown it."""
        if timeline.ended is None or timeline.end_index is not None or self._is_for_receiver(timeline):
            return False
        return self.newest - timeline.ended > COLLECTION_TIME

    def _is_for_receiver(self, timeline: Timeline) -> bool:
        """Whether the receiver of webhooks has accepted the job's end, or a fault kept it away."""
        return timeline.job_id in self.received.accepted_at or timeline.job_id in self.received.hindered

    def is_abandoned(self, timeline: Timeline) -> bool:
        """Whether the client stopped polling before it learned the end, although no fault prevented it."""
        steps = [step.record for step in timeline.steps]
        first, last = steps[0], steps[-1]
        patience = LATE_SHARE * (last.at - first.at) if math.isinf(due(last)) else 0.0
        may_come = max(answered_at(last) + patience, due(last)) + COLLECTION_TIME >= self.newest
        if may_come or not self.is_uncollected(timeline) or "huge-retry-after" in last.faults:
            return False
        good = next((record for record in reversed(steps) if not is_unusable(record)), first)
        start = bisect_left(self.unusable, good.at, key=AT)
        tries = [record for record in steps if record.at >= good.at and is_unusable(record)]
        tries += self.unusable[start : start + TRIES_BEFORE_GIVING_UP]
        failed = all(has_failed(record) and "hang" not in record.faults for record in tries)
        return len(tries) < TRIES_BEFORE_GIVING_UP and failed

    def _early(self, timeline: Timeline) -> Iterator[Step]:
        following = [step for _, step in timeline.polls[1:]]
        for (before, step), after in zip_longest(timeline.polls, following):
            if before is None or not is_too_early(before, step.record):
                continue
            if after and self._is_resumed(step.record, after.record):
                continue
            if step.record.wait and before.status not in REFUSED:
                continue
            if self._has_opened_stream(before, step.record):
                continue
            if self.received.came_between(timeline.job_id, before.at, step.record.at):
                continue
            if bisect_left(self.unusable, before.at, key=AT) == bisect_right(self.unusable, step.record.at, key=AT):
                yield step

    def _is_resumed(self, before: RequestRecord, record: RequestRecord) -> bool:
        """Whether a poll may be the first of a wait that the same program has resumed."""
        if before.agent != record.agent or before.status in REFUSED:
            return False
        return bool(record.wait) or self._has_opened_stream(before, record)

    def _has_opened_stream(self, before: RequestRecord, record: RequestRecord) -> bool:
        """Whether the program opened an event stream in between: then the poll asks for changes before the stream."""
        opened = self._streams[record.agent]
        return bisect_left(opened, before.at) < bisect_right(opened, record.at)

    @cached_property
    def _streams(self) -> defaultdict[str | None, list[float]]:
        """The times at which each program opened event streams."""
        opened = defaultdict(list)
        for record in self.records:
            if record.action == "events" and not has_failed(record):
                opened[record.agent].append(record.at)
        return opened

    def _of_all_jobs(self, find: Callable[[Timeline], Iterator[Step]]) -> dict[str, list[Step]]:
        """Returns the found steps of each job. A batch poll counts only if it is found for all of its jobs."""
        found = [(job_id, step) for job_id, timeline in self.timelines.items() for step in find(timeline)]
        votes = Counter(step.number for _, step in found)
        jobs = {step.number: {job.job_id for job in step.record.jobs} for _, step in found}
        agreed = {number for number, ids in jobs.items() if votes[number] >= len(ids)}
        steps_by_job: defaultdict[str, list[Step]] = defaultdict(list)
        for job_id, step in found:
            if step.number in agreed:
                steps_by_job[job_id].append(step)
        return steps_by_job


def analyze(
    request_log: Sequence[RequestRecord],
    ended: Mapping[str, float],
    refused: int = 0,
    attempts: Sequence[ReportedAttempt] = (),
) -> Analysis:
    """Returns the analysis of a request log.

    ``ended`` says when jobs ended, by their ids, and overrides the records; ``refused`` is the number of requests with
    wrong credentials that the records do not include; ``attempts`` are those to deliver events.
    """
    records = sorted((record for record in request_log if record.action != "download"), key=AT)  # no part of a wait
    records = _with_unique_ids(records)
    jobs = [job for record in records for job in record.jobs]
    ends = {job.job_id: job.ended_at for job in jobs if job.ended_at is not None and job.state is not State.CANCELLED}
    ends |= ended
    known = ends.keys() | {job.job_id for job in jobs}
    segments = {job_id.count("/") + 1 for job_id in known}
    timelines: dict[str, Timeline] = {}
    tries: defaultdict[LogicalRequest, list[RequestRecord]] = defaultdict(list)
    unusable = []
    for number, record in enumerate(records):
        named = next((part for part in _last_first(record.path, segments) if part in known), None)
        concerned: dict[str, ReportedJob | None] = {} if named is None else {named: None}
        for job_id, job in (concerned | {job.job_id: job for job in record.jobs}).items():
            timelines.setdefault(job_id, Timeline(job_id, ends.get(job_id), [])).steps.append(Step(number, record, job))
        if named is None and record.action != "submit" and is_unusable(record):
            unusable.append(record)
        if request := _logical_request(record, named):
            tries[request].append(record)
    denied = refused + sum(record.refused + is_denied(record) for record in records)
    newest = max(map(answered_at, records), default=0.0)
    return Analysis(records, timelines, tries, unusable, newest, denied, Received(attempts))


def _with_unique_ids(records: list[RequestRecord]) -> list[RequestRecord]:
    """Returns the records with the kind added to each id that jobs of several kinds share, so that ids are unique."""
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        for job in record.jobs:
            kinds[job.job_id].add(job.kind or NATIVE)
    shared = {job_id for job_id, found in kinds.items() if len(found) > 1}
    if not shared:
        return records

    def unique(job: ReportedJob) -> ReportedJob:
        return replace(job, job_id=f"{job.job_id} ({job.kind or NATIVE})") if job.job_id in shared else job

    return [replace(record, jobs=tuple(map(unique, record.jobs))) for record in records]


def _last_first(path: str, lengths: set[int]) -> Iterator[str]:
    """Yields the parts of a path that have as many segments as an id may have, the last part first."""
    parts = path.split("/")
    for end in range(len(parts), 0, -1):
        for length in lengths:
            if length <= end:
                yield parts[end - 1] if length == 1 else "/".join(parts[end - length : end])


def _logical_request(record: RequestRecord, named: str | None) -> LogicalRequest | None:
    """Returns the logical request of a record; None if such a request is never retried."""
    if record.action == "submit":
        kind, value = ("digest", record.digest) if record.key is None else ("key", record.key)
    elif record.action == "cancel" or named is None:
        kind, value = "cancel" if record.action == "cancel" else "path", record.path
    else:
        kind, value = "job", named
    return None if value is None or record.action in {None, "event"} else LogicalRequest(kind, value, record.agent)


def _is_retry(failure: RequestRecord, record: RequestRecord) -> bool:
    return has_failed(failure) and (record.action != "submit" or record.at - answered_at(failure) <= RESUBMIT_WINDOW)


def _after_end(timeline: Timeline) -> Iterator[Step]:
    """Yields the polls of a program whose previous poll had shown the end already."""
    learned_at: dict[str | None, float] = {}
    for _, step in timeline.polls:
        record = step.record
        if not step.is_end or is_unusable(record):
            learned_at.pop(record.agent, None)
        elif record.at > learned_at.setdefault(record.agent, answered_at(record)):
            yield step


def _runs(tries: list[RequestRecord]) -> Iterator[list[float]]:
    """Yields the pauses of retries in a row, without pauses that a hint set and pauses after a hang."""
    run: list[float] = []
    for failure, record in pairwise(tries):
        pause = record.at - answered_at(failure)
        if not _is_retry(failure, record) or pause < 0 or "hang" in failure.faults:
            yield run
            run = []
        elif math.isinf(due(failure)) or is_too_early(failure, record):
            run.append(pause)
    yield run
