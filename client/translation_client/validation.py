"""Checks of the caller's arguments.

Each function returns the usable value, or raises a ValueError with one line: the argument's name and what it must be.
"""

import json
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from os import SEEK_END, PathLike
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, BinaryIO, TypeAlias

from translation_client.core.dialects import CURRENT, FORM, NAMED, Dialect, id_of, is_id, is_text
from translation_client.core.download import URL
from translation_client.core.effects import Upload
from translation_client.core.links import is_address
from translation_client.core.resume_token import read_token
from translation_client.core.schedule import Schedule
from translation_client.core.status import Status
from translation_client.http_library import httpx
from translation_client.sigv4 import SigV4Auth

LEAST = 0.001  # seconds: the least value of durations that must not be 0
LONGEST_KEY = 255  # characters

FileLike: TypeAlias = str | PathLike[str] | BinaryIO
"""A file that a submission carries: a path, or a file that is open in binary mode."""


def address(base_url: str) -> httpx.URL:
    """Returns the server's address, parsed."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError, ValueError):
        url = httpx.URL()
    if url.userinfo:
        raise ValueError("base_url must not contain credentials; give them as username and password")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise ValueError("base_url must be an address such as http://127.0.0.1:8000 or https://jobs.example.com/api")
    return url


def auth(dialect: Dialect, username: str | None, password: str | None, token: str | None) -> httpx.Auth | None:
    """Returns the credentials in the form that the dialect needs; None if there are none."""
    if dialect.auth not in NAMED:
        return _token(dialect, username, password, token)
    if token is not None:
        raise ValueError(f"token does not fit the dialect {dialect.name}: give username and password")
    if username is None and password is None:
        return None
    if username is None or password is None:
        raise ValueError("username and password must both be given")
    for name, value in (("username", username), ("password", password)):
        if not is_text(value):
            raise ValueError(f"{name} must be text that UTF-8 can encode")
    if ":" in username:
        raise ValueError("username must not contain a colon: Basic authentication cannot transmit it")
    if dialect.auth == "basic":
        return httpx.BasicAuth(username, password)
    if not (username.isascii() and username.isprintable() and username and "," not in username):
        raise ValueError("username must be ASCII text without commas: it is the access key of a signature")
    return SigV4Auth(username, password)


def _token(dialect: Dialect, username: str | None, password: str | None, token: str | None) -> httpx.Auth | None:
    for name, value in (("username", username), ("password", password)):
        if value is not None:
            raise ValueError(f"{name} does not fit the dialect {dialect.name}: give token")
    if token is None:
        return None
    if not (is_text(token) and token.isprintable() and token and token == token.strip()):
        raise ValueError("token must be printable text, without spaces around it")
    form = FORM.fullmatch(dialect.auth)
    if form is None:
        raise ValueError(f"the dialect {dialect.name} has the unusable authentication {dialect.auth!r}")
    if form["parameter"]:
        return _Parameter(form["parameter"], token)
    return _Header(form["header"], f"{form['word']} {token}" if form["word"] else token)


class _Header(httpx.Auth):
    """Sends a token in a header, and does not show it in its `repr`."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name.encode(), value.encode()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        others = [(name, value) for name, value in request.headers.raw if name.lower() != self._name.lower()]
        request.headers = type(request.headers)([*others, (self._name, self._value)])
        yield request


class _Parameter(httpx.Auth):
    """Sends a token as a parameter of the query, and does not show it in its `repr`."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sets the parameter."""
        request.url = request.url.copy_set_param(self._name, self._value)
        yield request


def number(name: str, value: float, least: float = 0) -> float:
    """Returns a finite number of at least `least`."""
    if isinstance(value, int | float) and least <= value <= TIMEOUT_MAX:
        return value
    raise ValueError(f"{name} must be a finite number of at least {least:g}, not {value!r}")


def optional(name: str, value: float | None) -> float | None:
    """Returns a number that is not negative, or None."""
    return None if value is None else number(name, value)


def text(name: str, value: str) -> str:
    """Returns text that UTF-8 can encode."""
    if is_text(value):
        return value
    raise ValueError(f"{name} must be text, not {value!r}")


def json_object(name: str, value: object) -> object:
    """Returns a dict that JSON can represent."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    raise ValueError(f"{name} must be a dict that JSON can represent")


def schedule(given: Callable[[], Schedule]) -> Callable[[], Schedule]:
    """Returns a plan: a callable that makes the schedule of a wait."""
    if callable(given):
        return given
    raise ValueError(f"schedule must be a callable that makes a generator, Fixed(2) for example, not {given!r}")


def key(given: str | None) -> str:
    """Returns the given idempotency key, or a new one."""
    if given is None:
        return str(uuid.uuid4())
    if 0 < len(given) <= LONGEST_KEY and all("!" <= char <= "~" and char != '"' for char in given):
        return given
    expected = f"1 to {LONGEST_KEY} visible ASCII characters but no double quote"
    raise ValueError(f"idempotency_key must be {expected}, not {given!r}")


def job_of(dialect: Dialect, job_id: str) -> str:
    """Returns the id of a job that the dialect can poll; a number, as in a `Status.raw`, becomes its text."""
    job_id = id_of(job_id) or job_id
    if not dialect.by_id and job_id != CURRENT:
        raise ValueError(f"job_id must be {CURRENT!r}: the dialect {dialect.name} has no job ids")
    return _id("job_id", job_id)


def webhook(dialect: Dialect, receiver: object) -> Mapping[str, str]:
    """Returns the field of a submission that names a receiver of webhooks."""
    url, secret = getattr(receiver, "url", None), getattr(receiver, "secret", None)
    if not (isinstance(url, str) and is_address(url)):
        raise ValueError(f"webhook must be a receiver with the url that the server posts to, not {receiver!r}")
    if not (secret is None or isinstance(secret, str)):
        raise ValueError("webhook must have a text as its secret, or none")
    if dialect.webhook and dialect.webhook.url:
        return {"url": url}
    if "webhook" not in dialect.request_fields:
        own = "give its url to the sandbox, or to your account, and the receiver to wait"
        raise ValueError(f"webhook does not fit a submission to the dialect {dialect.name}: {own}")
    return {"url": url} if secret is None else {"url": url, "secret": secret}


def has_cancel(dialect: Dialect) -> None:
    """Checks that the dialect can cancel jobs."""
    if dialect.operation("cancel") is None:
        raise ValueError(f"cancel_on_timeout needs a cancellation, and the dialect {dialect.name} has none")


def jobs_of(dialect: Dialect, ids: Iterable[str]) -> tuple[str, ...]:
    """Returns the ids in the order given, without repetitions."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise ValueError(f"ids must be an iterable of ids, a list for example, not {ids!r}")  # noqa: TRY004 - a ValueError, as for every argument
    return tuple(dict.fromkeys(job_of(dialect, job_id) for job_id in ids))


