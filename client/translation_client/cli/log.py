"""The command's log, in a file and with `--verbose` on stderr, and its messages on stderr.

Texts of a server can be in both, so characters that a terminal would interpret are escaped.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from translation_client.cli.errors import UsageError
from translation_client.cli.options import Options, program
from translation_client.core.text import visible
from translation_client.private_files import open_private, tighten

logger = logging.getLogger("translation_client")


def log(message: str, level: int = logging.ERROR) -> None:
    """Writes a message to the log."""
    logger.log(level, "%s", message)


def log_and_show(message: str, level: int = logging.ERROR) -> None:
    """Writes a message to the log and to stderr."""
    log(message, level)
    show_message(message)


def show_message(message: str) -> None:
    """Writes a message to stderr, if stderr can be written to."""
    try:
        sys.stderr.write(f"{visible(f'{program()}: {message}')}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(output: TextIO) -> None:
    """Discards the buffer of an output and everything that follows; else it would fail again at the program's end."""
    with suppress(OSError):  # an output without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


@contextmanager
def logging_to(options: Options) -> Iterator[None]:
    """Sets the log up, and closes it at the end.

    Raises:
        UsageError: The log file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if options.verbose:
        handlers.append(logging.StreamHandler())
    if options.log_file != "none":
        try:
            handlers.append(_LogFile(options.log_file))
        except OSError as error:
            raise UsageError(
                f"the log file cannot be written: {error}; name another with --log-file, or none"
            ) from None
    for handler in handlers:
        handler.setFormatter(_VisibleFormatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            with suppress(OSError):  # _LogFile has reported it
                handler.close()


class _VisibleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _LogFile(logging.FileHandler):
    """A log file. If it can no longer be written, one line says so and the command goes on without it."""

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "a", encoding="utf-8", opener=open_private)  # noqa: SIM115 - the handler closes it
        tighten(file.fileno())
        return file

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        logger.removeHandler(self)
        show_message(f"the log file can no longer be written: {sys.exception()}; not logged: {record.getMessage()}")
