"""The tables of a dialect file, and what they may hold."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from translation_server.core.dialects.authentication import token_form
from translation_server.core.dialects.ids import check_id
from translation_server.core.dialects.operations import PARAMETER as PARAMETER_OF_PATH
from translation_server.core.dialects.operations import MediaKind, RequestPattern

HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LITERAL = r"[A-Za-z0-9_.~!$&'()*+,;=:@-]"
PARAMETER = r"\{[a-z_]\w*(:path|=[A-Za-z0-9_.~*/-]+)?\}"
PATH = re.compile(rf"/|(/({LITERAL}|{PARAMETER})+)+/?")
FRAMING = ("connection", "content-length", "transfer-encoding")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str | bool | int) else value


def _check_request(request: str) -> str:
    method, _, path = request.partition(" ")
    if method not in METHODS or not PATH.fullmatch(path):
        raise ValueError(
            f'must be a method and a path such as "POST /tasks", with {{name}} for a parameter; not {request!r}'
        )
    parameters = RequestPattern(method, path).parameters
    if len(parameters) > len(set(parameters)):
        raise ValueError(f"{request!r} has a parameter twice")
    if len(re.findall(r":path\}|\*\*", path)) > 1:
        raise ValueError(f"{request!r} may have one parameter of several segments")
    wildcards = PARAMETER_OF_PATH.sub(lambda found: found[2] or "*", path)
    if any(len(re.findall(r"\*\*?", segment)) > 1 for segment in wildcards.split("/")):
        raise ValueError(f"{request!r} may have one parameter in each segment")
    return request


def _check_id(template: str) -> str:
    check_id(template)
    return template


def _check_header(name: str) -> str:
    if name.lower() in FRAMING:
        raise ValueError(f"the server sets {name}")
    return name


def _check_scheme(auth: str) -> str:
    token_form(auth)
    return auth


Scheme = Annotated[str, AfterValidator(_check_scheme)]
Request = Annotated[str, AfterValidator(_check_request)]
Requests = Annotated[list[Request], BeforeValidator(_one_or_more), Field(min_length=1)]
Word = Annotated[str, Field(min_length=1)] | bool | int
Words = Annotated[list[Word], BeforeValidator(_one_or_more), Field(min_length=1)]
Alternatives = Annotated[list[str], BeforeValidator(_one_or_more), Field(min_length=1)]
Code = Annotated[int, Field(ge=200, le=599)]
Headers = dict[Annotated[str, Field(pattern=rf"^{HEADER_NAME}$"), AfterValidator(_check_header)], str]
Accepts = Annotated[list[MediaKind], BeforeValidator(_one_or_more), Field(min_length=1)]
Mount = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.~-]+)+$")]
Schemes = Annotated[list[Scheme], BeforeValidator(_one_or_more), Field(min_length=1)]


class Table(BaseModel):
    """A table without other keys than those that are listed."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerTable(Table):
    """How an operation answers; keys that are absent keep what they would be without the table."""

    code: Code | None = None
    headers: Headers = {}
    body: Any = None


class WhereTable(Table):
    """What else a request must have."""

    header: dict[str, str] = {}
    query: dict[str, str] = {}
    body: dict[str, Any] = {}


class IdPlaceTable(Table):
    """Where a request has the job's id: exactly one of query, header and body."""

    query: str | None = None
    header: str | None = None
    body: str | None = None
    text: str = "{job_id}"

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if sum(place is not None for place in (self.query, self.header, self.body)) != 1:
            raise ValueError("must have one of query, header and body")
        if self.text.count("{job_id}") != 1:
            raise ValueError("text must hold {job_id} once")
        return self


class PageTable(Table):
    """The query parameters of a list."""

    size: str | None = None
    cursor: str | None = None
    offset: str | None = None
    number: str | None = None
    order: str | None = None
    default: Annotated[int, Field(ge=1, le=100)] = 20
    ignore: Annotated[list[str], BeforeValidator(_one_or_more)] = []

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if sum(place is not None for place in (self.cursor, self.offset, self.number)) > 1:
            raise ValueError("must have one of cursor, offset and number")
        return self


class StatesTable(AnswerTable):
    """How an operation answers, and what is different in some states, or with some words for pending."""

    when: dict[str, AnswerTable] = {}


class OperationTable(StatesTable):
    """One thing that clients can ask for."""

    request: Requests
    where: WhereTable = WhereTable()
    job_id: IdPlaceTable | None = None
    accepts: Accepts = ["json"]


class FixedTable(AnswerTable):
    """A request that concerns no job."""

    request: Requests
    where: WhereTable = WhereTable()
    accepts: Accepts = ["json"]


class ListTable(OperationTable):
    """A list of jobs, or several by their ids."""

    page: PageTable = PageTable()
    ids: str | None = None
    item: str | None = None


class DownloadTable(OperationTable):
    """The bytes of a file."""

    file: str


class SubmitTable(OperationTable):
    """A submission."""

    wait: Annotated[int, Field(ge=1, le=60)] | None = None


class WordsTable(Table):
    """The words for each state; ``cancelled`` is as ``error`` by default."""

    pending: Words
    completed: Words
    error: Words
    cancelled: Words | None = None


class KindTable(Table):
    """A kind of job."""

    id: Annotated[str, AfterValidator(_check_id)] = "{uuid}"
    words: WordsTable = WordsTable(
        pending=["pending"], completed=["completed"], error=["error"], cancelled=["cancelled"]
    )
    send: dict[str, Any] = {
        name: f"{{{name}}}" for name in ("source_language", "target_language", "video_length", "simulate")
    }
    unknown_fields: Literal["accept", "refuse"] = "accept"
    required: list[Alternatives] = []
    defaults: dict[str, Any] = {}
    output: Any = None
    body: Any = None
    when: dict[str, AnswerTable] = {}
    submit: SubmitTable
    poll: OperationTable
    result: OperationTable | None = None
    cancel: OperationTable | None = None
    delete: OperationTable | None = None
    list: ListTable | None = None
    batch_poll: ListTable | None = None
    download: DownloadTable | None = None


class IdempotencyTable(Table):
    """Where a submission has its idempotency key."""

    header: Annotated[str, Field(pattern=rf"^{HEADER_NAME}$")] | None = None
    body: str | None = None


class ErrorAnswerTable(AnswerTable):
    """What is different in errors with one of our status codes."""

    code: Annotated[int, Field(ge=400, le=599)] | None = None


class ErrorTable(Table):
    """How errors are answered."""

    body: Any
    headers: Headers = {}
    types: dict[Annotated[str, Field(pattern=r"^([45]\d\d|default)$")], str] = {}
    when: dict[Annotated[str, Field(pattern=r"^[45]\d\d$")], ErrorAnswerTable] = {}


class ApiTable(Table):
    """A whole file: one API."""

    mount: Mount | None = None
    auth: Schemes = ["basic"]
    idempotency: IdempotencyTable | Literal["none"] = IdempotencyTable(header="Idempotency-Key")
    hints: Headers | None = None
    error: ErrorTable | None = None
    job: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], KindTable], Field(min_length=1)]
    fixed: dict[str, FixedTable] = {}
