"""`Client` and `AsyncClient`: thin shells over the same flows, with the same methods.

They check what a caller gives, fill in what the constructor was given, and call the callbacks; the flows decide.
"""

import random
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from inspect import isawaitable
from threading import TIMEOUT_MAX
from types import EllipsisType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import httpx

from translation_client.core import flows
from translation_client.core.dialects import is_id, is_text
from translation_client.core.model import Flow, Status
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
        username: str | None = None,
        password: str | None = None,
        timeout: float | None = None,
        initial_delay: float = 0.5,
        max_delay: float = 8.0,
        backoff_factor: float = 2.0,
        max_retries: int = 7,
        request_timeout: float = 10.0,
        on_update: Callback | None = None,
        on_completion: Callback | None = None,
        http_client: Http | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make a client of one server, as one user. Durations are seconds.

        Args:
            base_url: The server's address, http or https, with a path if it has one, without credentials.
            username: The user, together with `password`. Without the two, `http_client` has to know how to log in.
            password: The user's password.
            timeout: How long `wait`, `watch` and `run` wait unless told otherwise; None is as long as it takes.
            initial_delay: From the first look at a job to the second, unless the server asks for another delay.
            max_delay: The longest delay between two looks, unless the server asks for another.
            backoff_factor: How many times longer each delay is than the one before.
            max_retries: How many failures in a row are borne, of the network or the server.
            request_timeout: How long one request may take, from connecting to the last byte of the answer.
            on_update: Called by `wait` and `run` with the first status and each changed one.
            on_completion: Called by `wait` and `run` with the final status.
            http_client: Carries the requests in place of one of our own, and is not closed. With a synchronous one,
                `request_timeout` bounds each read, so that a server which drips its answer can exceed it. An
                asynchronous one carries up to 100 requests at once.
            trace: Called with every command and event of a flow, for displays and for debugging.

        Raises:
            ValueError: An argument, or a proxy that the environment names, is unusable; the message says which.
        """
        url, auth = _address(base_url), _auth(username, password)
        self._rules = flows.Rules(
            initial_delay=_number("initial_delay", initial_delay, LEAST),
            max_delay=_number("max_delay", max_delay, initial_delay),
            backoff_factor=_number("backoff_factor", backoff_factor, 1),
            max_retries=int(_number("max_retries", max_retries)),
            request_timeout=_number("request_timeout", request_timeout, LEAST),
            random=random.random,
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
        idempotency_key: str | None = None,
    ) -> Status:
        """Start a job.

        Args:
            source_language: The language of the video, as the server names it.
            target_language: The language to translate it to.
            video_length: Seconds of video.
            idempotency_key: 1 to 255 visible ASCII characters but no double quote. However often a job is started with
                the same key, it is one job. Without one, a key is made up that covers the retries of this call.

        Raises:
            TranslationError: No job was started, or none that is known of: a TransportError names the key to repeat.
        """
        job = _job(source_language, target_language, video_length)
        return self._only(flows.submit(self._rules, self._pump.time(), _key(idempotency_key), job))

    def status(self, job_id: str) -> Status:
        """Look at a job once.

        Raises:
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._only(flows.look(self._rules, self._pump.time(), _job_id(job_id)))

    def cancel(self, job_id: str) -> Status:
        """Cancel a job and return what became of it; one that had ended stays as it is.

        Raises:
            TranslationError: The job is not known, or could not be cancelled.
        """
        return self._only(flows.cancel(self._rules, self._pump.time(), _job_id(job_id)))

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
        return self._pump.run(flows.watch(self._rules, self._time(timeout), _job_id(job_id)))

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
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, under one timeout: `start` and `wait` in one."""
        job = _job(source_language, target_language, video_length)
        changes = self._pump.run(flows.run(self._rules, self._time(timeout), _key(idempotency_key), job))
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
        idempotency_key: str | None = None,
    ) -> Status:
        """Start a job, as `Client.start` does."""
        job = _job(source_language, target_language, video_length)
        return await self._only(flows.submit(self._rules, self._pump.time(), _key(idempotency_key), job))

    async def status(self, job_id: str) -> Status:
        """Look at a job once, as `Client.status` does."""
        return await self._only(flows.look(self._rules, self._pump.time(), _job_id(job_id)))

    async def cancel(self, job_id: str) -> Status:
        """Cancel a job, as `Client.cancel` does."""
        return await self._only(flows.cancel(self._rules, self._pump.time(), _job_id(job_id)))

    def list(self) -> AsyncGenerator[Status, None]:
        """Yield the status of every job of this user, as `Client.list` does."""
        return self._pump.run(flows.listing(self._rules, self._pump.time()))

    def watch(self, job_id: str, *, timeout: OwnTimeout = ...) -> AsyncGenerator[Status, None]:
        """Yield the status of a job, then each change of it, as `Client.watch` does."""
        return self._pump.run(flows.watch(self._rules, self._time(timeout), _job_id(job_id)))

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
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, as `Client.run` does."""
        job = _job(source_language, target_language, video_length)
        changes = self._pump.run(flows.run(self._rules, self._time(timeout), _key(idempotency_key), job))
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


def _auth(username: str | None, password: str | None) -> httpx.Auth | None:
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


def _number(name: str, value: float, least: float = 0) -> float:
    if isinstance(value, int | float) and least <= value <= TIMEOUT_MAX:
        return value
    raise ValueError(f"{name} must be a finite number of at least {least:g}, not {value!r}")


def _optional(name: str, value: float | None) -> float | None:
    return None if value is None else _number(name, value)


def _job_id(job_id: str) -> str:
    if is_id(job_id):
        return job_id
    raise ValueError(f"job_id must be the id of a job, not {job_id!r}")


def _key(key: str | None) -> str:
    if key is None:
        return str(uuid.uuid4())
    if 0 < len(key) <= LONGEST_KEY and all("!" <= char <= "~" and char != '"' for char in key):
        return key
    raise ValueError(
        f"idempotency_key must be 1 to {LONGEST_KEY} visible ASCII characters but no double quote, not {key!r}"
    )


def _job(source_language: str | None, target_language: str | None, video_length: float | None) -> dict[str, object]:
    languages = {"source_language": source_language, "target_language": target_language}
    for name, language in languages.items():
        if language is not None and not is_text(language):
            raise ValueError(f"{name} must be text, not {language!r}")
    job = {**languages, "video_length": _optional("video_length", video_length)}
    return {name: value for name, value in job.items() if value is not None}
