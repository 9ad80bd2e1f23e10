"""Wire formats as rows.

A `Dialect` says where jobs are submitted and looked at, what the bodies hold and which words mean which state. The
bodies are templates: in the place of a fact stands the fact's name in braces, everything else stands for itself. What
is sent is the template filled (here); what is answered is read where the template has the place (`answers`). One
filler and one reader serve every row, so nothing asks which dialect it has.
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

Template: TypeAlias = Mapping[str, Any]
"""A JSON object; a value `"{name}"` stands for the fact of that name."""

Several: TypeAlias = str | Sequence[str]
"""A text, or a list of them."""

SUBMITTED = ("job_id", "source_language", "target_language", "video_length")
"""The facts that a submission may bring."""

FACTS = (
    *("job_id", "status", "progress", "created_at", "completed_at", "elapsed_time", "error_message"),
    *("source_language", "target_language", "video_length"),
)
"""The facts that an answer may tell."""

CURRENT = "current"
"""The id of every job of a dialect that looks at jobs without an id."""

PLACE = re.compile(r"\{(\w+)\}")
PATH = re.compile(r"(/[\w.~-]+)+")
JOB_PATH = re.compile(r"(/[\w.~-]+)*(/\{job_id\})?(/[\w.~-]+)*")
AUTH = re.compile(r"[A-Za-z][A-Za-z0-9-]*")

CODES = range(200, 300)
LONGEST_ID = 1000  # characters
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Listing:
    """Where jobs are listed.

    Attributes:
        path: The route.
        jobs: The field of a page that holds its jobs, each in the form of a look's answer.
        next: The field that holds the cursor of the next page, if there is one.
        after: The name in the query that takes such a cursor.
        ids: The name in the query that, repeated, asks for these jobs and no others, if there is one.
        unknown: The field of the answer to that which lists the ids of no job.
        events: Where the changes of all jobs are told as server-sent events, if anywhere.
    """

    path: str
    jobs: str = "jobs"
    next: str = "next"
    after: str = "after"
    ids: str | None = None
    unknown: str = "unknown"
    events: str | None = None

    def send(self, cursor: str | None = None) -> Send:
        """The request for a page: the first, or the one at the cursor."""
        return Send("GET", self.path, query={} if cursor is None else {self.after: cursor})

    def poll(self, ids: Sequence[str]) -> Send:
        """The request that looks at several jobs at once."""
        return Send("GET", self.path, query={self.ids or "": ids})


REQUEST = {fact: f"{{{fact}}}" for fact in SUBMITTED if fact != "job_id"}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One wire format.

    Attributes:
        name: What messages call it.
        poll: The path to look at; the first, if there are several. One without `{job_id}` looks at the caller's current
            job, and starts one where there is none.
        job: The template of a look's answer; `{status}` is in it.
        words: The word, or the several words, for each state; those for `error` mean `cancelled` too, unless told.
        submit: The path to submit to, if there is one.
        request: The template of what is submitted; a place whose fact is not given is left out.
        accepted: The template of what answers a submission, if not that of a look.
        accepted_code: The status code that comes with it from our server; here any success will do.
        auth: How callers prove who they are: `basic`, `bearer`, or the name of the header that holds their token.
        cancel: The path to delete a job at, if there is one; answered like a look.
        list: Where jobs are listed, if anywhere.

    Raises:
        ValueError: The row is unusable; the message is one line with its name and what is wrong.
    """

    name: str
    poll: Several
    job: Template
    words: Mapping[str, Several]
    submit: str | None = None
    request: Template = field(default_factory=lambda: REQUEST)
    accepted: Template | None = None
    accepted_code: int = 202
    auth: str = "basic"
    cancel: str | None = None
    list: Listing | None = None

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise ValueError(f"dialect [{self.name}] {fault}")

    @cached_property
    def path(self) -> str:
        """The path that is looked at."""
        return str(_several(self.poll)[0])

    @property
    def by_id(self) -> bool:
        """Whether jobs are looked at by their ids."""
        return "{job_id}" in self.path

    @property
    def starts_by_poll(self) -> bool:
        """Whether a look is what starts a job."""
        return self.submit is None and not self.by_id

    @property
    def answer(self) -> Template:
        """The template of what answers a submission."""
        return self.job if self.accepted is None else self.accepted

    @property
    def scheme(self) -> str:
        """How callers prove who they are, in lower case."""
        return self.auth.lower()

    @cached_property
    def takes(self) -> frozenset[str]:
        """The facts that a submission has a place for."""
        return frozenset(places(self.request) if self.submit else ())

    @cached_property
    def meanings(self) -> Mapping[str, State]:
        """The state that each word means."""
        words = {State.CANCELLED: self.words[State.ERROR], **self.words}
        return {word: state for state in reversed(State) for word in _several(words[state])}


