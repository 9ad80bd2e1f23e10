"""Wire formats as data.

A `Dialect` has the requests for one kind of job, and the answers to each in each state. This module makes the requests;
`decode` reads answers at the placeholders of their templates. The same code serves every dialect.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

from translation_client.core.effects import Send
from translation_client.core.status import State
from translation_client.core.templates import Node, only, paths
from translation_client.core.text import quoted
from translation_client.core.webhook_forms import WebhookForm

Action: TypeAlias = Literal[
    "submit", "poll", "current", "result", "view", "cancel", "delete", "list", "batch_poll", "download"
]
Word: TypeAlias = str | bool | int

ECHOED_FIELDS = ("source_language", "target_language", "video_length")  # the fields of a submission that answers repeat
REQUEST_FIELDS = ("job_id", *ECHOED_FIELDS, "simulate")  # the native fields of a submission
NATIVE_NAMES = (
    *("job_id", "status", "progress", "created_at", "completed_at", "elapsed_time", "queue_position", "logs"),
    *("error_message", "error_code", "output", *ECHOED_FIELDS),
)
REQUEST_NAMES = ("base_url", "input", "input.", "query.")  # the names that answers without a job may use
ANSWER_NAMES = (*NATIVE_NAMES, *REQUEST_NAMES, "file_url:")  # the names that answers about a job may use
LIST_NAMES = (
    *("jobs", "first_id", "last_id", "next", "has_more", "listed", "count", "limit", "offset", "page", "pages"),
    *("base_url", "query."),
)  # the names that lists may use
PAGINGS = ("cursor", "offset", "number")  # the meanings of the query parameter for a page of a list
CURRENT = "current"  # the id of every job in a dialect without ids
PARAMETER = re.compile(r"\{(\w+)(:path|=[^{}]+)?\}")
FORM = re.compile(
    r"(?P<header>[A-Za-z][A-Za-z0-9-]*): (?:(?P<word>[A-Za-z][\w-]*) )?\{token\}|\?(?P<parameter>[\w.-]+)=\{token\}"
)
NAMED = ("basic", "sigv4")  # the ways to authenticate by a user name and a password
LONGEST_ID = 1000  # characters
SUCCESS = 2  # the class of a status code
CHANGING = ("submit", "cancel", "delete")  # the actions that change something


@dataclass(frozen=True)
class Answer:
    """The answer of an operation in one state."""

    code: int = 200
    headers: Mapping[str, Node] = field(default_factory=dict)
    body: Node = None


class IdPlace(NamedTuple):
    """The place of the job's id in a request: source, name, and the text around it, with parameters of the path."""

    source: str = "path"
    name: str = "job_id"
    text: str = "{job_id}"


IN_PATH, IDEMPOTENCY_KEY = IdPlace(), IdPlace("header", "Idempotency-Key")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of an API."""

    action: Action
    requests: Sequence[tuple[str, str]]  # methods and paths, which mean the same
    answers: Mapping[State, Answer]  # by the job's state; operations without a job use `pending`
    phases: Mapping[str, Answer] = field(default_factory=dict)  # of pending jobs with some of their words
    headers: Mapping[str, str] = field(default_factory=dict)  # further headers that the request must have
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    accepts: Sequence[str] = ("json",)  # the kinds of bodies that a request may have, of `MEDIA_KINDS`
    job_id: IdPlace = IN_PATH
    cursor: str | None = None  # the query parameter for a page of a list
    paging: str = "cursor"  # its meaning, of `PAGINGS`
    ids: str | None = None  # the query parameter for the ids of a batch poll
    item: tuple[str, ...] = ()  # a list shows this part of a poll's body for each job
    missing: Node = None  # a batch poll's template for an id without a job; None leaves it out
    each: "Operation | None" = None  # its answers are the items of a list with a template of their own
    separator: str | None = None  # separates the ids; None repeats the parameter

    def send(
        self,
        parameters: Mapping[str, str],
        job_id: str | None = None,
        url: str | None = None,
        **more: Any,  # noqa: ANN401 - the fields of a request
    ) -> Send:
        """Returns the request: to `url` if there is one, else to the path that uses most of the parameters.

        Raises:
            ValueError: A parameter of the path is missing.
        """
        reads = self.action not in CHANGING
        if url is not None:
            return Send(self.requests[0][0], url, headers=dict(self.headers), json=dict(self.body) or None, reads=reads)
        values = parameters if job_id is None else {**parameters, "job_id": job_id}
        names = [(PARAMETER.findall(path), method, path) for method, path in self.requests]
        possible = [one for one in names if all(name in values for name, _ in one[0])]
        if not possible:
            missing = next(name for name, _ in names[0][0] if name not in values)
            raise ValueError(f"parameters must have {missing}: it is a part of the path {names[0][2]}")
        _, method, path = max(possible, key=lambda one: len(one[0]))
        own = {name.removeprefix("query."): value for name, value in parameters.items() if name.startswith("query.")}
        body, query = dict(self.body) | more.pop("json", {}), own | dict(self.query) | more.pop("query", {})
        headers = dict(self.headers) | more.pop("headers", {})
        place = self.job_id
        if job_id is not None and place.source != "path":
            text = PARAMETER.sub(lambda found: values[found[1]], place.text)
            match place.source:
                case "query":
                    query[place.name] = text
                case "header":
                    headers[place.name] = text
                case _:
                    put_at(body, place.name.split("."), text)
        target = PARAMETER.sub(lambda found: quoted(values[found[1]], keep_slashes=bool(found[2])), path)
        return Send(method, target, query=query, headers=headers, json=body or None, reads=reads)

    @property
    def has_id(self) -> bool:
        """Whether its requests may have a job's id."""
        in_paths = any("job_id" in dict(PARAMETER.findall(path)) for _, path in self.requests)
        return in_paths or self.job_id.source != "path"

    @cached_property
    def bodies(self) -> Sequence[Node]:
        """The different templates of its answers' bodies."""
        found: list[Node] = []
        for answer in self.answers.values():
            if answer.body not in found:
                found.append(answer.body)
        return found

    @cached_property
    def wordless(self) -> Sequence[State]:
        """The states in which an answer does not show the word for the state."""
        return [state for state in State if "status" not in paths(self.answers[state].body)]

    @cached_property
    def shows_no_id(self) -> bool:
        """Whether the answers in some state do not show the job's id."""
        return any("job_id" not in paths([one.body, [*one.headers.values()]]) for one in self.answers.values())

    def answer_for(self, state: State, word: object) -> Answer:
        """Returns the answer about a job in a state with this word."""
        answer = self.answers[state]
        return self.phases.get(word, answer) if state is State.PENDING and isinstance(word, str) else answer

    def answers_for(self, state: State) -> Sequence[Answer]:
        """Returns all answers about jobs in a state."""
        return [self.answers[state], *(self.phases.values() if state is State.PENDING else ())]


