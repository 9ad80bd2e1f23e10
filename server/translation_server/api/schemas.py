"""The models of parameters and bodies."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    create_model,
    model_validator,
)

from translation_server.core.clock import VirtualTime
from translation_server.core.job import FateOverride, Job, State, Submission, json_text
from translation_server.core.sandbox import Polls
from translation_server.documents import DEFERRED, WebhookBody

MAX_BATCH = 100  # how many jobs a batch poll may ask for, and how many a page may have
JOB_ID = r"^[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,199}$"  # ids that mean only themselves in a path, without escaping

PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$"
"""Text without control characters and without characters that break, reverse or hide text, as a JSON schema pattern."""


def _printable(text: str) -> str:
    if not re.fullmatch(PRINTABLE, text):
        raise ValueError("must not have control characters")
    return text


Language = Annotated[
    str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": PRINTABLE}), AfterValidator(_printable)
]

Message = Annotated[
    str, Field(min_length=1, max_length=1000, json_schema_extra={"pattern": PRINTABLE}), AfterValidator(_printable)
]


Code = Annotated[
    str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": PRINTABLE}), AfterValidator(_printable)
]


def _text_of(output: object) -> str | None:
    return None if output is None else json_text(output)


class Simulate(BaseModel):
    """The fate that a caller sets for a job."""

    model_config = DEFERRED | ConfigDict(extra="forbid", strict=True)

    delay: float | None = Field(None, ge=0, le=1e9, description="seconds until the job ends")
    outcome: Literal["completed", "error"] | None = Field(None, description="how the job ends")
    message: Message | None = Field(None, description="the error message if the job ends with `error`")
    code: Code | None = Field(None, description="the error code if the job ends with `error`")
    output: JsonValue | None = Field(None, description="the output if the job ends with `completed`")
    paused: bool | None = Field(None, description="whether the job stays pending until it is unpaused or finished")
    after_polls: Polls | None = Field(
        None, description="the poll that ends the job, whatever the clock says, from 1 on; not together with `delay`"
    )

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if self.delay is not None and self.after_polls is not None:
            raise ValueError("must not hold both delay and after_polls: a job ends after a time or after some polls")
        return self

    def fate_override(self) -> FateOverride:
        """Returns the fate as the service takes it."""
        return FateOverride(
            self.delay,
            self.outcome and State(self.outcome),
            self.message,
            self.paused,
            self.after_polls,
            self.code,
            _text_of(self.output),
        )


class SubmissionBody(BaseModel):
    """The body of a submission in the native format; every field is optional."""

    model_config = DEFERRED | ConfigDict(extra="forbid", strict=True)

    job_id: str | None = Field(
        None, pattern=JOB_ID, description="the caller's own id; by default, the server makes one"
    )
    source_language: Language | None = Field(None, description="the language spoken in the video")
    target_language: Language | None = Field(None, description="the language to translate it to")
    video_length: float | None = Field(None, gt=0, le=1e6, allow_inf_nan=False, description="seconds")
    simulate: Simulate | None = Field(None, description="the fate of the job, instead of a drawn one")
    webhook: WebhookBody | None = Field(None, description="where the job's events are delivered")

    def submission(self) -> Submission:
        """Returns the submission as the core takes it."""
        return Submission(self.source_language, self.target_language, self.video_length)


OF_FINISH = ("outcome", "message", "code", "output")


class JobAction(BaseModel):
    """An action on a job in a sandbox."""

    model_config = DEFERRED | ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "anyOf": [
                {"properties": {"do": {"const": "finish"}}},
                {"not": {"anyOf": [{"required": [name]} for name in OF_FINISH]}},
            ]
        },
    )

    do: Literal["pause", "unpause", "finish", "cancel"] = Field(description="what to do; an ended job stays as it is")
    outcome: Literal["completed", "error"] = Field("completed", description="how the job ends if it is finished")
    message: Message | None = Field(None, description="the error message if the job is finished with `error`")
    code: Code | None = Field(None, description="the error code if the job is finished with `error`")
    output: JsonValue | None = Field(None, description="the output if the job is finished with `completed`")

    @model_validator(mode="after")
    def _has_an_outcome_only_to_finish(self) -> Self:
        if self.do != "finish" and not self.model_fields_set.isdisjoint(OF_FINISH):
            raise ValueError("outcome, message, code and output are only for finish")
        return self

    def change(self) -> Callable[[Job, VirtualTime], Job]:
        """Returns the action as a function that the service applies to the job."""
        if self.do != "finish":
            return {"pause": Job.pause, "unpause": Job.unpause, "cancel": Job.cancel}[self.do]
        outcome, output = State(self.outcome), _text_of(self.output)
        return partial(Job.finish, outcome=outcome, message=self.message, code=self.code, output=output)


class Query(BaseModel):
    """The parameters of a request: none, unless a route has a model of its own."""

    model_config = DEFERRED | ConfigDict(extra="forbid")


class RequestsQuery(Query):
    """The parameters of a page of the request log."""

    limit: int = Field(100, ge=1, le=1000, description="how many requests a page has at most")
    after: int = Field(0, ge=0, lt=2**63, description="the `next` of the page before")


class WebhooksQuery(Query):
    """The parameters of a page of deliveries."""

    limit: int = Field(20, ge=1, le=MAX_BATCH, description="how many deliveries a page has at most")
    after: str | None = Field(None, max_length=200, description="the `next` of the page before")


class JobsQuery(Query):
    """The parameters of a list of jobs, or of a batch poll."""

    status: State | None = Field(None, description="only jobs in this state")
    job_id: list[str] = Field(
        [], max_length=MAX_BATCH, description="poll these jobs (a batch poll) instead of listing a page"
    )
    limit: int = Field(20, ge=1, le=MAX_BATCH, description="how many jobs a page has at most")
    after: int | None = Field(None, ge=1, lt=2**63, description="the `next` of the page before")


def submission_query(names: Sequence[str]) -> type[Query]:
    """Returns the model of a query with these fields of a submission."""
    fields = {name: SubmissionBody.model_fields[name] for name in names}
    definitions: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    return create_model("SubmissionQuery", __base__=Query, **definitions)
