"""The command's log: everything that the library logs, in a file, and on stderr with --verbose.

Texts from outside stand in it, and in what is told on stderr, as lines that a terminal shows and is not told by.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from translation_client.cli.arguments import Options, UsageError, program
from translation_client.core.text import visible
from translation_client.private_files import open_private, tighten

logger = logging.getLogger("translation_client")


def tell(message: str, level: int = logging.ERROR) -> None:
    """Write one line to stderr, and to the log."""
    logger.log(level, "%s", message)
    say(message)


def say(message: str) -> None:
    """Write one line to stderr, if it takes one."""
    try:
        sys.stderr.write(f"{visible(f'{program()}: {message}')}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(output: TextIO) -> None:
    """Let what an output still holds, and all that follows, go nowhere: it would fail again when the program ends."""
    with suppress(OSError):  # it may be none of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


@contextmanager
def logging_to(options: Options) -> Iterator[None]:
    """Log as the options say, while this lasts.

    Raises:
        UsageError: The log file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if options.verbose:
        handlers.append(logging.StreamHandler())
    if options.log_file != "none":
        try:
            handlers.append(_File(options.log_file))
        except OSError as error:
            raise UsageError(
                f"the log file cannot be written: {error}; name another with --log-file, or none"
            ) from None
    for handler in handlers:
        handler.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            with suppress(OSError):  # told already
                handler.close()


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _File(logging.FileHandler):
    """A log file that is given up with one line, not with a traceback, when it cannot be written any longer."""

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "a", encoding="utf-8", opener=open_private)  # noqa: SIM115 - the handler's
        tighten(file.fileno())
        return file

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        logger.removeHandler(self)
        say(f"the log file cannot be written any longer: {sys.exception()}; not logged: {record.getMessage()}")
