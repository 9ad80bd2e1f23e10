"""Findings: what a client should change. Each rule is a function of an analysis; `RULES` is the table of them.

A finding counts only what the client could have done better. The number in the report on the same subject is equal.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev
from types import MappingProxyType
from typing import Literal, NamedTuple

from translation_server.core.report import receivers
from translation_server.core.report.answers import TOLERANCE, answered_at, due, is_too_early
from translation_server.core.report.results import NOTHING, Result, counted
from translation_server.core.report.timelines import MIN_RUN, POLLS, Analysis, Step, Timeline
from translation_server.core.request_log import RequestRecord

Severity = Literal["warning", "note"]
LATE_SHARE = 0.05  # the share of jobs whose ends may be learned late by chance

SIMILAR, SIMILAR_IN_THREE, SIMILAR_GROWTH = 0.05, 0.02, 0.02
"""Below these coefficients of variation, pauses count as equal: those of a run, three pauses, and their growth."""

MIN_GROWTH = 1.1  # the least factor by which pauses grow in an exponential backoff

IMMEDIATE = 0.02
"""The first retry of many libraries comes within this many seconds; their pauses grow from the second retry on."""

CROWD, CROWD_FACTOR, NEIGHBOURS = 20, 4.0, 5
"""A second is crowded if it has this many polls, this many times the mean of this many seconds around it."""

BUSY, MIN_HINT = 0.1, 0.2
"""Polls are busy if their median pause is shorter than this, though the hint was at least this long; in seconds."""

AT_ONCE = 0.01  # a hint of at most this many seconds asks for the next poll at once, as for a job that ends after polls
MANY_POLLS = 3  # from this many polls of a job on, a long poll would have saved some
MAX_JOBS = 5  # how many jobs a finding names
TOO_MANY_REQUESTS = 429

SAME_KEY = "send the same Idempotency-Key with each try"
A_KEY = "send a key, and the same one with each try"
SEARCH_FIRST = "look for the job in the API's list before you send it again"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a client should change, how often it was seen, and some of the jobs concerned."""

    rule: str
    severity: Severity
    message: str
    jobs: tuple[str, ...]
    count: int


def findings(analysis: Analysis) -> tuple[Finding, ...]:
    """Returns the findings of all rules."""
    return tuple(
        Finding(name, rule.severity, message, tuple(dict.fromkeys(jobs))[:MAX_JOBS], count)
        for name, rule in RULES.items()
        for count, jobs, message in [rule.find(analysis)]
        if count
    )


def number_of_polls(steps_by_job: Mapping[str, Sequence[Step]]) -> int:
    """Returns the number of polls; a batch poll counts once."""
    return len({step.number for steps in steps_by_job.values() for step in steps})


def variation(values: Sequence[float]) -> float:
    """Returns the coefficient of variation."""
    mean = fmean(values)
    return pstdev(values) / mean if mean else 0.0


def _early_polls(analysis: Analysis) -> Result:
    count = number_of_polls(analysis.early)
    seen = (
        f"{counted(count, 'poll')} of {counted(len(analysis.early), 'job')} came sooner than the server had asked for"
    )
    return count, analysis.early, f"{seen}: wait as long as Retry-After says before you poll again."


def _hasty_retries(analysis: Analysis) -> Result:
    actions = {"submit", "cancel", "events"}
    hasty = [after for before, after in analysis.retries if after.action in actions and is_too_early(before, after)]
    seen = f"{counted(len(hasty), 'retry', 'retries')} came sooner than the Retry-After of a 429 or 503 allowed"
    return len(hasty), _jobs_of(hasty), f"{seen}: use it as the shortest pause before a retry."


def _polls_after_end(analysis: Analysis) -> Result:
    count = number_of_polls(analysis.after_end)
    seen = (
        f"{counted(count, 'poll')} of {counted(len(analysis.after_end), 'job')} came after an answer had shown the end"
    )
    return count, analysis.after_end, f"{seen}: stop at the first answer that is not pending."


