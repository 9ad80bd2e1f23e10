"""Reading a server's answers by their dialect.

A field is read at the place of its placeholder in the dialect's template; the rest of an answer is ignored. An answer
that does not match the template raises `ProtocolError`, whatever its bytes are. A refusal raises the exception for its
status code (`refusals`).

The clock of a sandbox may run faster than ours, stand still or jump, and documents report its time. This project's
server adds each job's age in wall time, in the header `Wall-Elapsed-Time` and in the event field of that name.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from translation_client.core.dialects import (
    CURRENT,
    Action,
    Answer,
    Dialect,
    Number,
    Operation,
    id_of,
    is_word,
    states_of,
)
from translation_client.core.distinct import fitting
from translation_client.core.effects import Reply
from translation_client.core.errors import ProtocolError
from translation_client.core.links import links
from translation_client.core.refusals import SUCCESS, json_of, refusal, unexpected
from translation_client.core.resume_token import token_of
from translation_client.core.schedule import delay, retry_after
from translation_client.core.sse import ServerEvent
from translation_client.core.status import State, Status
from translation_client.core.templates import Placeholder, Text, paths, read

FAILED = frozenset({State.ERROR, State.CANCELLED})
ONLY_PENDING = frozenset({State.PENDING})
POLLS = ("poll", "current")
DECISIVE = (State.ERROR, State.COMPLETED, State.PENDING, State.CANCELLED)  # the first of several fitting states counts
APPLIED = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE)
WALL_ELAPSED, AGE = "wall-elapsed-time", re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
EVERY = frozenset(State)
JSON_TYPE = re.compile(r"[^;]*(?:[/+]json|/x-amz-json-[\d.]+)\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
REFUSED = 400  # from this status code on, an answer refuses the request
TOO_LARGE = 1e300  # any number below is a finite float


class ParsedStatus(NamedTuple):
    """A job, as an answer reports it."""

    status: Status
    unknown: str | None  # the word for its state, if the dialect does not know it
    age: float | None  # seconds of wall time from acceptance to the answer or the end; None if not reported
    urls: Mapping[Action, str] = MappingProxyType({})  # the addresses that the answer names for further requests
    states: frozenset[State] = frozenset()  # the states that the answer may mean; only the job's result decides


def read_job(
    dialect: Dialect, reply: Reply, job_id: str, operation: Operation | None = None, states: Collection[State] = EVERY
) -> ParsedStatus:
    """Reads the answer to a poll, or to another operation on a job that is in one of these states.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect or the states.
    """
    operation = operation or dialect.poll
    return parsed_job(dialect, operation, document_of(dialect, reply, operation), reply, job_id, known=states)


def read_result(dialect: Dialect, reply: Reply, polled: ParsedStatus) -> ParsedStatus:
    """Reads the answer to the request for the result of an ended job, which may be a text, or any JSON.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect or the states of the poll.
    """
    operation = dialect.required("result", "result")
    answer, failed = operation.answers[State.COMPLETED], operation.answers[State.ERROR]
    distinct = isinstance(failed.body, Mapping) or failed.code != answer.code
    completed = polled.states == {State.COMPLETED} or (State.COMPLETED in polled.states and distinct)
    if completed and reply.code == answer.code and not isinstance(answer.body, Mapping) and not reply.unread:
        document = json_of(reply.body)
        if not isinstance(document, dict):
            document = _text(reply) if document is None or not _is_json(reply) else document
            output = read(answer.body, document).get("output", document)
            return polled._replace(status=replace(polled.status, state=State.COMPLETED, output=output))
    return read_job(dialect, reply, polled.status.id, operation, polled.states)


def read_accepted(dialect: Dialect, reply: Reply, job_id: str | None = None) -> ParsedStatus:
    """Reads the answer to a submission; `job_id` is the caller's own id, if there is one.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    submit = dialect.operation("submit") or dialect.poll
    return parsed_job(dialect, submit, document_of(dialect, reply, submit), reply, job_id)


