"""Models of bodies and query parameters."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from translation_server.core.job import State, Submission
from translation_server.service.jobs import FateOverride

MAX_BATCH = 100
"""How many ids one batch poll may ask for, and how many jobs one page may hold."""

JOB_ID = r"^[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,99}$"
"""Ids that need no escaping in a path and have no other meaning there."""


SHOWN = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$"
"""Text without control characters, and without characters that turn, break or hide a line."""


def _printable(text: str) -> str:
    if not re.fullmatch(SHOWN, text):
        raise ValueError("must not hold control characters")
    return text


Language = Annotated[
    str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": SHOWN}), AfterValidator(_printable)
]

Message = Annotated[
    str, Field(min_length=1, max_length=1000, json_schema_extra={"pattern": SHOWN}), AfterValidator(_printable)
]


class Simulate(BaseModel):
    """The fate that the caller chooses for a job; absent fields are drawn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    delay: float | None = Field(default=None, ge=0, le=1e9, description="seconds until it ends")
    outcome: Literal["completed", "error"] | None = Field(default=None, description="how it ends")
    message: Message | None = Field(default=None, description="the error message if it ends with `error`")
    paused: bool | None = Field(default=None, description="whether it stays pending until it is unpaused or finished")

    def fate_override(self) -> FateOverride:
        """Returns the same for the service."""
        return FateOverride(self.delay, self.outcome and State(self.outcome), self.message, self.paused)


class SubmissionBody(BaseModel):
    """The fields of a submission; all are optional."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job_id: str | None = Field(default=None, pattern=JOB_ID, description="the caller's own id, instead of a new one")
    source_language: Language | None = Field(default=None, description="the language spoken in the video")
    target_language: Language | None = Field(default=None, description="the language to translate it to")
    video_length: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False, description="seconds")
    simulate: Simulate | None = Field(default=None, description="the fate of the job, instead of a drawn one")

    def submission(self) -> Submission:
        """Returns the same for the service."""
        return Submission(self.source_language, self.target_language, self.video_length)


class JobAction(BaseModel):
    """An action on a job in a sandbox."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "anyOf": [
                {"properties": {"do": {"const": "finish"}}},
                {"not": {"anyOf": [{"required": ["outcome"]}, {"required": ["message"]}]}},
            ]
        },
    )

    do: Literal["pause", "unpause", "finish"] = Field(description="what to do; an ended job does not change")
    outcome: Literal["completed", "error"] = Field(default="completed", description="how to finish it")
    message: Message | None = Field(default=None, description="the error message if it ends with `error`")

    @model_validator(mode="after")
    def _carries_an_outcome_with_finish_only(self) -> Self:
        if self.do != "finish" and self.model_fields_set & {"outcome", "message"}:
            raise ValueError("outcome and message are only for finish")
        return self


class Query(BaseModel):
    """Query parameters: none, except those that a subclass adds."""

    model_config = ConfigDict(extra="forbid")


class RequestsQuery(Query):
    """Which records of the request log to show."""

    limit: int = Field(100, ge=1, le=1000, description="how many requests a page holds at most")
    after: int = Field(0, ge=0, lt=2**63, description="the `next` of the page before")


class JobsQuery(Query):
    """Which of the caller's jobs to list."""

    status: State | None = Field(None, description="only jobs with this status")
    job_id: list[str] = Field(
        [], max_length=MAX_BATCH, description="poll these jobs (a batch poll) instead of listing a page"
    )
    limit: int = Field(20, ge=1, le=MAX_BATCH, description="how many jobs a page holds")
    after: int | None = Field(None, ge=1, lt=2**63, description="the `next` of the page before")


def submission_query(names: Sequence[str]) -> type[Query]:
    """Returns the model of query parameters with these fields of a submission."""
    fields = {name: SubmissionBody.model_fields[name] for name in names}
    definitions: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    return create_model("SubmissionQuery", __base__=Query, **definitions)
