"""`Client` and `AsyncClient`: thin shells over the same flows, with the same methods.

They check what a caller gives, fill in what the constructor was given, and call the callbacks; the flows decide.
"""

import random
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing
from inspect import isawaitable
from threading import TIMEOUT_MAX
from types import EllipsisType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import httpx

from translation_client.core import flows
from translation_client.core.dialects import CURRENT, Dialect, is_id, is_text, places
from translation_client.core.model import Flow, Status
from translation_client.core.schedule import Schedule
from translation_client.dialect_files import DialectLike, find_dialect
from translation_client.drivers import AsyncPump, BasePump, Http, Pump, Trace
from translation_client.transport import Transport, async_transport

Callback: TypeAlias = Callable[[Status], object]
P = TypeVar("P", bound=BasePump[Any])
T = TypeVar("T")

# What the methods take in place of what the constructor took: `...` stands for the constructor's.
OwnTimeout: TypeAlias = float | EllipsisType | None
OwnCallback: TypeAlias = Callback | EllipsisType | None

LEAST = 0.001  # seconds: the least of what must not be zero
LONGEST_KEY = 255  # characters


class _Shell(Generic[Http, P]):
    """What both clients have in common."""

    _open: Callable[[httpx.URL], Http]
    _pump_type: type[P]

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        dialect: DialectLike = "start",
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout: float | None = None,
        initial_delay: float = 0.5,
        max_delay: float = 8.0,
        backoff_factor: float = 2.0,
        max_retries: int = 7,
        request_timeout: float = 10.0,
        schedule: Callable[[], Schedule] | None = None,
        on_update: Callback | None = None,
        on_completion: Callback | None = None,
        http_client: Http | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make a client of one server, as one user. Durations are seconds.

        Args:
            base_url: The server's address, http or https, with a path if it has one, without credentials.
            dialect: What the server speaks: one of the five dialects by its name (`start`, `jobs`, `status`,
                `translate`, `result`), the path to a TOML file that describes one (`path#name` where it describes
                several), or a `Dialect`. Our server has a user's own below `/{name}`: a part of `base_url` there.
            username: The user, together with `password`, where the dialect takes Basic authentication. Without the two,
                or the token, `http_client` has to know how to log in, or the server must not ask.
            password: The user's password.
            token: What proves who the user is where the dialect takes a Bearer token or one in a header.
            timeout: How long `wait`, `watch` and `run` wait unless told otherwise; None is as long as it takes.
            initial_delay: From the first look at a job to the second, unless the server asks for another delay.
            max_delay: The longest delay between two looks, unless the server asks for another.
            backoff_factor: How many times longer each delay is than the one before.
            max_retries: How many failures in a row are borne, of the network or the server.
            request_timeout: How long one request may take, from connecting to the last byte of the answer.
            schedule: Makes the schedule of each wait (see `core.schedule`) in place of one by `initial_delay`,
                `max_delay` and `backoff_factor`. It is kept to the letter, whatever the server asks for; where it ends,
                the wait ends with JobTimeout.
            on_update: Called by `wait` and `run` with the first status and each changed one.
            on_completion: Called by `wait` and `run` with the final status.
            http_client: Carries the requests in place of one of our own, and is not closed. With a synchronous one,
                `request_timeout` bounds each read, so that a server which drips its answer can exceed it. An
                asynchronous one carries up to 100 requests at once.
            trace: Called with every command and event of a flow, for displays and for debugging.

        Raises:
            ValueError: An argument, or a proxy that the environment names, is unusable; the message says which.
        """
        url, row = _address(base_url), find_dialect(dialect)
        auth = _auth(row, username, password, token)
        self._rules = flows.Rules(
            initial_delay=_number("initial_delay", initial_delay, LEAST),
            max_delay=_number("max_delay", max_delay, initial_delay),
            backoff_factor=_number("backoff_factor", backoff_factor, 1),
            max_retries=int(_number("max_retries", max_retries)),
            request_timeout=_number("request_timeout", request_timeout, LEAST),
            random=random.random,
            dialect=row,
            schedule=schedule,
        )
        self._timeout = _optional("timeout", timeout)
        self._on_update = on_update
        self._on_completion = on_completion
        self._owned = http_client is None
        self._pump: P = self._pump_type(
            http=self._open(url) if http_client is None else http_client,
            base_url=str(url).rstrip("/"),
            auth=auth,
            trace=trace,
        )

    def _time(self, timeout: OwnTimeout) -> flows.Time:
        return self._pump.time(_optional("timeout", _chosen(timeout, self._timeout)))

    def _id(self, job_id: str) -> str:
        """The id of a job, if the dialect can look at that job."""
        row = self._rules.dialect
        if not row.by_id and job_id != CURRENT:
            raise ValueError(f"job_id must be {CURRENT!r}: the dialect {row.name} looks at no other job")
        return _job_id("job_id", job_id)

    def _facts(self, **given: object) -> dict[str, object]:
        """What a submission brings, if the dialect can carry it and can tell of the job afterwards."""
        row = self._rules.dialect
        facts = {name: fact for name, fact in given.items() if fact is not None}
        for name, fact in facts.items():
            CHECKS[name](name, fact)
            if name not in row.takes:
                raise ValueError(f"{name} has no place in the dialect {row.name}; leave it out")
        if row.submit and row.by_id and "job_id" not in facts.keys() | places(row.answer).keys():
            raise ValueError(
                f"job_id must be given: the dialect {row.name} does not tell the id of a job that it accepts"
            )
        return facts


class Client(_Shell[httpx.Client, Pump]):
    """A client for plain code. Threads may share one. Close it, or use it as a context manager."""

    _pump_type = Pump

    @staticmethod
    def _open(base_url: httpx.URL) -> httpx.Client:
        return httpx.Client(transport=Transport(base_url))

    def start(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Status:
        """Start a job.

        Args:
            source_language: The language of the video, as the server names it.
            target_language: The language to translate it to.
            video_length: Seconds of video.
            job_id: An id of the caller's own, where the dialect has a place for one, as `translate` has.
            idempotency_key: 1 to 255 visible ASCII characters but no double quote. However often a job is started with
                the same key, it is one job. Without one, a key is made up that covers the retries of this call.

        Raises:
            TranslationError: No job was started, or none that is known of: a TransportError names the key to repeat.
        """
        facts = self._facts(
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        return self._only(flows.submit(self._rules, self._pump.time(), _key(idempotency_key), facts))

    def status(self, job_id: str) -> Status:
        """Look at a job once.

        Raises:
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._only(flows.look(self._rules, self._pump.time(), self._id(job_id)))

    def cancel(self, job_id: str) -> Status:
        """Cancel a job and return what became of it; one that had ended stays as it is.

        Raises:
            TranslationError: The job is not known, or could not be cancelled.
        """
        return self._only(flows.cancel(self._rules, self._pump.time(), self._id(job_id)))

    def list(self) -> Generator[Status, None, None]:
        """Yield the status of every job of this user, newest first; each page is asked for when it is needed.

        Raises:
            TranslationError: The jobs could not be asked for.
        """
        return self._pump.run(flows.listing(self._rules, self._pump.time()))

    def watch(self, job_id: str, *, timeout: OwnTimeout = ...) -> Generator[Status, None, None]:
        """Yield the status of a job, then each change of it, the final status last.

        Args:
            job_id: The job.
            timeout: Seconds from now, None for as long as it takes, `...` for the client's own.

        Raises:
            JobTimeout: The time is up; the job goes on.
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._pump.run(flows.watch(self._rules, self._time(timeout), self._id(job_id)))

    def wait(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait for the end of a job and return its final status, whichever it is.

        Args:
            job_id: The job.
            timeout: Seconds from now, None for as long as it takes, `...` for the client's own.
            on_update: Called with the first status and each changed one; `...` for the client's own.
            on_completion: Called with the final status; `...` for the client's own.

        Raises:
            JobTimeout: The time is up; the job goes on.
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._finish(self.watch(job_id, timeout=timeout), on_update, on_completion)

    def run(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, under one timeout: `start` and `wait` in one."""
        facts = self._facts(
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        changes = self._pump.run(flows.run(self._rules, self._time(timeout), _key(idempotency_key), facts))
        return self._finish(changes, on_update, on_completion)

    def close(self) -> None:
        """Close every connection; a given `http_client` is left alone."""
        if self._owned:
            self._pump.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _only(self, flow: Flow) -> Status:
        (status,) = self._pump.run(flow)
        return status

    def _finish(
        self,
        changes: Generator[Status, None, None],
        on_update: OwnCallback,
        on_completion: OwnCallback,
    ) -> Status:
        on_update, on_completion = _chosen(on_update, self._on_update), _chosen(on_completion, self._on_completion)
        with closing(changes):
            for status in changes:
                if on_update:
                    on_update(status)
        if on_completion:
            on_completion(status)
        return status


class AsyncClient(_Shell[httpx.AsyncClient, AsyncPump]):
    """The same for async code, where callbacks may be async too. Close it, or use it as a context manager."""

    _pump_type = AsyncPump

    @staticmethod
    def _open(base_url: httpx.URL) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=async_transport(base_url))

    async def start(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Status:
        """Start a job, as `Client.start` does."""
        facts = self._facts(
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        return await self._only(flows.submit(self._rules, self._pump.time(), _key(idempotency_key), facts))

    async def status(self, job_id: str) -> Status:
        """Look at a job once, as `Client.status` does."""
        return await self._only(flows.look(self._rules, self._pump.time(), self._id(job_id)))

    async def cancel(self, job_id: str) -> Status:
        """Cancel a job, as `Client.cancel` does."""
        return await self._only(flows.cancel(self._rules, self._pump.time(), self._id(job_id)))

    def list(self) -> AsyncGenerator[Status, None]:
        """Yield the status of every job of this user, as `Client.list` does."""
        return self._pump.run(flows.listing(self._rules, self._pump.time()))

    def watch(self, job_id: str, *, timeout: OwnTimeout = ...) -> AsyncGenerator[Status, None]:
        """Yield the status of a job, then each change of it, as `Client.watch` does."""
        return self._pump.run(flows.watch(self._rules, self._time(timeout), self._id(job_id)))

    async def wait(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait for the end of a job, as `Client.wait` does."""
        return await self._finish(self.watch(job_id, timeout=timeout), on_update, on_completion)

    async def run(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, as `Client.run` does."""
        facts = self._facts(
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        changes = self._pump.run(flows.run(self._rules, self._time(timeout), _key(idempotency_key), facts))
        return await self._finish(changes, on_update, on_completion)

    async def aclose(self) -> None:
        """Close every connection; a given `http_client` is left alone."""
        if self._owned:
            await self._pump.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _only(self, flow: Flow) -> Status:
        (status,) = [status async for status in self._pump.run(flow)]
        return status

    async def _finish(
        self,
        changes: AsyncGenerator[Status, None],
        on_update: OwnCallback,
        on_completion: OwnCallback,
    ) -> Status:
        on_update, on_completion = _chosen(on_update, self._on_update), _chosen(on_completion, self._on_completion)
        async with aclosing(changes):
            async for status in changes:
                await _call(on_update, status)
        await _call(on_completion, status)
        return status


def shared_http(base_url: str) -> httpx.AsyncClient:
    """The `http_client` for many an `AsyncClient` of one server.

    Raises:
        ValueError: As from `AsyncClient`.
    """
    return httpx.AsyncClient(transport=async_transport(_address(base_url)))


async def _call(callback: Callback | None, status: Status) -> None:
    result = callback(status) if callback else None
    if isawaitable(result):
        await result


def _chosen(given: T | EllipsisType, own: T) -> T:
    return own if isinstance(given, EllipsisType) else given


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError, ValueError):
        url = httpx.URL()
    if url.userinfo:
        raise ValueError("base_url must not hold credentials; give them as username and password")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise ValueError("base_url must be an address such as http://127.0.0.1:8000 or https://jobs.example.com/api")
    return url


def _auth(row: Dialect, username: str | None, password: str | None, token: str | None) -> httpx.Auth | None:
    if row.scheme != "basic":
        return _token(row, username, password, token)
    if token is not None:
        raise ValueError(f"token does not fit the dialect {row.name}: give username and password")
    if username is None and password is None:
        return None
    if username is None or password is None:
        raise ValueError("username and password must both be given")
    for name, value in (("username", username), ("password", password)):
        if not is_text(value):
            raise ValueError(f"{name} must be text that UTF-8 can carry")
    if ":" in username:
        raise ValueError("username must not hold a colon: Basic authentication cannot carry it")
    return httpx.BasicAuth(username, password)


def _token(row: Dialect, username: str | None, password: str | None, token: str | None) -> httpx.Auth | None:
    for name, value in (("username", username), ("password", password)):
        if value is not None:
            raise ValueError(f"{name} does not fit the dialect {row.name}: give token")
    if token is None:
        return None
    if not (is_text(token) and token.isprintable() and token and token == token.strip()):
        raise ValueError("token must be printable text, without spaces around it")
    return _Header("Authorization", f"Bearer {token}") if row.scheme == "bearer" else _Header(row.auth, token)


class _Header(httpx.Auth):
    """Sends credentials as they are, and does not show them."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name.encode(), value.encode()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the header into the request."""
        others = [(name, value) for name, value in request.headers.raw if name.lower() != self._name.lower()]
        request.headers = httpx.Headers([*others, (self._name, self._value)])
        yield request


def _number(name: str, value: float, least: float = 0) -> float:
    if isinstance(value, int | float) and least <= value <= TIMEOUT_MAX:
        return value
    raise ValueError(f"{name} must be a finite number of at least {least:g}, not {value!r}")


def _optional(name: str, value: float | None) -> float | None:
    return None if value is None else _number(name, value)


def _job_id(name: str, job_id: str) -> str:
    if is_id(job_id):
        return job_id
    raise ValueError(f"{name} must be the id of a job, not {job_id!r}")


def _language(name: str, language: str) -> str:
    if is_text(language):
        return language
    raise ValueError(f"{name} must be text, not {language!r}")


def _key(key: str | None) -> str:
    if key is None:
        return str(uuid.uuid4())
    if 0 < len(key) <= LONGEST_KEY and all("!" <= char <= "~" and char != '"' for char in key):
        return key
    raise ValueError(
        f"idempotency_key must be 1 to {LONGEST_KEY} visible ASCII characters but no double quote, not {key!r}"
    )


CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "job_id": _job_id,
    "source_language": _language,
    "target_language": _language,
    "video_length": _number,
}
