"""What the command is told by its flags, and how to call it again."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from translation_client import __version__
from translation_client.core.dialects import DIALECTS
from translation_client.core.estimator import DurationEstimator, History
from translation_client.core.schedule import Exponential, Fixed, Hinted, Learned, Plan, Progressive
from translation_client.history import HistoryFile

DEFAULT_URL = "http://127.0.0.1:8000"

EPILOG = """
The credentials and the address are taken from the flags, else from API_USERNAME, API_PASSWORD (or API_PASSWORD_FILE)
and SERVER_URL in the environment, else from the same names in the file .env of the working directory. A token, for a
dialect that takes one, comes in the same way from API_TOKEN (or API_TOKEN_FILE). On a terminal, what is still missing
of the credentials is asked for. Where .env names the server and the credentials come from elsewhere, or the other way
round, a line on stderr says where they go.

exit status:
  0    the job completed, or the command did what it was asked for
  1    a job ended with an error or was cancelled, or the report card has what --fail-on names
  2    the command or the request was wrong
  3    the credentials were refused
  4    the time was up; the line on stderr has the command that goes on waiting
  5    the server could not be reached, kept failing, or is no server of this kind
  130  interrupted by Ctrl-C
With several jobs it is the highest that any of them had. SIGTERM and SIGHUP do what Ctrl-C does, with 143 and 129.
"""

MOST_JOBS = 10_000

SCHEDULES = ("auto", "fixed:SECONDS", "exponential[:INITIAL,FACTOR,MAXIMUM]", "progressive", "hinted", "learned")
SECONDS: Mapping[str, Any] = {"type": float, "metavar": "SECONDS"}

# What a command that goes on waiting is given again; never the password.
KEPT = frozenset(
    {"url", "dialect", "username", "password_file", "token_file", "initial_interval", "max_interval", "timeout"}
    | {"schedule", "no_wait", "kind", "history", "stats", "log_file", "json", "quiet", "verbose"}
)


class UsageError(Exception):
    """The command was given something unusable; the message says what to give instead."""


class Options(argparse.Namespace):
    """The flags, with their defaults."""

    command: str = "run"
    ids: tuple[str, ...] = ()

    url: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    dialect: str = "start"
    token: str | None = None
    token_file: str | None = None

    initial_interval: float | None = None
    max_interval: float | None = None
    timeout: float | None = None
    schedule: str = "auto"
    no_wait: bool = False
    kind: str | None = None
    history: str | None = None
    stats: bool = False

    jobs: int = 1
    source_language: str | None = None
    target_language: str | None = None
    video_length: float | None = None
    idempotency_key: str | None = None

    action: str | None = None
    settings: tuple[str, ...] = ()
    scenario: str | None = None
    advance: float | None = None
    speed: float | None = None
    frozen: bool | None = None
    outcome: str = "completed"
    message: str | None = None
    format: str | None = None
    fail_on: str = "never"

    log_file: str = "client.log"
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    @property
    def waits(self) -> bool:
        """Whether the command waits for the end of jobs."""
        return self.command in {"run", "wait"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {program()} --help")


def program() -> str:
    """How the command was called, so that a line that it prints can be called again."""
    called = Path(sys.argv[0]).name
    return {"client.py": "python3 client.py", "__main__.py": "python3 -m translation_client"}.get(
        called, "translation-client"
    )


def resume(options: Options, ids: Iterable[str]) -> str:
    """The command that goes on waiting for the jobs; no id in it can be taken for a flag, nor a value for another."""
    given = [(f"--{name.replace('_', '-')}", value) for name, value in vars(options).items() if name in KEPT]
    flags = [flag if value is True else f"{flag}={value}" for flag, value in given if value]
    return f"Resume with: {program()} {shlex.join([*flags, 'wait', '--', *ids])}"


def parse(argv: Sequence[str] | None) -> Options:
    """Read the command line.

    Raises:
        UsageError: It makes no sense.
        SystemExit: It asked for the help or the version, which has been printed.
    """
    common, waiting, job, several = _common(), _waiting(), _job(), _several()
    ids = _flags()
    ids.add_argument("ids", nargs="+", metavar="ID", help="the id of a job; -- goes before one that looks like a flag")

    parser = _Parser(
        prog=program(),
        description="Start slow, asynchronous jobs and wait for their end well.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        parents=[common, waiting, job, several],
    )
    parser.add_argument("--version", action="version", version=f"translation-client {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for name, does, parents in (
        ("run", "start a job and wait for its end (the default)", [common, waiting, job, several]),
        ("start", "start a job and leave it to itself", [common, job]),
        ("status", "tell how jobs stand; 1 if one has failed", [common, ids]),
        ("wait", "wait for the end of jobs", [common, waiting, ids]),
        ("list", "list your jobs, newest first", [common]),
        ("cancel", "cancel jobs", [common, ids]),
        ("report", "grade the client by what it has asked the server", [common, _grading()]),
    ):
        _add(commands, name, does, parents)
    actions = _add(commands, "sandbox", "show and change your sandbox on the server", [common]).add_subparsers(
        dest="action", title="actions", metavar="ACTION"
    )
    for name, does, parents in (
        ("show", "show all of it (the default)", []),
        ("set", "change settings; null stands for the server's value", [_settings()]),
        ("scenario", "choose a scenario: a named set of faults and settings", [_scenario()]),
        ("scenarios", "list the scenarios", []),
        ("clock", "let time run, stand still or jump", [_clock()]),
        ("pause", "keep jobs pending until they are unpaused or finished", [ids]),
        ("unpause", "let paused jobs go on", [ids]),
        ("finish", "end pending jobs now", [_finishing(), ids]),
        ("reset", "empty it: jobs, request log, faults, clock, settings", []),
        ("requests", "list the request log, the oldest request first", []),
    ):
        _add(actions, name, does, [common, *parents])
    options = parser.parse_args(argv, Options())
    if options.idempotency_key is not None and options.jobs > 1:
        raise UsageError("--idempotency-key makes all of --jobs one job; give one of the two")
    return options


def _add(commands: Any, name: str, does: str, parents: Sequence[_Parser]) -> _Parser:  # noqa: ANN401 - argparse's own
    parser: _Parser = commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        parents=parents,
    )
    return parser


def _grading() -> _Parser:
    parser = _flags()
    parser.add_argument(
        "--format", choices=("text", "json", "junit"), help="how to write the card (default text, with --json json)"
    )
    parser.add_argument(
        "--fail-on", choices=("never", "warnings", "notes"), help="exit with 1 for such findings (default never)"
    )
    return parser


def _settings() -> _Parser:
    parser = _flags()
    parser.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="a setting, its value as JSON or text")
    return parser


def _scenario() -> _Parser:
    parser = _flags()
    parser.add_argument("scenario", metavar="NAME", help="its name; `sandbox scenarios` lists them")
    return parser


def _clock() -> _Parser:
    parser = _flags()
    parser.add_argument("--advance", **SECONDS, help="jump ahead")
    parser.add_argument("--speed", type=float, metavar="FACTOR", help="let so many seconds pass for each real one")
    parser.add_argument("--freeze", action="store_true", dest="frozen", help="let time stand still")
    parser.add_argument("--unfreeze", action="store_false", dest="frozen", help="let time go on")
    return parser


def _finishing() -> _Parser:
    parser = _flags()
    parser.add_argument("--outcome", choices=("completed", "error"), help="how (default completed)")
    parser.add_argument("--message", metavar="TEXT", help="what a failed one tells")
    return parser


def _flags() -> _Parser:
    return _Parser(add_help=False, argument_default=argparse.SUPPRESS)


def _common() -> _Parser:
    parser = _flags()
    server = parser.add_argument_group("server")
    server.add_argument("--url", help=f"its address (default {DEFAULT_URL})")
    server.add_argument("--username", metavar="NAME", help="as whom")
    server.add_argument("--password", help="anyone on this machine can see it: better use one of the following")
    server.add_argument("--password-file", metavar="FILE", help="a file that holds the password")
    server.add_argument(
        "--dialect",
        metavar="NAME|FILE",
        help=f"what it speaks: {', '.join(DIALECTS)}, or what a TOML file describes (default {Options.dialect})",
    )
    server.add_argument("--token", help="in place of name and password, if the dialect takes one; as visible as those")
    server.add_argument("--token-file", metavar="FILE", help="a file that holds the token")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object per change, nothing else")
    output.add_argument("--quiet", action="store_true", help="run and wait write nothing but failures")
    output.add_argument("--verbose", action="store_true", help="show the log on stderr")
    output.add_argument(
        "--log-file", metavar="FILE", help=f"where the log is added to (default {Options.log_file}); none turns it off"
    )
    return parser


def _waiting() -> _Parser:
    parser = _flags()
    waiting = parser.add_argument_group("waiting")
    waiting.add_argument("--timeout", **SECONDS, help="how long to wait (default: as long as it takes)")
    waiting.add_argument(
        "--wait",
        action="store_false",
        dest="no_wait",
        help="let the server hold a look until the job ends, if it knows how to (the default)",
    )
    waiting.add_argument("--no-wait", action="store_true", help="ask the server not to hold looks")
    waiting.add_argument(
        "--schedule",
        metavar="PLAN",
        help=f"when to look: {', '.join(SCHEDULES)} (default auto: as the server asks, else learned, else progressive)",
    )
    waiting.add_argument("--initial-interval", **SECONDS, help="look after ever longer intervals; the first")
    waiting.add_argument("--max-interval", **SECONDS, help="and the longest")
    waiting.add_argument("--kind", metavar="NAME", help="what jobs like these are called, to learn how long they take")
    waiting.add_argument("--history", metavar="FILE", help="where that is kept (default: nowhere)")
    waiting.add_argument("--stats", action="store_true", help="tell at the end what the wait has cost")
    return parser


def plan(options: Options) -> Plan | None:
    """When to look, as `--schedule` says; None leaves it to the client.

    Raises:
        UsageError: There is no such plan, or another option does not go with it.
    """
    name, colon, numbers = options.schedule.partition(":")
    intervals = options.initial_interval is not None or options.max_interval is not None
    if (options.kind or options.history) and (intervals or name not in {"auto", "learned"}):
        raise UsageError("--kind and --history are for the schedules auto and learned; no other learns")
    if options.schedule == "auto":
        return None
    if intervals:
        raise UsageError("--schedule and --initial-interval or --max-interval exclude each other; give one")
    history: DurationEstimator = HistoryFile(options.history) if options.history else History()
    plans: Mapping[str, tuple[Callable[..., Plan], range]] = {  # and how many numbers each takes
        "fixed": (Fixed, range(1, 2)),
        "exponential": (Exponential, range(4)),
        "progressive": (Progressive, range(1)),
        "hinted": (Hinted, range(1)),
        "learned": (partial(Learned, history), range(1)),
    }
    given = numbers.split(",") if colon else ()
    make, takes = plans.get(name, (Progressive, range(0)))
    if len(given) not in takes:
        raise UsageError(f"--schedule must be one of {', '.join(SCHEDULES)}, not {options.schedule!r}")
    try:
        return make(*map(float, given))
    except ValueError as error:
        raise UsageError(f"--schedule {options.schedule}: {error}") from None


def _job() -> _Parser:
    parser = _flags()
    job = parser.add_argument_group("job")
    job.add_argument("--source-language", metavar="LANGUAGE", help="the language of the video")
    job.add_argument("--target-language", metavar="LANGUAGE", help="the language to translate it to")
    job.add_argument("--video-length", type=float, metavar="SECONDS", help="how long the video is")
    job.add_argument("--idempotency-key", metavar="KEY", help="start no second job where one was started with this key")
    return parser


def _several() -> _Parser:
    parser = _flags()
    parser.add_argument("--jobs", type=_count, metavar="N", help="run so many jobs at once (default 1)")
    return parser


def _count(text: str) -> int:
    with suppress(ValueError):
        if 1 <= (count := int(text)) <= MOST_JOBS:
            return count
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of jobs from 1 to {MOST_JOBS:,}")
