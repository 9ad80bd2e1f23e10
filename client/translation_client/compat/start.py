"""The client of the ancestor whose jobs begin with `POST /start`."""

import logging
from functools import partial
from typing import Literal

from translation_client.client import Client
from translation_client.core.errors import TranslationError
from translation_client.core.model import State

logger = logging.getLogger(__name__)


class TranslationStatusClient:
    """Starts a job and polls it with exponential backoff; attempts and outcomes go to the log.

    Args:
        base_url: The server's address.
        username: The user.
        password: The user's password.
        initial_interval: Seconds from the first look at a job to the second.
        max_interval: The longest interval between two looks, in seconds.
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
        *,
        initial_interval: float = 0.5,
        max_interval: float = 8.0,
        backoff_factor: float = 2.0,
        timeout: float | None = None,
    ) -> None:
        self._connect = partial(
            Client,
            base_url,
            username=username,
            password=password,
            timeout=timeout,
            initial_delay=initial_interval,
            max_delay=max_interval,
            backoff_factor=backoff_factor,
        )
        self._connect().close()  # so that a bad argument shows here

    def start_job(self) -> str | None:
        """Start a job and return its id, or None if that failed; the log says why."""
        try:
            with self._connect() as client:
                return client.start().id
        except TranslationError as error:
            logger.error("no job was started: %s", error)  # noqa: TRY400 - one line says it all
            return None

    def wait_for_completion(self, job_id: str) -> Literal["completed", "error"]:
        """Wait for the end of a job; one that was cancelled counts as an error.

        Raises:
            TranslationError: The job is not known, could not be asked for, or did not end in time.
        """
        with self._connect() as client:
            final = client.wait(job_id)
        return "completed" if final.state is State.COMPLETED else "error"
