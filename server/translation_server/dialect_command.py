"""`translation-server schema` and `dialects`: prints schemas, and lists, shows and checks the files of dialects."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import read_dialects, shipped, source
from translation_server.config.output_files import OutputFilesError, read_output_files
from translation_server.core.dialects.dialect import Dialect, DialectError
from translation_server.schemas import SCHEMAS
from translation_server.schemas import show as show_schemas
from translation_server.service.files import Library

USAGE_ERROR = 2


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands; the parsed options have its function as ``run``, and its argument as ``names``."""
    subcommands = parser.add_subparsers(title="commands", metavar="")
    meaning = "print the JSON Schema of a kind of file, for an editor"
    schema = subcommands.add_parser("schema", help=meaning, description=meaning)
    schema.set_defaults(run=show_schemas)
    schema.add_argument("names", nargs=1, choices=tuple(SCHEMAS))
    dialects = subcommands.add_parser("dialects", help="list, show or check the files that describe APIs")
    commands = dialects.add_subparsers(required=True, metavar="COMMAND")
    for name, run, argument, meaning in COMMANDS:
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.set_defaults(run=run, names=())
        if argument:
            command.add_argument("names", nargs="+", metavar=argument)


def check(files: Sequence[str]) -> int:
    """Checks files, and prints the operations that they describe."""
    status = 0
    for file in files:
        try:
            dialects = read_dialects(file, OWN_NAMES, _library().types)
        except (DialectError, OutputFilesError) as error:
            print(str(error).removeprefix("DIALECTS="), file=sys.stderr)
            status = USAGE_ERROR
        else:
            for dialect in dialects:
                print(f"{file}: {_summary(dialect)}")
    return status


def show(names: Sequence[str]) -> int:
    """Prints the files of shipped APIs."""
    for name in names:
        if name not in shipped():
            print(f"{name}: no such API is shipped: there are {', '.join(shipped())}", file=sys.stderr)
            return USAGE_ERROR
        print(source(name), end="")
    return 0


def list_shipped(_: Sequence[str]) -> int:
    """Lists the shipped APIs with their kinds of jobs."""
    for name in shipped():
        for dialect in read_dialects(name, OWN_NAMES):
            print(f"{name}: {dialect.api.mount}: {_summary(dialect)}")
    return 0


def _library() -> Library:
    folder = os.environ.get("OUTPUT_FILES")
    return Library(read_output_files(Path(folder)) if folder else {})


def _summary(dialect: Dialect) -> str:
    return f"{dialect.kind}: {', '.join(dict.fromkeys(one.action for one in dialect.operations))}"


COMMANDS: Sequence[tuple[str, Callable[[Sequence[str]], int], str | None, str]] = (
    ("list", list_shipped, None, "list the APIs that are shipped"),
    ("show", show, "NAME", "print the file of a shipped API"),
    ("check", check, "FILE", "check files, and say what they describe"),
)
