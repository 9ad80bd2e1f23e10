"""The client of the earlier system that creates jobs with `POST /jobs`."""

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from anyio import to_thread

from translation_client.client import AsyncClient
from translation_client.compat.session import Session, delays, on_change
from translation_client.core.status import State

TranslationStatus = State


class TranslationClient(Session):
    """Creates jobs and waits for their end. Without `async with`, every call opens its own connection.

    All arguments except `username` and `password` are attributes too.

    Args:
        base_url: The server's address.
        initial_delay: Seconds between the first two polls of a job.
        max_delay: The longest delay between two polls, in seconds.
        backoff_factor: The factor by which each delay is longer than the one before.
        max_retries: How many consecutive failures of the network or the server are retried.
        timeout: Seconds to wait for a job; None for no limit.
        username, password: The credentials, if the server needs any.

    Raises:
        ValueError: An argument is unusable; the message says which.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8000",
        initial_delay: float = 1.0,
        max_delay: float = 30.0,
        backoff_factor: float = 1.5,
        max_retries: int = 7,
        timeout: float | None = 250.0,
        *,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.initial_delay = initial_delay
        self.max_delay = max_delay
        self.backoff_factor = backoff_factor
        self.max_retries = max_retries
        self.timeout = timeout
        super().__init__(username, password)

    def _connect(self) -> AsyncClient:
        first, longest = delays(initial_delay=self.initial_delay, max_delay=self.max_delay)
        return AsyncClient(
            self.base_url,
            dialect="jobs",
            **self._login,
            timeout=self.timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=self.backoff_factor,
            max_retries=self.max_retries,
        )

    async def create_job(self, video_length: float = 10) -> str:
        """Creates a job for a video of this many seconds and returns its id.

        Raises:
            TranslationError: No job was created.
        """
        async with self._client() as client:
            return (await client.start(video_length=video_length)).id

    async def get_status(
        self,
        job_id: str,
        on_status_change: Callable[[TranslationStatus], object] | None = None,
        on_completion: Callable[[dict[str, Any]], object] | None = None,
    ) -> TranslationStatus:
        """Waits for the end of a job and returns its status, which equals `"completed"`, `"error"` or `"cancelled"`.

        Args:
            job_id: The job.
            on_status_change: Called with each new status, in a thread, so it may block; may be async.
            on_completion: Called likewise with the job's data, whichever way the job ended.

        Raises:
            TimeoutError: The time is up; the job goes on.
            TranslationError: The job is unknown, or could not be polled.
        """
        changed, completed = on_status_change, on_completion
        async with self._client() as client:
            final = await client.wait(
                job_id,
                on_update=on_change(lambda status: _call(changed, status.state)) if changed else None,
                on_completion=(lambda status: _call(completed, dict(status.raw))) if completed else None,
            )
        return final.state


async def _call(callback: Callable[[Any], object], argument: object) -> None:
    """Calls a callback in a thread, as the earlier system does; awaits the result of an async one in the event loop."""
    result = await to_thread.run_sync(callback, argument)
    if isawaitable(result):
        await result