def submitting(dialect: Dialect, key: str, facts: Mapping[str, object]) -> Send:
    """The request that submits a job.

    Raises:
        ValueError: The dialect has no such route.
    """
    body = _fill(dialect.request, facts)
    return Send("POST", _route(dialect, "start", dialect.submit), headers={"Idempotency-Key": key}, json=body or None)


def polling(dialect: Dialect, job_id: str) -> Send:
    """The request that looks at a job."""
    return Send("GET", _at(dialect.path, job_id))


def cancelling(dialect: Dialect, job_id: str) -> Send:
    """The request that cancels a job.

    Raises:
        ValueError: The dialect has no such route.
    """
    return Send("DELETE", _at(_route(dialect, "cancel", dialect.cancel), job_id))


def list_route(dialect: Dialect) -> Listing:
    """Where jobs are listed.

    Raises:
        ValueError: Nowhere.
    """
    return _route(dialect, "list", dialect.list)


def places(template: Template) -> dict[str, tuple[str, ...]]:
    """The fields that lead to each fact in the template; of several places of one fact, to the first."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in template.items():
        place = _place(value)
        below = places(value) if isinstance(value, Mapping) else {place: ()} if place else {}
        found = {fact: (name, *path) for fact, path in below.items()} | found
    return found


def is_text(value: object) -> TypeGuard[str]:
    """Whether this is a string that UTF-8 can carry: one without lone surrogates."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


class Number(float):
    """A JSON number with a fraction or an exponent, and its text, which is what it is as an id."""

    def __init__(self, text: str) -> None:
        self.text = text


def id_of(value: object) -> str | None:
    """The id of a job in a JSON document: a text, or the text of a number; None for what can be no id."""
    text = str(value) if type(value) is int else value.text if isinstance(value, Number) else value
    return text if is_id(text) else None


