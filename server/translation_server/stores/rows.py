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

NEVER = 1e300
"""The end of a job that is held, until it is released."""

END = f"coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for ELSE {NEVER} END)"
"""The moment at which a job ends, or ended. An index has it for each owner."""

IN_STATE = {
    None: "TRUE",
    State.PENDING: f"{END} > :now",
    State.COMPLETED: f"outcome = 'completed' AND cancelled_at IS NULL AND {END} <= :now",
    State.ERROR: f"outcome = 'error' AND cancelled_at IS NULL AND {END} <= :now",
    State.CANCELLED: "cancelled_at <= :now",
}
"""Law 1 in SQL: the same function of (job, now) as ``Look.state``, for the filter of a page."""

MANY = 5000
"""Pending jobs of an owner that are too many to be sorted: among so many, a page is found by going through all jobs."""

MANY_PENDING = f"SELECT TRUE FROM jobs WHERE owner = :owner AND {END} > :now ORDER BY {END} LIMIT 1 OFFSET {MANY}"
"""Finds a row if there are so many."""

FEW_PENDING = f"""
    SELECT ordinal FROM (
        SELECT ordinal FROM jobs WHERE owner = :owner AND {END} > :now ORDER BY {END} LIMIT {MANY}
    ) AS pending
    WHERE ordinal < :before ORDER BY ordinal DESC LIMIT :limit
"""
"""The ordinals of a page of pending jobs, where there are not so many."""

AMENDED = "owner = :owner AND changed_at >= :since AND changed_at <> created_at"
"""Jobs to which something was done; of others, the two are the same, unless the owner's clock shows another time."""

ACCEPTED = """
    owner = :owner AND ordinal > coalesce(
        (SELECT ordinal FROM jobs WHERE owner = :owner AND changed_at < :since ORDER BY ordinal DESC LIMIT 1), 0
    )
"""
"""Jobs that came after all that are older: ordinals are given in the order in which jobs are accepted."""

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
