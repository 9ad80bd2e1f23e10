"""Templates of bodies, as dialect files have them: JSON values in which `"{name}"` is a placeholder for a value.

A placeholder alone stands for a value of any type; within a text, for text. `{name | filter}` converts the value.
Requests fill templates; answers are read where their templates have placeholders.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from translation_client.core.text import quoted

TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
NAME = re.compile(r"[A-Za-z_][\w-]*(?:[.:][\w-]+)*")
OR_NULL = "or_null"  # if the value is unknown, the text is null instead of missing
OR_OMIT = "or_omit"  # if the value is unknown, a placeholder alone is missing instead of null
FILTERS = (
    *("rfc3339", "without_zone", "unix", "unix_seconds", "unix_ms"),
    *("percent", "ms", "seconds", "text", "lines", "messages", "number", OR_NULL, OR_OMIT),
)
MAX_NUMBER = 1e300  # larger integers are too large for a division
MEASURES = ("progress", "elapsed_time")  # the fields that are numbers
MEASURE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*(%?)\s*", re.ASCII)
TIMES = ("created_at", "completed_at", "event_at", "now")
PER_UNIT = {"percent": 100, "ms": 1000}  # how much filters multiply numbers
FILTERED = {
    **dict.fromkeys(("rfc3339", "without_zone", "unix", "unix_seconds", "unix_ms"), TIMES),
    "percent": ("progress",),
    **dict.fromkeys(("ms", "seconds"), ("retry_after", "elapsed_time", "video_length")),
    **dict.fromkeys(("lines", "messages"), ("logs",)),
}
"""The fields that each filter takes, besides a caller's own fields. Filters that are not listed take any field."""

SPECIAL = ("omit", "null")  # names that every template may use


@dataclass(frozen=True)
class Placeholder:
    """A value that takes the place of a placeholder."""

    name: str
    filters: tuple[str, ...] = ()

    def fill(self, values: Mapping[str, object]) -> object:
        """Returns the value; None if it is unknown."""
        return values.get(self.name)

    def read(self, value: object) -> object:
        """Returns the value before its filters: a progress in percent becomes a fraction, milliseconds seconds.

        A measure may be a text: `"0.5"`, `"50%"`.
        """
        units = math.prod(PER_UNIT.get(one, 1) for one in self.filters)
        if self.name in MEASURES and isinstance(value, str) and (found := MEASURE.fullmatch(value)):
            value, units = float(found[1]), PER_UNIT["percent"] if found[2] else units
        if units == 1 or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return value / units if abs(value) < MAX_NUMBER else value


@dataclass(frozen=True)
class Query:
    """Parameters of a query within a text (RFC 6570): `{?a,b}` or `{&a,b}`. Those without a value are left out."""

    operator: str
    parameters: tuple[Placeholder, ...]

    def fill(self, values: Mapping[str, object]) -> str:
        """Returns the parameters that have a value."""
        known = [(one.name.rpartition(".")[2], values[one.name]) for one in self.parameters if one.name in values]
        pairs = [f"{name}={quoted(str(value))}" for name, value in known]
        return self.operator + "&".join(pairs) if pairs else ""


@dataclass(frozen=True)
class Text:
    """A text with placeholders."""

    parts: tuple[str | Placeholder | Query, ...]

    def read(self, text: object) -> dict[str, object]:
        """Returns the values at the placeholders by their names; none for a text of another form. Takes linear time."""
        if not isinstance(text, str):
            return {}
        values: dict[str, object] = {}
        open_one: Placeholder | Query | None = None  # the placeholder whose value begins at the position
        ends = ""  # where its value ends at the latest: the operators of the queries behind it
        position, last = 0, len(self.parts) - 1

        def close(end: int) -> None:
            if isinstance(open_one, Placeholder):
                value = text[position:end]
                for operator in ends:
                    value = value.partition(operator)[0]
                values[open_one.name] = open_one.read(value)

        for number, part in enumerate(self.parts):
            if isinstance(part, Query) and open_one:
                ends += part.operator
                continue
            if not isinstance(part, str):
                open_one, ends = part, ""
                continue
            at = len(text) - len(part) if number == last else text.find(part, position) if open_one else position
            if at < position or not text.startswith(part, at):
                return {}
            close(at)
            position, open_one = at + len(part), None
        if open_one is None and position < len(text):
            return {}
        close(len(text))
        return values

    def fill(self, values: Mapping[str, object]) -> str | None:
        """Returns the text with these values; None if one is missing."""
        texts = [part if isinstance(part, str) else part.fill(values) for part in self.parts]
        return None if None in texts else "".join(map(str, texts))


Node: TypeAlias = Mapping[str, Any] | Sequence[Any] | Placeholder | Query | Text | str | float | bool | None


def parse(template: object, known: Collection[str]) -> Node:
    """Returns a template in its parsed form.

    Args:
        template: A JSON value.
        known: The names that placeholders may have. A name that ends with `.` or `:` stands for all that begin with it.

    Raises:
        ValueError: A placeholder has an unknown name or filter, or JSON cannot hold the value.
    """
    match template:
        case Mapping():
            return {key: parse(value, known) for key, value in template.items()}
        case list() | tuple():
            return [parse(value, known) for value in template]
        case str() if template.encode(errors="ignore").decode() == template:
            return _text(template, known)
        case None | bool():
            return template
        case int() if abs(template) < 2**63:
            return template
        case float() if math.isfinite(template):
            return template
    raise ValueError("must hold only what JSON can: no dates, nan, inf or integers beyond 64 bits")


