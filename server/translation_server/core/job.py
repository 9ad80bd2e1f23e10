"""A job, and its snapshot at a time.

The law of this file: a job's status is never written, it is derived. A job is accepted with its whole fate: when it
ends, and how. From then on everything that a caller can see is a pure function of the job and of time, and
:class:`JobSnapshot` is that function. A pending job can still be cancelled by its owner and, because it is only
simulated, paused, unpaused or finished. Each of these changes is stored with its own time. If the job is to end after
some polls, whatever the clock says, each of these polls is such a change, and the last one finishes the job.

Times are virtual times of the owner's sandbox, in seconds since the epoch. Durations are in seconds.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from translation_server.core.clock import EPOCH, Clock, VirtualTime, WallTime
from translation_server.core.webhooks import Webhook

ERROR_MESSAGE = "simulated failure, by ERROR_PROBABILITY or on request"  # of a job whose fate has no message
MAX_PAUSES = 100  # how many ended pauses of a job are stored: the newest. `paused_for` is the sum of all
PROGRESS_STEPS = 10_000  # the number of steps in which progress grows from 0 to 1
INEXACT = 0.01  # how much of a step may be lost because times since the epoch are rounded
NATIVE, TRANSLATION = "native", "translation"  # the API of this server's own, and its kind of job


def json_text(value: object) -> str:
    """Returns a value as JSON text in ASCII, so it has as many bytes as characters, and every database can store it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


class State(StrEnum):
    """The state of a job. The values are the words of the native API."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Submission:
    """The native fields of a submission; ``video_length`` is in seconds."""

    source_language: str | None = None
    target_language: str | None = None
    video_length: float | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """How a job will end: ``delay`` seconds after it was accepted, as ``completed`` or as ``error``.

    ``message`` is the error message of a job that fails, instead of `ERROR_MESSAGE`, and ``code`` its error code.
    ``output`` is the output of a job that completes, as JSON text, instead of that of its dialect. A job that ends
    ``after_polls`` has an infinite delay until then.
    """

    delay: float
    outcome: State
    message: str | None = None
    after_polls: int | None = None
    code: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class FateOverride:
    """The parts of a job's fate that the caller has chosen; parts that are None are drawn."""

    delay: float | None = None
    outcome: State | None = None
    message: str | None = None
    paused: bool | None = None
    after_polls: int | None = None
    code: str | None = None
    output: str | None = None  # as JSON text

    def apply(self, drawn: Fate) -> Fate:
        """Returns a drawn fate with these parts."""
        outcome, output = self.outcome or drawn.outcome, self.output or drawn.output
        fate = Fate(drawn.delay, outcome, self.message, drawn.after_polls, self.code, output)
        if self.after_polls is not None:
            return replace(fate, delay=math.inf, after_polls=self.after_polls)
        return fate if self.delay is None else replace(fate, delay=self.delay, after_polls=None)


