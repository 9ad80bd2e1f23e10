"""The subcommand `list`."""

import asyncio
import sys

from translation_client.cli.display import write
from translation_client.cli.errors import DONE
from translation_client.cli.jobs import number_of_jobs, open_client, shown, warned
from translation_client.cli.login import login
from translation_client.cli.options import Options, Parser, is_plain, naming_flags
from translation_client.cli.tracking import Tracker, summary
from translation_client.core.errors import NotFound
from translation_client.core.status import State


def add_listed(parser: Parser) -> None:
    """Adds the jobs to list."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="list these jobs only")
    parser.add_argument("--limit", type=number_of_jobs, metavar="N", help="list the newest N jobs only")
    states = tuple(state.value for state in State)  # argparse shows the repr of a choice
    parser.add_argument(
        "--status", action="append", choices=states, help="list such jobs only; several times for several"
    )


def list_jobs(options: Options) -> int:
    """Prints the status of every job of this user, or of those that the options name.

    Raises:
        TranslationError: The jobs could not be read.
        UsageError: An option is unusable.
    """
    server, show, missing = login(options), shown(options), set(options.ids)

    async def list_all() -> None:
        async with open_client(options, server, Tracker([], warned(options))) as client:
            listed = 0
            async for status in client.list():
                is_named = not options.ids or status.id in missing
                missing.discard(status.id)
                if is_named and (not options.status or status.state in options.status):
                    show(status)
                    listed += 1
                if (options.ids and not missing) or listed == options.limit:
                    missing.clear()
                    break
        if not (listed or options.ids) and is_plain(options) and sys.stdout.isatty():
            write(summary([]))
        if missing:
            raise NotFound(f"the server lists no job {min(missing)}. Check the job's id and owner.")

    with naming_flags():
        asyncio.run(list_all())
    return DONE
