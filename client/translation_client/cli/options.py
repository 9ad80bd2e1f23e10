"""The options of the command: their defaults, and the command line that continues a wait."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from translation_client.cli.errors import UsageError
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.receivers import Listener

DEFAULT_URL = "http://127.0.0.1:8000"

SECONDS: Mapping[str, Any] = {"type": float, "metavar": "SECONDS"}

LOGIN = frozenset({"url", "dialect", "parameter", "username", "password_file", "token_file"})
"""The options that every suggested command line repeats. A password or token is not repeated."""

WAITING = LOGIN | {
    *(
        "initial_interval",
        "max_interval",
        "timeout",
        "cancel_on_timeout",
        "schedule",
        "no_long_poll",
        "kind",
        "history",
        "stats",
        "output",
    ),
    *("log_file", "json", "quiet", "verbose"),
}
"""The options that the command line for a resumed wait repeats."""

MOST_IDS = 20
"""With more jobs than this, the command line for a resumed wait does not list them."""

RENAMED = {
    "parameters": "--parameter",
    "files": "--file",
    "job_id": "ID",
    "base_url": "--url",
    "initial_delay": "--initial-interval",
    "max_delay": "--max-interval",
}
"""The flags for arguments of the library that have another name there."""


class Options(argparse.Namespace):
    """The options with their defaults.

    Attributes:
        handler: Runs the subcommand and returns the exit status.
        receiver: What gets the webhooks of the jobs, with `--webhook`.
    """

    handler: "Handler"
    receiver: Listener | None = None
    completion: str | None = None
    ids: tuple[str, ...] = ()

    url: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    dialect: str = "start"
    parameter: list[tuple[str, str]] | None = None
    token: str | None = None
    token_file: str | None = None

    initial_interval: float | None = None
    max_interval: float | None = None
    timeout: float | None = None
    cancel_on_timeout: bool = False
    schedule: str = "auto"
    no_long_poll: bool = False
    kind: str | None = None
    history: str | None = None
    stats: bool = False
    output: str | None = None
    pending: bool = False

    jobs: int = 1
    source_language: str | None = None
    target_language: str | None = None
    video_length: float | None = None
    input: list[tuple[str, str]] | None = None
    file: list[tuple[str, str]] | None = None
    idempotency_key: str | None = None
    webhook: bool = False

    host: str = "127.0.0.1"
    port: int = 0
    secret: str | None = None
    secret_file: str | None = None
    deliveries: int | None = None

    settings: tuple[str, ...] = ()
    scenario: str | None = None
    advance: float | None = None
    speed: float | None = None
    frozen: bool | None = None
    outcome: str = "completed"
    message: str | None = None
    limit: int | None = None
    status: list[str] | None = None
    format: str | None = None
    fail_on: str = "never"

    log_file: str = "none"
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def __setattr__(self, name: str, value: object) -> None:
        """Joins the lists before and after the name of a subcommand; argparse would drop the first."""
        before = getattr(self, name, None)
        if isinstance(before, list) and isinstance(value, list) and value[: len(before)] != before:
            value = [*before, *value]
        super().__setattr__(name, value)


Handler: TypeAlias = Callable[[Options], int]
Group: TypeAlias = argparse._ArgumentGroup  # noqa: SLF001 - what add_argument_group returns has no public name


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, accepts no abbreviated flags, and leaves the defaults to `Options`."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the options of ArgumentParser
        super().__init__(argument_default=argparse.SUPPRESS, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message}; see {command() or program()} --help")


class Help(argparse.RawDescriptionHelpFormatter):
    """Help whose first line names the operands only; the flags follow."""

    def add_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None = None
    ) -> None:
        """Adds the first line."""
        self._prog += " [options]"
        super().add_usage(usage, [action for action in actions if not action.option_strings], groups, prefix)


def assignment(text: str) -> tuple[str, str]:
    """Returns the two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def json_or_text(value: str) -> object:
    """Returns a value that is JSON if it can be read as JSON, else text."""
    try:
        document: object = json.loads(value)
    except ValueError:
        return value
    return document


def program() -> str:
    """Returns the name that the command was called by."""
    name = Path(sys.argv[0]).name
    return {"client.py": "python3 client.py", "__main__.py": "python3 -m translation_client"}.get(
        name, "translation-client"
    )


