"""A job in a wait for several."""

from dataclasses import dataclass, field

from translation_client.core.deadline import FlowTime
from translation_client.core.decode import ParsedStatus
from translation_client.core.errors import TranslationError
from translation_client.core.requests import Failures
from translation_client.core.schedule import SOONEST
from translation_client.core.status import Cost
from translation_client.core.wait_one import Job, ended_by, timeout_error


@dataclass
class BatchJob(Job):
    """A job in a wait for several."""

    polls: int = 0  # the number of polls that included this job
    bytes: int = 0  # the job's share of the size of their answers
    failures: Failures = field(init=False)  # the unreadable answers for this job since its last valid status
    last_failure: str = ""  # the message of the last such failure
    is_reported: bool = False  # whether the caller has received a status of this job
    is_delivered: bool = False  # whether a delivery has caused the current poll
    entry: int = -1  # its valid entry in the queue of polls
    _due: float | None = None
    _is_planned: bool = False

    def __post_init__(self) -> None:
        self.failures = Failures(self.options)

    def update(self, parsed: ParsedStatus, at: float) -> None:
        """Stores a new status."""
        super().update(parsed, at)
        self.failures, self.last_failure, self._is_planned = Failures(self.options), "", False

    def due(self) -> float | None:
        """Returns the time of the next poll; None if the schedule has ended."""
        if not self._is_planned:
            self.plan_from(self.updated_at)
        return self._due

    @property
    def asks_for_poll(self) -> bool:
        """Whether the server has asked to poll the job at once."""
        return self.status is not None and self.status.hint is not None and self.status.hint <= SOONEST

    def plan_from(self, at: float) -> None:
        """Plans the next poll by the schedule, counted from this time."""
        delay = self.delay()
        self.plan(None if delay is None else at + delay)

    def plan(self, due: float | None) -> None:
        """Plans the next poll at this time; a new status discards the plan."""
        self._due, self._is_planned = due, True

    def cost(self, time: FlowTime, lateness: float | None = None) -> Cost:
        """Returns the cost of the wait for this job."""
        return Cost(self.polls, self.bytes, time.asleep, lateness, ended_by(self.is_delivered))

    def timeout_error(self) -> TranslationError:
        """Returns the error that ends this job's wait at the deadline."""
        last = f"; the last failure: {self.last_failure}" if self.last_failure else ""
        return timeout_error(self.options, self.id, self.status, f"when the time was up{last}")