def job_in(dialect: Dialect, token: str) -> tuple[str, str | None]:
    """Returns the job's id in a resume token of this dialect, and the address of its polls, if there is one."""
    name, job_id, url = read_token(token)
    if name != dialect.name:
        raise ValueError(f"token must be one of the dialect {dialect.name}, but is one of {name}")
    if url is not None and not is_address(url):
        raise ValueError("token must have an http or https address, if it has one")
    return job_of(dialect, job_id), url


def file_url(status: Status, urls: Sequence[str], given: str | None) -> str:
    """Returns the address of the file that a job has made: the given one, or the only one of `urls`."""
    if given is not None:
        if not URL.fullmatch(given):
            raise ValueError("url must be the http or https address of a file")
        return given
    status.raise_for_error()
    if not status.state.ended:
        raise ValueError(f"job {status.id} is pending: wait for its end before you download its file")
    if len(urls) != 1:
        raise ValueError(f"the output of job {status.id} has {len(urls) or 'no'} URLs; give the one of the file as url")
    return urls[0]


def job_fields(dialect: Dialect, **values: object) -> dict[str, object]:
    """Returns the fields of a submission, without those that are None."""
    fields = {name: value for name, value in values.items() if value is not None}
    for name, value in fields.items():
        CHECKS[name](name, value)
        if name not in dialect.request_fields:
            raise ValueError(f"{name} is not a field of the dialect {dialect.name}; leave it out")
    submit = dialect.operation("submit")
    if submit and dialect.by_id and not dialect.returns_ids and "job_id" not in fields:
        raise ValueError(f"job_id must be given: the dialect {dialect.name} does not return the id of an accepted job")
    if submit and "job_id" not in fields and all("{job_id}" in path for _, path in submit.requests):
        raise ValueError(f"job_id must be given: it is a part of the path {submit.requests[0][1]}")
    return fields


def parameters(given: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the values of parameters in paths."""
    for name, value in given.items():
        if not is_text(value) or not value:
            raise ValueError(f"parameters must have texts as values, not {value!r} as {name}")
    return dict(given)


def own_input(dialect: Dialect, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the fields of a submission that only its API knows."""
    if dialect.operation("submit") is None:
        raise ValueError(f"input does not fit the dialect {dialect.name}: it has no submissions")
    if not isinstance(given, Mapping):
        raise ValueError(f"input must be a mapping of fields, not {given!r}")  # noqa: TRY004 - a ValueError, as for every argument
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"input must hold only what JSON can: {error}") from None
    return given


def uploads(dialect: Dialect, files: Mapping[str, FileLike] | None) -> Mapping[str, Upload]:
    """Returns the files of a submission. They must be seekable, so that a retry can send them again."""
    if not files:
        return {}
    submit = dialect.operation("submit")
    if submit is None or {"multipart", "any"}.isdisjoint(submit.accepts):
        raise ValueError(f"files do not fit the dialect {dialect.name}: its submissions are no multipart forms")
    if "multipart" not in submit.accepts and [*files] != ["body"]:
        raise ValueError(f"files must be one file named body: for the dialect {dialect.name} it is the whole body")
    if not isinstance(files, Mapping):
        raise ValueError(f"files must be a mapping of fields to files, not {files!r}")  # noqa: TRY004 - a ValueError, as for every argument
    return {text("files", name): _upload(name, given) for name, given in files.items()}


def _upload(field: str, given: FileLike) -> Upload:
    if isinstance(given, str | PathLike):
        path = Path(given)
        if path.exists() and not path.is_file():
            raise ValueError(f"files must be regular files, which can be sent again: {field} is none")
        return Upload(path.name, str(path), path.stat().st_size)
    try:
        is_usable = given.seekable() and isinstance(given.read(0), bytes)
    except (AttributeError, OSError, ValueError):  # it is not a file, or is closed
        is_usable = False
    if not is_usable:
        problem = "paths, or files open in binary mode that are seekable, so that they can be sent again"
        raise ValueError(f"files must be {problem}: {field} is none")
    name = getattr(given, "name", None)
    return Upload(Path(name).name if isinstance(name, str) else field, given, given.seek(0, SEEK_END))


def _id(name: str, value: str) -> str:
    if is_id(value):
        return value
    raise ValueError(f"{name} must be the id of a job, not {value!r}")


CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "job_id": _id,
    "source_language": text,
    "target_language": text,
    "video_length": number,
    "simulate": json_object,
}
