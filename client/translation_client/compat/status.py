"""The client of the earlier system with a single job at `GET /status`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from translation_client.client import AsyncClient
from translation_client.compat.session import Session, delays, on_change
from translation_client.core.dialects import CURRENT
from translation_client.core.schedule import Schedule, chance
from translation_client.core.status import Status

JITTER = 0.2  # the largest part of a delay that is added to it at random


class JobStatus(StrEnum):
    """The state of a job; each member equals its text."""

    pending = "pending"
    completed = "completed"
    error = "error"
    cancelled = "cancelled"
    PENDING = pending
    COMPLETED = completed
    ERROR = error
    CANCELLED = cancelled


@dataclass
class StatusPollingConfig:
    """How to poll. Delays and the timeout are in seconds.

    Attributes:
        initial_delay: The delay between the first two polls.
        max_delay: The longest delay between two polls, before jitter; the server may ask for longer ones.
        backoff_factor: The factor by which each delay is longer than the one before.
        timeout: How long to poll; None for no limit.
        max_attempts: How many answered polls to make; `max_attempts - 1` consecutive failures are retried.
        jitter: Whether up to a fifth of each delay is added to it at random.
    """

    initial_delay: float = 1.0
    max_delay: float = 32.0
    backoff_factor: float = 2.0
    timeout: float | None = 300.0
    max_attempts: int = 10
    jitter: bool = True


@dataclass(frozen=True)
class StatusResponse:
    """The result of a poll.

    Attributes:
        status: The job's state; `.value` is its text.
        elapsed_time: Seconds from the job's acceptance until now, or until its end.
        raw_response: The whole document as the server sent it. Not compared.
    """

    status: JobStatus
    elapsed_time: float
    raw_response: dict[str, Any] = field(default_factory=dict, compare=False)


class VideoTranslationClient(Session):
    """Polls the user's current job until its end. Without `async with`, every call opens its own connection.

    Args:
        base_url: The server's address; also an attribute.
        config: How to poll; also an attribute.
        on_status_change: Called with the response for each new status; may be async.
        username, password: The credentials, if the server needs any.

    Raises:
        ValueError: An argument is unusable; the message says which.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8000",
        config: StatusPollingConfig | None = None,
        on_status_change: Callable[[StatusResponse], object] | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.config = config or StatusPollingConfig()
        self.on_status_change = on_status_change
        super().__init__(username, password)

    def _connect(self) -> AsyncClient:
        config = self.config
        if not config.max_attempts >= 1:
            raise ValueError(f"max_attempts must be a number from 1, not {config.max_attempts!r}")
        first, longest = delays(initial_delay=config.initial_delay, max_delay=config.max_delay)
        return AsyncClient(
            self.base_url,
            dialect="status",
            **self._login,
            timeout=config.timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=config.backoff_factor,
            max_retries=config.max_attempts - 1,
            schedule=partial(schedule, config),
        )

    async def poll_until_complete(self) -> StatusResponse:
        """Waits for the end of the current job and returns the last response.

        The first poll starts a job if there is none.

        Raises:
            TimeoutError: The time is up, or the attempts are spent; the job goes on.
            TranslationError: The job could not be polled.
        """
        changed = self.on_status_change
        async with self._client() as client:
            final = await client.wait(
                CURRENT, on_update=on_change(lambda status: changed(_response(status))) if changed else None
            )
        return _response(final)


def schedule(config: StatusPollingConfig) -> Schedule:
    """Yields the delays before `max_attempts` polls: growing, and at least as long as the server asks for."""
    observation, delay = (yield 0.0), config.initial_delay
    for attempt in range(1, int(config.max_attempts)):
        delay = min(delay, config.max_delay)
        jittered = delay * (1 + JITTER * chance(observation.status.id, attempt)) if config.jitter else delay
        observation = yield max(jittered, observation.hint or 0.0)
        delay *= config.backoff_factor


def _response(status: Status) -> StatusResponse:
    return StatusResponse(JobStatus(status.state), status.elapsed or 0.0, dict(status.raw))