def _late(analysis: Analysis) -> Result:
    measured = sum(timeline.lateness is not None for timeline in analysis.timelines.values())
    late = {
        job_id: timeline.lateness or 0.0
        for job_id, timeline in analysis.timelines.items()
        if analysis.is_late(timeline)
    }
    if len(late) <= LATE_SHARE * measured:
        return NOTHING
    seen = f"The client learned the ends of {counted(len(late), 'job')} {median(late.values()):.1f} s late (median)"
    native = any(analysis.timelines[job_id].is_native for job_id in late)
    remedy = ", or use long polls (Prefer: wait)" if native else ""
    return len(late), late, f"{seen}: poll when the hint says so{remedy}."


def _never_collected(analysis: Analysis) -> Result:
    jobs = [job_id for job_id, timeline in analysis.timelines.items() if analysis.is_abandoned(timeline)]
    seen = f"{len(jobs)} of {counted(len(analysis.timelines), 'job')} ended, and the client never polled the outcome"
    return len(jobs), jobs, f"{seen}: poll until the end, through failures too, or cancel the job."


def _no_jitter(analysis: Analysis) -> Result:
    similar = [(request, run) for request, run in analysis.runs if _is_regular(run)]
    if 2 * len(similar) <= len(analysis.runs):
        return NOTHING
    jobs = [request.value for request, _ in similar if request.kind == "job"]
    count = sum(len(run) for _, run in similar)
    seen = f"{counted(count, 'retry', 'retries')} in {counted(len(similar), 'run')} had no jitter"
    example = ", ".join(f"{pause:.2f}" for pause in similar[0][1][:4])
    return count, jobs, f"{seen} (pauses of {example} s): make a part of each pause random."


def _is_regular(run: Sequence[float]) -> bool:
    """Whether all pauses, or the last four, are equal or grow by one factor; the first pause may be zero."""
    if variation(run[-4:]) < (SIMILAR if len(run) > MIN_RUN else SIMILAR_IN_THREE):
        return True
    skipped = run[0] < IMMEDIATE
    growth = [after / before for before, after in pairwise(run[skipped:]) if before]
    return len(growth) >= MIN_RUN - skipped and min(growth) > MIN_GROWTH and variation(growth) < SIMILAR_GROWTH


def _crowding(analysis: Analysis) -> Result:
    """Counts only polls without a wait that found no end and did not come just when the server had asked for them."""
    polls_by_second: defaultdict[int, dict[int, str]] = defaultdict(dict)
    asked_for = set()
    for job_id, timeline in analysis.timelines.items():
        for before, step in timeline.polls:
            at = step.record.at
            on_time = before and at - due(before) <= 1 + TOLERANCE * (before.hint or 0)
            if before and on_time and not is_too_early(before, step.record):
                asked_for.add(step.number)
            if not step.record.wait and not step.is_end:
                polls_by_second[math.floor(at)][step.number] = job_id
    counts = Counter({second: len(numbers.keys() - asked_for) for second, numbers in polls_by_second.items()})
    for second, count in counts.most_common() if len(analysis.timelines) >= CROWD else ():
        first, last = math.floor(analysis.records[0].at), math.floor(analysis.records[-1].at)
        around = range(max(first, second - NEIGHBOURS), min(last, second + NEIGHBOURS) + 1)
        mean = fmean(counts[other] for other in around)
        if count >= CROWD and count >= CROWD_FACTOR * mean:
            seen = f"{count} polls came in one second, {count / mean:.1f} times as many as in the seconds around it"
            return count, polls_by_second[second].values(), f"{seen}: add jitter, so that jobs are not polled in step."
    return NOTHING


def _busy_polling(analysis: Analysis) -> Result:
    pauses = [
        (step.record.at - answered_at(before), job_id)
        for job_id, timeline in analysis.timelines.items()
        for before, step in timeline.polls
        if before and before.action == step.record.action == "poll" and not step.record.wait
        if due(before) - answered_at(before) >= MIN_HINT
    ]
    if len(pauses) < MANY_POLLS or (middle := median(pause for pause, _ in pauses)) >= BUSY:
        return NOTHING
    seen = f"{len(pauses)} polls came {1000 * middle:.0f} ms after the answer before (median)"
    return len(pauses), [job_id for _, job_id in pauses], f"{seen}: sleep between polls, as the hints say."


def _duplicate_submits(analysis: Analysis) -> Result:
    duplicates = [after for _, after in analysis.duplicates]
    seen = f"{counted(len(duplicates), 'submission')} whose answer was lost came again as another job, paid for twice"
    return len(duplicates), _jobs_of(duplicates), f"{seen}: {_remedy(duplicates, SAME_KEY)}."


