"""Findings about the receiver of webhooks: what it should change. Each rule is a function of an analysis."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from translation_server.core.faults.rules import FORGED
from translation_server.core.report.answers import REFUSED, is_unusable
from translation_server.core.report.deliveries import MISSED, ReportedAttempt
from translation_server.core.report.results import NOTHING, Result, counted
from translation_server.core.report.timelines import POLLS, Analysis
from translation_server.core.webhooks import ENDS, GONE, DeliveryState

SLOW_ANSWER = 3.0  # a receiver should answer within this many seconds
FAILURES = 3  # from this many failures of a delivery on, its receiver does not just have a bad minute
WITHOUT_POLLS = 60.0  # how many seconds a client may wait for a lost delivery without a poll
REDIRECTS = range(300, 400)


def slow_receiver(analysis: Analysis) -> Result:
    """Finds answers that took too long."""
    slow = [one for one in analysis.received.attempts if one.seconds > SLOW_ANSWER and one.fault not in MISSED]
    if not slow:
        return NOTHING
    middle = median(one.seconds for one in slow)
    seen = f"{_deliveries(len(slow))} took {middle:.1f} s (median) to be answered, or got no answer"
    return len(slow), _jobs(slow), f"{seen}: store the event, answer with 204 at once, and do the work afterwards."


def accepted_forgeries(analysis: Analysis) -> Result:
    """Finds forged deliveries that were accepted."""
    accepted = [one for one in analysis.received.attempts if one.fault in FORGED and one.was_accepted]
    kinds = ", ".join(sorted({str(one.fault) for one in accepted}))
    seen = f"The receiver accepted {counted(len(accepted), 'forged delivery', 'forged deliveries')} ({kinds})"
    remedy = "verify the signature and the time of each delivery, and answer with 400 if they are wrong"
    return len(accepted), _jobs(accepted), f"{seen}: {remedy}."


def failed_doubles(analysis: Analysis) -> Result:
    """Finds repeated deliveries that failed, although the event had been accepted."""
    accepted = {one.delivery_id for one in analysis.received.attempts if one.was_accepted and one.fault not in FORGED}
    failed = [
        one
        for one in analysis.received.attempts
        if one.fault == "doubled" and one.delivery_id in accepted and not one.was_accepted and one.status not in REFUSED
    ]
    seen = f"{counted(len(failed), 'repeated delivery', 'repeated deliveries')} of an accepted event failed"
    remedy = "keep the ids of the events that you have handled, and answer with 204 to one that comes again"
    return len(failed), _jobs(failed), f"{seen}: {remedy}."


def polls_after_webhook(analysis: Analysis) -> Result:
    """Finds polls after the end was delivered. One by each program is right: it asks whether the delivery is true."""
    found: Counter[str] = Counter()
    for job_id, at in analysis.received.accepted_at.items():
        timeline = analysis.timelines.get(job_id)
        steps = timeline.steps if timeline else ()
        after = [step.record for step in steps if step.record.action in POLLS and step.record.at > at]
        polls = Counter(record.agent for record in after if not is_unusable(record))
        if extra := sum(number - 1 for number in polls.values()):
            found[job_id] = extra
    seen = (
        f"{counted(found.total(), 'poll')} of {counted(len(found), 'job')} came after the receiver had accepted the end"
    )
    return found.total(), found, f"{seen}: let an accepted delivery end the wait; one poll may confirm it."


def waited_without_polls(analysis: Analysis) -> Result:
    """Finds jobs that nobody polled although their ends were lost."""
    now = max([analysis.newest, *(one.at for one in analysis.received.attempts)])
    missed: dict[str, bool] = {}  # whether there will be no other attempt
    for one in analysis.received.attempts:
        if one.event in ENDS and one.fault in MISSED:
            missed[one.job_id] = missed.get(one.job_id, False) or one.state == DeliveryState.FAILED
    jobs = []
    for job_id, is_final in missed.items():
        timeline = analysis.timelines.get(job_id)
        if timeline is None or timeline.ended is None:
            continue
        waited = analysis.received.accepted_at.get(job_id, now) - timeline.ended
        was_submitted_only = all(step.record.action == "submit" for step in timeline.steps)
        if was_submitted_only and (is_final or waited > WITHOUT_POLLS):
            jobs.append(job_id)
    seen = f"The ends of {counted(len(jobs), 'job')} were lost on their way, and the client never polled"
    return len(jobs), jobs, f"{seen}: poll now and then while you wait for a delivery."


def failing_receiver(analysis: Analysis) -> Result:
    """Finds deliveries that were refused again and again."""
    by_delivery: defaultdict[str, list[ReportedAttempt]] = defaultdict(list)
    for one in analysis.received.attempts:
        if not one.extra:
            by_delivery[one.delivery_id].append(one)
    failing = []
    for attempts in by_delivery.values():
        failures = [one for one in attempts if one.fault is None and not one.was_accepted and not _has_other_rule(one)]
        if len(failures) >= FAILURES and not attempts[-1].was_accepted:
            failing.append(failures[-1])
    answers = ", ".join(sorted({"no answer" if one.status is None else str(one.status) for one in failing}))
    seen = f"{_deliveries(len(failing))} failed {FAILURES} times or more ({answers})"
    remedy = "look for the error in the receiver's log, and answer with 2xx as soon as an event is stored"
    return len(failing), _jobs(failing), f"{seen}: {remedy}."


def redirects(analysis: Analysis) -> Result:
    """Finds answers that redirect."""
    found = [one for one in analysis.received.attempts if one.status in REDIRECTS]
    seen = f"{_deliveries(len(found))} got a redirect, which is not followed"
    return len(found), _jobs(found), f"{seen}: give the URL at which the receiver answers itself."


def _has_other_rule(attempt: ReportedAttempt) -> bool:
    """Whether a failure is a redirect, or means that the receiver wants no more deliveries."""
    return attempt.status in REDIRECTS or attempt.status == GONE


def _deliveries(number: int) -> str:
    return counted(number, "delivery", "deliveries")


def _jobs(attempts: Sequence[ReportedAttempt]) -> list[str]:
    return [one.job_id for one in attempts]
