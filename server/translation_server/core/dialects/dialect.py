"""Dialects: wire formats as data. A dialect says which requests there are for a kind of job, and how to answer them.

One renderer and one reader serve all dialects, so no code asks which dialect it has.

Theory of operation: rendering is the hot path, so it is done in steps, each as seldom as possible. A template is parsed
once per dialect. Values that change only with the job's word are filled in once per job and word, which gives a
`PartialBody`. Each poll fills in the other values, which change while the job is pending.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.authentication import token_form
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.filters import FILTERS
from translation_server.core.dialects.operations import Action, Answer, IdPlace, Operation
from translation_server.core.dialects.template import (
    SPECIAL,
    Names,
    Node,
    Placeholder,
    Text,
    ValueOf,
    fill,
    leaves,
    names,
    to_json,
)
from translation_server.core.dialects.webhooks import WebhookFormat
from translation_server.core.job import NATIVE, PROGRESS_STEPS, TRANSLATION, JobSnapshot, State

Word = str | bool | int

CHANGING = frozenset(name for name, one in FIELDS.items() if one.changes_while_pending)

FILE_URL = "file_url:"

REQUEST_NAMES: Names = dict.fromkeys(("base_url", "input", "input.", "query."))
"""The names that answers without a job may use, besides the parameters of the path."""

JOB_NAMES: Names = {**{name: one.convert for name, one in FIELDS.items()}, **REQUEST_NAMES, FILE_URL: None}
"""The names that answers about a job may use, besides the parameters of the submission's path."""

LIST_NAMES: Names = dict.fromkeys(
    (
        *("jobs", "first_id", "last_id", "next", "has_more", "listed", "count", "limit", "offset", "page", "pages"),
        *("base_url", "query."),
    )
)
"""The names that lists may use."""

HINT_NAMES: Names = {"retry_after": FILTERS["seconds"]}
"""The names that the headers of hints may use."""

ERROR_NAMES: Names = {
    **dict.fromkeys(("detail", "reason", "field", "title", "status_code", "error_type", "error_id", "path")),
    "now": FILTERS["rfc3339"],
}
"""The names that the answers to errors may use."""


class DialectError(Exception):
    """A dialect cannot be served; the message is one line for a person."""


class View(NamedTuple):
    """The properties of a request on which answers depend, besides the job.

    Attributes:
        origin: The scheme, the host and the prefix as the caller reached the server.
        mount: The path below which the API is.
        file_path: Returns the path of the URL of a completed job's file, by the file's type, and until when it is
        valid.
    """

    origin: str = ""
    mount: str = ""
    file_path: Callable[[JobSnapshot, str], tuple[str, VirtualTime]] = lambda _, kind: (kind, VirtualTime(math.inf))

    @property
    def base_url(self) -> str:
        """Where the API is, for absolute URLs."""
        return self.origin + self.mount


PLAIN = View()


class PartialBody(NamedTuple):
    """An answer about a job while its word stays the same, without the values that change while it is pending.

    Attributes:
        text: The body: JSON with a `%s` for each missing value.
        missing: Compute the missing values.
        tag: A weak entity tag of the body, which stays while only the missing values change.
        code: The status code.
        headers: The answer's own headers.
        media_type: Its content type, unless that is one of these headers, or there is no body.
        is_text: Whether a JSON text is sent as what it says, because the content type is not JSON's.
        hints: The templates of the headers that say when to poll next; None for those of the native API.
    """

    text: str
    missing: Sequence[Callable[[JobSnapshot], object]]
    tag: str
    code: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    media_type: bytes | None = b"application/json"
    is_text: bool = False
    hints: Mapping[str, Node] | None = None

    def complete(self, snapshot: JobSnapshot) -> str:
        """Returns the whole body."""
        text = self.text % tuple([to_json(value(snapshot)) for value in self.missing])
        return plain_text(text) if self.is_text else text


class ErrorFormat(NamedTuple):
    """How an API answers errors.

    Attributes:
        answer: The answer to every error; its status code is ours.
        when: The answers to errors with some of our status codes.
        types: The API's words for its status codes.
        default_type: The word for all other status codes.
    """

    answer: Answer
    when: Mapping[int, Answer] = {}
    types: Mapping[int, str] = {}
    default_type: str | None = None


IDEMPOTENCY_KEY = IdPlace("header", "Idempotency-Key")


