"""The wire formats, as rows: where jobs are submitted and looked at, and what the bodies hold.

A row is data. Its bodies are templates: in the place of a fact stands the fact's name in braces, everything else goes
out as it stands. One renderer and one reader serve all rows, so nothing here or elsewhere asks which row it has.

Theory of operation: rendering is the hot path, so a body is made in three steps, each as seldom as can be. A row's
template becomes JSON text with gaps, once. What stays while the word for a job does is filled in once for it, which
gives a form. What is left to a look is what moves meanwhile.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from translation_server.core.job import PROGRESS_STEPS, Job, JobSnapshot, State

Template = Mapping[str, object]
"""A JSON object; a value ``"{name}"`` stands for the fact of that name."""

PLACE = re.compile(r"\{(\w+)\}")

PLACE_IN_JSON = re.compile(r'"\{(\w+)\}"(?!:)')
"""A place in a template that was written as JSON, where no value but it and no field's name looks so."""

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)


class DialectError(Exception):
    """A row cannot be served; the message is one line for a person."""


class Fact(NamedTuple):
    """Something that a body can tell of a job: its JSON schema, and how it follows from a look.

    ``moves`` is whether it becomes another while the job is pending.
    """

    schema: Mapping[str, object]
    of: Callable[[JobSnapshot], object]
    moves: bool = False


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


TEXT = MappingProxyType({"type": ["string", "null"]})

FACTS: Mapping[str, Fact] = MappingProxyType(
    {
        "job_id": Fact({"type": "string"}, lambda snapshot: snapshot.job.id),
        "status": Fact({"type": "string"}, lambda snapshot: snapshot.state.value),
        "progress": Fact(
            {"type": "number", "minimum": 0, "maximum": 1, "description": "the part of the job's time that has passed"},
            lambda snapshot: snapshot.progress,
            moves=True,
        ),
        "created_at": Fact(
            {"type": "string", "format": "date-time"}, lambda snapshot: timestamp(snapshot.job.created_at)
        ),
        "completed_at": Fact(
            {"type": ["string", "null"], "format": "date-time", "description": "when the job ended"},
            lambda snapshot: None if snapshot.completed_at is None else timestamp(snapshot.completed_at),
        ),
        "elapsed_time": Fact(
            {"type": "number", "minimum": 0, "description": "seconds from acceptance to now, or to the end"},
            lambda snapshot: round(snapshot.elapsed, 3),
            moves=True,
        ),
        "error_message": Fact(
            {"type": ["string", "null"], "description": "why the job failed"},
            lambda snapshot: snapshot.error_message,
        ),
        "source_language": Fact(TEXT, lambda snapshot: snapshot.job.submission.source_language),
        "target_language": Fact(TEXT, lambda snapshot: snapshot.job.submission.target_language),
        "video_length": Fact(
            {"type": ["number", "null"], "description": "seconds"},
            lambda snapshot: snapshot.job.submission.video_length,
        ),
    },
)
"""Everything a body can tell of a job."""


class Form(NamedTuple):
    """What a row tells of a job while its word for it stays the same, as JSON with gaps for the numbers that move.

    ``tag`` is a weak entity tag of the body: it stays while only progress and elapsed time go on.
    """

    text: str
    moving: Sequence[Callable[[JobSnapshot], object]]
    tag: str

    def body(self, snapshot: JobSnapshot) -> str:
        """The body that tells how the job stands."""
        return self.text % tuple([number(snapshot) for number in self.moving])


