"""Completion of `translation-server` by shells. Only `--completion` imports this module, because it imports shtab."""

import argparse
from collections.abc import Iterator

import shtab

from translation_server.config.dialect_files import shipped


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Returns a script with which a shell completes the subcommands, flags, names and files of the command."""
    for action in _actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own attribute
        elif action.metavar == "NAME":
            action.choices = shipped()
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list; shtab reads this one
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - has no public name
            for subparser in action.choices.values():
                yield from _actions(subparser)
