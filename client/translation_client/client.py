"""`Client` and `AsyncClient`: thin shells over the same flows, with the same methods.

They check what a caller gives, fill in what the constructor was given, and call the callbacks; the flows decide.
"""

import random
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing, closing
from dataclasses import replace
from inspect import isawaitable
from pathlib import Path
from types import EllipsisType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import httpx

from translation_client import validation
from translation_client.core import wait_many, wait_one
from translation_client.core.effects import Flow, WaitFailed
from translation_client.core.errors import TranslationError
from translation_client.core.estimator import History
from translation_client.core.requests import Rules, Time
from translation_client.core.schedule import Exponential, Hinted, Learned, Schedule
from translation_client.core.status import Status
from translation_client.dialect_files import DialectLike, find_dialect
from translation_client.drivers.drivers import AsyncDriver, BaseDriver, Driver, Http, Trace
from translation_client.drivers.transport import AsyncTransport, Transport
from translation_client.history import HistoryFile

Callback: TypeAlias = Callable[[Status], object]
Outcome: TypeAlias = Status | TranslationError
P = TypeVar("P", bound=BaseDriver[Any])
T = TypeVar("T")

# What the methods take in place of what the constructor took: `...` stands for the constructor's.
OwnTimeout: TypeAlias = float | EllipsisType | None
OwnCallback: TypeAlias = Callback | EllipsisType | None

LONG_POLL = 25.0  # seconds: less than the 30 after which many a proxy gives up
INITIAL_DELAY, MAX_DELAY, BACKOFF_FACTOR = 0.5, 8.0, 2.0  # unless told otherwise; seconds but the last


