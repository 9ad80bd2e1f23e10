"""The exceptions.

The law: every exception says in its message what went wrong and what to do next, carries the facts as attributes,
survives pickling, and never holds a password.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from translation_client.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from translation_client.core.model import Status


@dataclass(eq=False)
class TranslationError(Exception):
    """Any failure that this library reports; as text it is one printable line, whatever a server has put into it."""

    message: str

    def __str__(self) -> str:
        return visible(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))


@dataclass(eq=False)
class AuthenticationError(TranslationError):
    """The server refused the credentials (401), or what their owner may do (403)."""

    status_code: int


@dataclass(eq=False)
class NotFound(TranslationError):
    """The server knows no such job of this user, or has no such route (404)."""


@dataclass(eq=False)
class InvalidRequest(TranslationError):
    """The server refused the request itself (422 and its like); sent again unchanged it would be refused again.

    Attributes:
        errors: What was wrong and where, as the server's problem document lists it.
    """

    status_code: int
    errors: "tuple[Mapping[str, Any], ...]" = ()


@dataclass(eq=False)
class JobFailed(TranslationError):
    """The job ended otherwise than completed."""

    status: "Status"


@dataclass(eq=False)
class JobTimeout(TranslationError, TimeoutError):
    """The time to wait was up before the job ended; the job goes on, and `resume` waits on for it.

    Attributes:
        status: The last that was heard of the job, if anything was.
        token: What `resume` takes, in another process too.
    """

    job_id: str
    status: "Status | None"
    token: str = ""


@dataclass(eq=False)
class TransportError(TranslationError):
    """The network or the server kept failing, past the budget of consecutive failures or past the time.

    Attributes:
        last: What the last failure was.
        attempts: How many requests failed in a row.
    """

    last: str
    attempts: int


@dataclass(eq=False)
class ProtocolError(TranslationError):
    """An answer that is not what the dialect promises: most likely another kind of server is there."""
