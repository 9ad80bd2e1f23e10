"""Finds dialects by name, and reads them from TOML files in the format of the server's setting `DIALECTS`."""

import re
import tomllib
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

from translation_client.core.dialects import DIALECTS, Dialect

DialectLike: TypeAlias = Dialect | str | PathLike[str]
"""A dialect, the name of a built-in one, or the path of a file with one; `path#name` for one of several."""

REQUIRED = ("poll", "job", "words")
KEYS = (*REQUIRED, "submit", "request", "accepted", "accepted_code", "auth")
NAME = re.compile(r"[a-z][a-z0-9-]*")
ONE_OF_SEVERAL = re.compile(rf"(.+)#({NAME.pattern})", re.DOTALL)

RESERVED = {
    path.split("/")[1] for dialect in DIALECTS.values() for path in (dialect.submit or dialect.path, dialect.path)
} | {*("docs", "events", "files", "livez", "readyz", "sandbox"), *DIALECTS}
"""Names that collide with the server's routes and built-in dialects."""


def find_dialect(dialect: DialectLike) -> Dialect:
    """Finds a dialect.

    Raises:
        ValueError: There is none, or its file is unusable; one line with the file, the dialect and what is wrong.
    """
    if isinstance(dialect, Dialect):
        return dialect
    text = fspath(dialect)
    if text in DIALECTS:
        return DIALECTS[text]
    match = ONE_OF_SEVERAL.fullmatch(text)
    path, name = match.groups() if match else (text, None)
    dialects = _read(path)
    if name is None and len(dialects) == 1:
        return next(iter(dialects.values()))
    if name in dialects:
        return dialects[name]
    raise ValueError(f"dialect {text}: choose one of {', '.join(f'{path}#{each}' for each in dialects)}")


def _read(path: str) -> dict[str, Dialect]:
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"dialect {path}: is neither one of {', '.join(DIALECTS)} nor a file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"dialect {path}: cannot be read as TOML: {error}") from None
    if not tables:
        raise ValueError(f"dialect {path}: must define a dialect, such as [mine]")
    return {name: _dialect(path, name, table) for name, table in tables.items()}


def _dialect(path: str, name: str, table: object) -> Dialect:
    where = f"dialect {path}: [{name}]"
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"{where} must have an unused name in lower case: this project's server puts it into the path")
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table")  # noqa: TRY004 - the value in the file is wrong
    if unknown := [key for key in table if key not in KEYS]:
        raise ValueError(f"{where} {unknown[0]}: there is no such field; the fields are {', '.join(KEYS)}")
    if missing := [key for key in REQUIRED if key not in table]:
        raise ValueError(f"{where} {missing[0]}: is required")
    try:
        return Dialect(name=name, **table)
    except ValueError as error:
        raise ValueError(f"dialect {path}: {str(error).removeprefix('dialect ')}") from None
