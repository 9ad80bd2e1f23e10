"""Answers in a dialect file: their templates, parsed, and those for states merged into the general ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from translation_server.config.dialect_shapes import FormatError, below
from translation_server.core.dialects.operations import Answer, IdPlace
from translation_server.core.dialects.template import Names, Node, TemplateError, overlaid, parse

Table = Mapping[str, Any]
"""A table of a file in its normal form, see `dialect_format`."""

WITHOUT_BODY = frozenset({204, 205, 304})
"""The status codes of answers without a body."""


def answer_of(tables: Sequence[tuple[Table, str]], known: Names, *states: str) -> Answer:
    """Returns the answer for a state, or for a state and a word.

    Later tables are merged into earlier ones, and within a table, the parts for the state and the word into the rest.
    """
    code, body = 200, None
    headers: dict[str, Node] = {}
    for table, place in tables:
        of_states = [
            (table["when"][state], below(f"{place}.when", state)) for state in states if state in table["when"]
        ]
        for layer, where in ((table, place), *of_states):
            code = layer["code"] or code
            headers |= headers_of(layer["headers"], known, f"{where}.headers")
            if layer["body"] is not None:
                part = parsed(layer["body"], known, f"{where}.body")
                body = part if body is None else overlaid(body, part)
    if code in WITHOUT_BODY and body is not None and body != "":
        raise FormatError(tables[-1][1], f'an answer with {code} has no body: write body = ""')
    return Answer(code, headers, "" if body is None else body)


def place_of(table: Table | None) -> IdPlace | None:
    """Returns the place in a request of an id, or of an idempotency key."""
    if table is None:
        return None
    [(source, name)] = [(key, table[key]) for key in ("query", "header", "body") if table.get(key) is not None]
    return IdPlace(source, name, table.get("text", "{job_id}"))


def headers_of(headers: Mapping[str, str], known: Names, where: str) -> dict[str, Node]:
    """Returns the templates of headers; ``known`` are the names that they may use."""
    return {name: parsed(value, known, f"{where}.{name}") for name, value in headers.items()}


def parsed(template: object, known: Names, where: str) -> Node:
    """Returns a template; ``known`` are the names that it may use, ``where`` is its place in the file.

    Raises:
        FormatError: it cannot be used.
    """
    try:
        return parse(template, known)
    except TemplateError as error:
        raise FormatError(where, str(error)) from None