@dataclass(frozen=True)
class Listing:
    """The routes for several jobs: a list, or batch polls, or both, and the event stream of all jobs."""

    jobs: tuple[str, ...]  # the path of the jobs in an answer
    operation: Operation
    each: Operation  # its answers are the items
    unknown: str | None = None  # the field of the answer to a batch poll with the unknown ids; None leaves them out
    events: str | None = None  # the path of the event stream


class SharedCode(NamedTuple):
    """An error whose answer has the status code of another error."""

    code: int  # the status code for what is wrong
    shown: int  # the status code of the answer
    body: Node  # the part of the answer's body that only this error has


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The wire format of one kind of job.

    Attributes:
        name: Its name in messages and resume tokens.
        mount: The path below which this project's server has it; empty for its own routes.
        words: The words for each state.
        operations: What clients can ask for.
        send: The template of a submission's body. Placeholders without a value are left out.
        certain: Has `output` if every completed job has one, and `error_code` if every failed job has one.
        auth: `basic`, `sigv4`, or a form such as `Authorization: Bearer {token}`; the first of several.
        idempotency: Where a submission has its idempotency key; None where it has none.
        hints: The headers that say when to poll next, by their names; without any, `Retry-After` is used.
        error: The templates of errors' bodies, the general one last; none for problem details.
        shared_codes: The errors that share a status code with others.
        events: The path of the event stream with the changes of all jobs, if there is one.
        unknown: The field of the answer to a batch poll with the ids that the server does not know, if there is one.
        webhook: The form of webhooks, if it is the API's own.
    """

    name: str
    mount: str = ""
    words: Mapping[State, tuple[Word, ...]]
    operations: Sequence[Operation]
    send: Node = field(default_factory=dict)
    certain: frozenset[str] = frozenset()
    auth: str = "basic"
    idempotency: IdPlace | None = IDEMPOTENCY_KEY
    hints: Mapping[str, Node] = field(default_factory=dict)
    error: Sequence[Node] = ()
    shared_codes: Sequence[SharedCode] = ()
    events: str | None = None
    unknown: str | None = None
    webhook: WebhookForm | None = None

    def operation(self, action: Action) -> Operation | None:
        """Returns the operation of an action, if there is one."""
        return next((one for one in self.operations if one.action == action), None)

    def required(self, action: Action, purpose: str) -> Operation:
        """Returns the operation of an action.

        Raises:
            ValueError: The dialect has none.
        """
        if operation := self.operation(action):
            return operation
        raise ValueError(f"{purpose}: the dialect {self.name} has no route for this")

    @cached_property
    def poll(self) -> Operation:
        """The operation that tells a job's state."""
        return next(one for one in self.operations if one.action in {"poll", "current"})

    @cached_property
    def by_id(self) -> bool:
        """Whether polls carry the job's id."""
        return self.poll.action == "poll"

    @cached_property
    def starts_by_poll(self) -> bool:
        """Whether a poll starts the job."""
        return self.operation("submit") is None and not self.by_id

    @cached_property
    def request_fields(self) -> frozenset[str]:
        """The native fields that a submission can carry; this project's server takes `simulate` in every API."""
        submit = self.operation("submit")
        more = [*(["job_id"] if submit and submit.has_id else []), *(["simulate"] if self.mount else [])]
        return frozenset({*paths(self.send), *more} if submit else ())

    @cached_property
    def returns_ids(self) -> bool:
        """Whether the answer to a submission has the job's id."""
        submit = self.operation("submit")
        answer = submit.answers[State.PENDING] if submit else Answer()
        return "job_id" in paths([answer.body, [*answer.headers.values()]])

    @cached_property
    def meanings(self) -> Mapping[tuple[str, object], tuple[State, ...]]:
        """The states that each word may stand for. Numbers and booleans also count as words in the form of text."""
        words = [(word, state) for state in State for word in self.words[state]]
        words += [(json.dumps(word), state) for word, state in words if not isinstance(word, str)]
        pairs = [(_word(word), state) for word, state in words]
        return {word: tuple(state for other, state in pairs if other == word) for word, _ in pairs}

    @cached_property
    def listing(self) -> Listing | None:
        """The routes for several jobs, if there are any."""
        operation = self.operation("list") or self.operation("batch_poll")
        return self._listing(operation) if operation else None

    @cached_property
    def batches(self) -> Listing | None:
        """The route of batch polls, if there is one."""
        operation = self.operation("batch_poll")
        return self._listing(operation) if operation else None

    def _listing(self, operation: Operation) -> Listing:
        jobs = paths(operation.answers[State.PENDING].body)["jobs"]
        return Listing(jobs, operation, self.items(operation), self.unknown, self.events)

    def items(self, operation: Operation) -> Operation:
        """Returns an operation whose answers are the items of a list or a batch poll, which have no status codes."""

        def item(polled: Answer) -> Answer:
            return Answer(body=only(polled.body, operation.item))

        answers = {state: item(answer) for state, answer in self.poll.answers.items()}
        phases = {word: item(answer) for word, answer in self.poll.phases.items()}
        return operation.each or replace(self.poll, answers=answers, phases=phases)


