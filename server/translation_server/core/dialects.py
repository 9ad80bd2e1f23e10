"""The wire formats, as rows: where jobs are submitted and looked at, and what the body of an answer holds.

A row names for every field of a body the fact it shows; one renderer serves all rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from translation_server.core.job import Look


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


FACTS: Mapping[str, Callable[[Look], object]] = MappingProxyType(
    {
        "job_id": lambda look: look.job.id,
        "status": lambda look: look.state.value,
        "progress": lambda look: look.progress,
        "created_at": lambda look: timestamp(look.job.created_at),
        "completed_at": lambda look: None if look.completed_at is None else timestamp(look.completed_at),
        "elapsed_time": lambda look: round(look.elapsed, 3),
        "error_message": lambda look: look.error_message,
        "source_language": lambda look: look.job.submission.source_language,
        "target_language": lambda look: look.job.submission.target_language,
        "video_length": lambda look: look.job.submission.video_length,
    },
)
"""Everything a body can show of a job: the name of the fact, and how it follows from a look."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format; every path of ``submit`` and of ``look`` means the same."""

    name: str
    submit: tuple[str, ...]
    look: tuple[str, ...]
    body: Mapping[str, str]
    """The fields of a job on the wire, and the fact that each shows."""

    def render(self, look: Look) -> dict[str, object]:
        """The body that tells how a job stands."""
        return {field: FACTS[fact](look) for field, fact in self.body.items()}


NATIVE = Dialect(
    name="native",
    submit=("/start", "/jobs"),
    look=("/status/{job_id}", "/jobs/{job_id}"),
    body=MappingProxyType(
        {
            "job_id": "job_id",
            "status": "status",
            "result": "status",
            "progress": "progress",
            "created_at": "created_at",
            "completed_at": "completed_at",
            "elapsed_time": "elapsed_time",
            "error_message": "error_message",
            "source_language": "source_language",
            "target_language": "target_language",
            "video_length": "video_length",
        },
    ),
)
