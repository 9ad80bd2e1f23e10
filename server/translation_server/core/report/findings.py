"""What a client should change: the rules, each a function of the case, and the table of them.

The numbers of a report tell what was, without excuses; a finding is what no excuse was found for.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev
from types import MappingProxyType
from typing import Literal, NamedTuple

from translation_server.core.report.timelines import EARLY_PART, RUN, Case, Step, answered, due, is_sooner
from translation_server.core.request_log import Entry

Severity = Literal["warning", "note"]
_Found = tuple[int, Iterable[str], str]
"""How often something was seen, with which jobs, and what to say of it."""

LATE_JOBS = 0.05
"""The part of the jobs that may be late by chance."""
ALIKE, THREE_ALIKE, FACTORS_ALIKE = 0.05, 0.02, 0.02
"""The gaps of a run, three gaps, and their growth do not vary less than this by chance."""
GROWTH = 1.1
AT_ONCE = 0.02
"""The first retry of many libraries comes at once, and their pauses grow from the second on."""
CROWD, CROWDED, AROUND = 20, 4.0, 5
"""So many looks in one second are a crowd, if they are so many times the mean of the seconds around it."""
BUSY, WORTH_WAITING = 0.1, 0.2
POLLING = 3
MOST_JOBS = 5
TOO_MANY = 429

NOTHING: _Found = (0, (), "")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a client should change, how often it was seen, and some of the jobs it was seen with."""

    rule: str
    severity: Severity
    message: str
    jobs: tuple[str, ...]
    count: int


def findings(case: Case) -> tuple[Finding, ...]:
    """What is found by each rule that finds anything."""
    return tuple(
        Finding(name, rule.severity, message, tuple(dict.fromkeys(jobs))[:MOST_JOBS], many)
        for name, rule in RULES.items()
        for many, jobs, message in [rule.find(case)]
        if many
    )


def number_of_looks(found: Mapping[str, Sequence[Step]]) -> int:
    """How many looks there are; one at many jobs counts once."""
    return len({step.number for steps in found.values() for step in steps})


def variation(values: Sequence[float]) -> float:
    """The coefficient of variation."""
    mean = fmean(values)
    return pstdev(values) / mean if mean else 0.0


def _early_looks(case: Case) -> _Found:
    """A job's only early look may be the last one before a deadline, but for its first if others follow."""
    looks = {job_id: [step for _, step in case.trails[job_id].looks] for job_id in case.early}
    found = {
        job_id: steps
        for job_id, steps in case.early.items()
        if len(steps) > 1 or (steps == looks[job_id][:1] != looks[job_id])
    }
    many = number_of_looks(found)
    told = f"{_count(many, 'look')} at {_count(len(found), 'job')} came sooner than the server had asked for"
    return many, found, f"{told}: wait as long as Retry-After says before you look again."


def _hasty_retries(case: Case) -> _Found:
    actions = {"submit", "cancel", "events"}
    hasty = [after for before, after in case.retries if after.action in actions and is_sooner(before, after)]
    retries = f"{_count(len(hasty), 'request')} came again sooner than the Retry-After of a 429 or 503 allowed"
    return len(hasty), _told(hasty), f"{retries}: let it be the least pause before a retry."


def _looks_after_end(case: Case) -> _Found:
    many = number_of_looks(case.after_end)
    looks = f"{_count(many, 'look')} at {_count(len(case.after_end), 'job')} came after the end had been told"
    return many, case.after_end, f"{looks}: stop at the first answer that is not pending."


def _late_looks(case: Case) -> _Found:
    measured = sum(trail.lateness is not None for trail in case.trails.values())
    late = {job_id: trail.lateness or 0.0 for job_id, trail in case.trails.items() if case.is_late(trail)}
    if len(late) <= LATE_JOBS * measured:
        return NOTHING
    ends = f"The ends of {_count(len(late), 'job')} were learned {median(late.values()):.1f} s late (median)"
    return len(late), late, f"{ends}: look again when the hint says so, or have looks held (Prefer: wait)."


def _never_collected(case: Case) -> _Found:
    jobs = [job_id for job_id, trail in case.trails.items() if case.is_abandoned(trail)]
    ended = f"{_count(len(jobs), 'job')} of {len(case.trails)} ended and nobody came for the outcome"
    return len(jobs), jobs, f"{ended}: look until the end, through failures too, or cancel."


def _no_jitter(case: Case) -> _Found:
    alike = [(thing, run) for thing, run in case.runs if _is_alike(run)]
    if 2 * len(alike) <= len(case.runs):
        return NOTHING
    jobs, many = [thing.name for thing, _ in alike if thing.by == "job"], sum(len(run) for _, run in alike)
    gaps = f"{_count(many, 'retry', 'retries')} in {_count(len(alike), 'row')} followed a plan without jitter"
    example = ", ".join(f"{gap:.2f}" for gap in alike[0][1][:4])
    return many, jobs, f"{gaps} (gaps of {example} s): wait a random part of each pause."


