"""Wire formats as data.

A `Dialect` defines the routes, the bodies, and the words for each state. Bodies are templates: a placeholder such as
`"{job_id}"` stands for a field, everything else for itself. Requests fill the template (here); answers are read where
the template has its placeholders (`decode`). The same code serves every dialect.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import isfinite
from typing import Any, TypeAlias, TypeGuard, TypeVar

from translation_client.core.effects import Send
from translation_client.core.status import State

T = TypeVar("T")
Template: TypeAlias = Mapping[str, Any]  # a JSON object; a value `"{name}"` stands for the field of that name
OneOrMore: TypeAlias = str | Sequence[str]
ECHOED_FIELDS = ("source_language", "target_language", "video_length")  # the fields of a submission that answers repeat
REQUEST_FIELDS = ("job_id", *ECHOED_FIELDS, "simulate")  # the fields of a submission

ANSWER_FIELDS = (
    *("job_id", "status", "progress", "created_at", "completed_at", "elapsed_time", "error_message"),
    *("error_code", "output"),
    *ECHOED_FIELDS,
)

CURRENT = "current"  # the id of every job in a dialect without ids
PLACEHOLDER = re.compile(r"\{(\w+)\}")
PATH = re.compile(r"(/[\w.~-]+)+")
JOB_PATH = re.compile(r"(/[\w.~-]+)*(/\{job_id\})?(/[\w.~-]+)*")
AUTH = re.compile(r"[A-Za-z][A-Za-z0-9-]*")

CODES = range(200, 300)
LONGEST_ID = 1000  # characters
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Listing:
    """The routes for several jobs."""

    path: str  # the route of the list
    jobs: str = "jobs"  # the field of a page with its jobs, in the format of the answer to a poll
    next: str = "next"  # the field of a page with the cursor of the next one
    after: str = "after"  # the query parameter for the cursor
    ids: str | None = None  # the query parameter, repeated for each job, that makes the list a batch poll
    unknown: str = "unknown"  # the field of the answer to a batch poll with the unknown ids
    events: str | None = None  # the route of the event stream with the changes of all jobs

    def send(self, cursor: str | None = None) -> Send:
        """Returns the request for the page at a cursor; for the first page without one."""
        return Send("GET", self.path, query={} if cursor is None else {self.after: cursor})

    def poll(self, ids: Sequence[str]) -> Send:
        """Returns the batch poll."""
        return Send("GET", self.path, query={self.ids or "": ids})


def _body(*names: str) -> dict[str, str]:
    return {name: f"{{{name}}}" for name in names}


REQUEST = _body(*REQUEST_FIELDS[1:])  # without job_id


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One wire format.

    Attributes:
        name: Its name in messages.
        poll: The path of polls; the first one, if there are several. A path without `{job_id}` polls the user's current
            job, and starts one if there is none.
        job: The template of the answer to a poll, with `{status}`.
        words: The word, or words, for each state. Those for `error` mean `cancelled` too, unless it has its own.
        submit: The path of submissions, if there are any.
        request: The template of a submission. Placeholders without a value are left out.
        accepted: The template of the answer to a submission, if it is not `job`.
        accepted_code: The status code of that answer from our server. The client accepts any 2xx.
        auth: `basic`, `bearer`, or the name of the header with the user's token.
        cancel: The path to delete a job, if there is one; its answer is that of a poll.
        list: The routes for several jobs, if there are any.

    Raises:
        ValueError: The dialect is unusable; the message is one line with its name and what is wrong.
    """

    name: str
    poll: OneOrMore
    job: Template
    words: Mapping[str, OneOrMore]
    submit: str | None = None
    request: Template = field(default_factory=lambda: REQUEST)
    accepted: Template | None = None
    accepted_code: int = 202
    auth: str = "basic"
    cancel: str | None = None
    list: Listing | None = None

    def __post_init__(self) -> None:
        for error in _errors(self):
            raise ValueError(f"dialect [{self.name}] {error}")

    @cached_property
    def path(self) -> str:
        """The path of polls."""
        return str(_as_list(self.poll)[0])

    @property
    def by_id(self) -> bool:
        """Whether polls carry the job's id."""
        return "{job_id}" in self.path

    @property
    def starts_by_poll(self) -> bool:
        """Whether a poll starts the job."""
        return self.submit is None and not self.by_id

    @property
    def answer(self) -> Template:
        """The template of the answer to a submission."""
        return self.job if self.accepted is None else self.accepted

    @property
    def scheme(self) -> str:
        """The authentication, in lower case."""
        return self.auth.lower()

    @cached_property
    def request_fields(self) -> frozenset[str]:
        """The fields that a submission can carry."""
        return frozenset(field_paths(self.request) if self.submit else ())

    @cached_property
    def meanings(self) -> Mapping[str, State]:
        """The state for each word."""
        words = {State.CANCELLED: self.words[State.ERROR], **self.words}
        return {word: state for state in reversed(State) for word in _as_list(words[state])}


