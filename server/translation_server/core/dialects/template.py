"""Templates of bodies, headers and texts: JSON values in which ``"{name}"`` is a placeholder for a value.

A placeholder alone has the type of its value; if the value is unknown, it is null. Within a longer text, a value
becomes text; if it is unknown, the whole text is left out, with its key in an object. ``{name | or_null}`` makes the
text null instead, and ``"{name | or_omit}"`` leaves out a field with this placeholder alone. ``{name | filter}``
converts the value, and ``{omit}`` leaves a field out. ``{?a,b}`` and ``{&a,b}`` are parameters of a query (RFC 6570,
sections 3.2.8 and 3.2.9); those without a value are left out. ``{{`` and ``}}`` stand for braces.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from translation_server.core.dialects.filters import FILTERED, FILTERS, OR_NULL, OR_OMIT, Filter

TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
NAME = re.compile(r"[A-Za-z_][\w-]*(?:[.:][\w-]+)*")

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)

MAX_NUMBER = 1e300
"""Numbers of this size or larger are unknown: JSON has no infinity, and Python limits the digits of integers."""

ValueOf = Callable[[str], object]
"""Returns the value of a name; None where it is unknown."""


MAX_INTEGER = 2**63
"""TOML has no integers of this size or larger."""


class TemplateError(ValueError):
    """A template cannot be used; the message says which part, and what is allowed."""


class Placeholder(NamedTuple):
    """A value that takes the place of a placeholder."""

    name: str
    convert: Filter | None
    or_null: bool = False
    or_omit: bool = False

    def value(self, value_of: ValueOf) -> object:
        """Returns the value; None if it is unknown, or if the filter does not take it."""
        found = None if self.name in SPECIAL else value_of(self.name)
        return found if self.convert is None else self.filtered(found)

    def filtered(self, found: object) -> object:
        """Returns a value that was found, as the filter converts it."""
        if found is None or self.convert is None:
            return found
        try:
            value = self.convert(found)
        except (TypeError, ValueError, OverflowError, OSError):
            return None  # a caller has sent a value that the filter does not take
        return None if isinstance(value, int | float) and not abs(value) < MAX_NUMBER else value


class Query(NamedTuple):
    """Parameters of a query within a text, each with the last part of its placeholder's name."""

    operator: str
    parameters: Sequence[Placeholder]

    def value(self, value_of: ValueOf) -> str:
        """Returns the parameters that have a value."""
        values = [(one.name.rpartition(".")[2], one.value(value_of)) for one in self.parameters]
        pairs = [
            f"{name}={quoted(one if isinstance(one, str) else to_json(one))}"
            for name, value in values
            for one in (value if isinstance(value, list) else [value])
            if one is not None
        ]
        return self.operator + "&".join(pairs) if pairs else ""


class Text(NamedTuple):
    """A text with placeholders."""

    parts: Sequence[str | Placeholder | Query]

    def value(self, value_of: ValueOf) -> str | None:
        """Returns the text; None where one of its values is unknown."""
        texts = []
        for part in self.parts:
            value = part if isinstance(part, str) else part.value(value_of)
            if value is None:
                return None
            texts.append(value if isinstance(value, str) else to_json(value))
        return "".join(texts)


Node = Mapping[str, Any] | Sequence[Any] | Placeholder | Text | str | float | bool | None
"""A parsed template: objects and arrays of nodes, placeholders, texts and constants."""


def to_json(value: object) -> str:
    """Returns a value as JSON. The most frequent values of bodies take a shortcut."""
    if type(value) is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if type(value) is float and math.isfinite(value):
        return repr(value)
    return ENCODER.encode(value)


UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quoted(text: str) -> str:
    """Returns a text for a query, percent-encoded (RFC 3986, section 2.1)."""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in text.encode(errors="replace"))


Names = Mapping[str, Filter | None]
"""The names that placeholders may have, each with the filter that applies where a placeholder has none. A name that
ends with ``.`` or ``:`` stands for all names that begin like this."""

SPECIAL: Names = {"omit": None, "null": None}
"""Names that every template may use: `omit` leaves its field out, `null` is never known."""


def parse(template: object, known: Names) -> Node:
    """Returns a template in its parsed form.

    Args:
        template: a JSON value.
        known: the names that placeholders may have, besides `SPECIAL`.

    Raises:
        TemplateError: a placeholder has an unknown name or filter, or JSON cannot hold the value.
    """
    return _parse(template, {**known, **SPECIAL})


def _parse(template: object, known: Names) -> Node:
    match template:
        case Mapping():
            return {key: _parse(value, known) for key, value in template.items()}
        case list() | tuple():
            return [_parse(value, known) for value in template]
        case str():
            return _parse_text(template, known)
        case None | bool():
            return template
        case int() if abs(template) < MAX_INTEGER:
            return template
        case float() if math.isfinite(template):
            return template
    raise TemplateError("must hold only what JSON can: no dates, nan, inf or integers beyond 64 bits")


def _parse_text(text: str, known: Names) -> Node:
    if "{" not in text and "}" not in text:
        return text
    parts: list[str | Placeholder | Query] = []
    end = 0
    for found in TOKEN.finditer(text):
        parts.append(text[end : found.start()])
        parts.append(found[0][0] if found[1] is None else _expression(found[1], known))
        end = found.end()
    parts.append(text[end:])
    if any("{" in part or "}" in part for part in parts[::2] if isinstance(part, str)):
        raise TemplateError(f"{text!r} has a single brace: write {{{{ or }}}} for one")
    parts = [part for part in parts if part != ""]
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    return Text(tuple(parts))