def as_json(value: object) -> str:
    """A value as JSON, by a shorter way for what bodies mostly hold."""
    if value is None:
        return "null"
    if type(value) is float and math.isfinite(value):
        return repr(value)
    return ENCODER.encode(value)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One wire format.

    Attributes:
        name: What the row is called.
        poll: The paths to poll, all the same; one without ``{job_id}`` means the caller's latest job, and starts one
            where there is none.
        job: The body that tells how a job stands.
        words: What each state is called. Several words for ``pending`` follow one another, each for an equal part of
            the job's time.
        submit: The path to submit to, if there is one.
        request: The body of a submission; what is no fact there may be sent and is not kept.
        query: The facts that a submission may bring in the query of its target.
        accepted: The body that answers a submission, if not that of a look.
        accepted_code: The status code that goes with it.
        auth: How callers prove who they are: ``basic``, ``bearer``, or the name of the header that holds their token.
    """

    name: str
    poll: tuple[str, ...]
    job: Template
    words: Mapping[State, tuple[str, ...]]
    submit: str | None = None
    request: Template = field(default_factory=dict)
    query: tuple[str, ...] = ()
    accepted: Template | None = None
    accepted_code: int = 202
    auth: str = "basic"

    def form(self, snapshot: JobSnapshot) -> Form:
        """What the row tells of a job, from this look on until the word changes."""
        return self._form(self._gaps, snapshot)

    def body(self, snapshot: JobSnapshot) -> str:
        """The body that tells how a job stands."""
        return self.form(snapshot).body(snapshot)

    def body_accepted(self, job: Job) -> str:
        """The body that answers a submission: what was so at the moment of acceptance, whenever it is asked again."""
        snapshot = JobSnapshot(job, job.created_at)
        return self._form(self._gaps_accepted, snapshot).body(snapshot)

    def word(self, snapshot: JobSnapshot) -> str:
        """What the row calls the state of a look."""
        words = self.words[snapshot.state]
        return words[int(snapshot.progress * len(words)) if snapshot.state is State.PENDING and len(words) > 1 else 0]

    def changes_at(self, snapshot: JobSnapshot) -> float:
        """The moment at which the word for a pending job will be another one."""
        job, steps = snapshot.job, len(self.words[State.PENDING])
        step = int(snapshot.progress * steps) + 1
        if step == steps or job.paused_at is not None:
            return job.due_at
        worked = job.fate.delay * math.ceil(step / steps * PROGRESS_STEPS) / PROGRESS_STEPS
        return job.created_at + job.paused_for + worked

    def location(self, job_id: str) -> str:
        """Where to look at a job."""
        return self.poll[0].replace("{job_id}", job_id)

    @cached_property
    def _gaps(self) -> tuple[str, Sequence[str]]:
        return _with_gaps(self.job)

    @cached_property
    def _gaps_accepted(self) -> tuple[str, Sequence[str]]:
        return self._gaps if self.accepted is None else _with_gaps(self.accepted)

    def _form(self, gaps: tuple[str, Sequence[str]], snapshot: JobSnapshot) -> Form:
        (text, facts), word = gaps, self.word(snapshot)
        moving = [fact for fact in facts if FACTS[fact].moves and snapshot.state is State.PENDING]

        def filled(fact: str) -> str:
            if fact in moving:
                return "%r"
            return as_json(word if fact == "status" else FACTS[fact].of(snapshot)).replace("%", "%%")

        of = json.dumps([self.name, snapshot.job.owner, snapshot.job.id, word])
        tag = f'W/"{hashlib.blake2b(of.encode(), digest_size=8).hexdigest()}"'
        return Form(text % tuple(filled(fact) for fact in facts), [FACTS[fact].of for fact in moving], tag)


def _with_gaps(template: Template) -> tuple[str, Sequence[str]]:
    """The template as JSON with a gap, `%s`, for each of these facts; what else has the sign is doubled twice."""
    facts: list[str] = []

    def gap(place: re.Match[str]) -> str:
        facts.append(place[1])
        return "%s"

    return PLACE_IN_JSON.sub(gap, as_json(template).replace("%", "%%%%")), facts


class Route(NamedTuple):
    """One method and path, what it does (``submit``, ``snapshot`` or ``current``), and the rows that share it."""

    method: str
    path: str
    action: str
    dialects: tuple[Dialect, ...]


def routes(dialects: Iterable[Dialect]) -> list[Route]:
    """The routes of all rows.

    Raises:
        DialectError: two rows would answer the same request differently.
    """
    found: dict[tuple[str, str], Route] = {}
    for dialect in dialects:
        for method, path, action in _routes(dialect):
            place = method, PLACE.sub("{}", path)
            route = found.setdefault(place, Route(method, path, action, ()))
            for other in route.dialects:
                if _answers(other, route.action) != _answers(dialect, action):
                    raise DialectError(f"{method} {path} is taken by the dialect {other.name}: choose another path")
            found[place] = route._replace(dialects=(*route.dialects, dialect))
    return list(found.values())


def _routes(dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    if dialect.submit is not None:
        yield "POST", dialect.submit, "submit"
    for path in dialect.poll:
        yield "GET", path, "poll" if "{job_id}" in path else "current"


def _answers(dialect: Dialect, action: str) -> tuple[object, ...]:
    """All that a row contributes to what a route does."""
    submit = (
        (dialect.request, dialect.query, dialect.accepted, dialect.accepted_code, dialect.location(""))
        if action == "submit"
        else ()
    )
    return action, dialect.auth, dialect.words, dialect.job, *submit


def fill(template: object, fact: Callable[[str], object]) -> object:
    """The template with every place filled."""
    if isinstance(template, Mapping):
        return {field: fill(value, fact) for field, value in template.items()}
    place = PLACE.fullmatch(template) if isinstance(template, str) else None
    return fact(place[1]) if place else template


def read(template: Template, document: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """What a document holds in the template's places, by fact, and the fields that the template does not have."""
    facts: dict[str, object] = {}
    unknown = []
    for name, value in document.items():
        within = template.get(name, ())
        if isinstance(within, Mapping) and isinstance(value, Mapping):
            found, strangers = read(within, value)
            facts |= found
            unknown += [f"{name}.{stranger}" for stranger in strangers]
        elif within == () or isinstance(within, Mapping):
            unknown.append(name)
        elif isinstance(within, str) and (place := PLACE.fullmatch(within)):
            facts[place[1]] = value
    return facts, unknown


