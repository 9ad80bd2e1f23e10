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

from translation_server.core.report.timelines import EARLY_PART, RUN, Analysis, Step, answered, due, is_sooner
from translation_server.core.request_log import RequestRecord

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


def findings(analysis: Analysis) -> tuple[Finding, ...]:
    """What is found by each rule that finds anything."""
    return tuple(
        Finding(name, rule.severity, message, tuple(dict.fromkeys(jobs))[:MOST_JOBS], many)
        for name, rule in RULES.items()
        for many, jobs, message in [rule.find(analysis)]
        if many
    )


def number_of_polls(found: Mapping[str, Sequence[Step]]) -> int:
    """How many looks there are; one at many jobs counts once."""
    return len({step.number for steps in found.values() for step in steps})


def variation(values: Sequence[float]) -> float:
    """The coefficient of variation."""
    mean = fmean(values)
    return pstdev(values) / mean if mean else 0.0


def _early_polls(analysis: Analysis) -> _Found:
    """A job's only early look may be the last one before a deadline, but for its first if others follow."""
    polls = {job_id: [step for _, step in analysis.timelines[job_id].polls] for job_id in analysis.early}
    found = {
        job_id: steps
        for job_id, steps in analysis.early.items()
        if len(steps) > 1 or (steps == polls[job_id][:1] != polls[job_id])
    }
    many = number_of_polls(found)
    told = f"{_count(many, 'poll')} at {_count(len(found), 'job')} came sooner than the server had asked for"
    return many, found, f"{told}: wait as long as Retry-After says before you look again."


def _hasty_retries(analysis: Analysis) -> _Found:
    actions = {"submit", "cancel", "events"}
    hasty = [after for before, after in analysis.retries if after.action in actions and is_sooner(before, after)]
    retries = f"{_count(len(hasty), 'request')} came again sooner than the Retry-After of a 429 or 503 allowed"
    return len(hasty), _told(hasty), f"{retries}: let it be the least pause before a retry."


def _polls_after_end(analysis: Analysis) -> _Found:
    many = number_of_polls(analysis.after_end)
    polls = f"{_count(many, 'poll')} at {_count(len(analysis.after_end), 'job')} came after the end had been told"
    return many, analysis.after_end, f"{polls}: stop at the first answer that is not pending."


def _late_polls(analysis: Analysis) -> _Found:
    measured = sum(timeline.lateness is not None for timeline in analysis.timelines.values())
    late = {
        job_id: timeline.lateness or 0.0
        for job_id, timeline in analysis.timelines.items()
        if analysis.is_late(timeline)
    }
    if len(late) <= LATE_JOBS * measured:
        return NOTHING
    ends = f"The ends of {_count(len(late), 'job')} were learned {median(late.values()):.1f} s late (median)"
    return len(late), late, f"{ends}: look again when the hint says so, or have looks held (Prefer: wait)."


def _never_collected(analysis: Analysis) -> _Found:
    jobs = [job_id for job_id, timeline in analysis.timelines.items() if analysis.is_abandoned(timeline)]
    ended = f"{_count(len(jobs), 'job')} of {len(analysis.timelines)} ended and nobody came for the outcome"
    return len(jobs), jobs, f"{ended}: look until the end, through failures too, or cancel."


def _no_jitter(analysis: Analysis) -> _Found:
    alike = [(logical_request, run) for logical_request, run in analysis.runs if _is_alike(run)]
    if 2 * len(alike) <= len(analysis.runs):
        return NOTHING
    jobs, many = (
        [logical_request.name for logical_request, _ in alike if logical_request.by == "job"],
        sum(len(run) for _, run in alike),
    )
    gaps = f"{_count(many, 'retry', 'retries')} in {_count(len(alike), 'dialect')} followed a plan without jitter"
    example = ", ".join(f"{gap:.2f}" for gap in alike[0][1][:4])
    return many, jobs, f"{gaps} (gaps of {example} s): wait a random part of each pause."


def _is_alike(run: Sequence[float]) -> bool:
    """Whether gaps, or at least the last four, are all the same, or grow by one factor; the first may be none."""
    if variation(run[-4:]) < (ALIKE if len(run) > RUN else THREE_ALIKE):
        return True
    at_once = run[0] < AT_ONCE
    growth = [after / before for before, after in pairwise(run[at_once:]) if before]
    return len(growth) >= RUN - at_once and min(growth) > GROWTH and variation(growth) < FACTORS_ALIKE


