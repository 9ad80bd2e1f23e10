"""What each version of the schema wrote stays as it was: files of all these versions are out there."""

import ast
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from translation_server.storage.postgres import migrations as postgres_migrations
from translation_server.storage.sqlite import migrations as sqlite_migrations

WRITTEN = {
    sqlite_migrations: [
        "97ec6334c0157e32",
        "83fea7e85b25ad28",
        "afb8f9748e57ca5a",
        "98d9b47073fb50cb",
        "6f1a914d9895ea80",
        "2d26a803721d9d61",
        "ea395508c4688a01",
    ],
    postgres_migrations: [
        "0d4d904aa23cdc84",
        "fcfc476522241e41",
        "e235ab7bb9dbb396",
        "7e9ac9cf8838dfdf",
        "d43037296b610df4",
    ],
}
"""Digests of the statements of each version: a new version adds one, and none of the others ever changes."""


def digest(statements: Sequence[str]) -> str:
    """What tells statements from others, however they are laid out."""
    return hashlib.sha256(json.dumps([" ".join(one.split()) for one in statements]).encode()).hexdigest()[:16]


@pytest.mark.parametrize("module", WRITTEN)
def test_what_a_version_wrote_stays_as_it_was(module):
    assert [digest(statements) for statements in module.MIGRATIONS] == WRITTEN[module]


@pytest.mark.parametrize("module", WRITTEN)
def test_migrations_are_literals_that_no_other_module_can_change(module: ModuleType):
    _docstring, only = ast.parse(Path(module.__file__).read_text()).body
    assert ast.literal_eval(only.value) == module.MIGRATIONS
