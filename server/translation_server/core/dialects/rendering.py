"""Renders templates as JSON. Rendering is the hot path, so a template is compiled to functions once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from translation_server.core.dialects.template import Node, Placeholder, Text, ValueOf, is_left_out, names, to_json


class Rendering(NamedTuple):
    """JSON with a `%s` for each value that is still missing.

    Attributes:
        text: The JSON. Other percent signs are doubled.
        missing: The placeholders and texts for the missing values.
    """

    text: str
    missing: Sequence[Placeholder | Text]

    def complete(self, value_of: ValueOf) -> str:
        """Returns the JSON with the missing values."""
        return self.text % tuple([to_json(node.value(value_of)) for node in self.missing])


Render = Callable[[ValueOf, Collection[str]], Rendering]
"""Returns a template as JSON; the second argument has the names whose values are to be filled in later."""

Write = Callable[[ValueOf, Collection[str], list[Placeholder | Text]], str | None]
"""Returns the JSON of a node, or None where it is left out; adds to the list what is to be filled in later."""


def renderer(node: Node) -> Render:
    """Returns the function that renders a node."""
    write = _writer(node)

    def render(value_of: ValueOf, changing: Collection[str]) -> Rendering:
        missing: list[Placeholder | Text] = []
        return Rendering(write(value_of, changing, missing) or "null", missing)

    return render


def _writer(node: Node) -> Write:
    if isinstance(node, Placeholder | Text):
        return _value_writer(node)
    if isinstance(node, Mapping):
        return _object_writer([(f"{_escaped(key)}:", _writer(inner)) for key, inner in node.items()])
    if isinstance(node, list):
        return _array_writer([_writer(inner) for inner in node])
    constant = _escaped(node)
    return lambda _value_of, _changing, _missing: constant


def _value_writer(node: Placeholder | Text) -> Write:
    own_names, unknown = names(node), None if is_left_out(node) else "null"

    def write(value_of: ValueOf, changing: Collection[str], missing: list[Placeholder | Text]) -> str | None:
        if changing and not own_names.isdisjoint(changing):
            missing.append(node)
            return "%s"
        value = node.value(value_of)
        return unknown if value is None else _escaped(value)

    return write


def _object_writer(members: Sequence[tuple[str, Write]]) -> Write:
    def write(value_of: ValueOf, changing: Collection[str], missing: list[Placeholder | Text]) -> str:
        texts = [(key, inner(value_of, changing, missing)) for key, inner in members]
        return f"{{{','.join([key + text for key, text in texts if text is not None])}}}"

    return write


def _array_writer(items: Sequence[Write]) -> Write:
    def write(value_of: ValueOf, changing: Collection[str], missing: list[Placeholder | Text]) -> str:
        texts = [inner(value_of, changing, missing) for inner in items]
        return f"[{','.join([text for text in texts if text is not None])}]"

    return write


def _escaped(value: object) -> str:
    """Returns a value as JSON with doubled percent signs."""
    return to_json(value).replace("%", "%%")
