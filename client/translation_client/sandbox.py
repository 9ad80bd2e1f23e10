"""A user's sandbox on the server: change its settings, and read the request log and the report card.

For tests and scripts; requests are not retried.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias
from urllib.parse import quote

from translation_client import validation
from translation_client.client import AsyncClient, Client
from translation_client.core.builtin_dialects import START
from translation_client.core.effects import Failure, Reply, Send
from translation_client.core.errors import ProtocolError, TransportError
from translation_client.core.refusals import refusal
from translation_client.core.status import Status
from translation_client.core.text import visible
from translation_client.drivers.sync_driver import Driver
from translation_client.drivers.transport import Transport
from translation_client.http_library import httpx

REQUEST_TIMEOUT = 30.0  # seconds: a report on ten thousand requests takes several
LARGEST_BODY = 1 << 24  # bytes: a report on ten thousand jobs has about 1.5 million
WIDTH = 100  # characters in a line of the message of `assert_good`
PAGE = "500"  # requests: one batch poll has about ten thousand bytes
SUCCESS, REDIRECTION = 200, 300
JobLike: TypeAlias = str | Status  # a job, or its id
Body: TypeAlias = Mapping[str, object] | None
Query: TypeAlias = Mapping[str, str]
NOTHING: Query = {}
JSON = "application/json"

Document: TypeAlias = Mapping[str, Any]
"""The whole sandbox: its settings, its faults and how often each fired, and its clock."""


@dataclass(frozen=True)
class Finding:
    """A finding of a report card.

    Attributes:
        rule: The name of the rule.
        severity: ``warning`` for a mistake, ``note`` for a recommendation.
        message: What to change.
        jobs: Some of the jobs concerned.
    """

    rule: str
    severity: str
    message: str
    jobs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return visible(f"{self.severity} {self.rule}: {self.message}")


@dataclass(frozen=True)
class Report:
    """A client's report card; as text, its findings line by line.

    `raw` is the whole card as the server sent it, with the numbers in ``overall``, ``faults`` and ``jobs``.
    """

    findings: tuple[Finding, ...]
    raw: Mapping[str, Any]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings of severity ``warning``."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def verdict(self) -> str:
        """``good``, ``no requests``, or how many warnings there are, and the names of their rules."""
        if not self.raw["overall"]["requests"]:
            return "no requests"
        if not (count := len(self.warnings)):
            return "good"
        rules = ", ".join(visible(finding.rule) for finding in self.warnings)
        return f"{count} warning{'s' * (count > 1)}: {rules}"

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "no findings"


class Sandbox:
    """One user's sandbox.

    Example:
        >>> with Sandbox("http://127.0.0.1:8000", username="admin", password="secretpassword") as sandbox:
        ...     sandbox.scenario("flaky")
        ...     sandbox.advance(1800)
        ...     print(sandbox.report())

    The attributes `url`, `username` and `password` have the values of the arguments.

    Raises:
        AuthenticationError: From every method: the credentials are wrong.
        InvalidRequest: The server refused the request.
        NotFound: There is no such job, or no sandbox (``SANDBOX=off``).
        TransportError: The server did not answer.
        ValueError: An argument is unusable, and the message says which, or JSON cannot represent it.
    """

    def __init__(
        self, base_url: str = "http://127.0.0.1:8000", *, username: str | None = None, password: str | None = None
    ) -> None:
        url = validation.address(base_url)
        self.url, self.username, self.password = base_url, username, password
        self._login: dict[str, Any] = {"base_url": base_url, "username": username, "password": password}
        self._driver = Driver(
            http=httpx.Client(transport=Transport(url)),
            base_url=str(url).rstrip("/"),
            auth=validation.auth(START, username, password, None),
            largest_body=LARGEST_BODY,
        )

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - the options of Client
        """Makes a client for the same server and user; the options are those of `Client`."""
        return Client(**self._login, **options)

    def async_client(self, **options: Any) -> AsyncClient:  # noqa: ANN401 - the options of AsyncClient
        """Makes an async client for the same server and user; the options are those of `AsyncClient`."""
        return AsyncClient(**self._login, **options)

    def show(self) -> Document:
        """Returns the whole sandbox."""
        return self._request("GET", "")

    def set(self, /, **settings: object) -> Document:
        """Changes settings: `set(error_probability=0, delay={"kind": "fixed", "seconds": 5})`. None resets one."""
        return self._request("PATCH", "", settings)

    def scenario(self, name: str | None) -> Document:
        """Chooses one of `scenarios`; None chooses the server's default."""
        return self.set(scenario=name)

    def scenarios(self) -> Mapping[str, str]:
        """Returns the names of the scenarios, with their descriptions."""
        with _reading_sandbox():
            return {each["scenario"]: each["meaning"] for each in self._request("GET", "/scenarios")["scenarios"]}

    def faults(self, *rules: Mapping[str, object]) -> Document:
        """Replaces the fault rules: `faults({"kind": "reset", "route": ["poll"]})`; `faults()` removes all."""
        return self.set(faults=rules)

    def clock(
        self, *, advance: float | None = None, speed: float | None = None, frozen: bool | None = None
    ) -> Document:
        """Changes the clock: all values at once, or none if the server refuses one."""
        change = {"advance": advance, "speed": speed, "frozen": frozen}
        return self._request("POST", "/clock", {name: value for name, value in change.items() if value is not None})

    def advance(self, seconds: float) -> Document:
        """Moves the clock forward."""
        return self.clock(advance=seconds)

    def speed(self, speed: float) -> Document:
        """Sets how many seconds pass in each second of wall time."""
        return self.clock(speed=speed)

    def freeze(self) -> Document:
        """Stops the clock."""
        return self.clock(frozen=True)

    def unfreeze(self) -> Document:
        """Lets the clock run again."""
        return self.clock(frozen=False)

    def pause(self, job: JobLike) -> Document:
        """Keeps a job pending until it is unpaused or finished."""
        return self._act(job, do="pause")

    def unpause(self, job: JobLike) -> Document:
        """Continues a paused job."""
        return self._act(job, do="unpause")

    def finish(
        self,
        job: JobLike,
        outcome: str = "completed",
        message: str | None = None,
        *,
        code: str | None = None,
        output: object = None,
    ) -> Document:
        """Ends a pending job now: as ``completed`` with an output, or as ``error`` with a message and a code."""
        return self._act(job, do="finish", outcome=outcome, message=message, code=code, output=output)

    def reset(self) -> Document:
        """Deletes all of the sandbox: jobs, request log, faults, clock, settings."""
        return self._request("POST", "/reset")

    def requests(self) -> Iterator[Mapping[str, Any]]:
        """Yields the records of the request log, the oldest first; pages are fetched as you iterate."""
        after: int | None = 0
        while after is not None:
            page = self._request("GET", "/requests", query={"limit": PAGE, "after": str(after)})
            with _reading_sandbox():
                requests, before, after = list[Mapping[str, Any]](page["requests"]), after, page["next"]
                if after is not None and not (isinstance(after, int) and after > before):
                    raise ValueError
            yield from requests

    def report(self) -> Report:
        """Returns the report card for the requests in the request log."""
        raw = self._request("GET", "/report")
        with _reading_sandbox():
            findings = [
                Finding(each["rule"], each["severity"], each["message"], tuple(each["jobs"]))
                for each in raw["findings"]
            ]
        return Report(tuple(findings), raw)

    def assert_good(self) -> None:
        """Checks that the client's report card has no warnings; notes are allowed.

        Raises:
            AssertionError: It has warnings, or no request has come; the message says what to change in the client.
        """
        __tracebackhide__ = True  # pytest shows the caller's line
        report = self.report()
        if report.verdict == "good":
            return
        findings = report.findings or ["Give your client the `url`, `username` and `password` of this sandbox."]
        lines = [textwrap.fill(str(line), WIDTH, initial_indent="  ", subsequent_indent="    ") for line in findings]
        raise AssertionError("\n".join([f"the report card has {report.verdict}", *lines]))

    def report_as(self, media_type: str) -> str:
        """Returns the report card as ``text/plain``, or as JUnit: ``application/xml``."""
        with _reading_sandbox():
            return self._send("GET", "/report", accept=media_type).body.decode()

    def close(self) -> None:
        """Closes the connections."""
        self._driver.http.close()

    def _act(self, job: JobLike, **action: object) -> Document:
        job_id = validation.job_of(START, job.id if isinstance(job, Status) else job)
        return self._request("POST", f"/jobs/{quote(job_id, safe='')}", action)

    def _request(self, method: str, path: str, body: Body = None, query: Query = NOTHING) -> dict[str, Any]:
        reply = self._send(method, path, body, query)
        with _reading_sandbox():
            return dict(json.loads(reply.body).items())

    def _send(self, method: str, path: str, body: Body = None, query: Query = NOTHING, accept: str = JSON) -> Reply:
        try:
            json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise ValueError(f"not representable as JSON: {error}") from None
        send = Send(method, f"/sandbox{path}", query, {"Accept": accept}, body, timeout=REQUEST_TIMEOUT)
        reply = self._driver.exchange(send)
        if isinstance(reply, Failure):
            raise TransportError(f"the sandbox cannot be reached: {reply}. Check the server's address.", str(reply), 1)
        if not SUCCESS <= reply.code < REDIRECTION:
            raise refusal(START, reply)
        if reply.unread:
            raise ProtocolError(reply.unread)
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _reading_sandbox() -> Iterator[None]:
    """Turns the errors about an answer of another format into a ProtocolError."""
    try:
        yield
    except (LookupError, AttributeError, TypeError, ValueError, RecursionError):
        raise ProtocolError(
            "the server's answer is not that of a sandbox. Check that the address is that of this project's server."
        ) from None
