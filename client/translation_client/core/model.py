"""What the client's parts say to each other.

`Status` is what a caller gets. The rest is the protocol between the flows, which decide, and the pumps, which act. A
flow is a generator that yields commands and is sent the event that followed from each:

    Send    -> Reply or Failure
    Sleep   -> Woke
    Listen  -> Reply, Chunk or Failure
    Status  -> Woke, once the caller has come back for more
    Loss    -> Woke, likewise
    Notice  -> Woke

Every event carries the monotonic time at which it happened, in seconds, so that a flow needs no clock.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, NamedTuple, TypeAlias

from translation_client.core.errors import JobFailed, TranslationError
from translation_client.core.text import one_line, visible


class State(StrEnum):
    """Where a job stands; the values are the native API's own words."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether this is for good."""
        return self is not State.PENDING


@dataclass(frozen=True)
class Cost:
    """What waiting for one job took.

    Attributes:
        polls: The requests that asked for its status, failed ones among them.
        bytes: What their answers brought, headers not counted.
        asleep: Seconds between looks; in a wait for several jobs, those of the whole wait until this one's end.
        lateness: Seconds of wall time from the job's end to this side knowing of it, by the server's own count of the
            job's age; None where the server does not tell it.
    """

    polls: int
    bytes: int
    asleep: float
    lateness: float | None = None


@dataclass(frozen=True)
class Status:
    """What one look at a job told.

    Attributes:
        id: The job's id.
        state: Where it stands. A word that the dialect does not know counts as pending.
        progress: How far it is, from 0 to 1, if the server tells; what it tells beyond 1 counts as 1.
        elapsed: Seconds since the job was accepted, until its end at most, if the server tells.
        error: Why the job failed, if it did and the server tells.
        raw: The whole document as the server sent it. Not compared.
        hint: Seconds after which the server would like the next look, if it says. Not compared.
        token: A short text with which `resume` waits on, in another process too. Not compared.
        cost: What the wait took, on the final status of one. Not compared.
    """

    id: str
    state: State
    progress: float | None = None
    elapsed: float | None = None
    error: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    hint: float | None = field(default=None, repr=False, compare=False)
    token: str = field(default="", repr=False, compare=False)
    cost: Cost | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """One line for people."""
        progress = "" if self.progress is None else f" {self.progress:4.0%}"
        elapsed = "" if self.elapsed is None else f" after {self.elapsed:.1f} s"
        error = "" if self.error is None else f": {one_line(self.error)}"
        return visible(f"{self.id} {self.state}{progress}{elapsed}{error}")

    def raise_for_error(self) -> None:
        """Do nothing for a job that completed or is pending.

        Raises:
            JobFailed: The job ended with an error or was cancelled.
        """
        if self.state is State.ERROR:
            why = one_line(self.error or "the server gave no reason")
            raise JobFailed(f"job {self.id} ended with an error: {why}. Start a new job to try again.", self)
        if self.state is State.CANCELLED:
            raise JobFailed(f"job {self.id} was cancelled. Start a new job to try again.", self)


class Observation(NamedTuple):
    """What a schedule is told after each look.

    Attributes:
        status: What the look told.
        age: Seconds since the job began: as the server tells it, else since this wait did.
        hint: Seconds after which the server would like the next look, if it says.
        kind: What jobs of this sort are called: those whose durations say something of each other's.
    """

    status: Status
    age: float
    hint: float | None
    kind: str


@dataclass(frozen=True)
class WaitFailed:
    """The wait for one job of several ended without a final status, and why."""

    id: str
    error: TranslationError


@dataclass(frozen=True)
class Send:
    """Make one HTTP request; `timeout` is the seconds for all of it, from connecting to the body's last byte.

    `left` is the seconds for that and for waiting until it is the request's turn. A row of a dialect leaves both open;
    a flow sets them anew for each try.
    """

    method: str
    path: str
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    timeout: float = inf
    left: float = inf


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Listen:
    """Read on in a stream of events; with `send`, close it if it is open and open it anew.

    A flow has one stream, and the pump closes it when the flow ends. What is no stream (anything but a 200 that is
    `text/event-stream`) arrives whole, as a Reply; a stream that breaks off, that ends, or that brings nothing within
    `timeout` seconds is a Failure.
    """

    send: Send | None
    timeout: float


@dataclass(frozen=True)
class Warn:
    """Tell whoever keeps the log something out of the ordinary; `failure` is whether a request failed."""

    text: str
    failure: bool = False


@dataclass(frozen=True)
class Reply:
    """An answer, which took so many seconds; the names of the headers are in lower case.

    `unread` says why its body was not read, if it was not: it is too large, or encoded though nobody asked for that.
    """

    code: int
    headers: Mapping[str, str]
    body: bytes
    at: float
    took: float = 0.0
    unread: str = ""

    def __str__(self) -> str:
        return f"the server answered {self.code}"


@dataclass(frozen=True)
class Chunk:
    """Some bytes of a stream of events; none may mean that it was just opened."""

    data: bytes
    at: float


@dataclass(frozen=True)
class Failure:
    """No answer, or not all of one, and why."""

    why: str
    at: float

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Done:
    """The command is done."""

    at: float


Effect: TypeAlias = Send | Sleep | Listen | Status | WaitFailed | Warn
Input: TypeAlias = Reply | Chunk | Failure | Done
Flow: TypeAlias = Generator[Effect, Input, None]
