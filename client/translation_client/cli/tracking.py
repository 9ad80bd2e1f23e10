"""The state of the command's jobs and of its traffic while it runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from translation_client.core.decode import wait_applied
from translation_client.core.effects import (
    AwaitDelivery,
    Chunk,
    Effect,
    Failure,
    Input,
    Listen,
    Reply,
    Send,
    Sleep,
    Warn,
)
from translation_client.core.errors import TranslationError
from translation_client.core.status import JobFailed, JobTimeout, State, Status

Clock: TypeAlias = Callable[[], float]
Show: TypeAlias = Callable[[Status], object]

OUTCOMES = ("starting", *State, "deleted", "failed", "timed out")
"""Every outcome, in the order of the summary."""

CALM = 10.0  # after this many seconds without a failed request, failures are shown again from the first retry on
MEANINGFUL = 0.001  # the least progress for an estimate, because servers round it
NEARLY = 0.99  # the largest estimate of a progress


class Progress(NamedTuple):
    """The progress of a job, from 0 to 1, and whether it is an estimate."""

    part: float
    is_estimate: bool


@dataclass
class TrackedJob:
    """One job of the command line."""

    show: Show
    id: str = ""  # empty until the server has assigned one
    clock: Clock = time.monotonic
    status: Status | None = None  # the last known status
    updated: float = 0.0  # when that status came
    failure: TranslationError | None = None  # the job's failure, or the error that ended the wait for it
    deleted: bool = False

    def update(self, status: Status, *, show: bool = True) -> None:
        """Stores a status, and shows it if its text has changed."""
        changed = str(status) != str(self.status)
        self.id, self.status, self.updated = status.id, status, self.clock()
        if show and changed:
            self.show(status)

    def refresh(self, status: Status) -> None:
        """Stores a newer status of a pending job, from a poll besides the wait."""
        if not self.over and not status.state.ended:
            self.update(status, show=False)

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Stores an error of the library instead of raising it."""
        try:
            yield
        except TranslationError as failure:
            self.failure = failure

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.failure is not None or (self.status is not None and self.status.state.ended)

    @property
    def outcome(self) -> str:
        """The job's state, or why the wait for it ended; one of `OUTCOMES`."""
        if isinstance(self.failure, JobTimeout):
            return "timed out"
        if self.failure and not isinstance(self.failure, JobFailed):
            return "failed"
        if self.deleted:
            return "deleted"
        return self.status.state if self.status else "starting"

    @property
    def elapsed(self) -> float | None:
        """Seconds since the job's acceptance, until now or its end, if the server reports them."""
        if self.status is None or self.status.elapsed is None:
            return None
        return self.status.elapsed + (0.0 if self.over else self.clock() - self.updated)

    def progress(self, typical: float | None) -> Progress | None:
        """Returns the job's progress; None if nothing is known.

        Between polls, it is estimated: the job continues at its average speed until the last poll. If that is unknown,
        it takes `typical` seconds.
        """
        status, elapsed = self.status, self.elapsed
        if status is None:
            return None
        if self.over or elapsed is None:
            return None if status.progress is None else Progress(status.progress, is_estimate=False)
        if status.progress and status.progress >= MEANINGFUL and status.elapsed:
            expected = status.elapsed / status.progress
        elif typical:
            expected = typical
        else:
            return None
        return Progress(min(elapsed / expected, NEARLY), is_estimate=True)


@dataclass
class Tracker:
    """The jobs of the command line, and the client's traffic."""

    jobs: Sequence[TrackedJob]
    warn: Callable[[str], object]  # shows a failed request
    typical: float | None = None  # how many seconds a job takes, if that has been learned
    clock: Clock = time.monotonic
    next_poll: float | None = None  # when the next poll is due; None during a request
    retry: int = 0  # which retry that is, if the last request failed; else 0
    holds_polls: bool = False  # whether the server supports long polls
    requests: int = 0
    bytes: int = 0  # the size of the answers' bodies
    _last_failure: float = 0.0
    _shown_retry: int = 0

    def trace(self, item: Effect | Input) -> None:
        """Counts the client's traffic, and shows failed requests."""
        match item:
            case Sleep(seconds=seconds) | AwaitDelivery(seconds=seconds):
                self.next_poll = self.clock() + seconds
            case Send() | Listen(send=Send()):
                self.next_poll = None
                self.requests += 1
            case Reply(body=body):
                self.bytes += len(body)
                self.retry = 0
                self.holds_polls = self.holds_polls or wait_applied(item) is not None
            case Chunk(data=data):
                self.bytes += len(data)
                self.retry = 0
            case Failure():
                self.retry = 0
            case Warn(text=text, retry=retry) if retry:
                self.retry = retry
                self._show_failure(text, retry)

    def _show_failure(self, text: str, retry: int) -> None:
        """Shows a failure, unless one with as many retries was shown: the requests of many jobs fail together."""
        now = self.clock()
        if now - self._last_failure > CALM:
            self._shown_retry = 0
        self._last_failure = now
        if retry > self._shown_retry:
            self._shown_retry = retry
            self.warn(text)


def summary(jobs: Sequence[TrackedJob]) -> str:
    """Returns how many jobs have which outcome."""
    counts = Counter(job.outcome for job in jobs)
    outcomes = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    return f"{number(len(jobs), 'job')}{f': {outcomes}' if outcomes else ''}"


def number(count: int, noun: str) -> str:
    """Returns a number with its noun, in the singular or the plural."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