def read_cancelled(dialect: Dialect, reply: Reply, job_id: str) -> ParsedStatus | None:
    """Reads the answer to a cancellation; None if it does not show the job.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    cancel = dialect.required("cancel", "cancel")
    if reply.code >= REFUSED:
        ended = [answer for state in State if state.ended for answer in cancel.answers_for(state)]
        if not any(reply.code == answer.code for answer in ended):
            raise refusal(dialect, reply)
        return None  # the next poll shows how the job has ended
    document = document_of(dialect, reply, cancel)
    if "status" not in paths(cancel.answers[State.PENDING].body):
        return None
    return parsed_job(dialect, cancel, document, reply, job_id)


def read_deleted(dialect: Dialect, reply: Reply) -> None:
    """Reads the answer to a deletion, whose body does not matter.

    Raises:
        TranslationError: The answer refuses.
    """
    if reply.code >= REFUSED:
        raise refusal(dialect, reply)
    _check_code(dialect, reply, dialect.required("delete", "delete"))


def wait_applied(reply: Reply) -> int | None:
    """Returns the seconds of `Preference-Applied: wait` (RFC 7240); None if the server did not apply the preference."""
    applied = APPLIED.search(reply.headers.get("preference-applied", ""))
    return int(applied[1]) if applied else None


def read_event(dialect: Dialect, event: ServerEvent) -> ParsedStatus | None:
    """Reads an event; None if its document has no job id.

    Raises:
        ProtocolError: The event does not match the dialect.
    """
    document = json_of(event.data)
    if isinstance(document, dict) and raw_id(dialect.poll, document) is None:
        return None
    headers = {WALL_ELAPSED: event.wall_elapsed}
    reply = Reply(200, headers, event.data.encode(errors="replace"), 0.0)
    return parsed_job(dialect, dialect.poll, document, reply)


def _check_code(dialect: Dialect, reply: Reply, operation: Operation | None) -> Sequence[Answer]:
    """Checks that an answer has a success code, or a code of the operation; returns the operation's answers with it."""
    answers = [answer for state in State for answer in operation.answers_for(state)] if operation else []
    if reply.code // 100 != SUCCESS and not any(reply.code == answer.code for answer in answers):
        raise refusal(dialect, reply)
    return answers


def _is_json(reply: Reply) -> bool:
    """Returns whether an answer is JSON by its media type; one without a media type is."""
    return JSON_TYPE.fullmatch(reply.headers.get("content-type", "application/json")) is not None


def _text(reply: Reply) -> str:
    return reply.body.decode(errors="replace")


def document_of(dialect: Dialect, reply: Reply, operation: Operation | None = None) -> object:
    """Returns the document of an answer that is not a refusal: an object, or what the operation's templates have."""
    answers = _check_code(dialect, reply, operation)
    if reply.unread:
        raise ProtocolError(reply.unread)
    if not reply.body and any(answer.body in {"", None} for answer in answers if not isinstance(answer.body, Mapping)):
        return {}
    document, is_object = json_of(reply.body), all(isinstance(answer.body, Mapping) for answer in answers)
    if isinstance(document, dict):
        return document
    if is_object or (document is None and _is_json(reply) and reply.body.strip() != b"null"):
        raise unexpected("a JSON object" if is_object else "JSON", reply)
    return document if _is_json(reply) else _text(reply)


def parsed_job(  # noqa: PLR0913, PLR0917 - all that defines a job
    dialect: Dialect,
    operation: Operation,
    job: object,
    reply: Reply,
    expected_id: str | None = None,
    number: int = 0,
    known: Collection[State] = EVERY,
) -> ParsedStatus:
    """Reads the job with this number in the answer to an operation; checks its id, if one is expected.

    The job is in one of the states in ``known``.
    """
    if not isinstance(job, dict) and all(isinstance(body, Mapping) for body in operation.bodies):
        raise unexpected("a job as a JSON object", reply)
    found = [read(body, job) for body in operation.bodies]
    job_id = _job_id(dialect, operation, found, reply, expected_id)
    states, unknown = _states(dialect, operation, job, found, reply)
    state = _decided(dialect, operation, states := states & frozenset(known), reply)
    answer = operation.answer_for(state, next(_all(found, "status"), None))
    values = found[0] if answer.body is operation.bodies[0] else read(answer.body, job)
    where = paths(answer.body)
    try:
        urls = links(dialect, answer, reply.headers, job)
    except ValueError as error:
        raise unexpected(str(error), reply) from None

    def value(name: str) -> tuple[object, str]:
        return values.get(name), ".".join(where.get(name, ()))

    progress = _number(*value("progress"), reply)
    status = Status(
        id=job_id,
        state=state,
        progress=None if progress is None else min(progress, 1.0),
        elapsed=_number(*value("elapsed_time"), reply),
        error=_shown(values.get("error_message")) if state in FAILED else None,
        error_code=_shown(values.get("error_code")) if state in FAILED else None,
        output=values.get("output") if state is State.COMPLETED else None,
        raw=job,
        hint=None if state.ended else _hint(dialect, reply),
        token=token_of(dialect.name, job_id, urls.get("poll")),
    )
    ages = reply.headers.get(WALL_ELAPSED, "").split(",")
    wall = AGE.fullmatch(ages[number].strip()) if number < len(ages) else None
    return ParsedStatus(status, unknown, float(wall[0]) if wall else status.elapsed, urls, states)


