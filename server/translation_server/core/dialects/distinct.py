"""Whether the answers of a dialect tell the states of a job apart."""

from collections.abc import Mapping
from itertools import combinations

from translation_server.core.dialects.dialect import FILE_URL, Dialect
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.operations import Answer, Operation
from translation_server.core.dialects.template import Node, Placeholder, Text, fill
from translation_server.core.job import State

DISTINCT_STATES = tuple(combinations((State.PENDING, State.COMPLETED, State.ERROR), 2))
"""The states that a client has to tell apart; a cancelled job may look like one that failed."""


def indistinct(dialect: Dialect) -> tuple[State, State] | None:
    """Returns two states that neither the poll nor the result tells apart; None if there are none."""
    operations = [one for one in dialect.operations if one.action in {"poll", "current", "result"}]
    for one, other in DISTINCT_STATES:
        asked = operations if State.PENDING not in {one, other} else operations[:1]
        if all(_shown(dialect, operation, one) & _shown(dialect, operation, other) for operation in asked):
            return one, other
    return None


def _shown(dialect: Dialect, operation: Operation, state: State) -> set[tuple[int, str]]:
    """Returns what the answers in a state look like: one for each of the state's words."""
    answers = [(word, operation.answer_for(state, word)) for word in dialect.words[state]]
    return {(answer.code, _symbolic(answer, state, word)) for word, answer in answers}


def _symbolic(answer: Answer, state: State, word: object) -> str:
    """Returns the body with the word, and a mark for each other value that is known in the state."""

    def value_of(name: str) -> object:
        if name == "status":
            return word
        known = {State.COMPLETED} if name == "output" or name.startswith(FILE_URL) else None
        if name in FIELDS:
            known = set(FIELDS[name].known)
        return None if name == "null" or (known is not None and state not in known) else 0

    return repr(fill(_unfiltered(answer.body), value_of))


def _unfiltered(node: Node) -> Node:
    """Returns a template without its filters, which do not take marks."""
    match node:
        case Placeholder():
            return node._replace(convert=None)
        case Text():
            return Text([part if isinstance(part, str) else part._replace(convert=None) for part in node.parts])
        case Mapping():
            return {key: _unfiltered(value) for key, value in node.items()}
        case list():
            return [_unfiltered(value) for value in node]
    return node
