"""The values that the templates of a dialect can show."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from translation_server.core.dialects.filters import Filter, timestamp
from translation_server.core.job import JobSnapshot, State

ENDED = frozenset({State.COMPLETED, State.ERROR, State.CANCELLED})
ALWAYS = frozenset(State)

LOG_LINES = 10
"""How many lines the log of a job has when it has ended."""


class Field(NamedTuple):
    """A field of a job.

    Attributes:
        schema: Its JSON schema.
        value: Computes its value; None where it is unknown.
        known: The states in which it may be known.
        changes_while_pending: Whether its value changes while the job is pending.
        convert: The filter that applies where a placeholder has none.
    """

    schema: Mapping[str, object]
    value: Callable[[JobSnapshot], object]
    known: frozenset[State] = ALWAYS
    changes_while_pending: bool = False
    convert: Filter | None = None


def _logs(snapshot: JobSnapshot) -> list[str]:
    """Returns a line for each tenth of the job's progress: a progress bar, as clients read it from logs."""
    done = range(1, int(snapshot.progress * LOG_LINES) + 1)
    return [f"{100 * line // LOG_LINES}%|{'=' * line:{LOG_LINES}}| {line}/{LOG_LINES}" for line in done]


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
                "description": "how much of the job's time, or of its polls, has passed, from 0 to 1",
            },
            lambda snapshot: snapshot.progress,
            changes_while_pending=True,
        ),
        "created_at": Field(
            {"type": "string", "format": "date-time"}, lambda snapshot: snapshot.job.created_at, convert=timestamp
        ),
        "completed_at": Field(
            {"type": ["string", "null"], "format": "date-time", "description": "when the job ended"},
            lambda snapshot: snapshot.completed_at,
            known=ENDED,
            convert=timestamp,
        ),
        "elapsed_time": Field(
            {"type": "number", "minimum": 0, "description": "seconds from acceptance to now, or to the end"},
            lambda snapshot: round(snapshot.elapsed, 3),
            changes_while_pending=True,
        ),
        "queue_position": Field(
            {"type": ["integer", "null"], "description": "how many jobs are before this one"},
            lambda snapshot: int(10 * (1 - snapshot.progress)) if snapshot.state is State.PENDING else None,
            known=frozenset({State.PENDING}),
            changes_while_pending=True,
        ),
        "logs": Field(
            {
                "type": "array",
                "items": {"type": "string"},
                "description": "a line for each tenth of the job's progress",
            },
            _logs,
            changes_while_pending=True,
        ),
        "error_message": Field(
            {"type": ["string", "null"], "description": "why the job failed"},
            lambda snapshot: snapshot.error_message,
            known=frozenset({State.ERROR}),
        ),
        "error_code": Field(
            {"type": ["string", "null"], "description": "the code of the error, if one was chosen"},
            lambda snapshot: snapshot.error_code,
            known=frozenset({State.ERROR}),
        ),
        "output": Field(
            {"description": "the output of a completed job; null for all others"},
            lambda snapshot: snapshot.output,
            known=frozenset({State.COMPLETED}),
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