@dataclass(frozen=True, kw_only=True)
class Api:
    """The properties that all kinds of jobs of an API share.

    Attributes:
        name: The API's name, which its jobs carry.
        mount: The path below which it is.
        auth: How callers authenticate, see `credentials`; any of these.
        idempotency: Where a submission has its idempotency key; None where it has none.
        hints: The headers that say when to poll next; None for those of the native API.
        error: How it answers errors; None for problem details.
        fixed: Operations without a job.
    """

    name: str
    mount: str = ""
    auth: tuple[str, ...] = ("basic",)
    idempotency: IdPlace | None = IDEMPOTENCY_KEY
    hints: Mapping[str, Node] | None = None
    error: ErrorFormat | None = None
    fixed: Sequence[Operation] = ()

    @cached_property
    def token_parameters(self) -> frozenset[str | None]:
        """The parameters of a query that have a token."""
        return frozenset(form.parameter for form in map(token_form, self.auth) if form)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The wire format of one kind of job.

    Attributes:
        name: Its name in the request log and in fault rules.
        api: The API whose jobs these are.
        kind: Which kind of its jobs.
        words: The words for each state. With several words for ``pending``, a job goes through them in equal parts of
            its time.
        operations: What clients can ask for.
        send: The template of a submission's body, with placeholders for the native fields.
        query: The native fields that a submission may have in the query of its target.
        refuses_unknown: Whether a submission may have only `fields`.
        required: The fields that a submission must have: one of each group.
        defaults: The values that answers show where a submission or a failed job has none, by the names of
        placeholders.
        id: The template of new ids, see `ids`; by default a UUID.
        output: The template of the output of a completed job.
        webhook: Its webhooks in the API's own form; None for those of the native API.
    """

    name: str
    words: Mapping[State, tuple[Word, ...]]
    operations: Sequence[Operation]
    api: Api
    kind: str = TRANSLATION
    send: Node = field(default_factory=dict)
    query: Sequence[str] = ()
    refuses_unknown: bool = True
    required: Sequence[Sequence[str]] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    id: str = "{uuid}"
    output: Node = None
    webhook: WebhookFormat | None = None

    def operation(self, action: Action) -> Operation | None:
        """Returns the operation of an action, if there is one."""
        return next((one for one in self.operations if one.action == action), None)

    @cached_property
    def owned(self) -> Mapping[str, str]:
        """The API and the kind of the jobs that its routes see; the native routes see all jobs of the owner."""
        return {} if self.api.name == NATIVE else {"api": self.api.name, "kind": self.kind}

    @cached_property
    def fields(self) -> Sequence[str]:
        """The fields of a submission that the file names, by their dotted paths."""
        required = (path for group in self.required for path in group)
        return list(dict.fromkeys([*leaves(self.send), *required, *(self.webhook.fields if self.webhook else ())]))

    @cached_property
    def absolute_states(self) -> frozenset[State]:
        """The states in which an answer about a job depends on how the caller reached the server."""
        return frozenset(
            state
            for state in State
            if any(
                name == "base_url" or (name.startswith(FILE_URL) and state is State.COMPLETED)
                for one in self._shown
                for answer in one.answers_for(state)
                for name in self._names_in(answer)
            )
        )

    @cached_property
    def file_types(self) -> Sequence[str]:
        """The types of the files whose URLs its answers show."""
        return sorted(name.removeprefix(FILE_URL) for name in self._names if name.startswith(FILE_URL))

    @cached_property
    def echoed(self) -> frozenset[str]:
        """The names of the values of a submission that its answers repeat, or that its lists are filtered by."""
        own = (JOB_NAMES.keys() | LIST_NAMES.keys() | SPECIAL.keys()) - {"input"}
        shown = frozenset(name for name in self._names if name not in own and not name.startswith(FILE_URL))
        return shown.union(*(one.paging.filter.values() for one in self.operations))

    @cached_property
    def _shown(self) -> Sequence[Operation]:
        """The operations, and the items of lists that have answers of their own."""
        return [*self.operations, *(one.each for one in self.operations if one.each)]

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names of all placeholders in its answers."""
        shown = [*self._shown, *([self.webhook.body] if self.webhook else [])]
        answers = [answer for one in shown for state in State for answer in one.answers_for(state)]
        return frozenset().union(*map(self._names_in, answers))

    def _names_in(self, answer: Answer) -> set[str]:
        """Returns the names of the placeholders in an answer, and in the output if the answer shows it."""
        found = names(answer.body) | names(answer.headers)
        return found | names(self.output) if "output" in found else found

    @cached_property
    def poll(self) -> Operation:
        """The operation that tells a job's state."""
        return next(one for one in self.operations if one.action in {"poll", "current"})

    def body(self, snapshot: JobSnapshot, view: View = PLAIN) -> str:
        """Returns the body of a poll."""
        return self.partial_body(snapshot, view).complete(snapshot)

    def partial_body(
        self, snapshot: JobSnapshot, view: View = PLAIN, operation: Operation | None = None
    ) -> PartialBody:
        """Returns the body of a poll, or of another operation, valid from this snapshot until the word changes."""
        operation, urls = operation or self.poll, self._file_urls(snapshot, view)
        echo = snapshot.job.echo if self.echoed else {}
        word = self.word(snapshot)
        values, answer = _Values(self, word, view.base_url, urls, echo), operation.answer_for(snapshot.state, word)
        value_of = partial(values.value, snapshot)

        def computing(node: Placeholder | Text) -> Callable[[JobSnapshot], object]:
            if isinstance(node, Placeholder):
                value = FIELDS[node.name].value
                return value if node.convert is None else lambda snapshot: node.filtered(value(snapshot))
            return lambda snapshot: node.value(partial(values.value, snapshot))

        rendering = answer.render(value_of, CHANGING if snapshot.state is State.PENDING else ())
        headers = header_lines(answer.headers, value_of) if answer.headers else []
        is_empty = answer.body == ""
        return PartialBody(
            "" if is_empty else rendering.text,
            [computing(node) for node in rendering.missing],
            self._tag(snapshot, view, operation, urls),
            answer.code,
            headers,
            None if is_empty or any(name == b"content-type" for name, _ in headers) else b"application/json",
            is_text(headers),
            self.api.hints,
        )

    def tag(self, snapshot: JobSnapshot, view: View = PLAIN, operation: Operation | None = None) -> str:
        """Returns the entity tag that `partial_body` gives to the same answer."""
        return self._tag(snapshot, view, operation or self.poll, self._file_urls(snapshot, view))

    def _tag(self, snapshot: JobSnapshot, view: View, operation: Operation, urls: Mapping[str, str]) -> str:
        job, place = snapshot.job, [view.base_url, *urls.values()] if snapshot.state in self.absolute_states else []
        tagged = repr((self.name, self.kind, operation.action, job.owner, job.id, self.word(snapshot), *place))
        return f'W/"{hashlib.blake2b(tagged.encode(), digest_size=8).hexdigest()}"'

    def _file_urls(self, snapshot: JobSnapshot, view: View) -> Mapping[str, str]:
        """Returns the URLs of a completed job's files by the names of their placeholders."""
        if snapshot.state is not State.COMPLETED:
            return {}
        return {FILE_URL + kind: view.origin + view.file_path(snapshot, kind)[0] for kind in self.file_types}

    @property
    def sends_hints(self) -> bool:
        """Whether its answers say when to poll next."""
        return self.api.hints is None or bool(self.api.hints)

    def word(self, snapshot: JobSnapshot) -> Word:
        """Returns the dialect's word for the job's state."""
        words = self.words[snapshot.state]
        return words[int(snapshot.progress * len(words)) if snapshot.state is State.PENDING and len(words) > 1 else 0]

    def changes_at(self, snapshot: JobSnapshot) -> VirtualTime:
        """Returns the time at which the word for a pending job changes."""
        job, steps = snapshot.job, len(self.words[State.PENDING])
        step = int(snapshot.progress * steps) + 1
        if step == steps or job.paused_at is not None:
            return job.due_at
        worked = job.fate.delay * math.ceil(step / steps * PROGRESS_STEPS) / PROGRESS_STEPS
        return VirtualTime(job.created_at + job.paused_for + worked)

    def location(self, job_id: str) -> str | None:
        """Returns the path at which to poll a job, if it has no other parameters than the id."""
        [pattern, *_] = self.poll.requests
        path = pattern.path.replace("{job_id:path}", "{job_id}").replace("{job_id}", job_id)
        return None if "{" in path or pattern.method != "GET" else self.api.mount + path


