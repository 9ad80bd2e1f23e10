"""The server's address and the credentials: from flags, the environment, `.env` or the terminal."""

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

from dotenv import dotenv_values

from translation_client import validation
from translation_client.cli.errors import UsageError
from translation_client.cli.log import log_and_show
from translation_client.cli.options import DEFAULT_URL, Options
from translation_client.core.dialects import NAMED, Dialect
from translation_client.dialect_files import find_dialect
from translation_client.http_library import httpx

# The sources of a setting. The user controls the first three; the working directory may be somebody else's.
COMMAND_LINE, TERMINAL, ENVIRONMENT = "the command line", "the terminal", "the environment"
DOTENV, VARIABLES, NAMED_FILE = ".env", "variables that .env names", "a file that .env names"
TRUSTED = {COMMAND_LINE, TERMINAL, ENVIRONMENT}

VARIABLE = re.compile(r"\$\{([^}:]*)")  # as dotenv expands them


class Login(NamedTuple):
    """The server's address and dialect, and the credentials."""

    url: str
    dialect: Dialect
    username: str | None
    password: str | None
    token: str | None


class Setting(NamedTuple):
    """A value and its source."""

    value: str
    source: str


def login(options: Options) -> Login:
    """Finds the address, the dialect and the credentials. On a terminal, prompts for missing credentials.

    Raises:
        UsageError: Credentials are missing, or the address or the dialect is unusable.
    """
    sources = [_environment(), _dotenv()]
    server_url = None if options.url else _first("SERVER_URL", sources)
    url = options.url or (server_url.value if server_url else DEFAULT_URL)
    try:
        address = validation.address(url)
    except ValueError as error:
        raise UsageError(str(error).replace("base_url", "SERVER_URL" if server_url else "--url")) from None
    try:
        dialect = find_dialect(options.dialect)
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    if dialect.auth in NAMED:
        name = _from_command_line(options.username) or _first("API_USERNAME", sources)
        password = _secret("password", options.password, options.password_file, sources)
        _warn_of_mixed_sources(address, server_url, name, password)
        username = name.value if name else _prompt("username", _read_username)
        return Login(url, dialect, username, _value("password", password), options.token)
    token = _secret("token", options.token, options.token_file, sources)
    _warn_of_mixed_sources(address, server_url, token)
    return Login(url, dialect, options.username, options.password, _value("token", token))


def _warn_of_mixed_sources(address: httpx.URL, server_url: Setting | None, *credentials: Setting | None) -> None:
    """Says where the credentials go if `.env` names the server or a credential, but not all of them.

    A `.env` of somebody else could otherwise send the user's credentials elsewhere, unseen.
    """
    if server_url:
        sources = dict.fromkeys(each.source if each else TERMINAL for each in credentials)
        others = [source for source in sources if source != server_url.source or source == VARIABLES]
        trusted = {server_url.source, *others} <= TRUSTED
        if others and not trusted and (_on_terminal() or None not in credentials):
            log_and_show(
                f"credentials from {' and '.join(others)} go to {address}, the SERVER_URL of {server_url.source}",
                logging.WARNING,
            )


def _environment() -> Mapping[str, Setting]:
    return {name: Setting(value, ENVIRONMENT) for name, value in os.environ.items() if value}


def _dotenv() -> Mapping[str, Setting]:
    try:
        file = Path(".env")
        text = file.read_text(encoding="utf-8") if file.is_file() or file.is_fifo() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f".env cannot be read: {error}. Correct or remove it.") from None
    expanded, literal = (dotenv_values(stream=StringIO(text), interpolate=expand) for expand in (True, False))
    references = {name: set(VARIABLE.findall(value or "")) for name, value in literal.items()}
    from_environment = {name for name in references if not references[name].isdisjoint(os.environ)}
    while indirect := {name for name in references.keys() - from_environment if references[name] & from_environment}:
        from_environment |= indirect
    return {
        name: Setting(value, VARIABLES if name in from_environment else DOTENV)
        for name, value in expanded.items()
        if value
    }


def _first(name: str, sources: Iterable[Mapping[str, Setting]]) -> Setting | None:
    return next((source[name] for source in sources if name in source), None)


def _from_command_line(value: str | None) -> Setting | None:
    return Setting(value, COMMAND_LINE) if value else None


def _secret(kind: str, value: str | None, file: str | None, sources: Iterable[Mapping[str, Setting]]) -> Setting | None:
    """Finds a password or token: its flag, its file's flag, then in each source its variable or its file's variable."""
    if value is not None:
        return Setting(value, COMMAND_LINE)
    if file:
        return Setting(read_secret(kind, file), COMMAND_LINE)
    name = f"API_{kind.upper()}"
    for source in sources:
        if secret := source.get(name):
            return secret
        if path := source.get(f"{name}_FILE"):
            return Setting(read_secret(kind, path.value), ENVIRONMENT if path.source == ENVIRONMENT else NAMED_FILE)
    return None


def _value(kind: str, secret: Setting | None) -> str:
    return secret.value if secret else _prompt(kind, partial(getpass, f"{kind.capitalize()}: "))


def read_secret(kind: str, file: str) -> str:
    """Returns the secret in a file.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"the {kind} file {file!r} cannot be read: {error}. Name another.") from None


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _prompt(kind: str, read: Callable[[], str]) -> str:
    if _on_terminal():
        with suppress(EOFError):
            return read()
    raise UsageError(f"no {kind}. Give --{kind}, or set API_{kind.upper()} in the environment or in .env.")


def _read_username() -> str:
    sys.stderr.write("Username: ")
    sys.stderr.flush()
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line.rstrip("\n")
