"""The command: `translation-client`, `python -m translation_client`, `python3 client.py`.

Every error ends it with one line on stderr and an exit status, never with a traceback.
"""

import io
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from translation_client.cli.commands import parse
from translation_client.cli.errors import SIGNALLED, UNREAD, USAGE, UsageError, exit_status
from translation_client.cli.log import discard, log_and_show, logging_to
from translation_client.cli.options import Options
from translation_client.core.errors import TranslationError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # set during the imports
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()  # either may be closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            options = parse(argv)
            with logging_to(options):
                return _run(options)
        finally:
            sys.stdout.flush()
    except UsageError as error:
        log_and_show(str(error))
        return USAGE
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return UNREAD
        log_and_show(f"the output cannot be written: {error}; make room, or send it elsewhere")
        return USAGE


def _run(options: Options) -> int:
    try:
        with _signals_as_ctrl_c() as signals:
            return options.handler(options)
    except TranslationError as error:
        log_and_show(str(error))
        return exit_status(error)
    except KeyboardInterrupt as interrupt:
        log_and_show(". ".join(["interrupted", *interrupt.args]))
        return SIGNALLED + (signals[0] if signals else signal.SIGINT)


@contextmanager
def _signals_as_ctrl_c() -> Iterator[list[int]]:
    """Handles SIGTERM and SIGHUP like Ctrl-C, and yields the list of those that have come."""
    signals = list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        handler = signal.getsignal(signal.SIGINT)  # asyncio's while it runs
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    numbers = [number for number in signal.Signals if number.name in {"SIGTERM", "SIGHUP"}]
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
