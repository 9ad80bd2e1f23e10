"""What fault rules for webhooks depend on: the delivery, and the job that it is about."""

import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace

from translation_server.core.clock import VirtualTime
from translation_server.core.entropy import seeded_entropy
from translation_server.core.faults.false_answers import halfway
from translation_server.core.faults.rules import EVERY, FORGED, PENDING, Burst, FaultContext
from translation_server.core.job import Fate, Job, State
from translation_server.core.webhook_events import END, JobEvent
from translation_server.core.webhooks import Delivery, Webhook

POSTPONING = frozenset({"latency", "out-of-order", "burst"})
"""The kinds of rules that postpone an attempt. At most one of them fires for it."""


RECHECK = 5.0
"""After how many seconds a delivery that waits for the delivery of the job's end is due again."""


def delivery_context(job: Job, delivery: Delivery, dialect: str) -> FaultContext:
    """Returns the facts that decide which rules match the next attempt of a delivery."""
    was_postponed = bool(delivery.attempts) and delivery.attempts[-1].fault in POSTPONING
    excluded = {*(POSTPONING if was_postponed else ()), *_impossible_forgeries(job.webhook)}
    if not comes_before_end(job, delivery):
        excluded.add("out-of-order")
    states = EVERY - PENDING if delivery.stage == END else PENDING
    return FaultContext(
        "webhook", frozenset({dialect}), "POST", nth=delivery.number, states=states, excluded=frozenset(excluded)
    )


def _impossible_forgeries(webhook: Webhook | None) -> Iterable[str]:
    """Returns the kinds of forgeries that the signature of a webhook would not show."""
    if webhook is None or webhook.signature is None or not webhook.secrets:
        return FORGED
    is_standard = webhook.signature.header is None
    return () if is_standard or "{timestamp" in webhook.signature.text else ("old-timestamp",)


def comes_before_end(job: Job, delivery: Delivery) -> bool:
    """Whether the job's end will be delivered, and was not attempted yet."""
    outcome = job.fate.outcome if job.cancelled_at is None else State.CANCELLED
    return delivery.stage < END and job.notified < END and job.webhook is not None and outcome in job.webhook.events


def is_out_of_order(job: Job, delivery: Delivery) -> bool:
    """Whether a delivery still waits for that of the job's end."""
    return bool(delivery.attempts) and delivery.attempts[-1].fault == "out-of-order" and comes_before_end(job, delivery)


def after_end(job: Job, now: VirtualTime) -> VirtualTime:
    """Returns when a delivery that waits for that of the job's end is due again."""
    return VirtualTime((job.ends_at if now < job.ends_at < math.inf else now) + RECHECK)


def next_burst(rule: Burst, now: VirtualTime) -> VirtualTime:
    """Returns the time of the next burst."""
    return VirtualTime((now // rule.seconds + 1) * rule.seconds)


def stale_delivery(job: Job, delivery: Delivery, render: Callable[[Job, JobEvent], str]) -> Delivery:
    """Returns a delivery of the same event, with an id of its own, that shows the job halfway to its end."""
    before = halfway(job)
    body = render(before.job, JobEvent(END, delivery.event, before.now))
    new_id = urlsafe_b64encode(seeded_entropy(delivery.id, "stale")).decode().rstrip("=")
    return replace(delivery, id=f"msg_{new_id}", body=body)


def with_other_end(job: Job, at: VirtualTime) -> tuple[Job, JobEvent]:
    """Returns a job that ended at this time in another way than the true one does, and the event of this end."""
    outcome = State.ERROR if job.fate.outcome is State.COMPLETED else State.COMPLETED
    other = replace(job, cancelled_at=None, paused_at=None, paused_for=0.0, fate=Fate(at - job.created_at, outcome))
    return other, JobEvent(END, outcome.value, at)