def _is_alike(run: Sequence[float]) -> bool:
    """Whether gaps, or at least the last four, are all the same, or grow by one factor; the first may be none."""
    if variation(run[-4:]) < (ALIKE if len(run) > RUN else THREE_ALIKE):
        return True
    at_once = run[0] < AT_ONCE
    growth = [after / before for before, after in pairwise(run[at_once:]) if before]
    return len(growth) >= RUN - at_once and min(growth) > GROWTH and variation(growth) < FACTORS_ALIKE


def _crowding(case: Case) -> _Found:
    """Only looks that were not held, found no end, and did not come just when the server had asked for them."""
    of: defaultdict[int, dict[int, str]] = defaultdict(dict)
    obedient = set()
    for job_id, trail in case.trails.items():
        for before, step in trail.looks:
            at = step.entry.at
            if before and not is_sooner(before, step.entry) and at - due(before) <= 1 + EARLY_PART * (before.hint or 0):
                obedient.add(step.number)
            if not step.entry.wait and not step.is_end:
                of[math.floor(at)][step.number] = job_id
    looks = Counter({second: len(numbers.keys() - obedient) for second, numbers in of.items()})
    for second, most in looks.most_common() if len(case.trails) >= CROWD else ():
        first, last = math.floor(case.entries[0].at), math.floor(case.entries[-1].at)
        mean = fmean(looks[other] for other in range(max(first, second - AROUND), min(last, second + AROUND) + 1))
        if most >= CROWD and most >= CROWDED * mean:
            crowd = f"{most} looks came in one second, {most / mean:.1f} times as many as in those around it"
            return most, of[second].values(), f"{crowd}: add jitter, so that jobs are not looked at in step."
    return NOTHING


def _busy_polling(case: Case) -> _Found:
    gaps = [
        (step.entry.at - answered(before), job_id)
        for job_id, trail in case.trails.items()
        for before, step in trail.looks
        if before and before.action == step.entry.action == "look" and not step.entry.wait
        if due(before) - answered(before) >= WORTH_WAITING
    ]
    if len(gaps) < POLLING or (middle := median(gap for gap, _ in gaps)) >= BUSY:
        return NOTHING
    looks = f"{len(gaps)} looks came {1000 * middle:.0f} ms after the answer before (median)"
    return len(gaps), [job_id for _, job_id in gaps], f"{looks}: sleep between looks, as the hints say."


def _duplicate_submits(case: Case) -> _Found:
    again = [after for _, after in case.duplicates]
    paid = f"{_count(len(again), 'submission')} whose answer was lost came again as another job, paid for twice"
    return len(again), _told(again), f"{paid}: send the same Idempotency-Key with each try."


def _retried_without_key(case: Case) -> _Found:
    again = _blind_retries(case)
    retried = f"{_count(len(again), 'submission')} without an Idempotency-Key came again after a failure"
    return len(again), _told(again), f"{retried}: send a key, and the same one with each try."


def _blind_retries(case: Case) -> list[Entry]:
    """The submissions that tried again without a key, and not only what a 429 had kept from being served."""
    again = [pair for pair in case.retries if pair[1].action == "submit"]
    return [after for before, after in again if before.key is None and before.status != TOO_MANY]


def _credentials(case: Case) -> _Found:
    denied = f"{_count(case.denied, 'request')} got 401 or 403"
    return case.denied, (), f"{denied}: send the right credentials with the first try, and stop at a 401."


def _no_key(case: Case) -> _Found:
    if _blind_retries(case) or any(entry.key is not None for entry in case.submits):
        return NOTHING
    none = f"None of {_count(len(case.submits), 'submission')} had an Idempotency-Key"
    return len(case.submits), _told(case.submits), f"{none}: with one, a retry makes no second job."


def _no_long_poll(case: Case) -> _Found:
    if any(entry.wait or entry.action in {"event", "events"} for entry in case.entries):
        return NOTHING
    jobs = [job_id for job_id, trail in case.trails.items() if len(trail.looks) >= POLLING]
    looks = f"{_count(len(jobs), 'job')} took {POLLING} looks or more"
    return len(jobs), jobs, f"{looks}: with Prefer: wait=30, one or two would do."


def _told(entries: Sequence[Entry]) -> list[str]:
    return [told.job_id for entry in entries for told in entry.jobs]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


class Rule(NamedTuple):
    """How much a finding matters, and what finds it."""

    severity: Severity
    find: Callable[[Case], _Found]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "early-looks": Rule("warning", _early_looks),
        "hasty-retries": Rule("warning", _hasty_retries),
        "looks-after-end": Rule("warning", _looks_after_end),
        "late": Rule("warning", _late_looks),
        "never-collected": Rule("warning", _never_collected),
        "retries-without-jitter": Rule("warning", _no_jitter),
        "crowding": Rule("warning", _crowding),
        "busy-polling": Rule("warning", _busy_polling),
        "duplicate-submits": Rule("warning", _duplicate_submits),
        "retried-without-key": Rule("warning", _retried_without_key),
        "credentials": Rule("warning", _credentials),
        "no-idempotency-key": Rule("note", _no_key),
        "no-long-poll": Rule("note", _no_long_poll),
    },
)
"""Everything that can be found."""
