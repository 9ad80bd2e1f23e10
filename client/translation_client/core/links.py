"""The addresses that answers name for further requests.

A dialect marks their places by templates such as `"{base_url}/tasks/{job_id}/cancel"`: the base URL, then the path of
an operation. The address at such a place in an answer is used for that operation, even if its path is another one. A
template such as `"file-{job_id}"`, which is also a segment of the path of an operation, marks the value of the segment;
null there means that there is nothing to request.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TypeGuard

from translation_client.core.dialects import PARAMETER, Action, Answer, Dialect, is_id, is_text
from translation_client.core.templates import Node, Placeholder, Query, Text
from translation_client.core.text import quoted

FOLLOWED: tuple[Action, ...] = ("poll", "result", "cancel")
BASE_URL = Placeholder("base_url")
ADDRESS = re.compile(
    r"https?://(?:\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\]+)(?::(?P<port>\d{1,5}))?(?:[/?#]\S*)?", re.ASCII | re.IGNORECASE
)
LAST_PORT = 65_535
NOTHING = ""  # the address for which there is nothing to request
MISSING = object()


def links(dialect: Dialect, answer: Answer, headers: Mapping[str, str], document: object) -> dict[Action, str]:
    """Returns the addresses that an answer names, by the actions they are for; `headers` has names in lower case.

    An address is `NOTHING` if the answer says that there is nothing to request.

    Raises:
        ValueError: One of them is not an http or https address; the message has its place.
    """
    names = {name: headers.get(name.lower(), MISSING) for name in answer.headers}
    found: dict[Action, str] = {}
    for text, where, value in (*_texts(answer.headers, names), *_texts(answer.body, document)):
        if text.parts[0] != BASE_URL:
            if is_id(value):
                found |= _with_segment(dialect, text, value)
            elif value is None:
                found |= dict.fromkeys(_with_segment(dialect, text, ""), NOTHING)
            continue
        actions = _actions(dialect, text)
        if not actions or value is None or value is MISSING:
            continue
        if not is_address(value):
            raise ValueError(f"an http or https address as {'.'.join(where)!r}")
        found |= dict.fromkeys(actions, value)
    return found


def is_address(value: object) -> TypeGuard[str]:
    """Returns whether this is an absolute http or https address, without credentials."""
    if not is_text(value) or not value.isprintable():
        return False
    match = ADDRESS.fullmatch(value)
    return match is not None and int(match["port"] or 1) <= LAST_PORT


def _actions(dialect: Dialect, text: Text) -> list[Action]:
    """Returns the actions whose path follows the base URL in a template."""
    form = _form(text).partition("?")[0]
    return [
        one.action
        for one in dialect.operations
        if one.action in FOLLOWED
        if any(form == "{base_url}" + PARAMETER.sub(r"{\1}", path) for _, path in one.requests)
    ]


def _with_segment(dialect: Dialect, text: Text, value: str) -> dict[Action, str]:
    """Returns the paths that have a text as a segment, with the value of an answer there, by their actions."""
    form = _form(text)
    paths = [(one.action, path.split("/")) for one in dialect.operations for _, path in one.requests]
    return {
        action: "/".join(quoted(value) if segment == form else segment for segment in segments)
        for action, segments in paths
        if action in FOLLOWED and form in segments and not any("{" in one for one in segments if one != form)
    }


def _form(text: Text) -> str:
    return "".join(
        part if isinstance(part, str) else f"{{{part.name}}}" for part in text.parts if not isinstance(part, Query)
    )


def _texts(node: Node, document: object, path: tuple[str, ...] = ()) -> Iterator[tuple[Text, tuple[str, ...], object]]:
    """Yields each text of a template, its path, and the document's value there."""
    match node:
        case Text():
            yield node, path, document
        case Mapping():
            for key, value in node.items():
                below = document.get(key, MISSING) if isinstance(document, Mapping) else MISSING
                yield from _texts(value, below, (*path, key))
        case list():
            items = document if isinstance(document, list) else []
            for index, (value, item) in enumerate(zip(node, items, strict=False)):
                yield from _texts(value, item, (*path, str(index)))
