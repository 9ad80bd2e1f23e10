"""Reading a server's answers by their dialect.

A field is read where the dialect's template has its placeholder; all else in an answer is ignored. An answer that does
not match the template is a `ProtocolError`, whatever its bytes. An answer that refuses is the exception for its status
code (`refusals`).

The clock of a sandbox may run faster than ours, stand still or jump, and documents report its time. This project's
server adds each job's age in wall time, in the header `Wall-Elapsed-Time` and in the event field of that name.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from translation_client.core.dialects import (
    CURRENT,
    Action,
    Answer,
    Dialect,
    Listing,
    Number,
    Operation,
    id_of,
    is_text,
    is_word,
    put_at,
    states_of,
    unquoted,
)
from translation_client.core.distinct import fitting
from translation_client.core.effects import Reply
from translation_client.core.errors import NotFound, ProtocolError, TranslationError
from translation_client.core.links import links
from translation_client.core.refusals import SUCCESS, json_of, refusal, unexpected
from translation_client.core.resume_token import token_of
from translation_client.core.schedule import delay, retry_after
from translation_client.core.sse import ServerEvent
from translation_client.core.status import State, Status
from translation_client.core.templates import Placeholder, Text, fits, paths, read

FAILED = frozenset({State.ERROR, State.CANCELLED})
DECISIVE = (State.ERROR, State.COMPLETED, State.PENDING, State.CANCELLED)  # the first of several fitting states counts
APPLIED = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE)
WALL_ELAPSED, AGE = "wall-elapsed-time", re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
TOO_LARGE = 1e300  # any number below is a finite float


class ParsedStatus(NamedTuple):
    """A job, as an answer reports it."""

    status: Status
    unknown: str | None  # the word for its state, if the dialect does not know it
    age: float | None  # seconds of wall time from its acceptance to the answer, or to its end, if they are reported
    urls: Mapping[Action, str] = MappingProxyType({})  # the addresses that the answer names for further requests


def read_job(
    dialect: Dialect, reply: Reply, job_id: str, operation: Operation | None = None, known: State | None = None
) -> ParsedStatus:
    """Reads the answer to a poll, or to another operation on a job.

    `known` is the state that counts where the answer does not tell states apart.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    operation = operation or dialect.poll
    return _parsed(dialect, operation, _document(dialect, reply, operation), reply, job_id, known=known)


def read_accepted(dialect: Dialect, reply: Reply, job_id: str | None = None) -> ParsedStatus:
    """Reads the answer to a submission; `job_id` is the caller's own id, if there is one.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    submit = dialect.operation("submit") or dialect.poll
    return _parsed(dialect, submit, _document(dialect, reply, submit), reply, job_id)


def read_cancelled(dialect: Dialect, reply: Reply, job_id: str) -> ParsedStatus | None:
    """Reads the answer to a cancellation; None if it does not show the job.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    cancel = dialect.required("cancel", "cancel")
    document = _document(dialect, reply, cancel)
    if "status" not in paths(cancel.answers[State.PENDING].body):
        return None
    return _parsed(dialect, cancel, document, reply, job_id)


def read_deleted(dialect: Dialect, reply: Reply) -> None:
    """Reads the answer to a deletion, whose body does not matter.

    Raises:
        TranslationError: The answer refuses.
    """
    _check_code(dialect, reply, dialect.required("delete", "delete"))


class Page(NamedTuple):
    """A page of a list."""

    jobs: Sequence[ParsedStatus]
    unread: Sequence[ProtocolError]  # why some of its jobs cannot be read
    next: str | None  # the cursor of the next page, if there is one


def read_page(dialect: Dialect, reply: Reply, cursor: str | None = None) -> Page:
    """Reads the page of a list at a cursor.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect: none of its jobs can be read.
    """
    listing = dialect.listing
    if listing is None:
        raise ValueError(f"the dialect {dialect.name} has no list")
    page, jobs = _page(dialect, listing, reply)
    if not isinstance(jobs, list):
        raise unexpected(f"an array as {'.'.join(listing.jobs)!r}", reply)
    each = listing.operation.each or dialect.poll
    parsed, unread, ids = list[ParsedStatus](), list[ProtocolError](), list[str | None]()
    for body in (_as_polled(listing, job) for job in jobs):
        try:
            parsed.append(_parsed(dialect, each, body, reply))
            ids.append(parsed[-1].status.id)
        except ProtocolError as error:
            unread.append(error)
            ids.append(id_of(_raw_id(each, body)))
    if unread and not parsed:
        raise unread[0]
    return Page(parsed, unread, _next_cursor(listing.operation, page, ids, cursor, reply))


