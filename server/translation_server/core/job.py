"""A job's facts, and what follows from them.

The law of this file: a job's status is never written, it is derived. A job is accepted with its whole fate
(when it ends, and how); from then on everything a caller can see is a pure function of the job and the moment,
and :class:`Look` is that function. The one thing that can still happen to a job is that its owner cancels it,
and that is one more fact with a time of its own.

Times are seconds since the Unix epoch, durations are seconds.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

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
    """How a job will end: ``delay`` seconds after it was accepted, as ``completed`` or as ``error``."""

    delay: float
    outcome: State


@dataclass(frozen=True, slots=True)
class Job:
    """The facts of one accepted job; ``ordinal`` counts its owner's jobs from 1."""

    id: str
    owner: str
    ordinal: int
    created_at: float
    fate: Fate
    submission: Submission = Submission()
    cancelled_at: float | None = None

    @property
    def ends_at(self) -> float:
        """When the job ends unless it is cancelled before."""
        return self.created_at + self.fate.delay


@dataclass(frozen=True, slots=True)
class Look:
    """A job as it stands at the moment ``now``."""

    job: Job
    now: float

    @property
    def state(self) -> State:
        """The job's state; an end is reached at its very moment."""
        if self.job.cancelled_at is not None and self.now >= self.job.cancelled_at:
            return State.CANCELLED
        return self.job.fate.outcome if self.now >= self.job.ends_at else State.PENDING

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
        until = self.now if self.completed_at is None else self.completed_at
        return max(0.0, until - self.job.created_at)

    @property
    def progress(self) -> float:
        """The part of the job's duration that has passed, rounded down to four digits; 1.0 only at its own end."""
        if self.state in (State.COMPLETED, State.ERROR):
            return 1.0
        fraction = self.elapsed / self.job.fate.delay if self.job.fate.delay else 0.0
        return min(math.floor(fraction * PROGRESS_STEPS), PROGRESS_STEPS - 1) / PROGRESS_STEPS

    @property
    def changes(self) -> list["Look"]:
        """Looks at the moments, up to now, at which the state became what it then was."""
        moments = dict.fromkeys((self.job.created_at, self.completed_at))
        return [Look(self.job, moment) for moment in moments if moment is not None and moment <= self.now]

    @property
    def error_message(self) -> str | None:
        """Why the job failed, or None for one that did not."""
        return ERROR_MESSAGE if self.state is State.ERROR else None
