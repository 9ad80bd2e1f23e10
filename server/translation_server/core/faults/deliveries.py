"""What fault rules for webhooks depend on: the delivery, and the job that it is about."""

from collections.abc import Set as AbstractSet
from dataclasses import replace

from translation_server.core.clock import VirtualTime
from translation_server.core.faults.rules import FORGED
from translation_server.core.job import Fate, Job, State
from translation_server.core.webhook_events import END, JobEvent
from translation_server.core.webhooks import Delivery

POSTPONING = frozenset({"latency"})
"""The kinds of rules that postpone an attempt. At most one of them fires for it."""


def excluded_kinds(job: Job, delivery: Delivery) -> AbstractSet[str]:
    """Returns the kinds of rules that cannot affect the next attempt of a delivery."""
    was_postponed = bool(delivery.attempts) and delivery.attempts[-1].fault in POSTPONING
    is_signed = job.webhook is not None and bool(job.webhook.secrets)
    return (POSTPONING if was_postponed else frozenset()) | (frozenset() if is_signed else frozenset(FORGED))


def with_other_end(job: Job, at: VirtualTime) -> tuple[Job, JobEvent]:
    """Returns a job that ended at this time in another way than the true one does, and the event of this end."""
    outcome = State.ERROR if job.fate.outcome is State.COMPLETED else State.COMPLETED
    other = replace(job, cancelled_at=None, paused_at=None, paused_for=0.0, fate=Fate(at - job.created_at, outcome))
    return other, JobEvent(END, outcome.value, at)