def _crowding(analysis: Analysis) -> _Found:
    """Only looks that were not held, found no end, and did not come just when the server had asked for them."""
    of: defaultdict[int, dict[int, str]] = defaultdict(dict)
    obedient = set()
    for job_id, timeline in analysis.timelines.items():
        for before, step in timeline.polls:
            at = step.record.at
            if (
                before
                and not is_sooner(before, step.record)
                and at - due(before) <= 1 + EARLY_PART * (before.hint or 0)
            ):
                obedient.add(step.number)
            if not step.record.wait and not step.is_end:
                of[math.floor(at)][step.number] = job_id
    polls = Counter({second: len(numbers.keys() - obedient) for second, numbers in of.items()})
    for second, most in polls.most_common() if len(analysis.timelines) >= CROWD else ():
        first, last = math.floor(analysis.records[0].at), math.floor(analysis.records[-1].at)
        mean = fmean(polls[other] for other in range(max(first, second - AROUND), min(last, second + AROUND) + 1))
        if most >= CROWD and most >= CROWDED * mean:
            crowd = f"{most} looks came in one second, {most / mean:.1f} times as many as in those around it"
            return most, of[second].values(), f"{crowd}: add jitter, so that jobs are not looked at in step."
    return NOTHING


def _busy_polling(analysis: Analysis) -> _Found:
    gaps = [
        (step.record.at - answered(before), job_id)
        for job_id, timeline in analysis.timelines.items()
        for before, step in timeline.polls
        if before and before.action == step.record.action == "poll" and not step.record.wait
        if due(before) - answered(before) >= WORTH_WAITING
    ]
    if len(gaps) < POLLING or (middle := median(gap for gap, _ in gaps)) >= BUSY:
        return NOTHING
    polls = f"{len(gaps)} looks came {1000 * middle:.0f} ms after the answer before (median)"
    return len(gaps), [job_id for _, job_id in gaps], f"{polls}: sleep between looks, as the hints say."


def _duplicate_submits(analysis: Analysis) -> _Found:
    again = [after for _, after in analysis.duplicates]
    paid = f"{_count(len(again), 'submission')} whose answer was lost came again as another job, paid for twice"
    return len(again), _told(again), f"{paid}: send the same Idempotency-Key with each try."


def _retried_without_key(analysis: Analysis) -> _Found:
    again = _blind_retries(analysis)
    retried = f"{_count(len(again), 'submission')} without an Idempotency-Key came again after a failure"
    return len(again), _told(again), f"{retried}: send a key, and the same one with each try."


def _blind_retries(analysis: Analysis) -> list[RequestRecord]:
    """The submissions that tried again without a key, and not only what a 429 had kept from being served."""
    again = [pair for pair in analysis.retries if pair[1].action == "submit"]
    return [after for before, after in again if before.key is None and before.status != TOO_MANY]


def _credentials(analysis: Analysis) -> _Found:
    denied = f"{_count(analysis.denied, 'request')} got 401 or 403"
    return analysis.denied, (), f"{denied}: send the right credentials with the first try, and stop at a 401."


def _no_key(analysis: Analysis) -> _Found:
    if _blind_retries(analysis) or any(record.key is not None for record in analysis.submits):
        return NOTHING
    none = f"None of {_count(len(analysis.submits), 'submission')} had an Idempotency-Key"
    return len(analysis.submits), _told(analysis.submits), f"{none}: with one, a retry makes no second job."


def _no_long_poll(analysis: Analysis) -> _Found:
    if any(record.wait or record.action in {"event", "events"} for record in analysis.records):
        return NOTHING
    jobs = [job_id for job_id, timeline in analysis.timelines.items() if len(timeline.polls) >= POLLING]
    polls = f"{_count(len(jobs), 'job')} took {POLLING} looks or more"
    return len(jobs), jobs, f"{polls}: with Prefer: wait=30, one or two would do."


def _told(records: Sequence[RequestRecord]) -> list[str]:
    return [told.job_id for record in records for told in record.jobs]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


class Rule(NamedTuple):
    """How much a finding matters, and what finds it."""

    severity: Severity
    find: Callable[[Analysis], _Found]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "early-polls": Rule("warning", _early_polls),
        "hasty-retries": Rule("warning", _hasty_retries),
        "polls-after-end": Rule("warning", _polls_after_end),
        "late": Rule("warning", _late_polls),
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
