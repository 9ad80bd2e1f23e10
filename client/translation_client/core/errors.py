"""The exceptions without a `Status`; `core.status` adds `JobFailed` and `JobTimeout`.

Every exception says what went wrong and what to do next, carries the details as attributes, survives pickling, and
never contains a password.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from translation_client.core.text import visible


@dataclass(eq=False)
class TranslationError(Exception):
    """Any failure that this library reports. Its text is one printable line, even if the server's text is not."""

    message: str

    def __str__(self) -> str:
        return visible(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))


@dataclass(eq=False)
class AuthenticationError(TranslationError):
    """The server refused the credentials (401), or does not allow this to the user (403).

    `code` is the API's own code for this, here and in the exceptions below; None if it gives none.
    """

    status_code: int
    code: str | None = None


@dataclass(eq=False)
class NotFound(TranslationError):
    """This user has no such job, or the server has no such route (404)."""

    code: str | None = None


@dataclass(eq=False)
class InvalidRequest(TranslationError):
    """The server refused the request itself (422 and similar); sending it again unchanged does not help.

    `errors` has the fields and what was wrong with each, as the server's answer lists them.
    """

    status_code: int
    errors: tuple[Mapping[str, Any], ...] = ()
    code: str | None = None


@dataclass(eq=False)
class TransportError(TranslationError):
    """The network or the server kept failing until the retries or the time ran out.

    `last` is the last failure, and `attempts` how many requests failed in a row.
    """

    last: str
    attempts: int


@dataclass(eq=False)
class ProtocolError(TranslationError):
    """The answer does not match the dialect. Most likely the address belongs to another kind of server."""


class UnverifiedWebhook(TranslationError):
    """A delivery that is not genuine, too old, or cannot be read. Answer it with 400 and do nothing else."""


class WebhookInProgress(TranslationError):
    """The same event is being handled now. Answer with 503, so that the server sends it again if that fails."""
