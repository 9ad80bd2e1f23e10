"""Wire formats as rows.

A `Dialect` says where to submit, look, cancel and list, which field holds what, and which word means which state. One
reader serves every row, so nothing here asks which dialect it has. What cannot be read as the row promises is a
`ProtocolError`, whatever the bytes; an answer that says no is the exception for its code (`refusal`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
)
from translation_client.core.model import Reply, Send, State, Status, one_line

SUCCESS = 2  # the class of a status code
BOUND = 1e300  # any number below is a finite float
LONGEST_ID = 1000  # characters
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Route:
    """A method, and a path that may hold `{id}`."""

    method: str
    path: str

    def send(self, job_id: str = "") -> Send:
        """The request along this route, the id percent-encoded (RFC 3986, section 2.1)."""
        quoted = "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in job_id.encode())
        return Send(self.method, self.path.format(id=quoted))


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One wire format.

    Attributes:
        submit, look, cancel, list: The routes.
        id, status, progress, elapsed, error: The fields of a job. The first two are always there.
        words: What each word in the field `status` means.
        jobs, next: The fields of a page of the list: its jobs, and the cursor of the next page, if there is one.
        after: The name in the query that takes such a cursor.
    """

    submit: Route
    look: Route
    cancel: Route
    list: Route

    id: str
    status: str
    progress: str
    elapsed: str
    error: str
    words: Mapping[str, State]

    jobs: str
    next: str
    after: str


START = Dialect(
    submit=Route("POST", "/start"),
    look=Route("GET", "/status/{id}"),
    cancel=Route("DELETE", "/jobs/{id}"),
    list=Route("GET", "/jobs"),
    id="job_id",
    status="status",
    progress="progress",
    elapsed="elapsed_time",
    error="error_message",
    words={state.value: state for state in State},
    jobs="jobs",
    next="next",
    after="after",
)


def read_job(dialect: Dialect, reply: Reply, job_id: str | None = None) -> Status:
    """Read an answer that is one job, the one asked for if an id is given.

    Raises:
        TranslationError: The answer says no, or is not what the dialect promises.
    """
    status = _status(dialect, _document(reply), reply)
    if job_id not in (None, status.id):
        raise _unexpected(f"job {job_id}", reply)
    return status


def read_page(dialect: Dialect, reply: Reply) -> tuple[list[Status], str | None]:
    """Read an answer that lists jobs, and the cursor of the next page, if there is one.

    Raises:
        TranslationError: The answer says no, or is not what the dialect promises.
    """
    page = _document(reply)
    jobs = page.get(dialect.jobs)
    if not isinstance(jobs, list):
        raise _unexpected(f"an array as {dialect.jobs!r}", reply)
    return [_status(dialect, job, reply) for job in jobs], _text(page, dialect.next, reply)


def unknown_word(dialect: Dialect, status: Status) -> str | None:
    """The word that the server said for this status, if the dialect does not know it."""
    word = status.raw[dialect.status]
    return None if word in dialect.words else str(word)


def refusal(reply: Reply) -> TranslationError:
    """The exception for an answer that is no success."""
    code, (said, errors) = reply.code, _problem(reply)
    match code:
        case 401:
            return AuthenticationError(f"{said}. Check the user name and the password.", code)
        case 403:
            return AuthenticationError(f"{said}. Ask as a user who may do this.", code)
        case 404:
            return NotFound(f"{said}. Check the job's id, whose job it is, and the server's address.")
        case 400 | 405 | 409 | 410 | 413 | 415 | 422:
            return InvalidRequest(f"{said}. Correct the request: unchanged, it will be refused again.", code, errors)
        case 301 | 302 | 303 | 307 | 308:
            target = one_line(reply.headers.get("location", "nowhere"))
            return ProtocolError(f"the server redirects ({code}) to {target}. Use that as the server's address.")
        case _:
            return _unexpected("a success", reply)


def is_text(value: object) -> TypeGuard[str]:
    """Whether this is a string that UTF-8 can carry: one without lone surrogates."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def is_id(value: object) -> TypeGuard[str]:
    """Whether this can be the id of a job: printable, and a segment of a path."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= LONGEST_ID and value not in {".", ".."}


def _document(reply: Reply) -> dict[str, Any]:
    if reply.code // 100 != SUCCESS:
        raise refusal(reply)
    document = _json(reply.body)
    if not isinstance(document, dict):
        raise _unexpected("a JSON object", reply)
    return document


def _status(dialect: Dialect, job: object, reply: Reply) -> Status:
    if not isinstance(job, dict):
        raise _unexpected("a job as a JSON object", reply)
    job_id, word = job.get(dialect.id), job.get(dialect.status)
    if not is_id(job_id) or not is_text(word):
        raise _unexpected(f"a job with {dialect.id!r} and {dialect.status!r}", reply)
    progress = _number(job, dialect.progress, reply)
    return Status(
        id=job_id,
        state=dialect.words.get(word, State.PENDING),
        progress=None if progress is None else min(progress, 1.0),
        elapsed=_number(job, dialect.elapsed, reply),
        error=_text(job, dialect.error, reply),
        raw=job,
    )


def _text(document: Mapping[str, Any], field: str, reply: Reply) -> str | None:
    value = document.get(field)
    if value is None or is_text(value):
        return value
    raise _unexpected(f"a text as {field!r}", reply)


def _number(document: Mapping[str, Any], field: str, reply: Reply) -> float | None:
    value = document.get(field)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < BOUND:
        return float(value)
    raise _unexpected(f"a number as {field!r}", reply)


def _problem(reply: Reply) -> tuple[str, tuple[Mapping[str, Any], ...]]:
    """What a problem document (RFC 9457) says, in one line, and its list of errors; anything else says its code."""
    problem = _json(reply.body)
    if not isinstance(problem, dict):
        problem = {}
    listed = problem.get("errors")
    errors = tuple(error for error in listed if isinstance(error, dict)) if isinstance(listed, list) else ()
    said = (
        problem.get("title"),
        problem.get("detail"),
        *(f"{error.get('field')}: {error.get('message')}" for error in errors),
    )
    texts = [one_line(text).rstrip(".") for text in said if isinstance(text, str)]
    return f"{reply.code} {'. '.join(texts) or 'without a reason'}", errors


def _unexpected(expected: str, reply: Reply) -> ProtocolError:
    came = one_line(reply.body[:1000].decode(errors="replace"))
    return ProtocolError(
        f"expected {expected}, but the answer was {reply.code} with {came!r}. "
        "Check that the server's address is that of a job API of this kind."
    )


def _json(body: bytes) -> object:
    """The document, or None for what is none; NaN and Infinity are no JSON."""
    try:
        document: object = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