def command() -> str:
    """Returns how to call the command again; empty if that is impossible where the user reads its messages.

    In a container, the command was called in another way than outside, so `TRANSLATION_CLIENT_COMMAND` comes first.
    """
    return os.environ.get("TRANSLATION_CLIENT_COMMAND", program())


def is_plain(options: Options) -> bool:
    """Whether the output is lines for people."""
    return not (options.json or options.quiet or options.verbose)


def resume(options: Options, ids: Sequence[str], *, listed: bool) -> str:
    """Returns the command line that continues a wait.

    Args:
        options: The options of the wait.
        ids: The jobs.
        listed: Whether the server lists jobs. Then, for very many jobs, the command line waits for all pending ones.
    """
    if listed and len(ids) > MOST_IDS:
        return f"Resume with: {_command_line(options, WAITING, 'wait', '--pending')} (for all your pending jobs)"
    return f"Resume with: {_command_line(options, WAITING, 'wait', '--', *ids)}"


def list_all(options: Options) -> str:
    """Returns the command line that lists all jobs."""
    return _command_line(options, LOGIN, "list")


def list_in_full(options: Options, ids: Sequence[str] = ()) -> str:
    """Returns the command line that shows the server's whole answers about these jobs; without ids, about all jobs.

    It polls none of them.
    """
    return _command_line(options, LOGIN, "list", "--json", *(["--", *ids] if ids else []))


def _command_line(options: Options, repeated: Container[str], *words: str) -> str:
    """Returns a command line with some of the options. No id or value in it can be mistaken for a flag."""
    values = [
        (f"--{name.replace('_', '-')}", "=".join(value) if isinstance(value, tuple) else value)
        for name, given in vars(options).items()
        if name in repeated
        for value in (given if isinstance(given, list) else [given])
    ]
    flags = [flag if value is True else f"{flag}={value}" for flag, value in values if value]
    return f"{command()} {shlex.join([*flags, *words])}"


@contextmanager
def naming_flags() -> Iterator[None]:
    """Turns a ValueError about an argument of the library into a UsageError about its flag."""
    try:
        yield
    except ValueError as error:
        argument, _, rest = str(error).partition(" ")
        default = f"--{argument.replace('_', '-')}" if hasattr(Options, argument) else argument
        raise UsageError(f"{RENAMED.get(argument, default)} {rest}".rstrip()) from None


def add_common(parser: Parser, *, hidden: bool) -> None:
    """Adds the flags that every subcommand has; hidden, they work and the help does not repeat them."""

    def add(group: Group, flag: str, meaning: str, **options: Any) -> None:  # noqa: ANN401 - the options of argparse
        group.add_argument(flag, help=argparse.SUPPRESS if hidden else meaning, **options)

    server = parser.add_argument_group("server")
    add(server, "--url", f"the server's address (default {DEFAULT_URL})")
    add(server, "--username", "the user", metavar="NAME")
    add(server, "--password", "visible to all users of this machine; prefer a file")
    add(server, "--password-file", "a file with the password", metavar="FILE")
    dialects = f"{', '.join(DIALECTS)}, or a TOML file that describes one (default {Options.dialect})"
    add(server, "--dialect", f"the wire format: {dialects}", metavar="NAME|FILE")
    add(
        server,
        "--parameter",
        "a part of the dialect's paths, such as model=m1, or of the query: query.v=1; several times for several",
        action="append",
        type=assignment,
        metavar="NAME=VALUE",
    )
    add(server, "--token", "for a dialect that takes a token; as visible as a password")
    add(server, "--token-file", "a file with the token", metavar="FILE")
    output = parser.add_argument_group("output")
    add(output, "--json", "one JSON object per change, with all that the server said as raw", action="store_true")
    add(output, "--quiet", "run and wait print only failures", action="store_true")
    add(output, "--verbose", "print the log on stderr", action="store_true")
    log = f"append the log to this file; none: no log (default {Options.log_file})"
    add(output, "--log-file", log, metavar="FILE")


def add_ids(parser: Parser) -> None:
    """Adds the ids of jobs."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="a job's id; put -- before an id that starts with a dash")
