"""The texts of dialect files: dotted paths, headers, and the limits of templates that hold for all names.

The client's `dialect_texts.py` is a copy of the server's, by `make generate`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from translation_client.dialect_shapes import FormatError, Shape, below, must, text, value_of

BRACED = re.compile(r"\{[^{}]*\}")
PLAIN = re.compile(r"(?!.*\{[^{}]*\}).+", re.DOTALL)
UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # characters that no header may have
FRAMING = ("connection", "content-length", "transfer-encoding")  # headers that the server sets
TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
NEIGHBOURS = re.compile(r"\{([^{}]+)\}(?=\{([^{}?&][^{}]*)\})")
READ = ("job_id", "status")  # the placeholders that clients have to read

TEXT = text("a text without {…}", PLAIN)
DOTTED_PATH = re.compile(r"(?!.*\{[^{}]*\})[^.]+(\.[^.]+)*", re.DOTALL)
DOTTED = text("the dotted path of a field", DOTTED_PATH)


def names_in(template: object) -> Iterator[tuple[str, str]]:
    """Yields each text of a template with the name of each of its placeholders."""
    for value in _texts(template):
        for found in TOKEN.finditer(value):
            for one in [] if found[1] is None else found[1].lstrip("?&").split(","):
                yield value, _name(one)


def has_filter(template: object, name: str, wanted: str) -> bool:
    """Whether a placeholder of this name in a template has this filter."""
    found = (token[1].split("|") for text in _texts(template) for token in TOKEN.finditer(text) if token[1])
    return any(wanted in map(str.strip, filters) for one, *filters in found if one.strip() == name)


def _texts(template: object) -> Iterator[str]:
    match template:
        case Mapping():
            for value in template.values():
                yield from _texts(value)
        case list():
            for value in template:
                yield from _texts(value)
        case str():
            yield template


def _keys(template: object) -> Iterator[str]:
    match template:
        case Mapping():
            yield from template
            for value in template.values():
                yield from _keys(value)
        case list():
            for value in template:
                yield from _keys(value)


def _name(placeholder: str) -> str:
    return placeholder.partition("|")[0].strip()


def _checked(value: object, place: str) -> object:
    """Returns a template, unless a key of it looks like a placeholder, or clients could not read it."""
    for key in _keys(value):
        if BRACED.search(key):
            raise FormatError(place, f"{key!r} is a key: only values have placeholders")
    read: set[str] = set()
    unread: dict[str, str] = {}
    for one in _texts(value):
        plain = one.replace("{{", "").replace("}}", "")
        beside = {_name(each) for pair in NEIGHBOURS.findall(plain) for each in pair}
        for placeholder in BRACED.findall(plain):
            name, *filters = (part.strip() for part in placeholder[1:-1].split("|"))
            if name == "status" and "number" in filters:
                raise FormatError(place, "status cannot have the filter number: write the words as numbers")
            read |= {name} - beside
            unread |= {name: one} if name in beside else {}
    for name in READ:
        if name in unread and name not in read:
            needed = f"put a text between them, so that clients can read {name}"
            raise FormatError(place, f"{unread[name]!r} has two placeholders side by side: {needed}")
    return value


def template(needed: str, is_valid: Callable[[Any], object] = lambda _: True, default: object = None) -> Shape:
    """A template that a function accepts."""
    valid = value_of(needed, is_valid)
    return Shape(needed, lambda value, place: _checked(valid.take(value, place), place), default)


def _take_header(value: object, place: str) -> str:
    if place.rpartition(".")[2].lower() in FRAMING:
        raise FormatError(place, "the server sets this header itself")
    if not isinstance(value, str) or UNSENDABLE.search(value):
        raise must(place, "a template of text in one line", value)
    _checked(value, place)
    return value


HEADER_VALUE = Shape("a template of text", _take_header, schema={"type": "string"})


def without_twins(shape: Shape) -> Shape:
    """A table of headers. None may come twice; upper and lower case do not matter."""

    def take(value: object, place: str) -> Mapping[str, Any]:
        taken: Mapping[str, Any] = shape.take(value, place)
        seen: dict[str, str] = {}
        for name in taken:
            if (other := seen.setdefault(name.lower(), name)) != name:
                raise FormatError(below(place, name), f"is the same header as {other}")
        return taken

    return shape._replace(take=take)


def take_default(value: object, place: str) -> object:
    """Returns any value, unless it contains a text that looks like a template."""
    match value:
        case Mapping():
            return {key: take_default(each, below(place, key)) for key, each in value.items()}
        case list():
            return [take_default(each, place) for each in value]
        case str() if BRACED.search(value):
            raise must(place, "a value without {…}, because it is shown as it is", value)
    return value