def _retried_without_key(analysis: Analysis) -> Result:
    retries = _retries_without_key(analysis)
    seen = f"{counted(len(retries), 'submission')} without an Idempotency-Key came again after a failure"
    return len(retries), _jobs_of(retries), f"{seen}: {_remedy(retries, A_KEY)}."


def _retries_without_key(analysis: Analysis) -> list[RequestRecord]:
    """Returns the submissions that were retried without a key, and might have made a second job.

    After a 429 none can, since no job was accepted. Nor can one with an id that the caller chose, if the id tells the
    API that it is a repeat.
    """
    retries = [pair for pair in analysis.retries if pair[1].action == "submit" and pair[1].known_by != "id"]
    return [after for before, after in retries if before.key is None and before.status != TOO_MANY_REQUESTS]


def _remedy(submissions: Sequence[RequestRecord], with_key: str) -> str:
    """Returns what to do about repeated submissions: ``with_key`` where the API has idempotency keys."""
    keyless = [record.known_by != "key" for record in submissions]
    if all(keyless):
        return f"this API has no idempotency keys, so {SEARCH_FIRST}"
    return f"{with_key}; where an API has no idempotency keys, {SEARCH_FIRST}" if any(keyless) else with_key


def _credentials(analysis: Analysis) -> Result:
    seen = f"{counted(analysis.denied, 'request')} got 401 or 403"
    return analysis.denied, (), f"{seen}: send the right credentials with the first try, and stop at a 401."


def _no_key(analysis: Analysis) -> Result:
    submits = [record for record in analysis.submits if record.known_by == "key"]
    if any(record.known_by == "key" for record in _retries_without_key(analysis)) or any(
        record.key for record in submits
    ):
        return NOTHING
    seen = f"None of {counted(len(submits), 'submission')} had an Idempotency-Key"
    return len(submits), _jobs_of(submits), f"{seen}: with one, a retry makes no second job."


def _no_long_poll(analysis: Analysis) -> Result:
    if any(
        (record.wait and record.action in POLLS) or record.action in {"event", "events"} for record in analysis.records
    ):
        return NOTHING
    native = {job_id: timeline for job_id, timeline in analysis.timelines.items() if timeline.is_native}
    jobs = [job_id for job_id, timeline in native.items() if _avoidable(timeline) >= MANY_POLLS]
    seen = f"{counted(len(jobs), 'job')} took {MANY_POLLS} polls or more"
    return len(jobs), jobs, f"{seen}: with Prefer: wait=30, one or two would do."


def _avoidable(timeline: Timeline) -> int:
    """Returns how many polls a long poll would have replaced: not those that the server asked for at once."""
    return sum(before is None or before.hint is None or before.hint > AT_ONCE for before, _ in timeline.polls)


def _jobs_of(records: Sequence[RequestRecord]) -> list[str]:
    return [job.job_id for record in records for job in record.jobs]


class Rule(NamedTuple):
    """The severity of a finding, and the function that finds it."""

    severity: Severity
    find: Callable[[Analysis], Result]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "early-polls": Rule("warning", _early_polls),
        "hasty-retries": Rule("warning", _hasty_retries),
        "polls-after-end": Rule("warning", _polls_after_end),
        "late": Rule("warning", _late),
        "never-collected": Rule("warning", _never_collected),
        "retries-without-jitter": Rule("warning", _no_jitter),
        "crowding": Rule("warning", _crowding),
        "busy-polling": Rule("warning", _busy_polling),
        "duplicate-submits": Rule("warning", _duplicate_submits),
        "retried-without-key": Rule("warning", _retried_without_key),
        "credentials": Rule("warning", _credentials),
        "slow-receiver": Rule("warning", receivers.slow_receiver),
        "accepted-forgeries": Rule("warning", receivers.accepted_forgeries),
        "failed-doubles": Rule("warning", receivers.failed_doubles),
        "polls-after-webhook": Rule("warning", receivers.polls_after_webhook),
        "waited-without-polls": Rule("warning", receivers.waited_without_polls),
        "failing-receiver": Rule("warning", receivers.failing_receiver),
        "redirects": Rule("warning", receivers.redirects),
        "no-idempotency-key": Rule("note", _no_key),
        "no-long-poll": Rule("note", _no_long_poll),
    }
)
"""All rules, by name."""
