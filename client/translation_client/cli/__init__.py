"""The command: `translation-client`, `python -m translation_client`, `python3 client.py`.

Whatever goes wrong leaves it as one line on stderr and an exit status, never as a traceback.
"""

import asyncio
import io
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from translation_client.cli.arguments import Options, UsageError, parse, resume
from translation_client.cli.display import Row
from translation_client.cli.log import discard, logging_to, tell
from translation_client.cli.login import login
from translation_client.cli.sandbox import sandbox
from translation_client.cli.work import SIGNALLED, UNREAD, USAGE, exit_status, work
from translation_client.core.errors import TranslationError


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as the imports were told
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()  # either may be closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            options = parse(argv)
            with logging_to(options):
                return _main(options)
        finally:
            sys.stdout.flush()
    except UsageError as error:
        tell(str(error))
        return USAGE
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return UNREAD
        tell(f"the output cannot be written: {error}; make room, or send it elsewhere")
        return USAGE


def _main(options: Options) -> int:
    rows = list[Row]()
    try:
        with _like_ctrl_c() as caught:
            if options.command in {"report", "sandbox"}:
                return sandbox(options, login(options))
            return asyncio.run(work(options, login(options), rows))
    except TranslationError as error:
        tell(str(error))
        return exit_status(error)
    except KeyboardInterrupt:
        unfinished = [row.id for row in rows if row.id and not row.over]
        tell(f"interrupted. {resume(options, unfinished)}" if options.waits and unfinished else "interrupted")
        return SIGNALLED + (caught[0] if caught else signal.SIGINT)


@contextmanager
def _like_ctrl_c() -> Iterator[list[int]]:
    """Take SIGTERM and SIGHUP as Ctrl-C while this lasts, and give the ones that came."""
    caught = list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        handler = signal.getsignal(signal.SIGINT)  # asyncio's while it runs
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    numbers = [number for number in signal.Signals if number.name in {"SIGTERM", "SIGHUP"}]
    before = {number: signal.signal(number, interrupt) for number in numbers if not _ignored(number)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
