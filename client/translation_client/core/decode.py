"""Reading a server's answers by their dialect.

A field is read where the dialect's template has its placeholder; all else in an answer is ignored. An answer that does
not match the template is a `ProtocolError`, whatever its bytes. An answer that refuses is the exception for its status
code (`refusal`).

The clock of a sandbox may run faster than ours, stand still or jump, and documents report its time. This project's
server adds each job's age in wall time, in the header `Wall-Elapsed-Time` and in the event field of that name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from translation_client.core.dialects import CURRENT, Dialect, Listing, Number, Template, field_paths, id_of, is_text
from translation_client.core.effects import Reply
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
)
from translation_client.core.resume_token import token_of
from translation_client.core.schedule import retry_after
from translation_client.core.sse import ServerEvent
from translation_client.core.status import State, Status
from translation_client.core.text import one_line

FAILED = frozenset({State.ERROR, State.CANCELLED})
APPLIED = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE)
SUCCESS = 2  # the class of a status code
WALL_ELAPSED, AGE = "wall-elapsed-time", re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
MOST_ERRORS = 20  # of a problem document, in a message
TOO_LARGE = 1e300  # any number below is a finite float


class ParsedStatus(NamedTuple):
    """A job, as an answer reports it."""

    status: Status
    unknown: str | None  # the word for its state, if the dialect does not know it
    age: float | None  # seconds of wall time from its acceptance to the answer, or to its end, if they are reported


def read_job(dialect: Dialect, reply: Reply, job_id: str) -> ParsedStatus:
    """Reads the answer to a poll.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    return _parsed(dialect, dialect.job, _document(dialect, reply), reply, job_id)


