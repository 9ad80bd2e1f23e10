"""The status of a job, the cost of a wait, and the exceptions that carry a status."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from translation_client.core.errors import TranslationError
from translation_client.core.text import one_line, visible


class State(StrEnum):
    """The state of a job; the values are the words of the native API."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self is not State.PENDING


@dataclass(frozen=True)
class Cost:
    """The cost of the wait for one job.

    Attributes:
        polls: Requests for its status, failed ones included.
        bytes: The size of the answers' bodies.
        asleep: Seconds slept between polls. In a wait for several jobs: of the whole wait, until this job's end.
        lateness: Seconds of wall time from the job's end until the client knew of it, computed from the job's age as
            the server reports it; None if the server does not.
        ended_by: What ended the wait: `poll`, or `delivery` for a poll right after a webhook.
    """

    polls: int
    bytes: int
    asleep: float
    lateness: float | None = None
    ended_by: Literal["poll", "delivery"] = "poll"


@dataclass(frozen=True)
class Status:
    """The result of one poll.

    Attributes:
        id: The job's id.
        state: The job's state. A word that the dialect does not know counts as pending.
        progress: From 0 to 1, if the server reports it; larger values count as 1.
        elapsed: Seconds from the job's acceptance until now, or until its end, if the server reports them.
        error: Why the job failed, if it did and the server gives a reason.
        error_code: The code of this error, if the server gives one.
        output: The output of a completed job, if the server shows it: any JSON. Not compared.
        raw: The whole document as the server sent it, mostly an object. Not compared.
        hint: How many seconds the server asks to wait before the next poll, if it does. Not compared.
        token: A short text that `resume` accepts, in another process too. Not compared.
        cost: The cost of the wait, only on its final status. Not compared.
    """

    id: str
    state: State
    progress: float | None = None
    elapsed: float | None = None
    error: str | None = None
    error_code: str | None = None
    output: Any = field(default=None, repr=False, compare=False)
    raw: Any = field(default_factory=dict, repr=False, compare=False)
    hint: float | None = field(default=None, repr=False, compare=False)
    token: str = field(default="", repr=False, compare=False)
    cost: Cost | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Returns one line for people."""
        progress = "" if self.progress is None else f" {self.progress:4.0%}"
        elapsed = "" if self.elapsed is None else f" after {self.elapsed:.1f} s"
        error = "" if self.error is None else f": {one_line(self.error)}"
        return visible(f"{self.id} {self.state}{progress}{elapsed}{error}")

    def raise_for_error(self) -> None:
        """Does nothing if the job is pending or completed.

        Raises:
            JobFailed: The job ended with an error or was cancelled.
        """
        if self.state is State.ERROR:
            why = one_line(self.error or "the server gave no reason")
            raise JobFailed(f"job {self.id} ended with an error: {why}. Start a new job to try again.", self)
        if self.state is State.CANCELLED:
            raise JobFailed(f"job {self.id} was cancelled. Start a new job to try again.", self)


@dataclass(eq=False)
class JobFailed(TranslationError):
    """The job ended with an error or was cancelled; `status` is its final status."""

    status: Status

    @property
    def code(self) -> str | None:
        """The code of the error, if the server gives one."""
        return self.status.error_code


@dataclass(eq=False)
class JobTimeout(TranslationError, TimeoutError):
    """The time was up before the job ended. The job goes on, and `resume` continues the wait.

    `status` is the last known one, if there is one; `token` a short text that `resume` accepts, in another process too.
    `cancelled` is whether the job is cancelled now, if the wait had `cancel_on_timeout`; None if it had not.
    """

    job_id: str
    status: Status | None
    token: str = ""
    cancelled: bool | None = None


class Observation(NamedTuple):
    """The input of a schedule after each poll."""

    status: Status
    age: float  # seconds since the job was accepted if the server reports them, else since this wait began
    hint: float | None  # how many seconds the server asks to wait before the next poll, if it does
    kind: str  # the kind of job; durations are learned per kind
