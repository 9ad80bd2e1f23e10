"""A job's facts, and what follows from them.

The law of this file: a job's status is never written, it is derived. A job is accepted with its whole fate
(when it ends, and how); from then on everything a caller can see is a pure function of the job and the moment,
and :class:`JobSnapshot` is that function. What can still happen to a pending job is that its owner cancels it, or, where it
is only simulated, holds it, releases it, or finishes it; each is one more fact with a time of its own.

Times are moments of the owner's clock, in seconds since the Unix epoch; durations are seconds.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from translation_server.core.clock import Clock

ERROR_MESSAGE = "the translation failed"
"""What a job that ends with ``error`` tells its owner."""


PROGRESS_STEPS = 10_000
"""Into how many parts progress is divided."""


class State(StrEnum):
    """Where a job stands; the values are the native API's words."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller asked for when submitting a job; ``video_length`` is in seconds."""

    source_language: str | None = None
    target_language: str | None = None
    video_length: float | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """How a job will end: ``delay`` seconds after it was accepted, as ``completed`` or as ``error``.

    ``message`` is what a failed one tells its owner, if not the usual.
    """

    delay: float
    outcome: State
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The facts of one accepted job; ``ordinal`` counts its owner's jobs from 1.

    ``paused_at`` is since when it has been held, ``paused_for`` how long it was held before. ``changed_at`` is the real
    time at which a fact last became another, whatever the owner's clock shows.
    """

    id: str
    owner: str
    ordinal: int
    created_at: float
    fate: Fate
    submission: Submission = Submission()
    cancelled_at: float | None = None
    paused_at: float | None = None
    paused_for: float = 0.0
    changed_at: float = 0.0

    @property
    def ends_at(self) -> float:
        """When the job ends unless something happens before; never, while it is held."""
        return self.created_at + self.fate.delay + self.paused_for if self.paused_at is None else math.inf

    @property
    def over_at(self) -> float:
        """When the job is over, by itself or since it was cancelled; never, while it is held."""
        return self.ends_at if self.cancelled_at is None else self.cancelled_at

    def cancelled(self, now: float) -> "Job":
        """The job once its owner has cancelled it."""
        return replace(self, cancelled_at=now) if self._is_pending(now) else self

    def pause(self, now: float) -> "Job":
        """The job once it is held: its time stands still."""
        return replace(self, paused_at=now) if self._is_pending(now) and self.paused_at is None else self

    def unpause(self, now: float) -> "Job":
        """The job once it is no longer held."""
        if not self._is_pending(now) or self.paused_at is None:
            return self
        return replace(self, paused_at=None, paused_for=self.paused_for + max(0.0, now - self.paused_at))

    def finished(self, now: float, outcome: State, message: str | None = None) -> "Job":
        """The job once it has ended now, in this way."""
        if not self._is_pending(now):
            return self
        unpause = self.unpause(now)
        delay = now - self.created_at - unpause.paused_for
        if self.created_at + delay + unpause.paused_for > now:  # by rounding
            delay -= 2 * math.ulp(now)
        return replace(unpause, fate=Fate(delay, outcome, message))

    def _is_pending(self, now: float) -> bool:
        return JobSnapshot(self, now).state is State.PENDING


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as it stands at the moment ``now``; ``state`` is its state then."""

    job: Job
    now: float
    state: State = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derives the job's state; an end is reached at its very moment."""
        job, state = self.job, State.PENDING
        if job.cancelled_at is not None and self.now >= job.cancelled_at:
            state = State.CANCELLED
        elif self.now >= job.ends_at:
            state = job.fate.outcome
        object.__setattr__(self, "state", state)

    @property
    def completed_at(self) -> float | None:
        """When the job ended, whichever way, or None while it is pending."""
        match self.state:
            case State.PENDING:
                return None
            case State.CANCELLED:
                return self.job.cancelled_at
            case _:
                return self.job.ends_at

    @property
    def elapsed(self) -> float:
        """Seconds from acceptance to now or to the end; never negative, even when the clock was set back."""
        return max(0.0, self._until - self.job.created_at)

    def wall_elapsed(self, clock: Clock, real: float) -> float:
        """What `elapsed` is on the sandbox's clock, in seconds of wall time; ``real`` is the real time of the look."""
        until = real if self.completed_at is None else clock.real(self.completed_at)
        return max(0.0, until - clock.real(self.job.created_at))

    @property
    def progress(self) -> float:
        """The part of the job's duration that has passed, rounded down to four digits; 1.0 only at its own end."""
        job = self.job
        if self.state is State.PENDING:
            until = self.now if job.paused_at is None else min(self.now, job.paused_at)
        elif self.state is State.CANCELLED:
            until = min(self._until, math.inf if job.paused_at is None else job.paused_at)
        else:
            return 1.0
        worked = until - job.created_at - job.paused_for
        if worked <= 0.0 or not job.fate.delay:
            return 0.0
        return min(int(worked / job.fate.delay * PROGRESS_STEPS), PROGRESS_STEPS - 1) / PROGRESS_STEPS

    @property
    def _until(self) -> float:
        """Up to when the job's time runs: now, or its end."""
        end = None if self.state is State.PENDING else self.completed_at
        return self.now if end is None else end

    @property
    def changes(self) -> list["JobSnapshot"]:
        """Looks at the moments, up to now, at which the state became what it then was."""
        moments = dict.fromkeys((self.job.created_at, self.completed_at))
        return [JobSnapshot(self.job, moment) for moment in moments if moment is not None and moment <= self.now]

    @property
    def error_message(self) -> str | None:
        """Why the job failed, or None for one that did not."""
        return (self.job.fate.message or ERROR_MESSAGE) if self.state is State.ERROR else None
