"""The client of the earlier system that starts jobs with `POST /translate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from translation_client.client import AsyncClient
from translation_client.compat.session import Session, delays
from translation_client.core import errors
from translation_client.core.status import JobTimeout


class TranslationError(errors.TranslationError):
    """The translation failed: the job ended with an error or was cancelled, or the server refused it.

    A wait that takes too long raises `TimeoutError`, and a failing network `TransportError`.
    """


@dataclass(eq=False)
class TranslationConfig:
    """How to wait.

    Args:
        base_timeout: Seconds to wait for a job; None for no limit.
        min_delay: Seconds between the first two polls of a job.
        max_delay: The longest delay between two polls, in seconds.
        progressive_delay: Whether each delay is twice the one before; if not, every delay is `min_delay`.
    """

    base_timeout: float | None = 30
    min_delay: float = 0.5
    max_delay: float = 3.0
    progressive_delay: bool = True

    @property
    def backoff_factor(self) -> float:
        """The factor by which each delay is longer than the one before."""
        return 2.0 if self.progressive_delay else 1.0


class VideoTranslationClient(Session):
    """Starts translations and waits for their end. Without `async with`, every call opens its own connection.

    Every method raises TransportError if the server cannot be reached, or keeps failing.

    Args:
        base_url: The server's address; also an attribute.
        config: How to wait; also an attribute.
        username, password: The credentials, if the server needs any.

    Raises:
        ValueError: An argument is unusable; the message says which.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8000",
        config: TranslationConfig | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.config = config or TranslationConfig()
        super().__init__(username, password)

    def _connect(self) -> AsyncClient:
        first, longest = delays(min_delay=self.config.min_delay, max_delay=self.config.max_delay)
        return AsyncClient(
            self.base_url,
            dialect="translate",
            **self._login,
            timeout=self.config.base_timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=self.config.backoff_factor,
        )

    async def start_translation(self, source_lang: str, target_lang: str) -> dict[str, Any]:
        """Starts a translation and returns the server's answer: `message` and `job_id`.

        Raises:
            TranslationError: The server refused it.
        """
        with _converting_errors():
            async with self._client() as client:
                return dict((await client.start(source_language=source_lang, target_language=target_lang)).raw)

    async def get_status(self, job_id: str) -> dict[str, Any]:
        """Polls a translation once and returns the job.

        Raises:
            TranslationError: It is unknown.
        """
        with _converting_errors():
            async with self._client() as client:
                return dict((await client.status(job_id)).raw)

    async def cancel_translation(self, job_id: str) -> dict[str, Any]:
        """Cancels a translation and returns the job. An ended job does not change.

        Raises:
            TranslationError: It is unknown.
        """
        with _converting_errors():
            async with self._client() as client:
                return dict((await client.cancel(job_id)).raw)

    async def wait_for_completion(self, job_id: str) -> dict[str, Any]:
        """Waits for the end of a translation and returns the job.

        Raises:
            TranslationError: It ended with an error, was cancelled, or is unknown.
            TimeoutError: The time is up; the translation goes on.
        """
        with _converting_errors():
            async with self._client() as client:
                final = await client.wait(job_id)
            final.raise_for_error()
            return dict(final.raw)


@contextmanager
def _converting_errors() -> Iterator[None]:
    try:
        yield
    except (JobTimeout, errors.TransportError):
        raise
    except errors.TranslationError as error:
        raise TranslationError(str(error)) from error
