"""Server-sent events: bytes in, events out (WHATWG HTML, section 9.2.6).

The bytes may be cut anywhere. Comments make no event. An `id` counts even without data.
"""

import re
from typing import NamedTuple

LARGEST = 1 << 20  # bytes of one line or of one event's data
LONGEST_RETRY = 86_400.0  # seconds
RESUMABLE = re.compile(r"[!-~]{1,1000}")  # an id that every server and proxy accepts in a header
LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a line feed may follow a carriage return at the end
BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event, its data joined; `wall_elapsed` is a field of this project's server (see `decode`)."""

    event: str
    data: str
    wall_elapsed: str = ""


class EventStream:
    """Parses a stream."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id  # the last event's id, to resume from
        self.retry = 0.0  # the least seconds before the stream is opened again
        self._rest = bytearray()
        self._started = False
        self._size = 0  # bytes of the event's data, with a line break after each line
        self._event, self._wall_elapsed = "", ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Parses some bytes; returns the events that are complete now.

        Raises:
            ValueError: A line or an event is too large.
        """
        known = max(0, len(self._rest) - 1)  # only the last of these bytes may end a line
        self._rest += data
        if not self._started:
            if len(self._rest) < len(BOM) and BOM[: len(self._rest)] == self._rest:
                return []
            self._started, self._rest = True, self._rest.removeprefix(BOM)
            known = 0
        events: list[ServerEvent] = []
        if LINE_END.search(self._rest, known):
            *lines, rest = LINE_END.split(self._rest)
            self._rest = bytearray(rest)
            events = [event for line in lines if (event := self._line(line.decode(errors="replace")))]
        if len(self._rest) + self._size > LARGEST:
            raise ValueError(f"an event is larger than {LARGEST} bytes")
        return events

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            data, name, age = self._data, self._event or "message", self._wall_elapsed
            self._event, self._wall_elapsed, self._data, self._size = "", "", [], 0
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
                self._size += len(value) + 1
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = min(float(value) / 1000, LONGEST_RETRY)
        return None

    @property
    def resume_headers(self) -> dict[str, str]:
        """The header that resumes the stream. If a header cannot carry the id, it is empty, and all jobs are polled."""
        return {"Last-Event-ID": self.last_id} if RESUMABLE.fullmatch(self.last_id) else {}
