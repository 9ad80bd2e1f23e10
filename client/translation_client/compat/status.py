"""The client of the ancestor that has one job, at `GET /status`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from translation_client.client import AsyncClient
from translation_client.compat.session import Session, on_change
from translation_client.core.dialects import CURRENT
from translation_client.core.model import State, Status

JobStatus = State


@dataclass(frozen=True)
class StatusPollingConfig:
    """How to poll; all in seconds but the factor.

    Attributes:
        initial_delay: From the first look to the second.
        max_delay: The longest delay between two looks.
        backoff_factor: How many times longer each delay is than the one before.
        timeout: How long to poll; None is as long as it takes.
    """

    initial_delay: float = 1.0
    max_delay: float = 8.0
    backoff_factor: float = 2.0
    timeout: float | None = 30.0


@dataclass(frozen=True)
class StatusResponse:
    """What a look told.

    Attributes:
        status: How the job stands; `.value` is the word.
        elapsed_time: Seconds since the job was accepted, until its end at most.
    """

    status: JobStatus
    elapsed_time: float


class VideoTranslationClient(Session):
    """Polls the caller's current job to its end; without `async with`, every call opens a connection of its own.

    Args:
        base_url: The server's address.
        config: How to poll.
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
        config = config or StatusPollingConfig()
        super().__init__(
            partial(
                AsyncClient,
                base_url,
                dialect="status",
                username=username,
                password=password,
                timeout=config.timeout,
                initial_delay=config.initial_delay,
                max_delay=config.max_delay,
                backoff_factor=config.backoff_factor,
            )
        )
        self._on_status_change = on_status_change

    async def poll_until_complete(self) -> StatusResponse:
        """Wait for the end of the current job, which the first look starts where there is none.

        Raises:
            TimeoutError: The time is up; the job goes on.
            TranslationError: The job could not be asked for.
        """
        changed = self._on_status_change
        async with self._client() as client:
            final = await client.wait(
                CURRENT, on_update=on_change(lambda status: changed(_response(status))) if changed else None
            )
        return _response(final)


def _response(status: Status) -> StatusResponse:
    return StatusResponse(status.state, status.elapsed or 0.0)
