"""The log: text for people or JSON for machines, to stderr and, if set, to a file."""

import json
import logging
import time
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from translation_server.private_files import make_private, open_private

SERVER, HOST, HOST_ACCESS = "translation_server", "uvicorn", "uvicorn.access"
"""The loggers of the server, of uvicorn, and of uvicorn's requests. The last is silenced: the server logs requests."""


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
    """A line for machines: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
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
