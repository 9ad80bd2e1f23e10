"""Released migrations never change, because databases of all these versions exist."""

import ast
import hashlib
import json
from pathlib import Path

import pytest

from translation_server.storage.postgres import migrations as postgres_migrations
from translation_server.storage.sqlite import migrations as sqlite_migrations

DIGESTS = {
    sqlite_migrations: [
        "97ec6334c0157e32",
        "83fea7e85b25ad28",
        "afb8f9748e57ca5a",
        "98d9b47073fb50cb",
        "6f1a914d9895ea80",
        "2d26a803721d9d61",
        "ea395508c4688a01",
        "a5dfe7a1cc9a1eee",
        "1390e139ab3bd0b6",
        "9bd906d08e1ebeb6",
        "0518a55f36a831e9",
        "87e347affacc1550",
        "ebf2e49666fe7689",
        "b13b4f2c24908421",
        "4d7430e4f8cb6c14",
        "f9eb277259b7ffba",
        "438ab30d43af708c",
    ],
    postgres_migrations: [
        "0d4d904aa23cdc84",
        "fcfc476522241e41",
        "e235ab7bb9dbb396",
        "7e9ac9cf8838dfdf",
        "d43037296b610df4",
        "83a0d2116e634293",
        "46d2e57bfd8a9d4b",
        "278fafd4da70c997",
        "2c90fadde8a6b730",
        "6f7c2966fa462e92",
        "0be4c8ecd61fb401",
        "058572c9ff0efa01",
        "60887ed56906691b",
        "438ab30d43af708c",
    ],
}
"""Digests of the statements of each migration; a new migration adds one."""


def digest(statements):
    """Returns a digest that does not depend on the layout."""
    words = [" ".join(statement.split()) for statement in statements]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


@pytest.mark.parametrize("module", DIGESTS)
def test_migrations_are_unchanged(module):
    assert [digest(statements) for statements in module.MIGRATIONS] == DIGESTS[module]


@pytest.mark.parametrize("module", DIGESTS)
def test_migrations_are_literals(module):
    _docstring, assignment = ast.parse(Path(module.__file__).read_text()).body
    assert ast.literal_eval(assignment.value) == module.MIGRATIONS
