"""What requests may hold, and what answers look like in the API's documentation."""

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from translation_server.core.dialects import NATIVE
from translation_server.core.job import Fate, Job, Look, State, Submission

MAX_BULK = 100
"""How many ids one bulk look may ask for, and how many jobs one page may hold."""


def _printable(text: str) -> str:
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise ValueError("must not hold control characters")
    return text


Language = Annotated[
    str,
    Field(min_length=1, max_length=100, json_schema_extra={"pattern": r"^\P{C}*$"}),
    AfterValidator(_printable),
]


class SubmissionBody(BaseModel):
    """What to translate; every field is optional."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source_language: Language | None = Field(None, description="the language spoken in the video")
    target_language: Language | None = Field(None, description="the language to translate to")
    video_length: float | None = Field(None, gt=0, le=1e6, allow_inf_nan=False, description="seconds")

    def submission(self) -> Submission:
        """The same as plain facts."""
        return Submission(self.source_language, self.target_language, self.video_length)


class JobsQuery(BaseModel):
    """Which of the caller's jobs to list."""

    model_config = ConfigDict(extra="forbid")

    status: State | None = Field(None, description="only jobs that stand so")
    job_id: list[str] = Field([], max_length=MAX_BULK, description="a bulk look at these jobs, instead of a page")
    limit: int = Field(20, ge=1, le=MAX_BULK, description="how many jobs a page holds")
    after: int | None = Field(None, ge=1, lt=2**63, description="the `next` of the page before")


class JobBody(BaseModel):
    """A job as it stands."""

    job_id: str
    status: State
    result: State = Field(description="the same word as `status`")
    progress: float = Field(ge=0, le=1, description="the part of the job's time that has passed; 1.0 once it ended")
    created_at: str = Field(description="RFC 3339, UTC, milliseconds")
    completed_at: str | None = Field(description="when the job ended, null while it is pending")
    elapsed_time: float = Field(ge=0, description="seconds from acceptance to now, or to the end")
    error_message: str | None = Field(description="why the job failed")
    source_language: str | None
    target_language: str | None
    video_length: float | None = Field(description="seconds")


class JobsBody(BaseModel):
    """A page of jobs, newest first, or the answer to a bulk look."""

    jobs: list[JobBody]
    next: str | None = Field(None, description="what to give as `after` for the next page; null on the last one")
    unknown: list[str] = Field([], description="in a bulk look: the ids that name none of the caller's jobs")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = Field([], description="field by field, what is wrong and what is allowed")
    error_id: str | None = Field(None, description="on a 500: the id to find the log line by")


class HealthBody(BaseModel):
    """The answer of a health check."""

    status: str


EXAMPLE_JOB = NATIVE.render(
    Look(
        Job(
            id="4f69cc76-5b9f-4b46-a514-bdd2c0e3314a",
            owner="admin",
            ordinal=1,
            created_at=1767323045.678,
            fate=Fate(5.0, State.COMPLETED),
            submission=Submission("en", "es", 90.0),
        ),
        now=1767323047.778,
    ),
)
EXAMPLES: Mapping[type[BaseModel], Mapping[str, object]] = MappingProxyType(
    {
        SubmissionBody: {"source_language": "en", "target_language": "es", "video_length": 90},
        JobBody: EXAMPLE_JOB,
        JobsBody: {"jobs": [EXAMPLE_JOB], "next": None},
        ProblemBody: {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "You have no such job."},
        HealthBody: {"status": "ready"},
    },
)
"""One example of each body, for the documentation."""
