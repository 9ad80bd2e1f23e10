"""What pydantic finds wrong with a document, as people read it."""

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from translation_server.core import delays
from translation_server.core.faults import rules

TAGS = frozenset({*rules.KINDS, *delays.KINDS})
"""The kinds that pydantic adds to the place of an error: those of fault rules and of distributions."""


def complaints(error: ValidationError, what: str) -> list[Mapping[str, str]]:
    """What is wrong with a document, field by field; ``what`` is its name as a whole."""
    found = error.errors(include_url=False)
    return [{"field": _path(each["loc"]) or what, "message": _said(each)} for each in found]


def _path(loc: tuple[int | str, ...]) -> str:
    """The place of an error, but for the kinds that pydantic puts between."""
    named = [part for part in loc if part not in TAGS]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).lstrip(".")


def _said(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "there is no such field"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            kinds = error["ctx"]["expected_tags"].replace("'", "")
            return f"kind must be one of {kinds}"
    text = error["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]