def read_accepted(dialect: Dialect, reply: Reply, job_id: str | None = None) -> ParsedStatus:
    """Reads the answer to a submission; `job_id` is the caller's own id, if there is one.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    return _parsed(dialect, dialect.answer, _document(dialect, reply), reply, job_id)


def read_page(dialect: Dialect, listing: Listing, reply: Reply) -> tuple[list[Status], str | None]:
    """Reads a page of a list: its jobs, and the cursor of the next page, if there is one.

    Raises:
        TranslationError: The answer refuses, or does not match the dialect.
    """
    page = _document(dialect, reply)
    jobs = page.get(listing.jobs)
    if not isinstance(jobs, list):
        raise _unexpected(f"an array as {listing.jobs!r}", reply)
    return [_parsed(dialect, dialect.job, job, reply).status for job in jobs], _text(page, (listing.next,), reply)


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
    page = _document(dialect, reply)
    jobs, unknown = page.get(listing.jobs), page.get(listing.unknown)
    if not isinstance(jobs, list) or not isinstance(unknown, list):
        raise _unexpected(f"arrays as {listing.jobs!r} and {listing.unknown!r}", reply)
    id_path, unknown_ids = field_paths(dialect.job)["job_id"], set(map(id_of, unknown))
    numbered = {id_of(_value_at(job, id_path)): (number, job) for number, job in enumerate(jobs)}
    answers: dict[str, ParsedStatus | TranslationError] = {}
    for job_id in ids:
        try:
            if job_id in unknown_ids:
                answers[job_id] = NotFound(f"the server has no job {job_id}. Check the job's id and owner.")
            else:
                number, job = numbered.get(job_id, (0, None))
                answers[job_id] = _parsed(dialect, dialect.job, job, reply, job_id, number)
        except ProtocolError as error:
            answers[job_id] = error
    return answers


def read_event(dialect: Dialect, event: ServerEvent) -> ParsedStatus | None:
    """Reads an event; None if its document has no job id.

    Raises:
        ProtocolError: The event does not match the dialect.
    """
    document = _json(event.data)
    if isinstance(document, dict) and _value_at(document, field_paths(dialect.job)["job_id"]) is None:
        return None
    headers = {WALL_ELAPSED: event.wall_elapsed}
    return _parsed(dialect, dialect.job, document, Reply(200, headers, event.data.encode(errors="replace"), 0.0))


def refusal(dialect: Dialect, reply: Reply) -> TranslationError:
    """Returns the exception for an answer that is no success."""
    code, (text, errors) = reply.code, _problem(reply)
    problem = f"{code} {text or 'without a reason'}"
    match code:
        case 401:
            credentials = "user name and the password" if dialect.scheme == "basic" else "token"
            return AuthenticationError(f"{problem}. Check the {credentials}.", code)
        case 403:
            return AuthenticationError(f"{problem}. Log in as a user who may do this.", code)
        case 404:
            return NotFound(f"{problem}. Check the job's id and owner, and the server's address.")
        case 400 | 405 | 406 | 409 | 410 | 413 | 414 | 415 | 422 | 431:
            return InvalidRequest(f"{problem}. Correct the request: unchanged, it will be refused again.", code, errors)
        case 301 | 302 | 303 | 307 | 308:
            target = one_line(reply.headers.get("location", "nowhere"))
            return ProtocolError(f"the server redirects ({code}) to {target}. Use that as the server's address.")
        case _:
            return _unexpected("an event stream" if code // 100 == SUCCESS else "a success", reply)


def problem_text(reply: Reply) -> str:
    """Returns what the problem document (RFC 9457) of an answer says, in one line; "" if there is none."""
    return _problem(reply)[0]


def _document(dialect: Dialect, reply: Reply) -> dict[str, Any]:
    if reply.code // 100 != SUCCESS:
        raise refusal(dialect, reply)
    if reply.unread:
        raise ProtocolError(reply.unread)
    document = _json(reply.body)
    if not isinstance(document, dict):
        raise _unexpected("a JSON object", reply)
    return document


def _parsed(  # noqa: PLR0913, PLR0917 - all that defines a job
    dialect: Dialect, template: Template, job: object, reply: Reply, expected_id: str | None = None, number: int = 0
) -> ParsedStatus:
    """Reads the job with this number in the answer by its template; checks its id, if one is expected."""
    if not isinstance(job, dict):
        raise _unexpected("a job as a JSON object", reply)
    paths = field_paths(template)
    expected_id = expected_id if dialect.by_id else CURRENT
    job_id = id_of(_value_at(job, paths["job_id"])) if dialect.by_id and "job_id" in paths else expected_id
    word = _value_at(job, paths.get("status", ()))
    if job_id is None or ("status" in paths and not is_text(word)):
        needed = " and ".join(repr(".".join(paths[name])) for name in ("job_id", "status") if name in paths)
        raise _unexpected(f"a job with {needed}", reply)
    if expected_id not in {None, job_id}:
        raise _unexpected(f"job {expected_id}", reply)
    unknown = word if is_text(word) and word not in dialect.meanings else None
    state = dialect.meanings.get(str(word), State.PENDING)
    progress = _number(job, paths.get("progress", ()), reply)
    status = Status(
        id=job_id,
        state=state,
        progress=None if progress is None else min(progress, 1.0),
        elapsed=_number(job, paths.get("elapsed_time", ()), reply),
        error=_text(job, paths.get("error_message", ()), reply) if state in FAILED else None,
        error_code=_text(job, paths.get("error_code", ()), reply) if state in FAILED else None,
        output=_value_at(job, paths.get("output", ())) if state is State.COMPLETED else None,
        raw=job,
        hint=None if state.ended else retry_after(reply.headers),
        token=token_of(dialect.name, job_id),
    )
    ages = reply.headers.get(WALL_ELAPSED, "").split(",")
    wall = AGE.fullmatch(ages[number].strip()) if number < len(ages) else None
    return ParsedStatus(status, unknown, float(wall[0]) if wall else status.elapsed)


def _value_at(document: object, path: Sequence[str]) -> object:
    """Returns the value at the end of a path of fields; None if there is none, and for an empty path."""
    for field in path:
        document = document.get(field) if isinstance(document, dict) else None
    return document if path else None


def _text(document: object, path: Sequence[str], reply: Reply) -> str | None:
    value = _value_at(document, path)
    if value is None or is_text(value):
        return value
    raise _unexpected(f"a text as {'.'.join(path)!r}", reply)


def _number(document: object, path: Sequence[str], reply: Reply) -> float | None:
    value = _value_at(document, path)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < TOO_LARGE:
        return float(value)
    raise _unexpected(f"a number as {'.'.join(path)!r}", reply)


def _problem(reply: Reply) -> tuple[str, tuple[Mapping[str, Any], ...]]:
    """Returns a problem document (RFC 9457) in one line, and its errors; for any other body, nothing."""
    problem = _json(reply.body)
    if not isinstance(problem, dict):
        problem = {}
    listed = problem.get("errors")
    errors = tuple(error for error in listed if isinstance(error, dict)) if isinstance(listed, list) else ()
    title, detail = problem.get("title"), problem.get("detail")
    messages = (f"{error.get('field')}: {error.get('message')}" for error in errors[:MOST_ERRORS])
    parts = (title, detail, *(text for text in messages if text not in str(detail)))
    texts = [one_line(text).rstrip(".") for text in parts if isinstance(text, str)]
    return ". ".join(texts), errors


def _unexpected(expected: str, reply: Reply) -> ProtocolError:
    excerpt = one_line(reply.body[:1000].decode(errors="replace"))
    found = f"expected {expected}, but the answer was {reply.code} with {excerpt!r}"
    return ProtocolError(f"{found}. Check that the server's address is that of a job API of this kind.")


def _json(body: bytes | str) -> object:
    """Returns the document; None for invalid JSON, including NaN and Infinity."""
    try:
        document: object = json.loads(body, parse_float=Number, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
