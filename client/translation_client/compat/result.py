"""The client of the earlier system with a single job at `GET /status`, whose field is `result`."""

import logging
import time
from contextlib import closing
from functools import partial
from typing import Any

from translation_client.client import Client
from translation_client.core.dialects import CURRENT
from translation_client.core.schedule import Schedule

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 20.0  # seconds


class VideoTranslationClient:
    """Polls the user's current job until its end with exponential backoff, and logs each poll and each pause.

    All arguments except `username` and `password` are attributes too.

    Attributes:
        status: The job's last known status; None before the first poll.
        completed: Whether the job has ended; then `get_status` polls no more.

    Args:
        base_url: The server's address.
        max_retries: How many polls follow the first, and how many consecutive failures are retried.
        backoff_factor: The pause before the nth retry is `backoff_factor ** n` seconds, 20 at most.
        timeout: Seconds to wait for the job; None for no limit.
        username, password: The credentials, if the server needs any.

    Raises:
        ValueError: An argument is unusable; the message says which.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:5000",
        max_retries: int = 10,
        backoff_factor: float = 2,
        timeout: float | None = 30,
        *,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.max_retries = max_retries
        self.backoff_factor = backoff_factor
        self.timeout = timeout
        self.status: str | None = None
        self.completed = False
        self._login: dict[str, Any] = {"username": username, "password": password}
        self._connect().close()  # checks the arguments

    def _connect(self) -> Client:
        if not self.backoff_factor > 0:
            raise ValueError(f"backoff_factor must be a number above 0, not {self.backoff_factor!r}")
        return Client(
            self.base_url,
            dialect="result",
            **self._login,
            timeout=self.timeout,
            max_retries=self.max_retries,
            schedule=partial(schedule, self.max_retries, self.backoff_factor),
        )

    def get_status(self) -> str:
        """Waits for the end of the current job and returns its status. The first poll starts a job if there is none.

        Raises:
            TimeoutError: The time is up, or the retries are spent; the job goes on.
            TranslationError: The job could not be polled.
        """
        if self.completed and self.status:
            logger.info("Job already finished with %s", self.status)
            return self.status
        with self._connect() as client, closing(client.watch(CURRENT)) as changes:
            first = next(changes)
            self.status = first.state.value
            logger.info("Initial status: %s", self.status)
            for change in changes:
                self.status = change.state.value
        self.completed = True
        logger.info("Job completed with status: %s", self.status)
        return self.status


def schedule(max_retries: int, backoff_factor: float) -> Schedule:
    """Yields the earlier system's pauses, and logs them and the polls as it did."""
    began = time.monotonic()
    yield 0.0
    for retry in range(1, max_retries + 1):
        delay, elapsed = min(backoff_factor**retry, LONGEST_PAUSE), time.monotonic() - began
        logger.info("Sleeping for %gs before retry #%d. Total elapsed time = %.0fs", delay, retry, elapsed)
        status = (yield delay).status
        if status.state.ended:
            return
        elapsed = time.monotonic() - began
        logger.info("Retry attempt #%d: Current status = %s, Elapsed time = %.0fs", retry, status.state, elapsed)