def _page(dialect: Dialect, listing: Listing, reply: Reply) -> tuple[object, object]:
    """Returns the document with several jobs, and what it has in their place: the whole of it may be an array."""
    if not listing.jobs and reply.code // 100 == SUCCESS and not reply.unread:
        document = json_of(reply.body)
        return document, document
    page = _document(dialect, reply)
    return page, _value_at(page, listing.jobs)


def _as_polled(listing: Listing, item: object) -> object:
    """Returns an item of a list in the form of the answer to a poll."""
    if not listing.operation.item:
        return item
    body: dict[str, Any] = {}
    put_at(body, listing.operation.item, item)
    return body


def _next_cursor(
    operation: Operation, page: object, ids: Sequence[str | None], cursor: str | None, reply: Reply
) -> str | None:
    """Returns the cursor of the page after the one at a cursor; None where there is none.

    Where the answer names none, it follows from its jobs, while the answer does not say that they are the last ones.
    """
    found = paths(operation.answers[State.PENDING].body)
    if "next" in found:
        following = _value_at(page, found["next"])
        is_number = type(following) is int and operation.paging != "cursor"
        text = str(following) if is_number else _text_value(following, ".".join(found["next"]), reply)
        return text if text is None or operation.cursor is None or "://" not in text else _cursor_in(operation, text)
    headers = operation.answers[State.PENDING].headers
    if naming := [name for name, node in headers.items() if "next" in paths(node)]:
        return _cursor_in(operation, reply.headers.get(naming[0].lower(), ""))
    if operation.cursor is None or not ids:
        return None
    if "has_more" in found and _value_at(page, found["has_more"]) is not True:
        return None
    match operation.paging:
        case "cursor":
            return next((job_id for job_id in reversed(ids) if job_id), None)
        case "offset":
            following, last = int(cursor or 0) + len(ids), "count"
        case _:
            following, last = int(cursor or 1) + 1, "pages"
    end = _value_at(page, found.get(last, ()))
    is_last = type(end) is int and following >= end + (last == "pages")
    return None if is_last else str(following)


def _cursor_in(operation: Operation, text: str) -> str | None:
    """Returns the cursor in the address of a page; None if it has none."""
    parameter = re.search(rf"[?&]{re.escape(operation.cursor or '')}=([^&#>]*)", text)
    return unquoted(parameter[1]) if parameter else None


def wait_applied(reply: Reply) -> int | None:
    """Returns the seconds of `Preference-Applied: wait` (RFC 7240); None if the server did not apply the preference."""
    applied = APPLIED.search(reply.headers.get("preference-applied", ""))
    return int(applied[1]) if applied else None


def read_batch(
    dialect: Dialect, listing: Listing, reply: Reply, ids: Sequence[str]
) -> dict[str, ParsedStatus | TranslationError]:
    """Reads the answer to a batch poll: for each id, the job's status or what is wrong.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    page, jobs = _page(dialect, listing, reply)
    unknown = [] if listing.unknown is None else _value_at(page, (listing.unknown,))
    if not isinstance(jobs, list) or not isinstance(unknown, list):
        names = [".".join(listing.jobs), *([listing.unknown] if listing.unknown else [])]
        raise unexpected(f"arrays as {' and '.join(map(repr, names))}", reply)
    unknown_ids = set(map(id_of, unknown))
    if (missing := listing.operation.missing) is not None:
        unknown_ids |= {id_of(read(missing, job).get("job_id")) for job in jobs if fits(missing, job)}
    each, bodies = listing.operation.each or dialect.poll, [_as_polled(listing, job) for job in jobs]
    numbered = {id_of(_raw_id(each, job)): (number, job) for number, job in enumerate(bodies)}
    answers: dict[str, ParsedStatus | TranslationError] = {}
    for job_id in ids:
        try:
            if job_id in unknown_ids or (listing.unknown is None and job_id not in numbered):
                answers[job_id] = NotFound(f"the server has no job {job_id}. Check the job's id and owner.")
            else:
                number, job = numbered.get(job_id, (0, None))
                answers[job_id] = _parsed(dialect, each, job, reply, job_id, number)
        except ProtocolError as error:
            answers[job_id] = error
    return answers


def read_event(dialect: Dialect, event: ServerEvent) -> ParsedStatus | None:
    """Reads an event; None if its document has no job id.

    Raises:
        ProtocolError: The event does not match the dialect.
    """
    document = json_of(event.data)
    if isinstance(document, dict) and _raw_id(dialect.poll, document) is None:
        return None
    headers = {WALL_ELAPSED: event.wall_elapsed}
    reply = Reply(200, headers, event.data.encode(errors="replace"), 0.0)
    return _parsed(dialect, dialect.poll, document, reply)


def _check_code(dialect: Dialect, reply: Reply, operation: Operation | None) -> Sequence[Answer]:
    """Checks that an answer has a status code of a success, or one that the operation has; returns its answers."""
    answers = [answer for state in State for answer in operation.answers_for(state)] if operation else []
    if reply.code // 100 != SUCCESS and not any(reply.code == answer.code for answer in answers):
        raise refusal(dialect, reply)
    return answers


def _document(dialect: Dialect, reply: Reply, operation: Operation | None = None) -> dict[str, Any]:
    """Returns the document of an answer that is no refusal."""
    answers = _check_code(dialect, reply, operation)
    if reply.unread:
        raise ProtocolError(reply.unread)
    if not reply.body and any(answer.body in {"", None} for answer in answers if not isinstance(answer.body, Mapping)):
        return {}
    document = json_of(reply.body)
    if not isinstance(document, dict):
        raise unexpected("a JSON object", reply)
    return document


def _parsed(  # noqa: PLR0913, PLR0917 - all that defines a job
    dialect: Dialect,
    operation: Operation,
    job: object,
    reply: Reply,
    expected_id: str | None = None,
    number: int = 0,
    known: State | None = None,
) -> ParsedStatus:
    """Reads the job with this number in the answer to an operation; checks its id, if one is expected.

    `known` is the state that counts where the answer does not tell states apart.
    """
    if not isinstance(job, dict):
        raise unexpected("a job as a JSON object", reply)
    found = [read(body, job) for body in operation.bodies]
    job_id = _job_id(dialect, operation, found, reply, expected_id)
    state, unknown = _state(dialect, operation, job, found, reply, known)
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
    return ParsedStatus(status, unknown, float(wall[0]) if wall else status.elapsed, urls)


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
    """Yields the values of a name in what the templates of an operation's bodies have found."""
    return (value for values in found if (value := values.get(name)) is not None)


