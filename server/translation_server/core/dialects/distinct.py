"""Checks whether the answers of a dialect tell the states of a job apart.

Answers differ if their status codes differ, if the same field has different constants (a word for the state is one), or
if only one of them has the field. Null counts as a missing field, because APIs, and even versions of one API, mix them
up. A field does not count if a job may have no value for it.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import combinations, product

from translation_server.core.dialects.dialect import FILE_URL, Dialect, Word
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.operations import Operation
from translation_server.core.dialects.template import SPECIAL, Node, Placeholder, Text, value_at
from translation_server.core.job import State

DISTINCT_STATES = tuple(combinations((State.PENDING, State.COMPLETED, State.ERROR), 2))
"""The states that a client has to tell apart; a cancelled job may look like one that failed."""

UNCERTAIN = frozenset({"error_code", "output", "source_language", "target_language", "video_length", "input"})
"""The names of values that a job may not have."""


class Mark(Enum):
    """A value that is no constant."""

    KNOWN = "known"
    UNCERTAIN = "uncertain"


def indistinct(dialect: Dialect, operation: Operation) -> tuple[State, State] | None:
    """Returns two states that look the same in polls, or in the items of a list or a batch poll; None if all differ.

    After polls and batch polls, results may tell completed and failed jobs apart.
    """
    results = [one for one in dialect.operations if one.action == "result" and operation.action != "list"]
    for one, other in DISTINCT_STATES:
        asked = [operation, *(() if State.PENDING in {one, other} else results)]
        if not any(_are_distinct(dialect, each, one, other) for each in asked):
            return one, other
    return None


def _are_distinct(dialect: Dialect, operation: Operation, one: State, other: State) -> bool:
    """Whether the answers in two states differ for every pair of their words."""
    return all(
        mine[0] != theirs[0] or _differ(mine[1], theirs[1])
        for mine, theirs in product(_shown(dialect, operation, one), _shown(dialect, operation, other))
    )


def _shown(dialect: Dialect, operation: Operation, state: State) -> list[tuple[int, object]]:
    """Returns the codes and bodies of the answers in a state, or of items, which have no codes: one for each word."""
    is_list = operation.action in {"list", "batch_poll"}
    each = (operation.each or dialect.poll) if is_list else operation
    shown = []
    for word in dialect.words[state]:
        answer = each.answer_for(state, word)
        body = _symbolic(answer.body, dialect, state, word)
        shown.append((0 if is_list else answer.code, value_at(body, operation.item) if operation.item else body))
    return shown


def _symbolic(node: Node, dialect: Dialect, state: State, word: Word) -> object:
    """Returns a body with the word, and with a mark in place of each other value that the job may have in the state."""
    match node:
        case Placeholder(name="status"):
            return word
        case Placeholder(name=name):
            return _mark(name, dialect, state)
        case Text(parts=parts):
            return _joined([part if isinstance(part, str) else _symbolic(part, dialect, state, word) for part in parts])
        case Mapping():
            return {key: _symbolic(value, dialect, state, word) for key, value in node.items()}
        case list():
            return [_symbolic(value, dialect, state, word) for value in node]
    return node


def _joined(parts: Sequence[object]) -> str | Mark | None:
    """Returns the text of these parts, or a mark. Within a text, a number or boolean cannot be recognised."""
    if None in parts:
        return None
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return "".join(texts)
    return Mark.KNOWN if all(isinstance(part, str) or part is Mark.KNOWN for part in parts) else Mark.UNCERTAIN


def _mark(name: str, dialect: Dialect, state: State) -> Mark | None:
    if name in SPECIAL or (name.startswith(FILE_URL) and state is not State.COMPLETED):
        return None
    if name in FIELDS and state not in FIELDS[name].known:
        return None
    if (name == "output" and dialect.output is not None) or (name == "error_code" and name in dialect.defaults):
        return Mark.KNOWN
    return Mark.UNCERTAIN if name in UNCERTAIN or name.startswith(("input.", "query.")) else Mark.KNOWN


def _differ(one: object, other: object) -> bool:
    """Whether no value fits both."""
    match one, other:
        case (Mark.UNCERTAIN, _) | (_, Mark.UNCERTAIN):
            return False
        case Mapping(), Mapping():
            return any(_differ(one.get(key), other.get(key)) for key in one.keys() | other.keys())
        case list(), list():
            return bool(one) != bool(other)
        case (None, _) | (_, None):
            return one is not other
        case (Mark(), _) | (_, Mark()):
            return False
    return isinstance(one, bool) != isinstance(other, bool) or one != other
