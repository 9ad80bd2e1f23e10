"""The command: `translation-client`, `python -m translation_client`, `python3 client.py`.

Whatever goes wrong leaves it as one line on stderr and an exit status, never as a traceback.
"""

import asyncio
import io
import os
import sys
from collections.abc import Sequence

from translation_client.cli.arguments import Options, UsageError, login, parse, resume
from translation_client.cli.display import Row
from translation_client.cli.log import logging_to, tell
from translation_client.cli.work import INTERRUPTED, UNREAD, USAGE, exit_status, work
from translation_client.core.errors import TranslationError


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        if isinstance(error, BrokenPipeError):
            return UNREAD
        tell(f"the output cannot be written: {error}; make room, or send it elsewhere")
        return USAGE


def _main(options: Options) -> int:
    rows = list[Row]()
    try:
        return asyncio.run(work(options, login(options), rows))
    except TranslationError as error:
        tell(str(error))
        return exit_status(error)
    except KeyboardInterrupt:
        unfinished = [row.id for row in rows if row.id and not row.over]
        tell(f"interrupted. {resume(options, unfinished)}" if options.waits and unfinished else "interrupted")
        return INTERRUPTED
