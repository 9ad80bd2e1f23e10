"""The client of the earlier system that starts jobs with `POST /start`."""

import logging
from typing import Literal

from translation_client.client import Client
from translation_client.compat.session import delays
from translation_client.core.errors import TranslationError
from translation_client.core.status import State

logger = logging.getLogger(__name__)


class TranslationStatusClient:
    """Starts jobs and polls them with exponential backoff; logs attempts and outcomes.

    Args:
        base_url: The server's address; also an attribute.
        username, password: The credentials; together, the attribute `auth`.
        max_interval: The longest interval between two polls, in seconds; also an attribute.
        initial_interval: Seconds between the first two polls of a job.
        backoff_factor: The factor by which each interval is longer than the one before.
        timeout: Seconds to wait for a job; None for no limit.

    Raises:
        ValueError: An argument is unusable; the message says which.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        username: str | None = None,
        password: str | None = None,
        max_interval: float = 8.0,
        *,
        initial_interval: float = 0.5,
        backoff_factor: float = 2.0,
        timeout: float | None = None,
    ) -> None:
        self.base_url = base_url
        self.auth = (username, password)
        self.max_interval = max_interval
        self._initial_interval = initial_interval
        self._backoff_factor = backoff_factor
        self._timeout = timeout
        self._connect().close()  # checks the arguments

    def _connect(self, initial_interval: float | None = None, max_interval: float | None = None) -> Client:
        username, password = self.auth
        first, longest = delays(
            initial_interval=self._initial_interval if initial_interval is None else initial_interval,
            max_interval=self.max_interval if max_interval is None else max_interval,
        )
        return Client(
            self.base_url,
            username=username,
            password=password,
            timeout=self._timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=self._backoff_factor,
        )

    def start_job(self) -> str | None:
        """Starts a job and returns its id; logs a failure and returns None."""
        try:
            with self._connect() as client:
                return client.start().id
        except (TranslationError, ValueError) as error:
            logger.error("no job was started: %s", error)  # noqa: TRY400 - one line, no traceback
            return None

    def get_status(self, job_id: str) -> str | None:
        """Polls a job once and returns its status, such as `"pending"`; logs a failure and returns None."""
        try:
            with self._connect() as client:
                return client.status(job_id).state.value
        except (TranslationError, ValueError) as error:
            logger.error("job %s was not polled: %s", job_id, error)  # noqa: TRY400 - one line, no traceback
            return None

    def wait_for_completion(
        self, job_id: str, initial_interval: float | None = None, max_interval: float | None = None
    ) -> Literal["completed", "error"]:
        """Waits for the end of a job and returns its status. A cancelled job counts as `"error"`.

        Args:
            job_id: The job.
            initial_interval: Seconds between the first two polls, instead of the client's own.
            max_interval: The longest interval between two polls, in seconds, instead of the client's own.

        Raises:
            TranslationError: The job is unknown, could not be polled, or did not end in time.
            ValueError: An argument is unusable; the message says which.
        """
        with self._connect(initial_interval, max_interval) as client:
            final = client.wait(job_id)
        return "completed" if final.state is State.COMPLETED else "error"
