"""The log: text for people or JSON for machines, to stderr and, if set, to a file."""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from translation_server.private_files import make_private, open_private

SERVER, HOST, HOST_ACCESS = "translation_server", "uvicorn", "uvicorn.access"
"""The loggers of the server, of uvicorn, and of uvicorn's requests. The last is silenced: the server logs requests."""


Scope = MutableMapping[str, Any]  # the scope of a request, as ASGI has it

REQUEST_ID = re.compile(r"[!-~]{1,128}")
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

_current = ContextVar[tuple[Scope, "asyncio.Task[Any] | None"] | None]("request", default=None)
"""The request that is served, and the task that serves it: a task that outlives it has a copy of this variable."""


@contextmanager
def of_request(scope: Scope) -> Iterator[None]:
    """Adds the ids of a request to all lines that this task logs inside the `with` block."""
    token = _current.set((scope, asyncio.current_task()))
    try:
        yield
    finally:
        _current.reset(token)


def ids_of(scope: Scope) -> dict[str, str]:
    """Returns the ids of a request: its X-Request-ID, or a new one, and the trace that it belongs to, if any."""
    headers = dict(scope["headers"])
    sent = REQUEST_ID.fullmatch(headers.get(b"x-request-id", b"").decode("latin-1"))
    trace = TRACE_PARENT.fullmatch(headers.get(b"traceparent", b"").decode("latin-1"))
    ids = {"request_id": sent[0] if sent else secrets.token_hex(8)}
    trace_id = scope.get("trace_id") or (trace and trace[1])
    return ids | ({"trace_id": trace_id} if trace_id else {})


def _ids_for(record: logging.LogRecord) -> dict[str, str]:
    """Returns the ids of the request that a line is about; the same ones for all lines of a request."""
    current = _current.get()
    if current and current[1] is _running_task():
        scope = current[0]
        if "ids" not in scope:
            scope["ids"] = ids_of(scope)
        ids: dict[str, str] = scope["ids"]
        return ids
    alone: Scope | None = getattr(record, "scope", None)  # the scope of a poll that is answered without a task
    return ids_of(alone) if alone else {}


def _running_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without an event loop
        return None


class LogError(Exception):
    """The log file cannot be written; the message is one line for a person."""


class TextFormatter(logging.Formatter):
    """A line for people: time in UTC, level, message. Line breaks in callers' texts are escaped."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """Returns the line, with unprintable characters escaped."""
        text = record.message
        if not text.isprintable():
            record.message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return super().formatMessage(record)


class JsonFormatter(TextFormatter):
    """A line for machines: one JSON object, with the ids of the request that it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, str] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= _ids_for(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _File(WatchedFileHandler):
    """A private log file. Lines that cannot be written are dropped silently, because stderr has them too."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Drops the line."""


def configure(*, level: str, log_format: str, file: Path | None) -> None:
    """Sets up the server's log, and replaces an earlier setup.

    Raises:
        LogError: the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        try:
            handlers.append(_File(file, encoding="utf-8"))
        except OSError as error:
            raise LogError(f"LOG_FILE={file}: cannot be written: {error.strerror}") from None
    formatter = JsonFormatter() if log_format == "json" else TextFormatter()
    for handler in handlers:
        handler.setFormatter(formatter)
    for name in (SERVER, HOST, HOST_ACCESS):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        for handler in handlers if name != HOST_ACCESS else ():
            logger.addHandler(handler)
        logger.propagate = False
    logging.getLogger(SERVER).setLevel(level.upper())
    if file is not None:
        make_private(file)
