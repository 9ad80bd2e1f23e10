"""The client of the ancestor whose jobs begin with `POST /start`."""

import logging
from typing import Literal

from translation_client.client import Client
from translation_client.compat.session import delays
from translation_client.core.errors import TranslationError
from translation_client.core.status import State

logger = logging.getLogger(__name__)


class TranslationStatusClient:
    """Starts a job and polls it with exponential backoff; attempts and outcomes go to the log.

    Args:
        base_url: The server's address; an attribute, too.
        username: The user; with the password, the attribute `auth`.
        password: The user's password.
        max_interval: The longest interval between two polls, in seconds; an attribute, too.
        initial_interval: Seconds from the first poll of a job to the second.
        backoff_factor: How many times longer each interval is than the one before.
        timeout: Seconds to wait for a job; None is as long as it takes.

    Raises:
        ValueError: An argument is unusable; the message names it.
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
        self._connect().close()  # so that a bad argument shows here

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
        """Start a job and return its id, or None if that failed; the log says why."""
        try:
            with self._connect() as client:
                return client.start().id
        except TranslationError as error:
            logger.error("no job was started: %s", error)  # noqa: TRY400 - one line says it all
            return None

    def get_status(self, job_id: str) -> str | None:
        """Poll a job once and return its word, such as `pending`, or None if that failed; the log says why."""
        try:
            with self._connect() as client:
                return client.status(job_id).state.value
        except TranslationError as error:
            logger.error("job %s was not polled: %s", job_id, error)  # noqa: TRY400 - one line says it all
            return None

    def wait_for_completion(
        self, job_id: str, initial_interval: float | None = None, max_interval: float | None = None
    ) -> Literal["completed", "error"]:
        """Wait for the end of a job; one that was cancelled counts as an error.

        Args:
            job_id: The job.
            initial_interval: Seconds from the first poll to the second, in place of the client's own.
            max_interval: The longest interval between two polls, in seconds, in place of the client's own.

        Raises:
            TranslationError: The job is not known, could not be asked for, or did not end in time.
            ValueError: An argument is unusable; the message names it.
        """
        with self._connect(initial_interval, max_interval) as client:
            final = client.wait(job_id)
        return "completed" if final.state is State.COMPLETED else "error"