class _Values(NamedTuple):
    """The values of the names in the templates of answers about a job."""

    dialect: Dialect
    word: Word
    base_url: str
    file_urls: Mapping[str, str]
    echo: Mapping[str, object]

    def value(self, snapshot: JobSnapshot, name: str) -> object:
        """Returns the value of a name; None where it is unknown."""
        if name == "status":
            return self.word
        if found := FIELDS.get(name):
            value = found.value(snapshot)
            if value is None and name == "output" and snapshot.state is State.COMPLETED:
                return fill(self.dialect.output, partial(self.value, snapshot))
            if value is None and name == "error_code" and snapshot.state is State.ERROR:
                return self.dialect.defaults.get(name)
            return value
        if name == "base_url":
            return self.base_url
        return self.file_urls.get(name) if name.startswith(FILE_URL) else self.echo.get(name)


def header_lines(headers: Mapping[str, Node], value_of: ValueOf) -> list[tuple[bytes, bytes]]:
    """Returns the headers whose values are known, as they are sent. Characters that no header may have are dropped."""
    filled = {name: value for name, value in fill(headers, value_of).items() if value is not None}
    texts = ((name, value if isinstance(value, str) else to_json(value)) for name, value in filled.items())
    return [(name.lower().encode(), UNSENDABLE.sub("", text).encode("latin-1", "replace")) for name, text in texts]


def is_text(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether headers have a content type that is not JSON's."""
    return any(name == b"content-type" and not JSON_TYPE.fullmatch(value) for name, value in headers)


def plain_text(body: str) -> str:
    """Returns what a JSON text says; nothing for null, and any other JSON as it is."""
    if not body.startswith('"'):
        return "" if body == "null" else body
    text: str = json.loads(body)
    return text


JSON_TYPE = re.compile(rb"[^;]*(?:[/+]json|/x-amz-json-[\d.]+)\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)

UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
