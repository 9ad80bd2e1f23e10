"""Jobs as rows of the table ``jobs``, the same in every database."""

from collections.abc import Sequence
from typing import Any

from translation_server.core.job import Fate, Job, State, Submission

TYPES = {
    "id": "text",
    "owner": "text",
    "ordinal": "bigint",
    "created_at": "float8",
    "delay": "float8",
    "outcome": "text",
    "message": "text",
    "source_language": "text",
    "target_language": "text",
    "video_length": "float8",
    "cancelled_at": "float8",
    "paused_at": "float8",
    "paused_for": "float8",
    "changed_at": "float8",
}
"""The columns of a job, and the types of their values in PostgreSQL's words."""

NAMES = tuple(TYPES)
COLUMNS = ", ".join(NAMES)  # the columns of a job, in the order of `row_of`
GENERATION_MARK = "\x1e"  # separates the owner's name, which cannot contain it, from the generation in a key


def owner_of(key: str) -> str:
    """Returns the name of the owner of a key; `statements.DATA_KEY` says what a key is."""
    return key.partition(GENERATION_MARK)[0]


def job_of(row: Sequence[Any]) -> Job:
    """Returns the job of a row with the values of COLUMNS."""
    (
        job_id,
        key,
        ordinal,
        created_at,
        delay,
        outcome,
        message,
        source_language,
        target_language,
        video_length,
        cancelled_at,
        paused_at,
        paused_for,
        changed_at,
    ) = row
    return Job(
        id=job_id,
        owner=owner_of(key),
        ordinal=ordinal,
        created_at=created_at,
        fate=Fate(delay, State(outcome), message),
        submission=Submission(source_language, target_language, video_length),
        cancelled_at=cancelled_at,
        paused_at=paused_at,
        paused_for=paused_for,
        changed_at=changed_at,
    )


def row_of(job: Job, key: str) -> tuple[object, ...]:
    """Returns the values of COLUMNS for a job; the key stands for its owner."""
    return (
        job.id,
        key,
        job.ordinal,
        job.created_at,
        job.fate.delay,
        job.fate.outcome,
        job.fate.message,
        job.submission.source_language,
        job.submission.target_language,
        job.submission.video_length,
        job.cancelled_at,
        job.paused_at,
        job.paused_for,
        job.changed_at,
    )