def _state(  # noqa: PLR0913, PLR0917 - all that decides the state
    dialect: Dialect,
    operation: Operation,
    job: object,
    found: Sequence[Mapping[str, object]],
    reply: Reply,
    known: State | None,
) -> tuple[State, str | None]:
    """Returns the state of a job, by its word or by the template that fits, and the word if it is unknown."""
    states: Sequence[State] = operation.wordless
    if operation.action == "submit" and State.PENDING in states:
        return State.PENDING, None
    if len(states) < len(State):
        words = list(_all(found, "status"))
        meant = {state for word in words for state in states_of(dialect, word)}
        states = [state for state in State if state in meant and state not in states] or states
        if not states:
            kinds = {type(known) for words in dialect.words.values() for known in words}
            if not words or not is_word(words[0]) or type(words[0]) not in kinds:
                raise unexpected(_needed(operation), reply)
            return State.PENDING, str(words[0])
    if State.ERROR in states and operation.answers[State.CANCELLED] == operation.answers[State.ERROR]:
        states = [state for state in states if state is not State.CANCELLED]  # it is answered as a failed one
    if len(states) > 1:
        states = fitting(dialect, operation, reply.code, job, states) or states
    if len(states) > 1 and operation.action == "submit":  # the first poll tells which it is
        return State.PENDING, None
    return next(state for state in (known, *DECISIVE) if state is not None and state in states), None


def _job_id(
    dialect: Dialect,
    operation: Operation,
    found: Sequence[Mapping[str, object]],
    reply: Reply,
    expected_id: str | None,
) -> str:
    """Returns the id of a job, which an answer shows in its body or in a header; or else the expected one."""
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
    """Returns what an answer about a job must have, for messages."""
    found = paths(operation.answers[State.PENDING].body)
    needed = " and ".join(repr(".".join(found[name])) for name in ("job_id", "status") if name in found)
    return f"a job with {needed or 'an id'}"


def _raw_id(operation: Operation, job: object) -> object:
    """Returns the value at the place of the id in the answer to an operation."""
    return read(operation.answers[State.PENDING].body, job).get("job_id")


def _value_at(document: object, path: Sequence[str]) -> object:
    """Returns the value at the end of a path of keys; None if there is none, and for an empty path."""
    for key in path:
        match document:
            case Mapping():
                document = document.get(key)
            case list() if key.isdecimal() and int(key) < len(document):
                document = document[int(key)]
            case _:
                return None
    return document if path else None


def _text_value(value: object, where: str, reply: Reply) -> str | None:
    if value is None or is_text(value):
        return value
    raise unexpected(f"a text as {where!r}", reply)


def _shown(value: object) -> str | None:
    """Returns any value as text: what is no text, such as a number as the code of an error, as JSON."""
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
