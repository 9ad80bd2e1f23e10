"""The constructor of `AsyncClient` and `Client`: it checks the arguments and builds the options of all flows."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any, Generic, TypeAlias, TypeVar

from translation_client import validation
from translation_client.core.cancel_on_timeout import or_cancel
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import REQUEST_FIELDS, Dialect
from translation_client.core.download import urls_in
from translation_client.core.effects import Flow, Upload
from translation_client.core.errors import TranslationError
from translation_client.core.estimator import History
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import Exponential, Hinted, Learned, Schedule, Seldom
from translation_client.core.status import State, Status
from translation_client.dialect_files import DialectLike, find_dialect
from translation_client.drivers.base import BaseDriver, Http, Trace
from translation_client.history import HistoryFile
from translation_client.http_library import httpx
from translation_client.validation import FileLike

Callback: TypeAlias = Callable[[Status], object]
OnProgress: TypeAlias = Callable[[int, int | None], object]
Outcome: TypeAlias = Status | TranslationError
DriverType = TypeVar("DriverType", bound=BaseDriver[Any])
T = TypeVar("T")

# Arguments of the methods; `...` stands for the constructor's value.
OwnTimeout: TypeAlias = float | EllipsisType | None
OwnCallback: TypeAlias = Callback | EllipsisType | None

LONG_POLL = 25.0  # seconds: many proxies give up after 30
INITIAL_DELAY, MAX_DELAY, BACKOFF_FACTOR = 0.5, 8.0, 2.0  # the defaults: seconds, seconds, a factor


class BaseClient(Generic[Http, DriverType]):
    """The part of both clients that does no I/O."""

    _open: Callable[[httpx.URL], Http]
    _driver_type: type[DriverType]

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        dialect: DialectLike = "start",
        parameters: Mapping[str, str] | None = None,
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
        """Makes a client for one server and one user. All durations are in seconds.

        Args:
            base_url: The server's address: http or https, optionally with a path, without credentials.
            dialect: The server's wire format. A built-in one: `start`, `jobs`, `status`, `translate` or `result`. A
                shipped API, such as `replicate`, or `openai#video` for one of its kinds of jobs. The path of a TOML
                file that describes an API. Or a `Dialect`. `base_url` includes the path below which the API is.
            parameters: Values for the parameters in the paths of the API, such as the `model` of an Azure analysis. A
                name such as `query.api-version` stands for a parameter of the query. All requests have it.
            username: The user, together with `password`, if the dialect uses Basic authentication. Omit both, and the
                token, if `http_client` authenticates by itself or the server asks for no credentials.
            password: The user's password.
            token: The user's token, if the dialect uses Bearer authentication or a header of its own.
            timeout: The default timeout of waits; None for no limit.
            initial_delay: The longest pause after a first failed request; 0.5 by default. If you give this,
                `max_delay` or `backoff_factor`, the three also set the delays between polls. The client then uses no
                long polls, and changes a delay only if the server asks for another.
            max_delay: The longest pause after several failures in a row; 8 by default.
            backoff_factor: How much the longest pause grows with each failure; 2 by default.
            max_retries: How many failures in a row, of the network or the server, are retried.
            request_timeout: The timeout of one request, from connecting to the last byte of the answer. Long polls
                get their waiting time in addition.
            schedule: Makes the schedule of each wait, for example `Fixed(2)` (see `core.schedule`). The client follows
                it exactly: it uses no long polls, and ignores the server's hints unless the schedule uses them. When
                the schedule ends, the wait ends with JobTimeout. By default the client makes its own plan.
            long_poll: How long the server may hold a poll open until the job ends, if it supports that; values below 1
                turn long polls off.
            poll_cost: How many seconds of lateness one poll is worth to the default schedule. Less means more polls.
            kind: The kind of job. The default schedule learns durations per kind. By default the dialect's name and
                the host.
            history: A file for the learned durations. Without it they are lost with this client.
            on_update: Called with a job's first status and each changed one.
            on_completion: Called by `wait`, `run` and `resume` with the final status.
            http_client: Carries the requests; stays open when this client closes. It may be of httpx or of httpx2. With
                a sync one, `request_timeout` bounds each read instead of the whole request. A server that sends its
                answer byte by byte can exceed it. An event stream is left at its next heartbeat only. An async one
                carries up to 100 requests at once by default. Use a new one after a fork and in another event loop. The
                one that `translation_client.client.shared_http` makes handles both.
            trace: Called with each effect and input of the flows, for displays and debugging.

        Raises:
            ValueError: An argument, or a proxy in the environment, is unusable; the message says which.
        """
        url, dialect = validation.address(base_url), find_dialect(dialect)
        auth = validation.auth(dialect, username, password, token)
        own_delays = (initial_delay, max_delay, backoff_factor) != (None, None, None)
        first = INITIAL_DELAY if initial_delay is None else initial_delay
        initial = validation.number("initial_delay", first, validation.LEAST)
        longest = validation.number("max_delay", max(MAX_DELAY, initial) if max_delay is None else max_delay, initial)
        factor = validation.number("backoff_factor", BACKOFF_FACTOR if backoff_factor is None else backoff_factor, 1)
        long_poll = validation.number("long_poll", long_poll)
        poll_cost = validation.number("poll_cost", poll_cost, validation.LEAST)
        estimator = History() if history is None else HistoryFile(history)
        if schedule is not None:
            plan = validation.schedule(schedule)
        elif own_delays:
            plan = Hinted(Exponential(initial, factor, longest))
        else:
            plan = Hinted(Learned(estimator, poll_cost))
        self._options = FlowOptions(
            schedule=plan,
            initial_delay=initial,
            max_delay=longest,
            backoff_factor=factor,
            max_retries=int(validation.number("max_retries", max_retries)),
            request_timeout=validation.number("request_timeout", request_timeout, validation.LEAST),
            random=random.random,
            dialect=dialect,
            parameters=validation.parameters(parameters or {}),
            long_poll=long_poll if schedule is None and not own_delays else 0.0,
            kind=default_kind(dialect, url) if kind is None else validation.text("kind", kind),
        )
        self._own_schedule = schedule is not None or own_delays
        self._last_time: FlowTime | None = None
        self._timeout = validation.optional("timeout", timeout)
        self._on_update = on_update
        self._on_completion = on_completion
        self._owns_http = http_client is None
        self._driver: DriverType = self._driver_type(
            http=self._open(url) if http_client is None else http_client,
            open=self._open if http_client is None else None,
            base_url=str(url).rstrip("/"),
            auth=auth,
            trace=trace,
        )

    def file_urls(self, final: Status) -> list[str]:
        """Returns the addresses of a job's output files: those in its output, or else the API's route."""
        urls, download = urls_in(final.output), self._options.dialect.operation("download")
        by_get = download is not None and download.requests[0][0] == "GET"
        if urls or download is None or not by_get or final.state is not State.COMPLETED:
            return urls
        send = download.send(self._options.parameters, final.id)
        return [str(httpx.URL(self._driver.base_url + send.path, params=send.query or None))]

    def _time(self, timeout: OwnTimeout = None) -> FlowTime:
        """Starts the time of a flow; the round trip of the flow before is its first estimate."""
        time = self._driver.time(validation.optional("timeout", chosen(timeout, self._timeout)))
        if self._last_time:
            time.slowest = time.trip = self._last_time.trip
            time.answered = self._last_time.answered
        self._last_time = time
        return time

    def _job(self, job_id: str) -> str:
        return validation.job_of(self._options.dialect, job_id)

    def _job_in(self, token: str) -> str:
        """Returns the job's id in a resume token, and keeps the address of its polls."""
        job_id, url = validation.job_in(self._options.dialect, token)
        if url is not None:
            self._options.urls.setdefault(job_id, {"poll": url})
        return job_id

    def _fields(self, *values: object, own: Mapping[str, Any] | None, webhook: object) -> dict[str, object]:
        """Returns the fields of a submission: the native ones in the order of `REQUEST_FIELDS`, and the API's own."""
        fields = validation.job_fields(self._options.dialect, **dict(zip(REQUEST_FIELDS, values, strict=True)))
        if webhook is not None:
            fields["webhook"] = validation.webhook(self._options.dialect, webhook)
        return fields if own is None else fields | {"input": validation.own_input(self._options.dialect, own)}

    def _uploads(self, files: Mapping[str, FileLike] | None) -> Mapping[str, Upload]:
        return validation.uploads(self._options.dialect, files)

    def _cancelling(self, options: FlowOptions, time: FlowTime, flow: Flow) -> Flow:
        """Returns the flow of a wait that cancels its job when the time is up."""
        validation.has_cancel(options.dialect)
        return or_cancel(options, time, flow)

    def _options_for(self, kind: str | None, webhook: object = None) -> FlowOptions:
        """Returns the options of a wait. A wait with a webhook polls seldom, unless the caller set a schedule."""
        options = self._options if kind is None else replace(self._options, kind=validation.text("kind", kind))
        if webhook is None:
            return options
        plan = options.schedule if self._own_schedule else Seldom(options.schedule)
        return replace(options, webhook=True, long_poll=0.0, schedule=plan)


def default_kind(dialect: Dialect, url: httpx.URL) -> str:
    """Returns the kind of the jobs of a server, for which durations are learned."""
    return f"{dialect.name} {url.host}"


def chosen(given: T | EllipsisType, default: T) -> T:
    """Returns the given value, or the default for `...`."""
    return default if isinstance(given, EllipsisType) else given
