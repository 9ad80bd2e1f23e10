"""Server-sent events: bytes in, events out (WHATWG HTML, section 9.2.6).

Bytes may be cut anywhere. What is no event, a comment say, makes none; an `id` counts even where it stands alone.
"""

import re
from typing import NamedTuple

LARGEST = 1 << 20  # bytes of one line or of one event's data
LONGEST_RETRY = 86_400.0  # seconds
RESUMABLE = re.compile(r"[!-~]{1,1000}")  # an id that every server and every proxy takes in a header

BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event, its data put together; `wall_elapsed` is a field of our server's (see `answers`)."""

    event: str
    data: str
    wall_elapsed: str = ""


class EventStream:
    """Reads a stream.

    Attributes:
        last_id: What to resume from.
        retry: Seconds that the server wants to pass, at least, before the stream is opened again.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry = 0.0
        self._rest = b""
        self._began = False
        self._event, self._wall_elapsed = "", ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that these bytes complete.

        Raises:
            ValueError: A line or an event is larger than anything of this kind.
        """
        self._rest += data
        if not self._began:
            if len(self._rest) < len(BOM) and BOM.startswith(self._rest):
                return []
            self._began, self._rest = True, self._rest.removeprefix(BOM)
        whole, carried = self._rest, b""
        if whole.endswith(b"\r"):  # the line feed that belongs to it may follow
            whole, carried = whole[:-1], b"\r"
        *lines, last = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = last + carried
        if len(self._rest) + sum(map(len, self._data)) > LARGEST:
            raise ValueError(f"an event is larger than {LARGEST} bytes")
        return [event for line in lines if (event := self._line(line.decode(errors="replace")))]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            data, name, age = self._data, self._event or "message", self._wall_elapsed
            self._event, self._wall_elapsed, self._data = "", "", []
            return ServerEvent(name, "\n".join(data), age) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "wall-elapsed-time":
                self._wall_elapsed = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = min(float(value) / 1000, LONGEST_RETRY)
        return None

    @property
    def resumes(self) -> dict[str, str]:
        """The header that resumes the stream; none for an id that a header cannot carry: then all has to be asked."""
        return {"Last-Event-ID": self.last_id} if RESUMABLE.fullmatch(self.last_id) else {}
