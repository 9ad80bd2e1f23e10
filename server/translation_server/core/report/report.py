"""From a journal of requests to a client's report card: its numbers, what it did after each fault, and the findings.

Numbers tell what was, without excuses; findings, what should be changed. Times are real ones in seconds since the
epoch, durations are seconds.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from translation_server.core.report.findings import Finding, findings, number_of_looks, variation
from translation_server.core.report.timelines import LATE, LOOKS, TRUE, Case, Trail, answered, open_case
from translation_server.core.request_log import Entry

NOT_MODIFIED = 304
READABLE = TRUE | {"bare", "wrong-type"}
"""The faults after which a client may have read enough to go on."""
MOST_GAPS = 50


@dataclass(frozen=True, slots=True)
class Overall:
    """The numbers of all requests; what was never there to be measured is None.

    ``retry_variation`` is the median coefficient of variation of the gaps of three or more retries in a row: 0 without
    jitter. ``crowding`` is the busiest second over the mean one. What an excuse was found for counts here, too.
    """

    requests: int
    dropped: int
    submits: int
    jobs: int
    looks: int
    looks_per_job: float | None
    lateness_median: float | None
    lateness_p99: float | None
    lateness_max: float | None
    early_looks: int
    looks_after_end: int
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
    held_looks: int
    event_streams: int
    bulk_looks: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """How often a kind of fault fired, and what the client did next.

    Attributes:
        kind: The kind of the fault.
        fired: How often it fired.
        came_again: How often the client came again for the same thing.
        again_soonest: After how many seconds, at least.
        again_median: After how many seconds, in the middle.
        gave_up: How often it never did, though it was told nothing.
    """

    kind: str
    fired: int
    came_again: int
    again_soonest: float | None
    again_median: float | None
    gave_up: int


@dataclass(frozen=True, slots=True)
class JobCard:
    """How one job was waited for; ``gaps`` are those between the first looks."""

    job_id: str
    looks: int
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


def report(entries: Sequence[Entry], ended: Mapping[str, float], dropped: int = 0, refused: int = 0) -> Report:
    """A client's report card.

    Args:
        entries: The journal, oldest first.
        ended: When jobs that were submitted in the journal ended, by their ids; without the cancelled ones.
        dropped: How many older entries are no longer there.
        refused: How many requests were refused for their credentials, beyond those of which the entries tell.
    """
    case = open_case(entries, ended, refused)
    jobs = tuple(_job_card(case, trail) for trail in case.trails.values())
    return Report(_overall(case, dropped), _reactions(case), jobs, findings(case))


def _overall(case: Case, dropped: int) -> Overall:
    requests = [entry for entry in case.entries if entry.action != "event"]
    actions = Counter(entry.action for entry in requests)
    looks = sum(actions[action] for action in LOOKS)
    lateness = sorted(trail.lateness for trail in case.trails.values() if trail.lateness is not None)
    seconds = Counter(math.floor(entry.at) for entry in requests)
    busiest = max(seconds.values(), default=0)
    mean = len(requests) / (max(seconds) - min(seconds) + 1) if seconds else None
    return Overall(
        requests=len(requests),
        dropped=dropped,
        submits=actions["submit"],
        jobs=len(case.trails),
        looks=looks,
        looks_per_job=looks / len(case.trails) if case.trails else None,
        lateness_median=_median(lateness),
        lateness_p99=lateness[math.ceil(0.99 * len(lateness)) - 1] if lateness else None,
        lateness_max=lateness[-1] if lateness else None,
        early_looks=number_of_looks(case.early),
        looks_after_end=number_of_looks(case.after_end),
        never_collected=sum(case.is_uncollected(trail) for trail in case.trails.values()),
        retries=len(case.retries),
        retry_variation=_median([variation(run) for _, run in case.runs]),
        busiest_second=busiest,
        mean_second=mean,
        crowding=busiest / mean if mean else None,
        keys_used=len({entry.key for entry in case.submits} - {None}),
        keys_reused=sum(entry.replayed for entry in case.submits),
        duplicate_submits=len(case.duplicates),
        credentials_errors=case.denied,
        not_modified=sum(entry.status == NOT_MODIFIED for entry in requests),
        held_looks=sum(bool(entry.wait) and entry.action in LOOKS for entry in requests),
        event_streams=actions["events"],
        bulk_looks=actions["bulk"],
    )


def _job_card(case: Case, trail: Trail) -> JobCard:
    times = [step.entry.at for _, step in trail.looks]
    gaps = tuple(round(after - before, 3) for before, after in pairwise(times[: MOST_GAPS + 1]))
    early, after_end = (len(found.get(trail.job_id, ())) for found in (case.early, case.after_end))
    return JobCard(trail.job_id, len(times), gaps, trail.lateness, early, after_end, trail.learned is not None)


def _reactions(case: Case) -> tuple[Reaction, ...]:
    fired = Counter(kind for entry in case.entries for kind in set(entry.faults))
    again: defaultdict[str, list[float]] = defaultdict(list)
    gave_up: Counter[str] = Counter()
    last_look = max((entry.at for entry in case.entries if entry.action in LOOKS), default=-math.inf)
    for thing, chain in case.chains.items():
        told = thing.by == "job" and case.trails[thing.name].learned is not None
        for entry, after in zip(chain, [*chain[1:], None], strict=True):
            for kind in set(entry.faults) - LATE:
                if after is not None:
                    again[kind].append(max(0.0, after.at - answered(entry)))
                elif kind not in READABLE and not told and (thing.by != "path" or entry.at >= last_look):
                    gave_up[kind] += 1
    return tuple(
        Reaction(kind, many, len(again[kind]), min(again[kind], default=None), _median(again[kind]), gave_up[kind])
        for kind, many in sorted(fired.items())
    )


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