def _expression(text: str, known: Names) -> Placeholder | Query:
    if text[:1] in ("?", "&"):
        return Query(text[0], tuple(_placeholder(one, known) for one in text[1:].split(",")))
    return _placeholder(text, known)


def _placeholder(text: str, known: Names) -> Placeholder:
    name, *filters = (part.strip() for part in text.split("|"))
    prefix = re.match(r"[^.:]*[.:]", name)
    key = name if name in known else prefix[0] if prefix else ""
    if key not in known or not NAME.fullmatch(name):
        listed = ", ".join(f"{one}…" if one[-1] in ".:" else one for one in known)
        raise TemplateError(f"there is no placeholder {name or '{}'}; the placeholders are {listed}")
    if unknown := [one for one in filters if one not in FILTERS]:
        raise TemplateError(f"there is no filter {unknown[0]}; the filters are {', '.join(FILTERS)}")
    converting = [one for one in filters if one not in (OR_NULL, OR_OMIT)]
    first = converting[0] if converting else "text"
    if name not in FILTERED.get(first, (name,)) and not name.startswith(("input.", "query.")):
        raise TemplateError(f"{name} cannot have the filter {first}, which is for {', '.join(FILTERED[first])}")
    steps = [FILTERS[one] for one in converting]
    return Placeholder(name, reduce(_then, steps) if steps else known[key], OR_NULL in filters, OR_OMIT in filters)


def _then(first: Filter, second: Filter) -> Filter:
    return lambda value: second(first(value))


def fill(node: Node, value_of: ValueOf) -> Any:  # noqa: ANN401 - a JSON value
    """Returns a node with values for its placeholders; None where the whole node is left out."""
    filled = _fill(node, value_of)
    return None if filled is _ABSENT else filled


def _fill(node: Node, value_of: ValueOf) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(node, dict):
        filled = {key: _fill(inner, value_of) for key, inner in node.items()}
        return {key: inner for key, inner in filled.items() if inner is not _ABSENT}
    if isinstance(node, list):
        return [filled for inner in node if (filled := _fill(inner, value_of)) is not _ABSENT]
    if isinstance(node, Placeholder | Text):
        value = node.value(value_of)
        return _ABSENT if value is None and is_left_out(node) else value
    return node


def is_left_out(node: Placeholder | Text) -> bool:
    """Whether a placeholder or text is left out where its value is unknown."""
    if isinstance(node, Text):
        return not any(part.or_null for part in node.parts if isinstance(part, Placeholder))
    return node.or_omit or node.name == "omit"


def read(node: Node, document: object, path: str = "") -> tuple[dict[str, object], list[str]]:
    """Reads a document by its template.

    Returns:
        The values at the placeholders by their names, and the paths in the document that the template does not have.
    """
    match node, document:
        case Placeholder(name=name), _:
            return {name: document}, []
        case Mapping(), Mapping():
            below = [(f"{path}.{key}".lstrip("."), node.get(key, _ABSENT), value) for key, value in document.items()]
        case list(), list():
            below = [(f"{path}[{i}]", node[i] if i < len(node) else _ABSENT, value) for i, value in enumerate(document)]
        case ((Mapping() | list()), _):
            return {}, [path]
        case _:
            return {}, []
    values: dict[str, object] = {}
    unknown: list[str] = []
    for place, inner, value in below:
        found, unknown_within = ({}, [place]) if inner is _ABSENT else read(inner, value, place)
        values |= found
        unknown += unknown_within
    return values, unknown


_ABSENT = object()


def paths(node: Node, path: str = "") -> dict[str, str]:
    """Returns the path of each placeholder that stands alone, by its name."""
    match node:
        case Placeholder():
            return {node.name: path}
        case Mapping():
            below = [(f"{path}.{key}".lstrip("."), value) for key, value in node.items()]
        case list():
            below = [(f"{path}[{i}]", value) for i, value in enumerate(node)]
        case _:
            return {}
    return {name: place for where, value in below for name, place in paths(value, where).items()}


def leaves(node: Node, path: str = "") -> list[str]:
    """Returns the paths of all values that are no objects."""
    if not isinstance(node, Mapping):
        return [path]
    return [leaf for key, value in node.items() for leaf in leaves(value, f"{path}.{key}".lstrip("."))]


def overlaid(node: Node, other: Node) -> Node:
    """Returns a node with another one laid over it: objects are merged, everything else is replaced."""
    if isinstance(node, Mapping) and isinstance(other, Mapping):
        return {**node, **{key: overlaid(node.get(key), value) for key, value in other.items()}}
    return other


def placeholders(node: Node, *, in_queries: bool = True) -> Iterator[Placeholder]:
    """Yields all placeholders of a node."""
    match node:
        case Placeholder():
            yield node
        case Query(parameters=parameters) if in_queries:
            yield from parameters
        case Text(parts=below) | list(below):
            for value in below:
                yield from placeholders(value, in_queries=in_queries)
        case Mapping():
            for value in node.values():
                yield from placeholders(value, in_queries=in_queries)


def names(node: Node, *, in_queries: bool = True) -> set[str]:
    """Returns the names of all placeholders of a node."""
    return {placeholder.name for placeholder in placeholders(node, in_queries=in_queries)}


def value_at(document: object, path: str) -> object:
    """Returns the value at a dotted path of a JSON value; None where there is none. A number is an item of an array.

    A text on the way is read as JSON: forms have their objects so.
    """
    value = document
    for key in path.split("."):
        match _parsed(value):
            case Mapping() as found:
                value = found.get(key)
            case list(found) if key.isdecimal() and int(key) < len(found):
                value = found[int(key)]
            case _:
                return None
    return value


def _parsed(value: object) -> object:
    """Returns the object or array that a text spells in JSON; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
