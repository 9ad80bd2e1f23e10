"""The user's own dialects, from a TOML file: each table is a dialect."""

import json
import re
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from translation_server.core.dialects.builtin import DIALECTS, REQUEST
from translation_server.core.dialects.dialect import Dialect, DialectError, routes
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.template import placeholders
from translation_server.core.job import State
from translation_server.validation import field_errors, summary

NAME = re.compile(r"[a-z][a-z0-9-]*")

BUILTIN = {path.split("/")[1] for dialect in DIALECTS for path in (dialect.submit or "", *dialect.poll) if path} | {
    dialect.name for dialect in DIALECTS
}
"""Names whose paths would clash with those of the built-in dialects."""


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _template_of(fields: Sequence[str]) -> AfterValidator:
    """Refuses a body template with other fields than these, or with values that JSON does not have."""

    def check(template: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(placeholders(template).keys() - set(fields)):
            raise ValueError(f"there is no field {unknown[0]}; the fields are {', '.join(fields)}")
        try:
            json.dumps(template, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("must hold only what JSON can: no dates, nan or inf") from None
        return template

    return AfterValidator(check)


def _check_path(path: str) -> str:
    if path.count("{job_id}") > 1:
        raise ValueError("must hold {job_id} once")
    return path


SEGMENT = "/[A-Za-z0-9_.~-]+"
PollPath = Annotated[str, Field(pattern=rf"^({SEGMENT}|/\{{job_id\}})+$"), AfterValidator(_check_path)]
PollPaths = Annotated[list[PollPath], BeforeValidator(_one_or_more), Field(min_length=1)]
Words = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_one_or_more), Field(min_length=1)]
Body = Annotated[dict[str, Any], _template_of(list(FIELDS))]


class WordsTable(BaseModel):
    """The words for each state; ``cancelled`` is as ``error`` by default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pending: Words
    completed: Words
    error: Words
    cancelled: Words | None = None

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        ended = {*self.error, *(self.cancelled or self.error)}
        for words, others in ((self.pending, {*self.completed, *ended}), (self.completed, ended)):
            if shared := sorted(others.intersection(words)):
                raise ValueError(f"{shared[0]!r} stands for two states: only error and cancelled may share a word")
        return self


class DialectTable(BaseModel):
    """One dialect as it is written in a file; for the attributes see `Dialect`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    poll: PollPaths
    job: Body
    words: WordsTable
    submit: Annotated[str, Field(pattern=rf"^({SEGMENT})+$")] | None = None
    request: Annotated[dict[str, Any], _template_of(["job_id", *REQUEST])] = dict(REQUEST)
    accepted: Body | None = None
    accepted_code: Annotated[int, Field(ge=200, le=299)] = 202
    auth: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")] = "basic"

    @field_validator("job")
    @classmethod
    def _check_status(cls, job: dict[str, Any]) -> dict[str, Any]:
        if "status" not in placeholders(job):
            raise ValueError('must hold "{status}"')
        return job

    def dialect(self, name: str) -> Dialect:
        """Returns the dialect, with its paths below its name."""
        words = self.words
        return Dialect(
            name=name,
            submit=None if self.submit is None else f"/{name}{self.submit}",
            poll=tuple(f"/{name}{path}" for path in self.poll),
            request=self.request,
            accepted=self.accepted,
            accepted_code=self.accepted_code,
            job=self.job,
            auth=self.auth.lower(),
            words={
                State.PENDING: tuple(words.pending),
                State.COMPLETED: tuple(words.completed),
                State.ERROR: tuple(words.error),
                State.CANCELLED: tuple(words.cancelled or words.error),
            },
        )


KEYS = {name: name for name in DialectTable.model_fields}


def read_dialects(path: Path, taken: Collection[str]) -> tuple[Dialect, ...]:
    """Reads the dialects of a file. None may have a name that is ``taken`` by another route of the server.

    Raises:
        DialectError: the file cannot be read, or a dialect cannot be served; one line with the file and the dialect.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DialectError(f"DIALECTS={path}: cannot be read as TOML: {error}") from None
    dialects = []
    for name, table in tables.items():
        where = f"DIALECTS={path}: [{name}]"
        if not NAME.fullmatch(name) or name in BUILTIN or name in taken:
            raise DialectError(f"{where} must have a name of its own, in lower case: it becomes a part of the path")
        try:
            dialects.append(DialectTable.model_validate(table).dialect(name))
            routes(dialects[-1:])
        except ValidationError as error:
            raise DialectError(f"{where} {summary(field_errors(error, 'the dialect', KEYS))}") from None
        except DialectError as error:
            raise DialectError(f"{where} {error}") from None
    return tuple(dialects)