class JobKey(NamedTuple):
    """A key for one of an owner's jobs. Without a kind, or an API, it may match several jobs."""

    job_id: str
    api: str | None = None
    kind: str | None = None

    def means(self, job: "Job") -> bool:
        """Whether the key matches this job."""
        return self.job_id == job.id and self.api in {None, job.api} and self.kind in {None, job.kind}


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted job."""

    id: str  # the job's id, unique among the owner's jobs of this API and kind
    owner: str  # the name of the user who submitted it
    ordinal: int  # counts the owner's jobs from 1
    created_at: VirtualTime  # when it was accepted
    fate: Fate  # when and how it ends
    submission: Submission = Submission()  # the native fields that were submitted
    cancelled_at: VirtualTime | None = None  # when its owner cancelled it
    paused_at: VirtualTime | None = None  # when the current pause began, if it is paused
    paused_for: float = 0.0  # how long all earlier pauses lasted
    changed_at: WallTime = EPOCH  # the wall time of the last change
    api: str = NATIVE  # the API that it was submitted to
    kind: str = TRANSLATION  # which of the API's kinds of job it is
    polls: int = 0  # how many polls have counted towards its end
    echo_text: str = ""  # the parts of the submission that answers repeat, as JSON text; may be empty
    pauses_text: str = ""  # `pauses` as JSON text; empty if there are none
    deleted_at: VirtualTime | None = None  # when its owner deleted it: its API hides it from then on
    changed_before: WallTime | None = None  # if it had ended before its deletion: the wall time of the change before
    webhook: Webhook | None = None  # where its events are delivered
    notified: int = 0  # the stage of the last event whose first delivery was attempted

    @property
    def key(self) -> "JobKey":
        """The key that distinguishes the job from the owner's other jobs."""
        return JobKey(self.id, self.api, self.kind)

    @property
    def echo(self) -> Mapping[str, object]:
        """The parts of the submission that answers repeat: values by the names of their placeholders."""
        echo: Mapping[str, object] = json.loads(self.echo_text) if self.echo_text else {}
        return echo

    @property
    def pauses(self) -> list[tuple[VirtualTime, VirtualTime]]:
        """When each of the last ended pauses began and ended; `paused_for` is the sum of all."""
        return [(began, ended) for began, ended in json.loads(self.pauses_text)] if self.pauses_text else []

    @property
    def size(self) -> int:
        """How many bytes of its caller's data the job takes in memory and in the store."""
        output, webhook = self.fate.output or "", self.webhook.size if self.webhook else 0
        return len(self.echo_text) + len(self.pauses_text) + len(output) + webhook

    @property
    def due_at(self) -> VirtualTime:
        """When the job ends unless it is cancelled; infinity while it is paused."""
        due_at = self.created_at + self.fate.delay + self.paused_for if self.paused_at is None else math.inf
        return VirtualTime(due_at)

    @property
    def ends_at(self) -> VirtualTime:
        """When the job ends or was cancelled; infinity while it is paused."""
        return self.due_at if self.cancelled_at is None else self.cancelled_at

    @property
    def ends_after_polls(self) -> bool:
        """Whether a number of polls ends it."""
        return self.fate.after_polls is not None and self.cancelled_at is None

    @property
    def counts_polls(self) -> bool:
        """Whether its next poll counts: no poll counts while it is paused."""
        return self.ends_after_polls and self.paused_at is None

    @property
    def beginning(self) -> "JobSnapshot":
        """The job as it was accepted, before any poll."""
        return JobSnapshot(replace(self, polls=0) if self.polls else self, self.created_at)

    @property
    def may_have_changed(self) -> bool:
        """Whether the job may have changed since it was accepted; always true if its clock did not show wall time."""
        return float(self.changed_at) != self.created_at

    @property
    def course_changed_at(self) -> WallTime:
        """The wall time of the last change that concerns its states. The deletion of an ended job does not."""
        return self.changed_at if self.changed_before is None else self.changed_before

    @property
    def course_may_have_changed(self) -> bool:
        """The same as `may_have_changed`, for changes that concern its states."""
        return float(self.course_changed_at) != self.created_at

    def cancel(self, now: VirtualTime) -> "Job":
        """Returns the job cancelled; one that has ended stays as it is."""
        return replace(self, cancelled_at=now) if self._is_pending(now) else self

    def delete(self, now: VirtualTime) -> "Job":
        """Returns the job deleted. A pending job is cancelled too, because its API hides it."""
        if self.deleted_at is not None:
            return self
        if self._is_pending(now):
            return replace(self.cancel(now), deleted_at=now)
        return replace(self, deleted_at=now, changed_before=self.changed_at)

    def pause(self, now: VirtualTime) -> "Job":
        """Returns the job paused: its time stands still. One that has ended stays as it is."""
        return replace(self, paused_at=now) if self._is_pending(now) and self.paused_at is None else self

    def unpause(self, now: VirtualTime) -> "Job":
        """Returns the job without its pause; one that has ended stays as it is."""
        if not self._is_pending(now) or self.paused_at is None:
            return self
        ended = max(now, self.paused_at)
        pauses_text = json_text([*self.pauses, (self.paused_at, ended)][-MAX_PAUSES:])
        paused_for = self.paused_for + (ended - self.paused_at)
        return replace(self, paused_at=None, paused_for=paused_for, pauses_text=pauses_text)

    def poll(self, now: VirtualTime) -> "Job":
        """Returns the job after one more poll, which ends it if it is the last one; other jobs stay as they are."""
        if not self.counts_polls:
            return self
        polled, fate = replace(self, polls=self.polls + 1), self.fate
        is_last = fate.after_polls is not None and polled.polls >= fate.after_polls
        return polled.finish(now, fate.outcome) if is_last else polled

    def finish(
        self,
        now: VirtualTime,
        outcome: State,
        message: str | None = None,
        code: str | None = None,
        output: str | None = None,
    ) -> "Job":
        """Returns the job with an end now; one that has ended stays as it is. Parts that are None stay as they were."""
        if not self._is_pending(now):
            return self
        unpaused = self.unpause(now)
        delay = now - self.created_at - unpaused.paused_for
        if self.created_at + delay + unpaused.paused_for > now:  # by rounding
            delay -= 2 * math.ulp(now)
        message, code, output = message or self.fate.message, code or self.fate.code, output or self.fate.output
        return replace(unpaused, fate=Fate(delay, outcome, message, code=code, output=output))

    def _is_pending(self, now: VirtualTime) -> bool:
        return JobSnapshot(self, now).state is State.PENDING


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as it stands at the time ``now``, with its state then."""

    job: Job
    now: VirtualTime
    state: State = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derives the state. A job has ended at the very time of its end, not only after it."""
        job, state = self.job, State.PENDING
        if job.cancelled_at is not None and self.now >= job.cancelled_at:
            state = State.CANCELLED
        elif self.now >= job.due_at:
            state = job.fate.outcome
        object.__setattr__(self, "state", state)

    @property
    def lean(self) -> "JobSnapshot":
        """The same snapshot without the caller's data, for long storage in memory."""
        if not self.job.size:
            return self
        fate = replace(self.job.fate, output=None)
        return JobSnapshot(replace(self.job, echo_text="", pauses_text="", fate=fate, webhook=None), self.now)

    @property
    def completed_at(self) -> VirtualTime | None:
        """When the job ended or was cancelled; None while it is pending."""
        match self.state:
            case State.PENDING:
                return None
            case State.CANCELLED:
                return self.job.cancelled_at
            case _:
                return self.job.due_at

    @property
    def pauses(self) -> list[tuple[VirtualTime, VirtualTime | None]]:
        """The ended pauses, then the current one. Its end is None, or the time at which the job was cancelled."""
        current = () if self.job.paused_at is None else ((self.job.paused_at, self.completed_at),)
        return [*self.job.pauses, *current]

    @property
    def elapsed(self) -> float:
        """Seconds from acceptance to now or to the end; never negative, even when the clock was set back."""
        return max(0.0, self._until - self.job.created_at)

    def wall_end(self, clock: Clock) -> WallTime | None:
        """Returns the wall time at which the job ended or was cancelled; None while it is pending.

        If a change ended the job while the clock was frozen, this is the wall time of the change.
        """
        end = self.completed_at
        return None if end is None else max(clock.wall(end), self.job.course_changed_at)

    def wall_elapsed(self, clock: Clock, wall: WallTime) -> float:
        """Returns `elapsed` in seconds of wall time; ``wall`` is the wall time of the snapshot."""
        until = wall if self.completed_at is None else clock.wall(self.completed_at)
        return max(0.0, until - clock.wall(self.job.created_at))

    @property
    def progress(self) -> float:
        """The part of the job's delay that has passed, rounded down to four digits; 1.0 only when it is due.

        If it ends after polls, the part of these polls, rounded up, so that n polls show n equal steps.
        """
        job = self.job
        if self.state is State.PENDING:
            until: float = self.now if job.paused_at is None else min(self.now, job.paused_at)
        elif self.state is State.CANCELLED:
            until = min(self._until, math.inf if job.paused_at is None else job.paused_at)
        else:
            return 1.0
        worked = until - job.created_at - job.paused_for
        if worked <= 0.0 or not job.fate.delay:
            return self._progress_by_polls
        steps = int(worked / job.fate.delay * PROGRESS_STEPS + INEXACT)
        passed = min(steps, PROGRESS_STEPS - 1) / PROGRESS_STEPS
        return passed or self._progress_by_polls  # of an infinite delay, no part ever passes

    @property
    def _progress_by_polls(self) -> float:
        after_polls = self.job.fate.after_polls
        return -(-PROGRESS_STEPS * self.job.polls // after_polls) / PROGRESS_STEPS if after_polls else 0.0

    @property
    def _until(self) -> VirtualTime:
        """When the job's elapsed time stops growing: now, or at its end."""
        end = self.completed_at
        return self.now if end is None else end

    @property
    def changes(self) -> list["JobSnapshot"]:
        """Snapshots at the times, up to now, at which the state changed."""
        began = [self.job.beginning] if self.job.created_at < self.job.ends_at else []
        ended = [] if self.completed_at is None else [JobSnapshot(self.job, self.completed_at)]
        return [snapshot for snapshot in began + ended if snapshot.now <= self.now]

    @property
    def error_message(self) -> str | None:
        """Why the job failed; None for one that did not."""
        return (self.job.fate.message or ERROR_MESSAGE) if self.state is State.ERROR else None

    @property
    def error_code(self) -> str | None:
        """The error code that was chosen for a job that failed; None for one that did not."""
        return self.job.fate.code if self.state is State.ERROR else None

    @property
    def output(self) -> object:
        """The output that was chosen for a job that completed; None for one that did not."""
        output = self.job.fate.output if self.state is State.COMPLETED else None
        return None if output is None else json.loads(output)