def _text(text: str, known: Collection[str]) -> Node:
    parts: list[str | Placeholder | Query] = []
    end = 0
    for found in TOKEN.finditer(text):
        between = text[end : found.start()]
        parts += [between, found[0][0] if found[1] is None else _expression(found[1], known)]
        end = found.end()
        _check_braces(text, between)
    _check_braces(text, text[end:])
    parts = [part for part in (*parts, text[end:]) if part != ""]
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    return Text(tuple(parts))


def _check_braces(text: str, part: str) -> None:
    if "{" in part or "}" in part:
        raise ValueError(f"{text!r} has a single brace: write {{{{ or }}}} for one")


def _expression(text: str, known: Collection[str]) -> Placeholder | Query:
    if text[:1] in {"?", "&"}:
        return Query(text[0], tuple(_placeholder(one, known) for one in text[1:].split(",")))
    return _placeholder(text, known)


def _placeholder(text: str, known: Collection[str]) -> Placeholder:
    name, *filters = (part.strip() for part in text.split("|"))
    prefix = re.match(r"[^.:]*[.:]", name)
    names = (*known, *SPECIAL)
    if not NAME.fullmatch(name) or not (name in names or (prefix and prefix[0] in names)):
        listed = ", ".join(f"{one}…" if one[-1] in ".:" else one for one in names)
        raise ValueError(f"there is no placeholder {name or '{}'}; the placeholders are {listed}")
    if unknown := [one for one in filters if one not in FILTERS]:
        raise ValueError(f"there is no filter {unknown[0]}; the filters are {', '.join(FILTERS)}")
    first = next((one for one in filters if one not in {OR_NULL, OR_OMIT}), "text")
    if name not in FILTERED.get(first, (name,)) and not name.startswith(("input.", "query.")):
        raise ValueError(f"{name} cannot have the filter {first}, which is for {', '.join(FILTERED[first])}")
    return Placeholder(name, tuple(filters))


def fill(node: Node, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - a JSON value
    """Returns a template with values; parts without a value are left out. None if the whole template is left out."""
    match node:
        case Placeholder(name=name):
            return values.get(name)
        case Text():
            return node.fill(values)
        case Mapping():
            filled = {key: (value, fill(value, values)) for key, value in node.items()}
            return {key: value for key, (inner, value) in filled.items() if value is not None or _may_be_null(inner)}
        case list():
            return [value for one in node if (value := fill(one, values)) is not None or _may_be_null(one)]
    return node


def _may_be_null(node: Node) -> bool:
    parts = node.parts if isinstance(node, Text) else (node,)
    return node is None or any(isinstance(part, Placeholder) and OR_NULL in part.filters for part in parts)


def read(node: Node, document: object) -> dict[str, object]:
    """Returns the values that a document has at a template's placeholders, by their names; the first of each."""
    values: dict[str, object] = {}
    for name, value in _read(node, document):
        values.setdefault(name, value)
    return values


def _read(node: Node, document: object) -> Iterator[tuple[str, object]]:
    match node:
        case Placeholder(name=name):
            yield name, node.read(document)
        case Text():
            yield from node.read(document).items()
        case Mapping() if isinstance(document, Mapping):
            for key, value in node.items():
                yield from _read(value, document.get(key))
        case list() if isinstance(document, list):
            for value, item in zip(node, document, strict=False):
                yield from _read(value, item)


def fits(node: Node, document: object) -> bool:
    """Whether a document has the constants of a template. Parts without constants may be missing."""
    match node, document:
        case ((Placeholder() | Text()), _):
            return True
        case Mapping(), (Mapping() | None):
            return all(fits(value, (document or {}).get(key)) for key, value in node.items())
        case list(), (list() | None):
            return all(map(fits, node, document or [None] * len(node)))
    return node == document


def paths(node: Node, path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Returns the path of keys to the placeholder of each name; to the first, if a name has several."""
    match node:
        case Placeholder(name=name):
            return {name: path}
        case Text():
            return {part.name: path for part in node.parts if isinstance(part, Placeholder)}
        case Mapping():
            below = [paths(value, (*path, key)) for key, value in node.items()]
        case list():
            below = [paths(value, (*path, str(index))) for index, value in enumerate(node)]
        case _:
            return {}
    return {name: where for found in reversed(below) for name, where in found.items()}


def only(node: Node, path: Sequence[str]) -> Node:
    """Returns a template with nothing but its part at a path."""
    if not path or not isinstance(node, Mapping):
        return node
    return {path[0]: only(node.get(path[0]), path[1:])}


def overlaid(node: Node, other: Node) -> Node:
    """Returns a template with another one merged into it: objects are merged, everything else is replaced."""
    if isinstance(node, Mapping) and isinstance(other, Mapping):
        return {**node, **{key: overlaid(node.get(key), value) for key, value in other.items()}}
    return other
