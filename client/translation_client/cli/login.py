"""Where the command goes and as whom: by flags, by the environment, by `.env`, by whoever sits at the terminal."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from getpass import getpass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import httpx
from dotenv import dotenv_values

from translation_client import validation
from translation_client.cli.arguments import DEFAULT_URL, Options, UsageError
from translation_client.cli.log import tell
from translation_client.core.dialects import Dialect
from translation_client.dialect_files import find_dialect

# Where a setting may come from: what those who call the command say themselves, and what the working directory says.
COMMAND_LINE, TERMINAL, ENVIRONMENT = "the command line", "the terminal", "the environment"
DOTENV, VARIABLES, NAMED_FILE = ".env", "variables that .env names", "a file that .env names"
OWN = {COMMAND_LINE, TERMINAL, ENVIRONMENT}

VARIABLE = re.compile(r"\$\{([^}:]*)")  # as dotenv fills them in


class Login(NamedTuple):
    """Where to go, what to speak, and as whom."""

    url: str
    dialect: Dialect
    username: str | None
    password: str | None
    token: str | None


class Given(NamedTuple):
    """A setting, and where it comes from."""

    value: str
    place: str


def login(options: Options) -> Login:
    """Find the address and the credentials; ask for what is missing, if somebody is there to answer.

    Raises:
        UsageError: Nothing gives them, the address is none, or there is no such dialect.
    """
    places = [_environment(), _dotenv()]
    named = None if options.url else _first("SERVER_URL", places)
    url = options.url or (named.value if named else DEFAULT_URL)
    try:
        address = validation.address(url)
    except ValueError as error:
        raise UsageError(str(error).replace("base_url", "SERVER_URL" if named else "--url")) from None
    try:
        dialect = find_dialect(options.dialect)
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    if dialect.scheme == "basic":
        name = _typed(options.username) or _first("API_USERNAME", places)
        secret = _secret("password", options.password, options.password_file, places)
        _tell_where(address, named, name, secret)
        username = name.value if name else _ask("username", _username)
        return Login(url, dialect, username, _value("password", secret), options.token)
    secret = _secret("token", options.token, options.token_file, places)
    _tell_where(address, named, secret)
    return Login(url, dialect, options.username, options.password, _value("token", secret))


def _tell_where(address: httpx.URL, named: Given | None, *credentials: Given | None) -> None:
    """Tell where the credentials go, if a file of the working directory has a say in that and not all to say."""
    if named:
        places = dict.fromkeys(each.place if each else TERMINAL for each in credentials)
        others = [place for place in places if place != named.place or place == VARIABLES]
        if others and not {named.place, *others} <= OWN and (_answering() or None not in credentials):
            told = f"credentials from {' and '.join(others)} go to {address}, the SERVER_URL of {named.place}"
            tell(told, logging.WARNING)


def _environment() -> Mapping[str, Given]:
    return {name: Given(value, ENVIRONMENT) for name, value in os.environ.items() if value}


def _dotenv() -> Mapping[str, Given]:
    try:
        file = Path(".env")
        text = file.read_text(encoding="utf-8") if file.is_file() or file.is_fifo() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f".env cannot be read: {error}. Correct it or take it away.") from None
    filled, written = (dotenv_values(stream=StringIO(text), interpolate=fill) for fill in (True, False))
    names = {name: set(VARIABLE.findall(value or "")) for name, value in written.items()}
    taken = {name for name in names if not names[name].isdisjoint(os.environ)}  # they hold something of the environment
    while further := {name for name in names.keys() - taken if not names[name].isdisjoint(taken)}:
        taken |= further
    return {name: Given(value, VARIABLES if name in taken else DOTENV) for name, value in filled.items() if value}


def _first(name: str, places: Iterable[Mapping[str, Given]]) -> Given | None:
    return next((place[name] for place in places if name in place), None)


def _typed(value: str | None) -> Given | None:
    return Given(value, COMMAND_LINE) if value else None


def _secret(what: str, given: str | None, file: str | None, places: Iterable[Mapping[str, Given]]) -> Given | None:
    if given is not None:
        return Given(given, COMMAND_LINE)
    if file:
        return Given(_read(what, file), COMMAND_LINE)
    name = f"API_{what.upper()}"
    for place in places:
        if secret := place.get(name):
            return secret
        if named := place.get(f"{name}_FILE"):
            return Given(_read(what, named.value), ENVIRONMENT if named.place == ENVIRONMENT else NAMED_FILE)
    return None


def _value(what: str, secret: Given | None) -> str:
    return secret.value if secret else _ask(what, partial(getpass, f"{what.capitalize()}: "))


def _read(what: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"the {what} file {file!r} cannot be read: {error}. Name another.") from None


def _answering() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(what: str, answer: Callable[[], str]) -> str:
    if _answering():
        with suppress(EOFError):
            return answer()
    raise UsageError(f"no {what}. Give --{what}, or set API_{what.upper()} in the environment or in .env.")


def _username() -> str:
    sys.stderr.write("Username: ")
    sys.stderr.flush()
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line.rstrip("\n")
