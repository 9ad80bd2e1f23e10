"""The client of the ancestor whose jobs begin with `POST /translate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from translation_client.client import AsyncClient
from translation_client.compat.session import Session, delays
from translation_client.core import errors
from translation_client.core.status import JobTimeout


class TranslationError(errors.TranslationError):
    """The translation failed: the job ended with an error or was cancelled, or the server refused it.

    Time that is up is a `TimeoutError`, and a network that fails a `TransportError`, as everywhere in this library.
    """


class TranslationConfig:
    """How to wait.

    Args:
        base_timeout: Seconds to wait for a job; None is as long as it takes.
        min_delay: Seconds from the first look at a job to the second.
        max_delay: The longest delay between two looks, in seconds.
        progressive_delay: Whether each delay is twice the one before; else all are `min_delay`.
    """

    def __init__(
        self,
        base_timeout: float | None = 30,
        min_delay: float = 0.5,
        max_delay: float = 3.0,
        progressive_delay: bool = True,
    ) -> None:
        self.base_timeout = base_timeout
        self.min_delay = min_delay
        self.max_delay = max_delay
        self.progressive_delay = progressive_delay

    @property
    def backoff_factor(self) -> float:
        """How many times longer each delay is than the one before."""
        return 2.0 if self.progressive_delay else 1.0


class VideoTranslationClient(Session):
    """Starts translations and waits for their end; without `async with`, every call opens a connection of its own.

    Args:
        base_url: The server's address; an attribute, too.
        config: How to wait; an attribute, too.
        username: The user, together with `password`, where the server asks for them.
        password: The user's password.

    Raises:
        ValueError: An argument is unusable; the message names it.
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
        self._credentials = (username, password)
        super().__init__()

    def _connect(self) -> AsyncClient:
        username, password = self._credentials
        first, longest = delays(min_delay=self.config.min_delay, max_delay=self.config.max_delay)
        return AsyncClient(
            self.base_url,
            dialect="translate",
            username=username,
            password=password,
            timeout=self.config.base_timeout,
            initial_delay=first,
            max_delay=longest,
            backoff_factor=self.config.backoff_factor,
        )

    async def start_translation(self, source_lang: str, target_lang: str) -> dict[str, Any]:
        """Start a translation and return the server's answer: `message` and `job_id`.

        Raises:
            TranslationError: The server refused it.
            TransportError: The server could not be reached, or kept failing.
        """
        with _failures():
            async with self._client() as client:
                return dict((await client.start(source_language=source_lang, target_language=target_lang)).raw)

    async def get_status(self, job_id: str) -> dict[str, Any]:
        """Look at a translation once and return the job.

        Raises:
            TranslationError: It is not known.
            TransportError: The server could not be reached, or kept failing.
        """
        with _failures():
            async with self._client() as client:
                return dict((await client.status(job_id)).raw)

    async def cancel_translation(self, job_id: str) -> dict[str, Any]:
        """Cancel a translation and return the job; one that had ended stays as it is.

        Raises:
            TranslationError: It is not known.
            TransportError: The server could not be reached, or kept failing.
        """
        with _failures():
            async with self._client() as client:
                return dict((await client.cancel(job_id)).raw)

    async def wait_for_completion(self, job_id: str) -> dict[str, Any]:
        """Wait for the end of a translation and return the job.

        Raises:
            TranslationError: It ended with an error or was cancelled, or is not known.
            TimeoutError: The time is up; the translation goes on.
            TransportError: The server could not be reached, or kept failing.
        """
        with _failures():
            async with self._client() as client:
                final = await client.wait(job_id)
            final.raise_for_error()
            return dict(final.raw)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (JobTimeout, errors.TransportError):
        raise
    except errors.TranslationError as error:
        raise TranslationError(str(error)) from error
