"""A job as a row of a table, the same in every database."""

from collections.abc import Sequence
from typing import Any

from translation_server.core.job import Fate, Job, State, Submission

NAMES = (
    "id",
    "owner",
    "ordinal",
    "created_at",
    "delay",
    "outcome",
    "message",
    "source_language",
    "target_language",
    "video_length",
    "cancelled_at",
    "held_at",
    "held_for",
    "changed_at",
)
COLUMNS = ", ".join(NAMES)

NOT_CANCELLED = "(cancelled_at IS NULL OR cancelled_at > :now)"
ENDED = "held_at IS NULL AND created_at + delay + held_for <= :now"
IN_STATE = {
    None: "TRUE",
    State.PENDING: f"{NOT_CANCELLED} AND NOT ({ENDED})",
    State.COMPLETED: f"{NOT_CANCELLED} AND {ENDED} AND outcome = 'completed'",
    State.ERROR: f"{NOT_CANCELLED} AND {ENDED} AND outcome = 'error'",
    State.CANCELLED: "cancelled_at <= :now",
}
"""Law 1 in SQL: the same function of (job, now) as ``Look.state``, for the filter of a page."""

END = "coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for END)"
"""The moment at which a job ends, or ended; NULL while it is held. An index has it for each owner."""

NO_ORDINAL = 2**63 - 1
"""More than any ordinal: the largest number that a column holds."""


def job_of(row: Sequence[Any]) -> Job:
    """The job in the values of COLUMNS."""
    (
        job_id,
        owner,
        ordinal,
        created_at,
        delay,
        outcome,
        message,
        source,
        target,
        length,
        cancelled_at,
        held_at,
        held_for,
        changed_at,
    ) = row
    return Job(
        id=job_id,
        owner=owner,
        ordinal=ordinal,
        created_at=created_at,
        fate=Fate(delay, State(outcome), message),
        submission=Submission(source, target, length),
        cancelled_at=cancelled_at,
        held_at=held_at,
        held_for=held_for,
        changed_at=changed_at,
    )


def row_of(job: Job) -> tuple[object, ...]:
    """The job's values for COLUMNS."""
    return (
        job.id,
        job.owner,
        job.ordinal,
        job.created_at,
        job.fate.delay,
        job.fate.outcome,
        job.fate.message,
        job.submission.source_language,
        job.submission.target_language,
        job.submission.video_length,
        job.cancelled_at,
        job.held_at,
        job.held_for,
        job.changed_at,
    )
