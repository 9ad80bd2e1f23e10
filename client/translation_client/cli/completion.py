"""Completion by shells. Only `--completion` imports this module, because it imports shtab."""

import argparse
from collections.abc import Iterator

import shtab

from translation_client.core.builtin_dialects import DIALECTS
from translation_client.dialect_files import shipped


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Returns a script with which a shell completes the subcommands, flags, choices and files of the command."""
    for action in _actions(parser):
        if action.dest == "dialect":
            action.choices = (*DIALECTS, *shipped())
        elif str(action.metavar).endswith(("FILE", "PATH")):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own attribute
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list; shtab reads this one
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - has no public name
            for subparser in action.choices.values():
                yield from _actions(subparser)