def _hint(dialect: Dialect, reply: Reply) -> float | None:
    """Returns the seconds until the next poll, by the API's own headers, or else by `Retry-After`."""
    for name, node in dialect.hints.items():
        template = node if isinstance(node, Text) else Text((node,)) if isinstance(node, Placeholder) else Text(())
        written = template.read(reply.headers.get(name.lower())).get("retry_after")
        in_ms = any("ms" in part.filters for part in template.parts if isinstance(part, Placeholder))
        if written is not None and (seconds := delay(str(written), per_second=1000.0 if in_ms else 1.0)) is not None:
            return seconds
    return retry_after(reply.headers)


def _all(found: Sequence[Mapping[str, object]], name: str) -> Iterator[object]:
    """Yields the values that the templates of an operation's bodies have found for a name."""
    return (value for values in found if (value := values.get(name)) is not None)


def _states(
    dialect: Dialect, operation: Operation, job: object, found: Sequence[Mapping[str, object]], reply: Reply
) -> tuple[frozenset[State], str | None]:
    """Returns the states that a job may have, by its word or its templates, and the word if it is unknown."""
    states: Sequence[State] = operation.wordless
    if operation.action == "submit" and State.PENDING in states:
        return ONLY_PENDING, None
    if len(states) < len(State):
        words = list(_all(found, "status"))
        meant = {state for word in words for state in states_of(dialect, word)}
        states = [state for state in State if state in meant and state not in states] or states
        if not states:
            kinds = {type(word) for words in dialect.words.values() for word in words}
            if not words or not is_word(words[0]) or type(words[0]) not in kinds:
                raise unexpected(_needed(operation), reply)
            return ONLY_PENDING, str(words[0])
    if State.ERROR in states and operation.answers[State.CANCELLED] == operation.answers[State.ERROR]:
        states = [state for state in states if state is not State.CANCELLED]  # answered like a failed one
    if len(states) > 1:
        states = fitting(dialect, operation, reply.code, job, states)
    if len(states) > 1 and operation.action == "submit":  # the first poll decides
        return ONLY_PENDING, None
    return frozenset(states), None


def _decided(dialect: Dialect, operation: Operation, states: frozenset[State], reply: Reply) -> State:
    """Returns the state of a job whose answer fits several.

    Only lists, cancellations, and polls before a result may leave open whether a job has completed. Files need not
    describe cancelled jobs.
    """
    may_be_open = operation.action not in {*POLLS, "result"} or (
        operation.action in POLLS and State.PENDING not in states and dialect.operation("result") is not None
    )
    if not states or (len(states - {State.CANCELLED}) > 1 and not may_be_open):
        raise unexpected("a job whose state can be told", reply)
    return next(state for state in DECISIVE if state in states)


def _job_id(
    dialect: Dialect,
    operation: Operation,
    found: Sequence[Mapping[str, object]],
    reply: Reply,
    expected_id: str | None,
) -> str:
    """Returns the id of a job from an answer's body or header, or else the expected id."""
    if not dialect.by_id:
        return CURRENT
    answer = operation.answers[State.PENDING]
    headers = {name: reply.headers.get(name.lower()) for name in answer.headers}
    shown = next(_all([read(answer.headers, headers), *found], "job_id"), None)
    job_id = expected_id if shown is None and operation.shows_no_id else id_of(shown)
    if job_id is None:
        raise unexpected(_needed(operation), reply)
    if expected_id not in {None, job_id}:
        raise unexpected(f"job {expected_id}", reply)
    return job_id


def _needed(operation: Operation) -> str:
    """Describes for messages what an answer about a job must have."""
    found = paths(operation.answers[State.PENDING].body)
    needed = " and ".join(repr(".".join(found[name])) for name in ("job_id", "status") if found.get(name))
    return f"a job with {needed or 'an id'}"


def raw_id(operation: Operation, job: object) -> object:
    """Returns the value at the place of the id in the answer to an operation."""
    return read(operation.answers[State.PENDING].body, job).get("job_id")


def _shown(value: object) -> str | None:
    """Returns a value as text; a value of another type, such as a number as an error's code, as its JSON."""
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else value.text if isinstance(value, Number) else json.dumps(value)
    except RecursionError:
        return None
    return text.encode(errors="replace").decode()


def _number(value: object, where: str, reply: Reply) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < TOO_LARGE:
        return float(value)
    raise unexpected(f"a number as {where!r}", reply)
