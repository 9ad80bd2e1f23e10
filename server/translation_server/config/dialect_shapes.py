"""Shapes: the allowed values of the keys in a file, and the messages about other values.

The client's `dialect_shapes.py` is a copy of the server's, by `make generate`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

Value: TypeAlias = Any  # any value of TOML
Schema: TypeAlias = Mapping[str, Any]
MAX_SHOWN = 60  # characters of a value in a message


class FormatError(ValueError):
    """A mistake in a file; the message is one line that says what is wrong, and where."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(" ".join((f"{place}: {problem}" if place else problem).splitlines()))


class Shape(NamedTuple):
    """The values that a key may have.

    Attributes:
        needed: What it must be, for messages.
        take: Returns a value in its normal form, or raises `FormatError` with the given place.
        default: The value where the key is absent; `REQUIRED` for a key that must be there.
        keys: The keys of a table, if only these are allowed.
        schema: A JSON Schema, for editors. It accepts every value that `take` accepts, and some that it refuses.
    """

    needed: str
    take: Callable[[Value, str], Value]
    default: Value = None
    keys: Sequence[str] = ()
    schema: Schema = MappingProxyType({})


REQUIRED = object()


def unknown(what: str, known: Sequence[str]) -> str:
    """Returns the message about an unknown name."""
    return f"there is no such {what}; the {what}s are {', '.join(known)}"


def must(place: str, needed: str, value: object) -> FormatError:
    """Returns the error for an unsuitable value."""
    match value:
        case Mapping() | list():
            shown = "a table" if isinstance(value, Mapping) else "a list" if value else "an empty list"
        case bool() | str():
            shown = json.dumps(value, ensure_ascii=False)
        case _:
            shown = str(value)
    return FormatError(place, f"must be {needed}, not {shown[:MAX_SHOWN]}")


def below(place: str, key: str) -> str:
    """Returns the place of a key in a table."""
    shown = key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)
    return f"{place}.{shown}".removeprefix(".")


def value_of(
    needed: str, is_valid: Callable[[Value], object], default: Value = None, *, schema: Schema | None = None
) -> Shape:
    """A value that a function accepts."""

    def take(value: object, place: str) -> object:
        if not is_valid(value):
            raise must(place, needed, value)
        return value

    return Shape(needed, take, default, schema=schema or {})


def matching(pattern: re.Pattern[str]) -> Schema:
    """Returns the schema of texts that match a pattern as a whole."""
    anything = r"[\s\S]*" if pattern.flags & re.DOTALL else ".*"
    return {"type": "string", "pattern": f"^(?:{pattern.pattern.replace('.*', anything)})$"}


def text(needed: str, pattern: re.Pattern[str], default: Value = None) -> Shape:
    """A text that matches a pattern."""
    schema = matching(pattern)
    return value_of(needed, lambda value: isinstance(value, str) and pattern.fullmatch(value), default, schema=schema)


def number(needed: str, least: int, most: int, default: Value = None) -> Shape:
    """A whole number."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return value_of(needed, lambda value: type(value) is int and least <= value <= most, default, schema=schema)


def word_of(*words: str, default: Value = None) -> Shape:
    """One of some words."""
    needed = " or ".join(", ".join(f'"{word}"' for word in words).rsplit(", ", 1))
    return value_of(needed, lambda value: isinstance(value, str) and value in words, default, schema={"enum": words})


def several(one: Shape, default: Value = REQUIRED) -> Shape:
    """One value or several; in its normal form a list that is not empty, or the default."""

    def take(value: object, place: str) -> list[Value]:
        if value == []:
            raise must(place, one.needed, value)
        return [one.take(each, place) for each in (value if isinstance(value, list) else [value])]

    schema = {"anyOf": [one.schema, {"type": "array", "items": one.schema, "minItems": 1}]}
    return Shape(f"{one.needed}, or several in a list", take, default, schema=schema)


def table(
    keys: Mapping[str, Shape],
    default: Value = None,
    one_of: Sequence[str] = (),
    at_most: Sequence[str] = (),
) -> Shape:
    """A table with these keys; ``one_of`` must have exactly one of its keys, ``at_most`` may have one."""
    needed = f"a table with {', '.join(keys)}"

    def take(value: object, place: str) -> Mapping[str, Value]:
        if not isinstance(value, Mapping):
            raise must(place or "the file", needed, value)
        for key in value:
            if key not in keys:
                raise FormatError(below(place, key), unknown("key", list(keys)))
        for key, shape in keys.items():
            if key not in value and shape.default is REQUIRED:
                raise FormatError(below(place, key), f"is required: {shape.needed}")
        found = [key for key in (*one_of, *at_most) if key in value]
        if len(found) > 1 or (one_of and not found):
            raise FormatError(place, f"must have one of {' and '.join(', '.join((*one_of, *at_most)).rsplit(', ', 1))}")
        return {
            key: shape.take(value[key], below(place, key)) if key in value else shape.default
            for key, shape in keys.items()
        }

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: {"description": shape.needed, **shape.schema} for key, shape in keys.items()},
        "additionalProperties": False,
        "required": [key for key, shape in keys.items() if shape.default is REQUIRED],
    }
    if one_of:
        schema["oneOf"] = [{"required": [key]} for key in one_of]
    return Shape(needed, take, default, list(keys), schema)


def tables(of: Shape, pattern: re.Pattern[str], names: str, default: Value = REQUIRED, *, key: str) -> Shape:
    """A table whose keys match a pattern; a required one has at least one. ``key`` describes the keys in messages."""
    needed = f"a table of {names}"

    def take(value: object, place: str) -> Mapping[str, Value]:
        if not isinstance(value, Mapping) or (default is REQUIRED and not value):
            raise must(place, needed, value)
        for name in value:
            if not pattern.fullmatch(name):
                raise FormatError(below(place, name), f"the key must be {key}")
        return {name: of.take(each, below(place, name)) for name, each in value.items()}

    names_schema = {"description": f"the key must be {key}", **matching(pattern)}
    schema: dict[str, Any] = {"type": "object", "propertyNames": names_schema, "additionalProperties": of.schema}
    if default is REQUIRED:
        schema["minProperties"] = 1
    return Shape(needed, take, default, schema=schema)
