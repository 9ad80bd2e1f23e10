"""The report card of a client, from its request log: numbers, reactions to faults, and findings.

The findings say what to change. A number and a finding on the same subject are equal. Times are
wall time in seconds since the epoch, durations are seconds.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from translation_server.core.report.answers import DELAYED, TRUTHFUL, answered_at
from translation_server.core.report.deliveries import ReportedAttempt
from translation_server.core.report.findings import Finding, findings, number_of_polls, variation
from translation_server.core.report.timelines import POLLS, Analysis, Timeline, analyze
from translation_server.core.request_log import RequestRecord

NOT_MODIFIED = 304
READABLE = TRUTHFUL | {"no-details", "wrong-type"}  # the faults after which a client may have read enough to go on
MAX_GAPS = 50  # how many pauses between polls a job card lists


@dataclass(frozen=True, slots=True)
class Overall:
    """The numbers of all requests; None where there was nothing to measure.

    ``retry_variation`` is the median coefficient of variation of the pauses in runs of three or more retries: 0 without
    jitter. ``crowding`` is the number of requests in the busiest second, divided by the mean.
    """

    requests: int
    dropped: int
    submits: int
    jobs: int
    polls: int
    polls_per_job: float | None
    lateness_median: float | None
    lateness_p99: float | None
    lateness_max: float | None
    early_polls: int
    polls_after_end: int
    never_collected: int
    retries: int
    retry_variation: float | None
    busiest_second: int
    mean_second: float | None
    crowding: float | None
    keys_used: int
    keys_reused: int
    duplicate_submits: int
    credentials_errors: int
    not_modified: int
    long_polls: int
    event_streams: int
    batch_polls: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """How often a kind of fault fired, and what the client did next."""

    kind: str  # the kind of the fault
    fired: int  # how often it fired
    came_again: int  # how often the client sent the same logical request again
    again_soonest: float | None  # the shortest pause before that, in seconds
    again_median: float | None  # the median pause before that, in seconds
    gave_up: int  # how often it did not, although the answer was unusable


@dataclass(frozen=True, slots=True)
class JobCard:
    """How the client waited for one job; ``gaps`` are the pauses between its first polls."""

    job_id: str
    polls: int
    gaps: tuple[float, ...]
    lateness: float | None
    early: int
    after_end: int
    collected: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A client's report card."""

    overall: Overall
    faults: tuple[Reaction, ...]
    jobs: tuple[JobCard, ...]
    findings: tuple[Finding, ...]


def report(
    records: Sequence[RequestRecord],
    ended: Mapping[str, float],
    dropped: int = 0,
    refused: int = 0,
    attempts: Sequence[ReportedAttempt] = (),
) -> Report:
    """Returns a client's report card.

    Args:
        records: The request log, the oldest record first.
        ended: When the submitted jobs ended, by their ids; without the cancelled ones.
        dropped: How many older records the request log no longer has.
        refused: How many requests were refused for their credentials, besides those that the records count.
        attempts: The attempts to deliver events of the jobs.
    """
    analysis = analyze(records, ended, refused, attempts)
    jobs = tuple(_job_card(analysis, timeline) for timeline in analysis.timelines.values())
    return Report(_overall(analysis, dropped), _reactions(analysis), jobs, findings(analysis))


def _overall(analysis: Analysis, dropped: int) -> Overall:
    requests = [record for record in analysis.records if record.action != "event"]
    actions = Counter(record.action for record in requests)
    polls = sum(actions[action] for action in POLLS)
    lateness = sorted(timeline.lateness for timeline in analysis.timelines.values() if timeline.lateness is not None)
    seconds = Counter(math.floor(record.at) for record in requests)
    busiest = max(seconds.values(), default=0)
    mean = len(requests) / (max(seconds) - min(seconds) + 1) if seconds else None
    return Overall(
        requests=len(requests),
        dropped=dropped,
        submits=actions["submit"],
        jobs=len(analysis.timelines),
        polls=polls,
        polls_per_job=polls / len(analysis.timelines) if analysis.timelines else None,
        lateness_median=_median(lateness),
        lateness_p99=lateness[math.ceil(0.99 * len(lateness)) - 1] if lateness else None,
        lateness_max=lateness[-1] if lateness else None,
        early_polls=number_of_polls(analysis.early),
        polls_after_end=number_of_polls(analysis.after_end),
        never_collected=sum(analysis.is_abandoned(timeline) for timeline in analysis.timelines.values()),
        retries=len(analysis.retries),
        retry_variation=_median([variation(run) for _, run in analysis.runs]),
        busiest_second=busiest,
        mean_second=mean,
        crowding=busiest / mean if mean else None,
        keys_used=len({record.key for record in analysis.submits} - {None}),
        keys_reused=sum(record.replayed for record in analysis.submits),
        duplicate_submits=len(analysis.duplicates),
        credentials_errors=analysis.denied,
        not_modified=sum(record.status == NOT_MODIFIED for record in requests),
        long_polls=sum(bool(record.wait) and record.action in POLLS for record in requests),
        event_streams=actions["events"],
        batch_polls=actions["batch_poll"],
    )


def _job_card(analysis: Analysis, timeline: Timeline) -> JobCard:
    times = [step.record.at for _, step in timeline.polls]
    gaps = tuple(round(after - before, 3) for before, after in pairwise(times[: MAX_GAPS + 1]))
    early, after_end = (len(found.get(timeline.job_id, ())) for found in (analysis.early, analysis.after_end))
    collected = timeline.end_index is not None or timeline.job_id in analysis.received.accepted_at
    return JobCard(timeline.job_id, len(times), gaps, timeline.lateness, early, after_end, collected)


def _reactions(analysis: Analysis) -> tuple[Reaction, ...]:
    fired = Counter(kind for record in analysis.records for kind in set(record.faults))
    again: defaultdict[str, list[float]] = defaultdict(list)
    gave_up: Counter[str] = Counter()
    last_poll = max((record.at for record in analysis.records if record.action in POLLS), default=-math.inf)
    for request, tries in analysis.tries.items():
        learned = request.kind == "job" and analysis.timelines[request.value].end_index is not None
        for record, after in zip(tries, [*tries[1:], None], strict=True):
            for kind in set(record.faults) - DELAYED:
                if after is not None:
                    again[kind].append(max(0.0, after.at - answered_at(record)))
                elif kind not in READABLE and not learned and (request.kind != "path" or record.at >= last_poll):
                    gave_up[kind] += 1
    return tuple(
        Reaction(kind, count, len(again[kind]), min(again[kind], default=None), _median(again[kind]), gave_up[kind])
        for kind, count in sorted(fired.items())
    )


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