def polling(dialect: Dialect, job_id: str, parameters: Mapping[str, str] | None = None, url: str | None = None) -> Send:
    """Returns the poll of a job, at the address that an answer has named for it, if there is one."""
    return dialect.poll.send(parameters or {}, job_id if dialect.by_id else None, url)


def fetching_result(
    dialect: Dialect, job_id: str, parameters: Mapping[str, str] | None = None, url: str | None = None
) -> Send | None:
    """Returns the request for the result of an ended job; None if the poll shows the result."""
    result = dialect.operation("result")
    return None if result is None else result.send(parameters or {}, job_id, url)


def cancelling(
    dialect: Dialect, job_id: str, parameters: Mapping[str, str] | None = None, url: str | None = None
) -> Send:
    """Returns the request that cancels a job.

    Raises:
        ValueError: The dialect has no cancellation.
    """
    return dialect.required("cancel", "cancel").send(parameters or {}, job_id, url)


def deleting(dialect: Dialect, job_id: str, parameters: Mapping[str, str] | None = None) -> Send:
    """Returns the request that deletes a job.

    Raises:
        ValueError: The dialect has no deletion.
    """
    return dialect.required("delete", "delete").send(parameters or {}, job_id)


def listing(dialect: Dialect, cursor: str | None = None, parameters: Mapping[str, str] | None = None) -> Send:
    """Returns the request for the page of a list at a cursor; without a cursor, for the first page.

    Raises:
        ValueError: The dialect has no list.
    """
    operation = dialect.required("list", "list")
    asked = {} if cursor is None or operation.cursor is None else {operation.cursor: cursor}
    if operation.requests[0][0] == "GET":
        return operation.send(parameters or {}, query=asked)
    body = asked if operation.paging == "cursor" else {name: int(value) for name, value in asked.items()}
    send = operation.send(parameters or {}, json=body)
    return replace(send, json=send.json or {})


def batch_polling(dialect: Dialect, ids: Sequence[str], parameters: Mapping[str, str] | None = None) -> Send:
    """Returns the batch poll of several jobs."""
    operation = dialect.required("batch_poll", "poll several jobs")
    listed: str | Sequence[str] = ids if operation.separator is None else operation.separator.join(ids)
    return operation.send(parameters or {}, query={operation.ids or "": listed})


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


def is_word(value: object) -> TypeGuard[Word]:
    """Returns whether this can be a word for a state."""
    return is_text(value) or type(value) in {bool, int}


def states_of(dialect: Dialect, word: object) -> Sequence[State]:
    """Returns the states that a word may stand for; none for an unknown one."""
    return dialect.meanings.get(_word(word), ()) if is_word(word) else ()


def _word(word: object) -> tuple[str, object]:
    """Returns a word in a form in which `True` and `1` differ."""
    return (type(word).__name__, word)


def put_at(body: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Puts a value into a body at a path of keys."""
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


def unquoted(text: str) -> str:
    """Returns a part of a URL without its percent-encoding."""
    found = re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes.fromhex(code[1].decode()), text.encode())
    return found.decode(errors="replace")