def places(template: Template, above: str = "") -> dict[str, str]:
    """Where the template holds which fact: the names of the facts, and the dotted paths of their fields."""
    found: dict[str, str] = {}
    for name, value in template.items():
        if isinstance(value, Mapping):
            found |= places(value, f"{above}{name}.")
        elif isinstance(value, str) and (place := PLACE.fullmatch(value)):
            found[place[1]] = above + name
    return found


WORDS = MappingProxyType({state: (state.value,) for state in State})
REQUEST = MappingProxyType(
    {
        "source_language": "{source_language}",
        "target_language": "{target_language}",
        "video_length": "{video_length}",
        "simulate": "{simulate}",
    },
)
JOB = MappingProxyType(
    {
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
    },
)
CURRENT_JOB = MappingProxyType({"status": "{status}", "result": "{status}", "elapsed_time": "{elapsed_time}"})

START = Dialect(name="start", submit="/start", poll=("/status/{job_id}",), request=REQUEST, job=JOB, words=WORDS)
JOBS = Dialect(
    name="jobs",
    submit="/jobs",
    poll=("/status/{job_id}", "/jobs/{job_id}"),
    request=REQUEST,
    query=("video_length",),
    job=JOB,
    words=WORDS,
)
STATUS = Dialect(name="status", poll=("/status",), job=CURRENT_JOB, words=WORDS)
TRANSLATE = Dialect(
    name="translate",
    submit="/translate",
    poll=("/job/{job_id}",),
    request=MappingProxyType(
        {"job_id": "{job_id}", "source_language": "{source_language}", "target_language": "{target_language}"},
    ),
    accepted=MappingProxyType({"message": "Translation started", "job_id": "{job_id}"}),
    job=MappingProxyType(
        {
            "job_id": "{job_id}",
            "status": "{status}",
            "source_language": "{source_language}",
            "target_language": "{target_language}",
            "created_at": "{created_at}",
            "error_message": "{error_message}",
        },
    ),
    words=WORDS,
)
RESULT = Dialect(name="result", poll=("/status",), job=CURRENT_JOB, words=WORDS)

DIALECTS = (START, JOBS, STATUS, TRANSLATE, RESULT)
"""The five systems that this one descends from; the first is the native one."""
