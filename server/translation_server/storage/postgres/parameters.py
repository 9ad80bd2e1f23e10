"""Named parameters for PostgreSQL, whose protocol numbers them."""

import re
from collections.abc import Mapping
from functools import lru_cache

TOKENS = re.compile(r"'[^']*'|::|:(?P<name>[A-Za-z_]\w*)")
"""String literals and casts, which are left alone, and parameters with their whole name."""


def number_parameters(statement: str, parameters: Mapping[str, object]) -> tuple[str, list[object]]:
    """Returns a statement with ``$1`` for its first named parameter and so on, and their values in this order.

    Raises:
        KeyError: the statement has a parameter without a value.
    """
    numbered, names = _number(statement)
    return numbered, [parameters[name] for name in names]


@lru_cache(maxsize=100)
def _number(statement: str) -> tuple[str, list[str]]:
    names: list[str] = []

    def replace(token: re.Match[str]) -> str:
        name = token["name"]
        if name is None:
            return token[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return TOKENS.sub(replace, statement), names
