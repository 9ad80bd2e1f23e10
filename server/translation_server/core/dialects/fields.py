"""The fields of a job that a body can show."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from translation_server.core.job import JobSnapshot


class Field(NamedTuple):
    """A field of a job."""

    schema: Mapping[str, object]  # its JSON schema
    value: Callable[[JobSnapshot], object]  # computes its value
    changes_while_pending: bool = False  # whether its value changes while the job is pending


def timestamp(seconds: float) -> str:
    """Returns seconds since the epoch as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


TEXT = MappingProxyType({"type": ["string", "null"]})

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "job_id": Field({"type": "string"}, lambda snapshot: snapshot.job.id),
        "status": Field({"type": "string"}, lambda snapshot: snapshot.state.value),
        "progress": Field(
            {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "the part of the job's time, or of its polls, that has passed",
            },
            lambda snapshot: snapshot.progress,
            changes_while_pending=True,
        ),
        "created_at": Field(
            {"type": "string", "format": "date-time"}, lambda snapshot: timestamp(snapshot.job.created_at)
        ),
        "completed_at": Field(
            {"type": ["string", "null"], "format": "date-time", "description": "when the job ended"},
            lambda snapshot: None if snapshot.completed_at is None else timestamp(snapshot.completed_at),
        ),
        "elapsed_time": Field(
            {"type": "number", "minimum": 0, "description": "seconds from acceptance to now, or to the end"},
            lambda snapshot: round(snapshot.elapsed, 3),
            changes_while_pending=True,
        ),
        "error_message": Field(
            {"type": ["string", "null"], "description": "why the job failed"}, lambda snapshot: snapshot.error_message
        ),
        "error_code": Field(
            {"type": ["string", "null"], "description": "the code of the error, if one was chosen"},
            lambda snapshot: snapshot.error_code,
        ),
        "output": Field(
            {"description": "what a completed job has made; null for all others"}, lambda snapshot: snapshot.output
        ),
        "source_language": Field(TEXT, lambda snapshot: snapshot.job.submission.source_language),
        "target_language": Field(TEXT, lambda snapshot: snapshot.job.submission.target_language),
        "video_length": Field(
            {"type": ["number", "null"], "description": "seconds"},
            lambda snapshot: snapshot.job.submission.video_length,
        ),
    }
)
"""All fields by name."""
