"""Dialects: wire formats as data. A dialect says where jobs are submitted and polled, and what the bodies hold.

One renderer and one reader serve all dialects, so no code asks which dialect it has.

Theory of operation: rendering is the hot path, so it is done in three steps, each as seldom as possible. A template is
compiled to JSON text with a `%s` for each placeholder, once per dialect. The fields that stay while the job's word
stays are filled in once per job and word, which gives a `PartialBody`. A poll fills in what is left: the fields that
change while the job is pending.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.template import PLACEHOLDER, PLACEHOLDER_IN_JSON, BodyTemplate, to_json
from translation_server.core.job import PROGRESS_STEPS, Job, JobSnapshot, State


class DialectError(Exception):
    """A dialect cannot be served; the message is one line for a person."""


class PartialBody(NamedTuple):
    """The body for a job while its word stays the same, without the fields that change while it is pending."""

    text: str  # JSON with a `%r` for each missing field
    missing: Sequence[Callable[[JobSnapshot], object]]  # compute the missing fields
    tag: str  # a weak entity tag of the body, which stays while only progress and elapsed time change

    def complete(self, snapshot: JobSnapshot) -> str:
        """Returns the whole body."""
        return self.text % tuple([value(snapshot) for value in self.missing])


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One wire format.

    A path to poll without ``{job_id}`` returns the caller's latest job, and starts one where there is none. With
    several words for ``pending``, a job goes through them in equal parts of its time. Values of ``request`` that are
    not placeholders may be sent and are not stored.
    """

    name: str
    poll: tuple[str, ...]  # the paths to poll, which mean the same
    job: BodyTemplate  # the body of the answer to a poll
    words: Mapping[State, tuple[str, ...]]  # the words for each state
    submit: str | None = None  # the path for submissions, if there is one
    request: BodyTemplate = field(default_factory=dict)  # the body of a submission
    query: tuple[str, ...] = ()  # the fields that a submission may have in the query of its target
    accepted: BodyTemplate | None = None  # the body of the answer to a submission; by default that of a poll
    accepted_code: int = 202  # the status code of that answer
    auth: str = "basic"  # how callers authenticate: ``basic``, ``bearer``, or the name of a header that holds a token

    def partial_body(self, snapshot: JobSnapshot) -> PartialBody:
        """Returns the body of a poll, from this snapshot on until the word changes."""
        return self._fill(self._job_template, snapshot)

    def body(self, snapshot: JobSnapshot) -> str:
        """Returns the body of a poll."""
        return self.partial_body(snapshot).complete(snapshot)

    def accepted_body(self, job: Job) -> str:
        """Returns the body of the answer to a submission, which is the same whenever the submission is repeated."""
        snapshot = JobSnapshot(job, job.created_at)
        return self._fill(self._accepted_template, snapshot).complete(snapshot)

    def word(self, snapshot: JobSnapshot) -> str:
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

    def location(self, job_id: str) -> str:
        """Returns the path at which to poll a job."""
        return self.poll[0].replace("{job_id}", job_id)

    @cached_property
    def _job_template(self) -> "_CompiledTemplate":
        return _compile(self.job)

    @cached_property
    def _accepted_template(self) -> "_CompiledTemplate":
        return self._job_template if self.accepted is None else _compile(self.accepted)

    def _fill(self, template: "_CompiledTemplate", snapshot: JobSnapshot) -> PartialBody:
        word = self.word(snapshot)
        pending = snapshot.state is State.PENDING
        missing = [name for name in template.names if FIELDS[name].changes_while_pending and pending]

        def value(name: str) -> str:
            if name in missing:
                return "%r"
            return to_json(word if name == "status" else FIELDS[name].value(snapshot)).replace("%", "%%")

        tagged = json.dumps([self.name, snapshot.job.owner, snapshot.job.id, word])
        return PartialBody(
            template.text % tuple(value(name) for name in template.names),
            [FIELDS[name].value for name in missing],
            f'W/"{hashlib.blake2b(tagged.encode(), digest_size=8).hexdigest()}"',
        )


class _CompiledTemplate(NamedTuple):
    """A template as JSON with a `%s` for each placeholder, and the names of their fields."""

    text: str
    names: Sequence[str]


def _compile(template: BodyTemplate) -> _CompiledTemplate:
    text = to_json(template).replace("%", "%%%%")  # because the text is formatted twice
    return _CompiledTemplate(PLACEHOLDER_IN_JSON.sub("%s", text), PLACEHOLDER_IN_JSON.findall(text))


class Route(NamedTuple):
    """One method and path, its action (``submit``, ``poll`` or ``current``), and the dialects that share it."""

    method: str
    path: str
    action: str
    dialects: tuple[Dialect, ...]


def routes(dialects: Iterable[Dialect]) -> list[Route]:
    """Returns the routes of all dialects.

    Raises:
        DialectError: two dialects would answer the same request differently.
    """
    by_path: dict[tuple[str, str], Route] = {}
    for dialect in dialects:
        for method, path, action in _routes(dialect):
            key = method, PLACEHOLDER.sub("{}", path)
            route = by_path.setdefault(key, Route(method, path, action, ()))
            for other in route.dialects:
                if _behaviour(other, route.action) != _behaviour(dialect, action):
                    raise DialectError(f"{method} {path} is taken by the dialect {other.name}: choose another path")
            by_path[key] = route._replace(dialects=(*route.dialects, dialect))
    return list(by_path.values())


def _routes(dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    if dialect.submit is not None:
        yield "POST", dialect.submit, "submit"
    for path in dialect.poll:
        yield "GET", path, "poll" if "{job_id}" in path else "current"


def _behaviour(dialect: Dialect, action: str) -> tuple[object, ...]:
    """Returns everything in a dialect that decides how a route answers."""
    common = action, dialect.auth, dialect.words, dialect.job
    if action != "submit":
        return common
    return *common, dialect.request, dialect.query, dialect.accepted, dialect.accepted_code, dialect.location("")
