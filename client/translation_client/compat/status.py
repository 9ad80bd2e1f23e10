"""The client of the ancestor that has one job, at `GET /status`."""

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

LONGER_BY_CHANCE = 0.2  # the part of a delay that jitter adds at most


class JobStatus(StrEnum):
    """How a job stands; each equals its word."""

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
    """How to poll; all in seconds but the factor and the attempts.

    Attributes:
        initial_delay: From the first poll to the second.
        max_delay: The longest delay between two polls, but for jitter and for what the server asks for.
        backoff_factor: How many times longer each delay is than the one before.
        timeout: How long to poll; None is as long as it takes.
        max_attempts: How many polls may be answered; fewer failures in a row than that are borne.
        jitter: Whether chance makes each delay up to a fifth longer.
    """

    initial_delay: float = 1.0
    max_delay: float = 32.0
    backoff_factor: float = 2.0
    timeout: float | None = 300.0
    max_attempts: int = 10
    jitter: bool = True


@dataclass(frozen=True)
class StatusResponse:
    """What a poll told.

    Attributes:
        status: How the job stands; `.value` is the word.
        elapsed_time: Seconds since the job was accepted, until its end at most.
        raw_response: The whole document as the server sent it. Not compared.
    """

    status: JobStatus
    elapsed_time: float
    raw_response: dict[str, Any] = field(default_factory=dict, compare=False)


class VideoTranslationClient(Session):
    """Polls the caller's current job to its end; without `async with`, every call opens a connection of its own.

    Args:
        base_url: The server's address; an attribute, too.
        config: How to poll; an attribute, too.
        on_status_change: Called, or called and awaited, with the response that tells of each new status.
        username: The user, together with `password`, where the server asks for them.
        password: The user's password.

    Raises:
        ValueError: An argument is unusable; the message names it.
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
        self._credentials = (username, password)
        super().__init__()

    def _connect(self) -> AsyncClient:
        config = self.config
        if not config.max_attempts >= 1:
            raise ValueError(f"max_attempts must be a number from 1, not {config.max_attempts!r}")
        username, password = self._credentials
        first, longest = delays(initial_delay=config.initial_delay, max_delay=config.max_delay)
        return AsyncClient(
            self.base_url,
            dialect="status",
            username=username,
            password=password,
            timeout=config.timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=config.backoff_factor,
            max_retries=config.max_attempts - 1,
            schedule=partial(schedule, config),
        )

    async def poll_until_complete(self) -> StatusResponse:
        """Wait for the end of the current job, which the first look starts where there is none.

        Raises:
            TimeoutError: The time is up, or the attempts are spent; the job goes on.
            TranslationError: The job could not be asked for.
        """
        changed = self.on_status_change
        async with self._client() as client:
            final = await client.wait(
                CURRENT, on_update=on_change(lambda status: changed(_response(status))) if changed else None
            )
        return _response(final)


def schedule(config: StatusPollingConfig) -> Schedule:
    """So many polls, with ever longer delays, and never one before the server asks for it."""
    seen, delay = (yield 0.0), config.initial_delay
    for attempt in range(1, int(config.max_attempts)):
        delay = min(delay, config.max_delay)
        jittered = delay * (1 + LONGER_BY_CHANCE * chance(seen.status.id, attempt)) if config.jitter else delay
        seen = yield max(jittered, seen.hint or 0.0)
        delay *= config.backoff_factor


def _response(status: Status) -> StatusResponse:
    return StatusResponse(JobStatus(status.state), status.elapsed or 0.0, dict(status.raw))
