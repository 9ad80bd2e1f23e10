"""The subcommands of `sandbox`."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from translation_client.cli.display import laid_out, write, write_document
from translation_client.cli.errors import DONE, UsageError
from translation_client.cli.login import login
from translation_client.cli.options import SECONDS, Handler, Options, Parser, json_or_text, naming_flags
from translation_client.core.status import State
from translation_client.sandbox import Sandbox


@contextmanager
def open_sandbox(options: Options) -> Iterator[Sandbox]:
    """Yields the sandbox of the user that the options name."""
    server = login(options)
    with naming_flags(), Sandbox(server.url, username=server.username, password=server.password) as sandbox:
        yield sandbox


def printing(action: Callable[[Sandbox, Options], object]) -> Handler:
    """Makes a handler that prints what an action returns, as JSON."""

    def handler(options: Options) -> int:
        with open_sandbox(options) as sandbox:
            write_document(action(sandbox, options), compact=options.json)
        return DONE

    return handler


def for_each_job(done: str, action: Callable[[Sandbox, Options, str], Mapping[str, Any]], *, ends: bool) -> Handler:
    """Makes a handler that takes an action for each job, and says so at once, since the next one may be refused.

    Args:
        done: What has been done to a job then.
        action: Takes the action.
        ends: Whether the action ends jobs. No action changes a job that has ended.
    """

    def handler(options: Options) -> int:
        with open_sandbox(options) as sandbox:
            for job_id in options.ids:
                job = action(sandbox, options, job_id).get("job")
                if options.json:
                    write_document(job, compact=True)
                else:
                    status = job.get("status") if isinstance(job, dict) else None
                    is_done = status == (options.outcome if ends else State.PENDING)
                    write(f"{job_id} {done if is_done else 'had already ended'}: {status}")
        return DONE

    return handler


def requests(options: Options) -> int:
    """Prints the request log page by page."""
    separator = "["
    with open_sandbox(options) as sandbox:
        for record in sandbox.requests():
            sys.stdout.write(separator + (json.dumps(record) if options.json else laid_out(record)))
            separator = ", "
    sys.stdout.write("[]\n" if separator == "[" else "]\n")
    return DONE


def add_settings(parser: Parser) -> None:
    """Adds the arguments of `sandbox set`."""
    parser.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="a setting; the value is JSON or text")


def add_scenario(parser: Parser) -> None:
    """Adds the argument of `sandbox scenario`."""
    parser.add_argument("scenario", metavar="NAME", help="the scenario; `sandbox scenarios` lists them")


def add_clock(parser: Parser) -> None:
    """Adds the flags of `sandbox clock`."""
    parser.add_argument("--advance", **SECONDS, help="move the clock forward")
    parser.add_argument("--speed", type=float, metavar="FACTOR", help="seconds that pass in each second of wall time")
    parser.add_argument("--freeze", action="store_true", dest="frozen", help="stop the clock")
    parser.add_argument("--unfreeze", action="store_false", dest="frozen", help="let the clock run again")


def add_ending(parser: Parser) -> None:
    """Adds the flags of `sandbox finish`."""
    parser.add_argument("--outcome", choices=("completed", "error"), help="how the jobs end (default completed)")
    parser.add_argument("--message", metavar="TEXT", help="the error's message")


def _clock(sandbox: Sandbox, options: Options) -> Mapping[str, Any]:
    if options.advance is options.speed is options.frozen is None:
        raise UsageError("sandbox clock needs --advance, --speed, --freeze or --unfreeze")
    for flag, value in (("--advance", options.advance), ("--speed", options.speed)):
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{flag} must be a finite number, not {value}")
    return sandbox.clock(advance=options.advance, speed=options.speed, frozen=options.frozen)


def _settings(assignments: tuple[str, ...]) -> dict[str, object]:
    """Reads NAME=VALUE arguments. A value is JSON if it can be read as JSON, else text; a seed is never a number."""
    settings: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"sandbox set takes NAME=VALUE, not {assignment!r}")
        settings[name] = json_or_text(value)
        if name == "seed" and isinstance(settings[name], int | float):
            settings[name] = value
    return settings


SHOW = printing(lambda sandbox, _: sandbox.show())
SET = printing(lambda sandbox, options: sandbox.set(**_settings(options.settings)))
SCENARIO = printing(lambda sandbox, options: sandbox.scenario(options.scenario))
SCENARIOS = printing(lambda sandbox, _: sandbox.scenarios())
CLOCK = printing(_clock)
PAUSE = for_each_job("paused", lambda sandbox, _, job_id: sandbox.pause(job_id), ends=False)
UNPAUSE = for_each_job("unpaused", lambda sandbox, _, job_id: sandbox.unpause(job_id), ends=False)
FINISH = for_each_job(
    "finished", lambda sandbox, options, job_id: sandbox.finish(job_id, options.outcome, options.message), ends=True
)
RESET = printing(lambda sandbox, _: sandbox.reset())
