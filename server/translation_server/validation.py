"""Turns the validation errors of pydantic into messages for people."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from translation_server.core import delays
from translation_server.core.faults import rules

FieldError = Mapping[str, str]
"""The path of a field in its document (``field``), and what is wrong with it (``message``)."""

TAGS = frozenset({*rules.KINDS, *delays.KINDS})
"""The kinds of fault rules and of distributions, which pydantic adds to the location of an error."""


def field_errors(error: ValidationError, whole: str, fields: Mapping[str, str] | None = None) -> list[FieldError]:
    """Returns the errors of a document, field by field.

    Args:
        error: what pydantic found.
        whole: the name of the document, for errors that concern no single field.
        fields: the path of each of the model's fields in the document, if messages should list them.
    """
    names = fields or {}
    return [
        {
            "field": _path([names.get(str(part), part) for part in found["loc"] if part in names or part not in TAGS])
            or whole,
            "message": _message(found, fields if len(found["loc"]) == 1 else None),
        }
        for found in error.errors(include_url=False)
    ]


def unknown_field(fields: Iterable[str]) -> str:
    """Returns the message about an unknown field, with the known ones."""
    known = ", ".join(fields)
    if not known:
        return "there is no such field; there are none"
    return f"there is no such field; the fields are {known}"


def summary(errors: Sequence[FieldError]) -> str:
    """Returns errors as one line."""
    return "; ".join(f"{error['field']}: {error['message']}" for error in errors)


def _path(location: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _message(error: ErrorDetails, fields: Mapping[str, str] | None) -> str:
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "there is no such field" if fields is None else unknown_field(fields.values())
        case "model_type" | "dict_type":
            return "must be an object"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            kinds = error["ctx"]["expected_tags"].replace("'", "")
            return f"kind must be one of {kinds}"
    text = error["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]
