"""The events of a job that its webhook delivers, as a pure function of the job and of time.

Theory of operation: the events of a job have fixed stages: its start, nine tenths of progress, its end. A job keeps the
last stage whose first attempt was made (`Job.notified`). This stage, the job's course and the time determine the next
event. So nothing is written when an event happens, and a change of the course moves the events with it. If several
tenths of progress are due together, only the last one is delivered; after the end, none is.
"""

import hashlib
import json
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from translation_server.core.change_feed import FeedPosition
from translation_server.core.clock import Clock, VirtualTime
from translation_server.core.job import Job, JobSnapshot, State

STARTED, END = 1, 11  # the first and the last stage; between them are the tenths of progress
TENTHS = range(1, 10)


class JobEvent(NamedTuple):
    """An event of a job, and when it happens."""

    stage: int
    name: str
    at: VirtualTime


def next_event_at(job: Job) -> VirtualTime | None:
    """Returns when the job's next event happens if its course does not change; None if there is no further event."""
    at = min((event.at for event in _upcoming(job)), default=math.inf)
    return None if at == math.inf else VirtualTime(at)


def event_position(job: Job) -> FeedPosition:
    """Returns the position of a job in the order of next events."""
    return FeedPosition(next_event_at(job) or math.inf, job.ordinal)


def due_event(job: Job, now: VirtualTime) -> JobEvent | None:
    """Returns the event that is due now; None if there is none."""
    due = [event for event in _upcoming(job) if event.at <= now]
    if not due or due[0].stage == STARTED:
        return due[0] if due else None
    return due[-1]


def timed_event(job: Job, event: JobEvent, clock: Clock) -> JobEvent:
    """Returns a due event with the time at which it happened: the job's last change if polls advance the job."""
    by_polls = event.name == "progress" and job.ends_after_polls
    return event._replace(at=max(event.at, clock.virtual(job.changed_at))) if by_polls else event


def snapshot_at(job: Job, event: JobEvent) -> JobSnapshot:
    """Returns the snapshot of the job that a poll at the time of an event would show.

    At its start a job is always pending, even if it ends at the same time. Otherwise, both events of an API that posts
    states would show the end.
    """
    if event.stage != STARTED:
        return JobSnapshot(job, event.at)
    if job.beginning.state is State.PENDING:
        return job.beginning
    shortest = replace(job.fate, delay=math.ulp(job.created_at))
    return replace(job, fate=shortest, cancelled_at=None).beginning


def delivery_id(job: Job, stage: int) -> str:
    """Returns the id of a delivery: it differs for each event of each job, also of jobs that a reset has deleted."""
    text = json.dumps([job.owner, *job.key, job.ordinal, job.created_at, stage])
    return "msg_" + urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=18).digest()).decode()


def _upcoming(job: Job) -> Iterator[JobEvent]:
    """Yields the events whose times are known and that were not attempted yet, in the order of their stages."""
    if job.webhook is None:
        return
    wanted, end = job.webhook.events, job.ends_at
    if "started" in wanted and job.notified < STARTED:
        yield JobEvent(STARTED, "started", job.created_at)
    if "progress" in wanted:
        for tenth in TENTHS:
            at = _progress_at(job, tenth)
            if job.notified <= tenth and at < end:
                yield JobEvent(STARTED + tenth, "progress", at)
    outcome = job.fate.outcome if job.cancelled_at is None else State.CANCELLED
    if outcome in wanted and job.notified < END and end < math.inf:
        yield JobEvent(END, outcome.value, end)


def _progress_at(job: Job, tenth: int) -> VirtualTime:
    """Returns when a job reaches this many tenths of its progress; infinity if time alone does not bring it there."""
    after_polls = job.fate.after_polls
    if after_polls is not None:
        return VirtualTime(job.created_at if job.polls * 10 >= after_polls * tenth else math.inf)
    at = job.created_at + job.paused_for + job.fate.delay * tenth / 10
    return VirtualTime(at if job.paused_at is None or at <= job.paused_at else math.inf)