def submitting(dialect: Dialect, key: str, fields: Mapping[str, object]) -> Send:
    """Returns the request that submits a job.

    Raises:
        ValueError: The dialect has no submissions.
    """
    body = _fill(dialect.request, fields)
    return Send("POST", _route(dialect, "start", dialect.submit), headers={"Idempotency-Key": key}, json=body or None)


def polling(dialect: Dialect, job_id: str) -> Send:
    """Returns the poll of a job."""
    return Send("GET", _at(dialect.path, job_id))


def cancelling(dialect: Dialect, job_id: str) -> Send:
    """Returns the request that cancels a job.

    Raises:
        ValueError: The dialect has no cancellation.
    """
    return Send("DELETE", _at(_route(dialect, "cancel", dialect.cancel), job_id))


def list_route(dialect: Dialect) -> Listing:
    """Returns the routes for several jobs.

    Raises:
        ValueError: The dialect has no list.
    """
    return _route(dialect, "list", dialect.list)


def field_paths(template: Template) -> dict[str, tuple[str, ...]]:
    """Returns the path of keys to the placeholder of each field; to the first, if a field has several."""
    paths: dict[str, tuple[str, ...]] = {}
    for name, value in template.items():
        field_name = _placeholder(value)
        below = field_paths(value) if isinstance(value, Mapping) else {field_name: ()} if field_name else {}
        paths = {field_name: (name, *path) for field_name, path in below.items()} | paths
    return paths


def is_text(value: object) -> TypeGuard[str]:
    """Returns whether this is a string that UTF-8 can encode: one without lone surrogates."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


class Number(float):
    """A JSON number with a fraction or an exponent, with its text: as an id, it is the text."""

    def __init__(self, text: str) -> None:
        self.text = text


def id_of(value: object) -> str | None:
    """Returns the id of a job in a JSON document: a string, or the text of a number; None for anything else."""
    text = str(value) if type(value) is int else value.text if isinstance(value, Number) else value
    return text if is_id(text) else None


def is_id(value: object) -> TypeGuard[str]:
    """Returns whether this can be the id of a job: printable, and usable as a segment of a path."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST_ID and value not in {".", ".."}


