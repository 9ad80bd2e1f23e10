"""What requests may hold."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from translation_server.core.job import State, Submission

MAX_BULK = 100
"""How many ids one bulk look may ask for, and how many jobs one page may hold."""

JOB_ID = r"^[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,99}$"
"""What can stand in a path as it is, and means nothing else there."""


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
    """The facts that a submission may bring; every one is optional."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job_id: str | None = Field(default=None, pattern=JOB_ID, description="the caller's own id; else one is made up")
    source_language: Language | None = Field(default=None, description="the language spoken in the video")
    target_language: Language | None = Field(default=None, description="the language to translate it to")
    video_length: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False, description="seconds")

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