def is_id(value: object) -> TypeGuard[str]:
    """Whether this can be the id of a job: printable, and a segment of a path."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST_ID and value not in {".", ".."}


def _fill(template: Template, facts: Mapping[str, object]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, value in template.items():
        place = _place(value)
        if isinstance(value, Mapping):
            filled[name] = _fill(value, facts)
        elif place is None:
            filled[name] = value
        elif facts.get(place) is not None:
            filled[name] = facts[place]
    return filled


def _place(value: object) -> str | None:
    """The name of the fact whose place this is, if it is one."""
    found = PLACE.fullmatch(value) if isinstance(value, str) else None
    return found and found[1]


def _route(dialect: Dialect, name: str, route: T | None) -> T:
    if route is None:
        raise ValueError(f"{name}: the dialect {dialect.name} has no route for this")
    return route


def _at(path: str, job_id: str) -> str:
    """The path to a job, the id percent-encoded (RFC 3986, section 2.1)."""
    quoted = "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in job_id.encode())
    return path.replace("{job_id}", quoted)


def _several(value: object) -> Sequence[Any]:
    """A text as a list of one, a list as it is, anything else as an empty one."""
    return (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()


def _faults(dialect: Dialect) -> Iterator[str]:
    """What is wrong with a row; each fault may hide those after it, which rely on its absence."""
    polls = _several(dialect.poll)
    if not polls or not all(_is(JOB_PATH, path) for path in polls):
        yield 'look: must be a path such as "/tasks/{job_id}", or several'
    if dialect.submit is not None and not _is(PATH, dialect.submit):
        yield 'submit: must be a path such as "/tasks"'
    for name, template, facts in (
        ("job", dialect.job, FACTS),
        ("request", dialect.request, SUBMITTED),
        ("accepted", dialect.answer, FACTS),
    ):
        yield from _faults_of_template(name, template, facts)
    if "status" not in places(dialect.job):
        yield 'job: must hold "{status}"'
    yield from _faults_of_words(dialect.words)
    if type(dialect.accepted_code) is not int or dialect.accepted_code not in CODES:
        yield "accepted_code: must be a whole number from 200 to 299"
    if not _is(AUTH, dialect.auth):
        yield "auth: must be basic, bearer or the name of a header"
    if dialect.cancel is not None and not _is(JOB_PATH, dialect.cancel):
        yield 'cancel: must be a path such as "/tasks/{job_id}"'
    if dialect.list is not None and not (dialect.by_id and "job_id" in places(dialect.job)):
        yield 'list: needs "{job_id}" in look and in job'


def _faults_of_template(name: str, template: object, facts: Sequence[str]) -> Iterator[str]:
    if not isinstance(template, Mapping):
        yield f"{name}: must be a table"
    elif strangers := sorted(places(template).keys() - set(facts)):
        yield f"{name}: there is no fact {strangers[0]}; the facts are {', '.join(facts)}"
    elif not _is_json(template):
        yield f"{name}: must hold only what JSON can: no dates and times, no nan, no inf"


def _faults_of_words(words: Mapping[str, Several]) -> Iterator[str]:
    if not isinstance(words, Mapping):
        yield "words: must be a table"
    if strangers := sorted(words.keys() - set(State)):
        yield f"words.{strangers[0]}: there is no such state; the states are {', '.join(State)}"
    for state in State:
        said = _several(words.get(state, "as error" if state is State.CANCELLED else None))
        if not said or not all(is_text(word) and word for word in said):
            yield f"words.{state}: must be a word, or several"
    for one, other in combinations(State, 2):
        shared = set(_several(words.get(one))) & set(_several(words.get(other)))
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
JOB = {
    "job_id": "{job_id}",
    "status": "{status}",
    "result": "{status}",
    "progress": "{progress}",
    "created_at": "{created_at}",
    "completed_at": "{completed_at}",
    "elapsed_time": "{elapsed_time}",
    "error_message": "{error_message}",
    "source_language": "{source_language}",
    "target_language": "{target_language}",
    "video_length": "{video_length}",
}
CANCEL, LIST = "/jobs/{job_id}", Listing("/jobs", ids="job_id", events="/events")

START = Dialect(name="start", submit="/start", poll="/status/{job_id}", job=JOB, words=WORDS, cancel=CANCEL, list=LIST)
JOBS = Dialect(name="jobs", submit="/jobs", poll="/status/{job_id}", job=JOB, words=WORDS, cancel=CANCEL, list=LIST)
STATUS = Dialect(
    name="status", poll="/status", job={"status": "{status}", "elapsed_time": "{elapsed_time}"}, words=WORDS
)
TRANSLATE = Dialect(
    name="translate",
    submit="/translate",
    poll="/job/{job_id}",
    request={"job_id": "{job_id}", "source_language": "{source_language}", "target_language": "{target_language}"},
    accepted={"message": "Translation started", "job_id": "{job_id}"},
    job={
        "job_id": "{job_id}",
        "status": "{status}",
        "source_language": "{source_language}",
        "target_language": "{target_language}",
        "created_at": "{created_at}",
        "error_message": "{error_message}",
    },
    words=WORDS,
    cancel=CANCEL,
    list=LIST,
)
RESULT = Dialect(name="result", poll="/status", job={"result": "{status}"}, words=WORDS)

DIALECTS = {dialect.name: dialect for dialect in (START, JOBS, STATUS, TRANSLATE, RESULT)}
"""The five systems that this one descends from; the first is the native one."""