def _fill(template: Template, fields: Mapping[str, object]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, value in template.items():
        field_name = _placeholder(value)
        if isinstance(value, Mapping):
            filled[name] = _fill(value, fields)
        elif field_name is None:
            filled[name] = value
        elif fields.get(field_name) is not None:
            filled[name] = fields[field_name]
    return filled


def _placeholder(value: object) -> str | None:
    match = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return match and match[1]


def _route(dialect: Dialect, name: str, route: T | None) -> T:
    if route is None:
        raise ValueError(f"{name}: the dialect {dialect.name} has no route for this")
    return route


def _at(path: str, job_id: str) -> str:
    """Returns the path to a job, the id percent-encoded (RFC 3986, section 2.1)."""
    quoted = "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in job_id.encode())
    return path.replace("{job_id}", quoted)


def _as_list(value: object) -> Sequence[Any]:
    """Returns a string as a list of one, a list as it is, anything else as an empty one."""
    return (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()


def _errors(dialect: Dialect) -> Iterator[str]:
    """Returns what is wrong with a dialect. Only the first error is certain: later checks rely on the earlier ones."""
    polls = _as_list(dialect.poll)
    if not polls or not all(_is(JOB_PATH, path) for path in polls):
        yield 'poll: must be a path such as "/tasks/{job_id}", or several'
    if dialect.submit is not None and not _is(PATH, dialect.submit):
        yield 'submit: must be a path such as "/tasks"'
    for name, template, allowed in (
        ("job", dialect.job, ANSWER_FIELDS),
        ("request", dialect.request, REQUEST_FIELDS),
        ("accepted", dialect.answer, ANSWER_FIELDS),
    ):
        yield from _template_errors(name, template, allowed)
    if "status" not in field_paths(dialect.job):
        yield 'job: must contain "{status}"'
    yield from _word_errors(dialect.words)
    if type(dialect.accepted_code) is not int or dialect.accepted_code not in CODES:
        yield "accepted_code: must be a whole number from 200 to 299"
    if not _is(AUTH, dialect.auth):
        yield "auth: must be basic, bearer or the name of a header"
    if dialect.cancel is not None and not _is(JOB_PATH, dialect.cancel):
        yield 'cancel: must be a path such as "/tasks/{job_id}"'
    if dialect.list is not None and not (dialect.by_id and "job_id" in field_paths(dialect.job)):
        yield 'list: needs "{job_id}" in poll and in job'


def _template_errors(name: str, template: object, allowed: Sequence[str]) -> Iterator[str]:
    if not isinstance(template, Mapping):
        yield f"{name}: must be a table"
    elif unknown := sorted(field_paths(template).keys() - set(allowed)):
        yield f"{name}: there is no field {unknown[0]}; the fields are {', '.join(allowed)}"
    elif not _is_json(template):
        yield f"{name}: must be valid JSON: no dates and times, no nan, no inf"


def _word_errors(words: Mapping[str, OneOrMore]) -> Iterator[str]:
    if not isinstance(words, Mapping):
        yield "words: must be a table"
    if unknown := sorted(words.keys() - set(State)):
        yield f"words.{unknown[0]}: there is no such state; the states are {', '.join(State)}"
    for state in State:
        listed = _as_list(words.get(state, "as error" if state is State.CANCELLED else None))
        if not listed or not all(is_text(word) and word for word in listed):
            yield f"words.{state}: must be a word, or several"
    for one, other in combinations(State, 2):
        shared = set(_as_list(words.get(one))) & set(_as_list(words.get(other)))
        if shared and (one, other) != (State.ERROR, State.CANCELLED):
            yield f"words: {min(shared)!r} cannot mean both {one} and {other}"


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and value != "" and pattern.fullmatch(value) is not None


def _is_json(value: object) -> bool:
    match value:
        case Mapping():
            return all(map(_is_json, value.values()))
        case list():
            return all(map(_is_json, value))
        case float():
            return isfinite(value)
        case _:
            return value is None or isinstance(value, int) or is_text(value)


WORDS = {state.value: state.value for state in State}
JOB = _body(*ANSWER_FIELDS) | {"result": "{status}"}
CANCEL, LIST = "/jobs/{job_id}", Listing("/jobs", ids="job_id", events="/events")

START = Dialect(name="start", submit="/start", poll="/status/{job_id}", job=JOB, words=WORDS, cancel=CANCEL, list=LIST)
JOBS = Dialect(name="jobs", submit="/jobs", poll="/status/{job_id}", job=JOB, words=WORDS, cancel=CANCEL, list=LIST)
STATUS = Dialect(name="status", poll="/status", job=_body("status", "elapsed_time"), words=WORDS)
TRANSLATE = Dialect(
    name="translate",
    submit="/translate",
    poll="/job/{job_id}",
    request=_body("job_id", "source_language", "target_language"),
    accepted={"message": "Translation started", "job_id": "{job_id}"},
    job=_body("job_id", "status", "source_language", "target_language", "created_at", "error_message"),
    words=WORDS,
    cancel=CANCEL,
    list=LIST,
)
RESULT = Dialect(name="result", poll="/status", job={"result": "{status}"}, words=WORDS)

DIALECTS = {dialect.name: dialect for dialect in (START, JOBS, STATUS, TRANSLATE, RESULT)}
"""The dialects of the five earlier systems; the first is the native one."""
