"""Tells the states of a job apart by the answers of its dialect.

Answers differ if their status codes differ, if the same field has different constants (a word for the state is one), or
if only one of them has the field. Null counts as a missing field, because APIs, and even versions of one API, mix them
up. A field does not count if a job may have no value for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import combinations, product

from translation_client.core.dialects import Dialect, Operation, Word
from translation_client.core.status import State
from translation_client.core.templates import SPECIAL, Node, Placeholder, Text

FILE_URL = "file_url:"
KNOWN_IN = {
    "output": {State.COMPLETED},
    "error_message": {State.ERROR},
    "error_code": {State.ERROR},
    "queue_position": {State.PENDING},
    "completed_at": {State.COMPLETED, State.ERROR, State.CANCELLED},
}
"""The states in which a job may have a value, by its name. All other values may exist in any state."""

UNCERTAIN = {"error_code", "output", "source_language", "target_language", "video_length", "input"}
"""The names of values that a job may not have."""


class Mark(Enum):
    """A value that is no constant."""

    KNOWN = "known"
    UNCERTAIN = "uncertain"


def indistinct(dialect: Dialect, operation: Operation) -> tuple[State, State] | None:
    """Returns two states that look the same in polls, or in the items of a list or a batch poll; None if all differ.

    After polls and batch polls, results may tell completed and failed jobs apart.
    """
    shown = dialect.items(operation) if operation.action in {"list", "batch_poll"} else operation
    results = [one for one in dialect.operations if one.action == "result" and operation.action != "list"]
    for one, other in combinations((State.PENDING, State.COMPLETED, State.ERROR), 2):
        asked = [shown, *(() if State.PENDING in {one, other} else results)]
        if not any(_are_distinct(dialect, each, one, other) for each in asked):
            return one, other
    return None


def fitting(
    dialect: Dialect, operation: Operation, code: int, document: object, states: Sequence[State]
) -> list[State]:
    """Returns those of the states that an answer fits, by the parts in which the states' answers differ.

    If it fits none, only the presence of its fields counts. If that does not decide, all states with its status code
    are returned. A file need not describe cancelled jobs. So an answer does not count as cancelled only because it
    lacks the fields of a completed job; of failed and cancelled, the constants of a cancelled job decide.
    """
    shown = [(state, *one) for state in states for one in _shown(dialect, operation, state)]
    if any(one[1] == code for one in shown):
        shown = [one for one in shown if one[1] == code]
    completed = [body for one, _, body in shown if one is State.COMPLETED]
    for fits in (_fits, _has_fields):
        found = {
            state: body
            for state, _, body in shown
            if fits(body, [other for one, _, other in shown if one is not state], document)
        }
        if found.keys() >= {State.ERROR, State.CANCELLED}:
            constants = [*_constants(found[State.CANCELLED], found[State.ERROR], document)]
            if constants and all(constants):  # such as the code of a cancellation, where a failed job has any code
                del found[State.ERROR]
        is_lack = [*found] == [State.CANCELLED] and completed
        if found and not (is_lack and not _has_own(found[State.CANCELLED], completed, document)):
            return [*found]
    return list(dict.fromkeys(one for one, *_ in shown))


def _constants(body: object, other: object, document: object) -> Iterator[bool]:
    """Yields, for each constant of a body where the other body has any value, whether the document has it."""
    if isinstance(body, Mapping):
        fields, values = (one if isinstance(one, Mapping) else {} for one in (other, document))
        for key, value in body.items():
            yield from _constants(value, fields.get(key), values.get(key))
    elif isinstance(other, Mark) and not isinstance(body, Mark) and body is not None:
        yield body == document


def _has_fields(body: object, others: Sequence[object], document: object) -> bool:
    """Returns whether a document has the fields of a body that others lack, and lacks those that others have."""
    if any((body is None) is not (other is None) for other in others):
        return (body is None) is (document is None)
    if isinstance(body, Mapping) and isinstance(document, Mapping):
        objects = [other if isinstance(other, Mapping) else {} for other in others]
        keys = {*body, *(key for other in objects for key in other)}
        return all(_has_fields(body.get(key), [other.get(key) for other in objects], document.get(key)) for key in keys)
    return True


def _has_own(body: object, others: Sequence[object], document: object) -> bool:
    """Returns whether a document has a part of a body that the other bodies do not have."""
    if isinstance(body, Mapping) and isinstance(document, Mapping):
        objects = [other if isinstance(other, Mapping) else {} for other in others]
        return any(_has_own(body[key], [other.get(key) for other in objects], document.get(key)) for key in body)
    return body is not None and document is not None and all(_differ(body, other) for other in others)


def _fits(body: object, others: Sequence[object], document: object) -> bool:
    if isinstance(body, Mapping) and isinstance(document, Mapping):
        objects = [other if isinstance(other, Mapping) else {} for other in others]
        keys = {*body, *(key for other in objects for key in other)}
        return all(_fits(body.get(key), [other.get(key) for other in objects], document.get(key)) for key in keys)
    return not any(_differ(body, other) for other in others) or not _differ(body, document)


def _are_distinct(dialect: Dialect, operation: Operation, one: State, other: State) -> bool:
    """Returns whether the answers in two states differ for every pair of their words."""
    return all(
        mine[0] != theirs[0] or _differ(mine[1], theirs[1])
        for mine, theirs in product(_shown(dialect, operation, one), _shown(dialect, operation, other))
    )


def _shown(dialect: Dialect, operation: Operation, state: State) -> list[tuple[int, object]]:
    """Returns the codes and bodies of the answers in a state: one for each of the state's words."""
    answers = [(word, operation.answer_for(state, word)) for word in dialect.words[state]]
    return [(answer.code, _symbolic(answer.body, dialect, state, word)) for word, answer in answers]


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
    if state not in KNOWN_IN.get(name, State):
        return None
    if name in dialect.certain:
        return Mark.KNOWN
    return Mark.UNCERTAIN if name in UNCERTAIN or name.startswith(("input.", "query.")) else Mark.KNOWN


def _differ(one: object, other: object) -> bool:
    """Returns whether no value fits both."""
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