class _BaseClient(Generic[Http, P]):
    """What both clients have in common."""

    _open: Callable[[httpx.URL], Http]
    _driver_type: type[P]

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        dialect: DialectLike = "start",
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout: float | None = None,
        initial_delay: float | None = None,
        max_delay: float | None = None,
        backoff_factor: float | None = None,
        max_retries: int = 7,
        request_timeout: float = 10.0,
        schedule: Callable[[], Schedule] | None = None,
        long_poll: float = LONG_POLL,
        poll_cost: float = 0.25,
        kind: str | None = None,
        history: str | Path | None = None,
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
            timeout: How long a wait may take unless told otherwise; None is as long as it takes.
            initial_delay: The longest pause after a failed request, 0.5 unless given. With this or either of the next
                two given, they are also the delays from look to look: looks are not held, and the delay is another
                only where the server asks for one.
            max_delay: The longest pause after several failures in a row, 8 unless given.
            backoff_factor: How many times longer each pause may be than the one before, 2 unless given.
            max_retries: How many failures in a row are borne, of the network or the server.
            request_timeout: How long one request may take, from connecting to the last byte of the answer; one that the
                server may hold gets that much more.
            schedule: Makes the schedule of each wait (see `core.schedule`), `Fixed(2)` for example, in place of the
                automatic one. It is kept to the letter: looks are not held, and what the server asks for counts only
                where the schedule heeds it. Where it ends, the wait ends with JobTimeout.
            long_poll: How long the server may hold one look until the job ends, if it knows how to; below 1 it is not
                asked to.
            poll_cost: How many seconds of lateness one look is worth, to the automatic schedule: less is more
                looks.
            kind: What jobs of this sort are called, as the automatic schedule learns how long each kind takes; the
                dialect and the host unless given.
            history: The file in which that is kept. Without one it lasts as long as this client.
            on_update: Called by whatever waits with the first status of a job and each changed one.
            on_completion: Called by `wait`, `run` and `resume` with the final status.
            http_client: Carries the requests in place of one of our own, and is not closed. With a synchronous one,
                `request_timeout` bounds each read, so that a server which drips its answer can exceed it, and a stream
                of events is left only after its next heartbeat. An asynchronous one carries up to 100 requests at once.
                After a fork, and in another event loop, bring another: our own begins anew there, and one of the
                caller's does not know to. (`translation_client.client.shared_http` makes one that does.)
            trace: Called with every command and event of a flow, for displays and for debugging.

        Raises:
            ValueError: An argument, or a proxy that the environment names, is unusable; the message says which.
        """
        url, dialect = validation.address(base_url), find_dialect(dialect)
        auth = validation.auth(dialect, username, password, token)
        delays = (initial_delay, max_delay, backoff_factor)
        initial = validation.number(
            "initial_delay", INITIAL_DELAY if initial_delay is None else initial_delay, validation.LEAST
        )
        longest = validation.number("max_delay", max(MAX_DELAY, initial) if max_delay is None else max_delay, initial)
        factor = validation.number("backoff_factor", BACKOFF_FACTOR if backoff_factor is None else backoff_factor, 1)
        hold = validation.number("long_poll", long_poll)
        worth = validation.number("poll_cost", poll_cost, validation.LEAST)
        estimator = History() if history is None else HistoryFile(history)
        if schedule is None and delays == (None, None, None):
            plan: Callable[[], Schedule] = Hinted(Learned(estimator, worth))
        else:
            plan = Hinted(Exponential(initial, factor, longest)) if schedule is None else validation.schedule(schedule)
            hold = 0.0
        self._rules = Rules(
            schedule=plan,
            initial_delay=initial,
            max_delay=longest,
            backoff_factor=factor,
            max_retries=int(validation.number("max_retries", max_retries)),
            request_timeout=validation.number("request_timeout", request_timeout, validation.LEAST),
            random=random.random,
            dialect=dialect,
            long_poll=hold,
            kind=f"{dialect.name} {url.host}" if kind is None else validation.text("kind", kind),
        )
        self._before: Time | None = None
        self._timeout = validation.optional("timeout", timeout)
        self._on_update = on_update
        self._on_completion = on_completion
        self._owned = http_client is None
        self._driver: P = self._driver_type(
            http=self._open(url) if http_client is None else http_client,
            base_url=str(url).rstrip("/"),
            auth=auth,
            trace=trace,
        )

    def _time(self, timeout: OwnTimeout = None) -> Time:
        """The time of a flow that begins now; it knows from the one before how long a round trip takes."""
        time = self._driver.time(validation.optional("timeout", _chosen(timeout, self._timeout)))
        if self._before:
            time.slowest = time.trip = self._before.trip
        self._before = time
        return time

    def _kind(self, kind: str | None) -> Rules:
        """The rules for a job of this kind."""
        return self._rules if kind is None else replace(self._rules, kind=validation.text("kind", kind))


class Client(_BaseClient[httpx.Client, Driver]):
    """A client for plain code. Threads may share one, and processes may inherit one: each has connections of its own.

    Close it, or use it as a context manager.
    """

    _driver_type = Driver

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
        timeout: float | None = None,
    ) -> Status:
        """Start a job.

        Args:
            source_language: The language of the video, as the server names it.
            target_language: The language to translate it to.
            video_length: Seconds of video.
            job_id: An id of the caller's own, where the dialect has a place for one, as `translate` has.
            idempotency_key: 1 to 255 visible ASCII characters but no double quote. However often a job is started with
                the same key, it is one job. Without one, a key is made up that covers the retries of this call.
            timeout: Seconds from now, retries included; None for as long as those take.

        Raises:
            TranslationError: No job was started, or none that is known of: a TransportError names the key to repeat.
        """
        facts = validation.facts_for(
            self._rules.dialect,
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        return self._only(wait_one.submit(self._rules, self._time(timeout), validation.key(idempotency_key), facts))

    def status(self, job_id: str) -> Status:
        """Look at a job once.

        Raises:
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._only(wait_one.poll(self._rules, self._time(), validation.job_of(self._rules.dialect, job_id)))

    def cancel(self, job_id: str) -> Status:
        """Cancel a job and return what became of it; one that had ended stays as it is.

        Raises:
            TranslationError: The job is not known, or could not be cancelled.
        """
        return self._only(wait_one.cancel(self._rules, self._time(), validation.job_of(self._rules.dialect, job_id)))

    def list(self) -> Generator[Status, None, None]:
        """Yield the status of every job of this user, newest first; each page is asked for when it is needed.

        Raises:
            TranslationError: The jobs could not be asked for.
        """
        return self._driver.run(wait_one.listing(self._rules, self._time()))

    def watch(
        self, job_id: str, *, timeout: OwnTimeout = ..., kind: str | None = None
    ) -> Generator[Status, None, None]:
        """Yield the status of a job, then each change of it, the final status last.

        Args:
            job_id: The job.
            timeout: Seconds from now, None for as long as it takes, `...` for the client's own.
            kind: What jobs of this sort are called, in place of the client's own.

        Raises:
            JobTimeout: The time is up; the job goes on.
            TranslationError: The job is not known, or could not be asked for.
        """
        job_id = validation.job_of(self._rules.dialect, job_id)
        return self._driver.run(wait_one.watch(self._kind(kind), self._time(timeout), job_id))

    def wait(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait for the end of a job and return its final status, whichever it is.

        Args:
            job_id: The job.
            timeout: Seconds from now, None for as long as it takes, `...` for the client's own.
            kind: What jobs of this sort are called, in place of the client's own.
            on_update: Called with the first status and each changed one; `...` for the client's own.
            on_completion: Called with the final status; `...` for the client's own.

        Raises:
            JobTimeout: The time is up; the job goes on.
            TranslationError: The job is not known, or could not be asked for.
        """
        return self._finish(self.watch(job_id, timeout=timeout, kind=kind), on_update, on_completion)

    def run(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, under one timeout: `start` and `wait` in one."""
        facts = validation.facts_for(
            self._rules.dialect,
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        changes = self._driver.run(
            wait_one.run(self._kind(kind), self._time(timeout), validation.key(idempotency_key), facts)
        )
        return self._finish(changes, on_update, on_completion)

    def resume(
        self,
        token: str,
        *,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait on for the job of a token, which a Status or a JobTimeout gave, in this process or another.

        Args:
            token: What `Status.token` or `JobTimeout.token` was.
            timeout: Seconds from now, None for as long as it takes, `...` for the client's own.
            kind: What jobs of this sort are called, in place of the client's own.
            on_update: Called with the first status and each changed one; `...` for the client's own.
            on_completion: Called with the final status; `...` for the client's own.

        Raises:
            ValueError: The token is not whole, or is of another dialect or a later version.
            JobTimeout: The time is up; the job goes on.
            TranslationError: The job is not known, or could not be asked for.
        """
        job_id = validation.job_in(self._rules.dialect, token)
        changes = self._driver.run(wait_one.watch(self._kind(kind), self._time(timeout), job_id, known=True))
        return self._finish(changes, on_update, on_completion)

    def as_completed(
        self, ids: Iterable[str], *, timeout: OwnTimeout = ..., on_update: OwnCallback = ...
    ) -> Generator[tuple[str, Outcome], None, None]:
        """Yield each job's id as its wait ends, with its final status, or with the exception that ended the wait.

        All are waited for together, over one stream of events or by looks at a hundred at once where the server has
        either. One job's failure does not end the wait for the others.

        Args:
            ids: The jobs; one that is named twice is yielded once.
            timeout: Seconds from now for all of them, None for as long as it takes, `...` for the client's own.
            on_update: Called with the first status of each job and each changed one; `...` for the client's own.

        Raises:
            AuthenticationError: The server refused the credentials.
            ValueError: `ids` are not what they must be, or the schedule makes what is no delay.
        """
        ids = validation.jobs_of(self._rules.dialect, ids)
        flow = wait_many.as_completed(self._rules, self._time(timeout), ids)
        return self._outcomes(flow, _chosen(on_update, self._on_update))

    def wait_all(
        self, ids: Iterable[str], *, timeout: OwnTimeout = ..., on_update: OwnCallback = ...
    ) -> dict[str, Outcome]:
        """Wait for the end of every job; return, by its id, its final status or the exception that ended its wait.

        The order is that of the ids. Arguments and errors are those of `as_completed`.
        """
        ids = validation.jobs_of(self._rules.dialect, ids)
        ended = dict(self.as_completed(ids, timeout=timeout, on_update=on_update))
        return {job_id: ended[job_id] for job_id in ids}

    def close(self) -> None:
        """Close every connection; a given `http_client` is left alone."""
        if self._owned:
            self._driver.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _only(self, flow: Flow) -> Status:
        status: Status
        (status,) = self._driver.run(flow)
        return status

    def _outcomes(self, flow: Flow, on_update: Callback | None) -> Generator[tuple[str, Outcome], None, None]:
        with closing(self._driver.run(flow)) as told:
            for one in told:
                if isinstance(one, WaitFailed):
                    yield one.id, one.error
                    continue
                if on_update:
                    on_update(one)
                if one.state.ended:
                    yield one.id, one

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


class AsyncClient(_BaseClient[httpx.AsyncClient, AsyncDriver]):
    """The same for async code, where callbacks may be async too. Each event loop has connections of its own.

    Close it, or use it as a context manager.
    """

    _driver_type = AsyncDriver

    @staticmethod
    def _open(base_url: httpx.URL) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=AsyncTransport(base_url))

    async def start(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Status:
        """Start a job, as `Client.start` does."""
        facts = validation.facts_for(
            self._rules.dialect,
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        return await self._only(
            wait_one.submit(self._rules, self._time(timeout), validation.key(idempotency_key), facts)
        )

    async def status(self, job_id: str) -> Status:
        """Look at a job once, as `Client.status` does."""
        return await self._only(
            wait_one.poll(self._rules, self._time(), validation.job_of(self._rules.dialect, job_id))
        )

    async def cancel(self, job_id: str) -> Status:
        """Cancel a job, as `Client.cancel` does."""
        return await self._only(
            wait_one.cancel(self._rules, self._time(), validation.job_of(self._rules.dialect, job_id))
        )

    def list(self) -> AsyncGenerator[Status, None]:
        """Yield the status of every job of this user, as `Client.list` does."""
        return self._driver.run(wait_one.listing(self._rules, self._time()))

    def watch(self, job_id: str, *, timeout: OwnTimeout = ..., kind: str | None = None) -> AsyncGenerator[Status, None]:
        """Yield the status of a job, then each change of it, as `Client.watch` does."""
        job_id = validation.job_of(self._rules.dialect, job_id)
        return self._driver.run(wait_one.watch(self._kind(kind), self._time(timeout), job_id))

    async def wait(
        self,
        job_id: str,
        *,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait for the end of a job, as `Client.wait` does."""
        return await self._finish(self.watch(job_id, timeout=timeout, kind=kind), on_update, on_completion)

    async def run(
        self,
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        video_length: float | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Start a job and wait for its end, as `Client.run` does."""
        facts = validation.facts_for(
            self._rules.dialect,
            job_id=job_id,
            source_language=source_language,
            target_language=target_language,
            video_length=video_length,
        )
        changes = self._driver.run(
            wait_one.run(self._kind(kind), self._time(timeout), validation.key(idempotency_key), facts)
        )
        return await self._finish(changes, on_update, on_completion)

    async def resume(
        self,
        token: str,
        *,
        timeout: OwnTimeout = ...,
        kind: str | None = None,
        on_update: OwnCallback = ...,
        on_completion: OwnCallback = ...,
    ) -> Status:
        """Wait on for the job of a token, as `Client.resume` does."""
        job_id = validation.job_in(self._rules.dialect, token)
        changes = self._driver.run(wait_one.watch(self._kind(kind), self._time(timeout), job_id, known=True))
        return await self._finish(changes, on_update, on_completion)

    def as_completed(
        self, ids: Iterable[str], *, timeout: OwnTimeout = ..., on_update: OwnCallback = ...
    ) -> AsyncGenerator[tuple[str, Outcome], None]:
        """Yield each job as its wait ends, as `Client.as_completed` does."""
        ids = validation.jobs_of(self._rules.dialect, ids)
        flow = wait_many.as_completed(self._rules, self._time(timeout), ids)
        return self._outcomes(flow, _chosen(on_update, self._on_update))

    async def wait_all(
        self, ids: Iterable[str], *, timeout: OwnTimeout = ..., on_update: OwnCallback = ...
    ) -> dict[str, Outcome]:
        """Wait for the end of every job, as `Client.wait_all` does."""
        ids = validation.jobs_of(self._rules.dialect, ids)
        ended = {
            job_id: outcome async for job_id, outcome in self.as_completed(ids, timeout=timeout, on_update=on_update)
        }
        return {job_id: ended[job_id] for job_id in ids}

    async def aclose(self) -> None:
        """Close every connection of this event loop; a given `http_client` is left alone.

        Those of another loop are closed when that one ends.
        """
        if self._owned:
            await self._driver.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _only(self, flow: Flow) -> Status:
        status: Status
        (status,) = [status async for status in self._driver.run(flow)]
        return status

    async def _outcomes(self, flow: Flow, on_update: Callback | None) -> AsyncGenerator[tuple[str, Outcome], None]:
        async with aclosing(self._driver.run(flow)) as told:
            async for one in told:
                if isinstance(one, WaitFailed):
                    yield one.id, one.error
                    continue
                await _call(on_update, one)
                if one.state.ended:
                    yield one.id, one

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
    return httpx.AsyncClient(transport=AsyncTransport(validation.address(base_url)))


async def _call(callback: Callback | None, status: Status) -> None:
    result = callback(status) if callback else None
    if isawaitable(result):
        await result


def _chosen(given: T | EllipsisType, own: T) -> T:
    return own if isinstance(given, EllipsisType) else given
