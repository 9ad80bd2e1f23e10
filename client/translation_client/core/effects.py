"""The protocol between flows and drivers.

A flow decides and a driver does the I/O. A flow is a generator that yields effects; the driver carries out each effect
and sends its input back:

    effect         | input
    ---------------|--------------------------
    Send           | Reply or Failure
    Sleep          | Done
    AwaitDelivery  | Delivery or Done
    Listen         | Reply, Chunk or Failure
    Status         | Done, once the caller asks for the next one
    WaitFailed     | Done, likewise
    Piece          | Done, likewise
    Warn           | Done

Every input carries the monotonic time at which it happened, in seconds, so a flow needs no clock.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, BinaryIO, TypeAlias

from translation_client.core.errors import TranslationError
from translation_client.core.status import Status


@dataclass(frozen=True)
class Upload:
    """A file that a request carries. It can be read again: each try sends it from its beginning."""

    name: str
    source: str | BinaryIO  # a path, or an open file
    size: int  # bytes


@dataclass(frozen=True)
class Send:
    """Make one HTTP request, to a path of the server or to an address of any server. Only the first has credentials.

    A dialect leaves both times open; a flow sets them for each try.
    """

    method: str
    path: str
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    form: Sequence[tuple[str, str]] | None = None  # the fields of an HTML form, instead of JSON
    files: Mapping[str, Upload] | None = None  # of a multipart form, or one that is the whole body
    timeout: float = inf  # seconds for the whole request, from connecting to the last byte of the body
    left: float = inf  # seconds for the request and for waiting until a connection is free
    reads: bool = False  # whether it only reads, as every GET does; some APIs poll by POST

    @property
    def only_reads(self) -> bool:
        """Whether the request changes nothing."""
        return self.reads or self.method == "GET"

    @property
    def is_address(self) -> bool:
        """Whether this goes to an address, which may be that of another server."""
        return not self.path.startswith("/")

    def __str__(self) -> str:
        """Returns the request for messages: of an address only the server, because the rest may be a secret."""
        return f"{self.method} {'/'.join(self.path.split('/', 3)[:3]) if self.is_address else self.path}"


@dataclass(frozen=True)
class Sleep:
    """Sleep."""

    seconds: float


@dataclass(frozen=True)
class AwaitDelivery:
    """Sleep until a webhook about one of these jobs is delivered, but for `seconds` at most."""

    ids: Collection[str]
    seconds: float


@dataclass(frozen=True)
class Listen:
    """Read from the flow's event stream. The driver closes the stream when the flow ends.

    An answer that is no event stream (anything but a 200 with `text/event-stream`) becomes a Reply. A stream that
    breaks off, ends, or stays silent for `timeout` seconds becomes a Failure.

    With `file`, the stream is a file: a 200 or a 206 without an encoding opens it, and becomes a Reply without a body.
    Its end becomes an empty Chunk.
    """

    send: Send | None  # the request that opens the stream, closing an open one; None reads on
    timeout: float  # seconds until the next bytes
    file: bool = False  # whether the stream is a file instead of events


@dataclass(frozen=True)
class WaitFailed:
    """In a wait for several jobs: the wait for this one ended without a final status."""

    id: str
    error: TranslationError


@dataclass(frozen=True)
class Piece:
    """A piece of a file that is downloaded: its place, and the size of the whole file, if it is known.

    A piece that does not continue the one before replaces everything from its place on.
    """

    offset: int
    data: bytes
    size: int | None


@dataclass(frozen=True)
class Warn:
    """Log a warning.

    Attributes:
        retry: Which retry follows, if a request has failed; else 0.
    """

    text: str
    retry: int = 0


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    code: int
    headers: Mapping[str, str]  # the names are in lower case. The driver adds a `date` if the server sent none
    body: bytes
    at: float  # when it was complete
    took: float = 0.0  # seconds from sending the request until then
    unread: str = ""  # why the body was not read: it is too large, or has an unrequested encoding. Empty if it was

    def __str__(self) -> str:
        return f"the server answered {self.code}"


@dataclass(frozen=True)
class Chunk:
    """Some bytes of an event stream; empty when the stream has just been opened."""

    data: bytes
    at: float


@dataclass(frozen=True)
class Failure:
    """No response, or an incomplete one, and why.

    Attributes:
        absent: Whether this machine itself refused the connection: no program listens on the port.
        unsent: Whether there was no connection, so that the server cannot have received the request.
    """

    why: str
    at: float
    absent: bool = False
    unsent: bool = False

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Delivery:
    """Webhooks about these jobs have been delivered. This is a hint: the flow polls them."""

    ids: Collection[str]
    at: float


@dataclass(frozen=True)
class Done:
    """The effect is done."""

    at: float


Effect: TypeAlias = Send | Sleep | AwaitDelivery | Listen | Status | WaitFailed | Piece | Warn
Input: TypeAlias = Reply | Chunk | Failure | Delivery | Done
Flow: TypeAlias = Generator[Effect, Input, None]
