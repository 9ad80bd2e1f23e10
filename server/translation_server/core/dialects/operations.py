"""Operations: the requests that an API knows, and its answers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

from translation_server.core.dialects.rendering import Render, renderer
from translation_server.core.dialects.template import Node
from translation_server.core.job import State

Action = Literal[
    "submit", "poll", "current", "result", "view", "cancel", "delete", "list", "batch_poll", "download", "fixed"
]
WITH_ID = frozenset[Action]({"poll", "result", "view", "cancel", "delete", "download"})
"""The actions of requests that have the id of a job."""

CHANGING = frozenset[Action]({"submit", "current", "cancel", "delete"})
"""The actions that change something, whatever the method of their requests."""

REFUSED = 400
"""The status codes from this one on refuse a request."""

MediaKind = Literal["json", "untyped", "form", "multipart", "any"]

PARAMETER = re.compile(r"\{(\w+)(?::path|=([^{}]+))?\}")
"""A parameter of a path: one segment, one or more (``{name:path}``), or a pattern (``{name=operations/*}``)."""

WILDCARDS = {"*": "[^/]+", "**": "(?s:.+)"}


@dataclass(frozen=True)
class RequestPattern:
    """A method, and a path with parameters."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return [found[1] for found in PARAMETER.finditer(self.path)]

    @cached_property
    def template(self) -> str:
        """The path with plain parameters, as metrics and OpenAPI have it: ``{name}`` for ``{name:path}``."""
        return PARAMETER.sub(r"{\1}", self.path)

    @cached_property
    def expression(self) -> str:
        """A regular expression for the path, with an unnamed group for each parameter."""
        text, end = "", 0
        for found in PARAMETER.finditer(self.path):
            text += re.escape(self.path[end : found.start()]) + f"({_of_parameter(found)})"
            end = found.end()
        return text + re.escape(self.path[end:])

    @property
    def form(self) -> tuple[str, str]:
        """A value that is equal for patterns of the same form, which match the same requests."""
        return self.method, self.expression

    @property
    def specificity(self) -> tuple[int, bool]:
        """Orders patterns: those with more literal text come first, then those that are not open-ended."""
        return -len(PARAMETER.sub("", self.path)), self.is_open_ended

    @property
    def is_open_ended(self) -> bool:
        """Whether a parameter may have any number of segments; a path has one such parameter at most."""
        return re.search(r":path\}|\*\*", self.path) is not None


def _of_parameter(found: re.Match[str]) -> str:
    if found[2]:
        return "".join(WILDCARDS.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", found[2]))
    return WILDCARDS["**" if found[0].endswith(":path}") else "*"]


class Where(NamedTuple):
    """Further conditions on a request, which distinguish operations with the same path.

    Attributes:
        header: Headers, by their lower-case names.
        query: Query parameters.
        body: Fields of the body, by their dotted paths.
    """

    header: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    body: Mapping[str, object] = {}

    def excludes(self, other: "Where") -> bool:
        """Whether no request meets both conditions."""
        return any(
            one[name] != two[name] for one, two in zip(self, other, strict=True) for name in one.keys() & two.keys()
        )

    def narrows(self, other: "Where") -> bool:
        """Whether it has all conditions of the other one, and more."""
        return self != other and all(two.items() <= one.items() for one, two in zip(self, other, strict=True))

    def differs(self, other: "Where") -> bool:
        """Whether it is clear which of the two a request means: of two that it meets, the narrower one."""
        return self.excludes(other) or self.narrows(other) or other.narrows(self)


class IdPlace(NamedTuple):
    """The place of the job's id in a request.

    Attributes:
        source: ``path``, ``query``, ``header`` or ``body``.
        name: The name there; the dotted path in a body.
        text: The text around the id; it may have parameters of the path.
    """

    source: str = "path"
    name: str = "job_id"
    text: str = "{job_id}"

    def read(self, value: object, parameters: Mapping[str, str]) -> str | None:
        """Returns the id in a value; None if the value has another form, or contradicts the path's parameters."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        parts = self.text.split("{job_id}")
        before, after = (PARAMETER.sub(lambda found: parameters[found[1]], part) for part in parts)
        text = str(value)
        if len(text) <= len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
            return None
        return text[len(before) : len(text) - len(after)]


@dataclass(frozen=True)
class Answer:
    """The answer of an operation: a status code, headers, and the template of the body; an empty text is no body."""

    code: int = 200
    headers: Mapping[str, Node] = field(default_factory=dict)
    body: Node = ""

    @cached_property
    def render(self) -> Render:
        """Renders the body."""
        return renderer(self.body)


class Paging(NamedTuple):
    """The names of a list's query parameters, and its default size.

    Attributes:
        size: How many jobs.
        cursor: The id of the job before the first one.
        offset: How many jobs to leave out.
        number: The page's number, from 1.
        order: ``asc`` for the oldest job first, or ``desc``.
        status: Words for states: only jobs that have one of them.
        default: How many jobs a page has without a size.
        filter: The names of placeholders by parameters: only jobs that show the parameter's value there.
        ignore: Parameters that are accepted and have no effect; a list refuses all others.
    """

    size: str | None = None
    cursor: str | None = None
    offset: str | None = None
    number: str | None = None
    order: str | None = None
    status: str | None = None
    default: int = 20
    filter: Mapping[str, str] = {}
    ignore: Sequence[str] = ()


ANYWHERE, IN_PATH, UNPAGED = Where(), IdPlace(), Paging()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of an API.

    Attributes:
        action: What it does.
        requests: The patterns of its requests, which mean the same.
        where: Further conditions on the requests.
        job_id: The place of the job's id.
        accepts: The kinds of bodies that a request may have.
        answers: The answer for each state of the job; operations without a job use `State.PENDING`.
        phases: The answers for some of the words of pending jobs.
        paging: The parameters of a list.
        ids: The query parameter with the ids of a batch poll, repeated or separated by commas.
        item: A list shows this part of a poll's body for each job, by its dotted path; None for the whole body.
        all_kinds: Whether a list has the jobs of all kinds of the API.
        each: An operation whose answers are the items of a list, if they have a template of their own.
        file: The type of a downloaded file.
        missing: A batch poll's template for an id without a job; None leaves the id out.
        split: The path of a list in a submission; each of its items makes a job of its own.
        wait: How long ``Prefer: wait`` holds the answer to a submission, in seconds; None answers at once.
    """

    action: Action
    requests: Sequence[RequestPattern]
    answers: Mapping[State, Answer]
    phases: Mapping[object, Answer] = field(default_factory=dict)
    where: Where = ANYWHERE
    job_id: IdPlace = IN_PATH
    accepts: Sequence[MediaKind] = ("json",)
    paging: Paging = UNPAGED
    ids: str | None = None
    item: str | None = None
    all_kinds: bool = False
    each: "Operation | None" = None
    file: str | None = None
    missing: Node = None
    split: str | None = None
    wait: int | None = None

    @property
    def answer(self) -> Answer:
        """The answer of an operation without a job."""
        return self.answers[State.PENDING]

    def answer_for(self, state: State, word: object) -> Answer:
        """Returns the answer about a job in a state with this word."""
        answer = self.answers[state]
        return self.phases.get(word, answer) if self.phases and state is State.PENDING else answer

    def answers_for(self, state: State) -> Sequence[Answer]:
        """Returns all answers about jobs in a state."""
        return [self.answers[state], *(self.phases.values() if state is State.PENDING else ())]

    @property
    def all_answers(self) -> Sequence[Answer]:
        """All answers, about jobs in any state."""
        return [*self.answers.values(), *self.phases.values()]

    def without_refusal(self, state: State) -> "Operation":
        """Returns the operation with the answer about pending jobs for a state whose own answer refuses."""
        if self.answers[state].code < REFUSED:
            return self
        return replace(self, answers={**self.answers, state: self.answer})
