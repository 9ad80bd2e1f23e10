"""A user's sandbox on the server, from the outside: what can be set in it, and how well the client did.

For tests and scripts; nothing here is retried.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import httpx

from translation_client import validation
from translation_client.client import AsyncClient, Client
from translation_client.core.decode import refusal
from translation_client.core.dialects import START
from translation_client.core.effects import Failure, Reply, Send
from translation_client.core.errors import ProtocolError, TransportError
from translation_client.core.status import Status
from translation_client.core.text import visible
from translation_client.drivers.drivers import Driver
from translation_client.drivers.transport import Transport

REQUEST_TIMEOUT = 30.0  # seconds; a report of ten thousand requests takes some
LARGEST_BODY = 1 << 24  # bytes: a report of ten thousand jobs takes some 1.5 million
PAGE = "500"  # requests; a batch poll takes some ten thousand bytes
SUCCESS, REDIRECTION = 200, 300
NOTHING: Mapping[str, str] = {}

JobLike: TypeAlias = str | Status
"""A job, or its id."""

Shown: TypeAlias = Mapping[str, Any]
"""The whole sandbox as the server shows it."""


@dataclass(frozen=True)
class Finding:
    """Something on a report card.

    Attributes:
        rule: Its short name.
        severity: ``warning``, for what should be mended, or ``note``, for advice.
        message: A sentence that says what to change.
        jobs: Some of the jobs that it is about.
    """

    rule: str
    severity: str
    message: str
    jobs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return visible(f"{self.severity} {self.rule}: {self.message}")


@dataclass(frozen=True)
class Report:
    """A client's report card; as text it is its findings, one on each line.

    Attributes:
        findings: What there is to say.
        raw: The whole card as the server tells it, with the numbers in ``overall``, ``faults`` and ``jobs``.
    """

    findings: tuple[Finding, ...]
    raw: Mapping[str, Any]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that should be mended."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "no findings"


class Sandbox:
    """One user's sandbox.

    Example:
        >>> with Sandbox("http://127.0.0.1:8000", username="admin", password="secretpassword") as sandbox:
        ...     sandbox.scenario("flaky")
        ...     sandbox.advance(1800)
        ...     print(sandbox.report())

    Attributes:
        url: The server's address.
        username: The user whose sandbox it is.
        password: The user's password.

    Every method raises AuthenticationError for wrong credentials, InvalidRequest for what the server refuses, NotFound
    where there is no such job, or no sandbox (``SANDBOX=off``), TransportError where no server answers, and ValueError
    for what no JSON can hold.
    """

    def __init__(
        self, base_url: str = "http://127.0.0.1:8000", *, username: str | None = None, password: str | None = None
    ) -> None:
        """Takes the server's address, and as whom to go there.

        Raises:
            ValueError: One of them is unusable; the message says which.
        """
        url = validation.address(base_url)
        self.url, self.username, self.password = base_url, username, password
        self._as: dict[str, Any] = {"base_url": base_url, "username": username, "password": password}
        self._driver = Driver(
            http=httpx.Client(transport=Transport(url)),
            base_url=str(url).rstrip("/"),
            auth=validation.auth(START, username, password, None),
            largest_body=LARGEST_BODY,
        )

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - those of Client
        """A client of the same server, as the same user; the options are those of `Client`."""
        return Client(**self._as, **options)

    def async_client(self, **options: Any) -> AsyncClient:  # noqa: ANN401 - those of AsyncClient
        """The same for asyncio."""
        return AsyncClient(**self._as, **options)

    def show(self) -> Shown:
        """The whole sandbox: its settings, faults with how often each fired, and its clock."""
        return self._ask("GET", "")

    def set(self, /, **settings: object) -> Shown:
        """Change settings: `set(error_probability=0, delay={"kind": "fixed", "seconds": 5})`. None is the default."""
        return self._ask("PATCH", "", settings)

    def scenario(self, name: str | None) -> Shown:
        """Choose one of `scenarios`; None chooses the server's."""
        return self.set(scenario=name)

    def scenarios(self) -> Mapping[str, str]:
        """The names of the scenarios, and what happens in each."""
        with _as_promised():
            return {each["scenario"]: each["meaning"] for each in self._ask("GET", "/scenarios")["scenarios"]}

    def faults(self, *rules: Mapping[str, object]) -> Shown:
        """Replace the fault rules: `faults({"kind": "reset", "route": ["poll"]})`; `faults()` removes all."""
        return self.set(faults=rules)

    def clock(self, *, advance: float | None = None, speed: float | None = None, frozen: bool | None = None) -> Shown:
        """Set all of the clock at once, or nothing of it where the server refuses a part."""
        change = {"advance": advance, "speed": speed, "frozen": frozen}
        return self._ask("POST", "/clock", {name: value for name, value in change.items() if value is not None})

    def advance(self, seconds: float) -> Shown:
        """Move the clock ahead."""
        return self.clock(advance=seconds)

    def speed(self, speed: float) -> Shown:
        """Let so many seconds pass for each real one."""
        return self.clock(speed=speed)

    def freeze(self) -> Shown:
        """Let time stand still."""
        return self.clock(frozen=True)

    def unfreeze(self) -> Shown:
        """Let time go on."""
        return self.clock(frozen=False)

    def pause(self, job: JobLike) -> Shown:
        """Keep a job pending until it is unpaused or finished."""
        return self._act(job, do="pause")

    def unpause(self, job: JobLike) -> Shown:
        """Let a paused job go on."""
        return self._act(job, do="unpause")

    def finish(self, job: JobLike, outcome: str = "completed", message: str | None = None) -> Shown:
        """End a pending job now, as ``completed`` or ``error``; the message is what a failed one tells."""
        return self._act(job, do="finish", outcome=outcome, message=message)

    def reset(self) -> Shown:
        """Empty the sandbox: jobs, request log, faults, clock, settings."""
        return self._ask("POST", "/reset")

    def requests(self) -> Iterator[Mapping[str, Any]]:
        """The request log, the oldest request first."""
        after: int | None = 0
        while after is not None:
            page = self._ask("GET", "/requests", query={"limit": PAGE, "after": str(after)})
            with _as_promised():
                requests, last, after = list[Mapping[str, Any]](page["requests"]), after, page["next"]
                if after is not None and not (isinstance(after, int) and after > last):
                    raise ValueError
            yield from requests

    def report(self) -> Report:
        """Grade the client whose requests are in the request log."""
        raw = self._ask("GET", "/report")
        with _as_promised():
            findings = [
                Finding(found["rule"], found["severity"], found["message"], tuple(found["jobs"]))
                for found in raw["findings"]
            ]
        return Report(tuple(findings), raw)

    def report_as(self, media_type: str) -> str:
        """The report card as ``text/plain``, for people, or ``application/xml``: JUnit, for CI."""
        with _as_promised():
            return self._send("GET", "/report", accept=media_type).body.decode()

    def close(self) -> None:
        """Let go of the connections."""
        self._driver.http.close()

    def _act(self, job: JobLike, **action: object) -> Shown:
        job_id = validation.job_of(START, job.id if isinstance(job, Status) else job)
        return self._ask("POST", f"/jobs/{quote(job_id, safe='')}", action)

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, query: Mapping[str, str] = NOTHING
    ) -> dict[str, Any]:
        reply = self._send(method, path, body, query)
        with _as_promised():
            return dict(json.loads(reply.body).items())

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] = NOTHING,
        accept: str = "application/json",
    ) -> Reply:
        try:
            json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise ValueError(f"the sandbox cannot be told this: {error}") from None
        send = Send(method, f"/sandbox{path}", query, {"Accept": accept}, body, REQUEST_TIMEOUT)
        reply = self._driver.exchange(send)
        if isinstance(reply, Failure):
            raise TransportError(f"the sandbox cannot be reached: {reply}. Check the address.", str(reply), 1)
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
def _as_promised() -> Iterator[None]:
    """Read an answer; one that is not what a sandbox answers is the mistake of whoever is there."""
    try:
        yield
    except (LookupError, AttributeError, TypeError, ValueError, RecursionError):
        raise ProtocolError(
            "the server's answer is not that of a sandbox. Check that the address is that of this project's server."
        ) from None
