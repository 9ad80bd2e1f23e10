"""Body templates: JSON objects in which ``"{name}"`` is a placeholder for the field of that name."""

import json
import math
import re
from collections.abc import Callable, Mapping

BodyTemplate = Mapping[str, object]

PLACEHOLDER = re.compile(r"\{(\w+)\}")

PLACEHOLDER_IN_JSON = re.compile(r'"\{(\w+)\}"(?!:)')
"""A placeholder in a template that was written as JSON. A key is followed by a colon, so it never matches."""

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)


def to_json(value: object) -> str:
    """Returns a value as JSON. The most frequent values of bodies take a shortcut."""
    if value is None:
        return "null"
    if type(value) is float and math.isfinite(value):
        return repr(value)
    return ENCODER.encode(value)


def placeholder(value: object) -> str | None:
    """Returns the field's name if a value of a template is a placeholder."""
    match = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return match and match[1]


def placeholders(template: BodyTemplate, parent: str = "") -> dict[str, str]:
    """Returns the dotted path of each field in a template, by the field's name."""
    paths: dict[str, str] = {}
    for key, value in template.items():
        if isinstance(value, Mapping):
            paths |= placeholders(value, f"{parent}{key}.")
        elif name := placeholder(value):
            paths[name] = parent + key
    return paths


def fill(template: object, value_of: Callable[[str], object]) -> object:
    """Returns the template with a value for each placeholder."""
    if isinstance(template, Mapping):
        return {key: fill(value, value_of) for key, value in template.items()}
    name = placeholder(template)
    return value_of(name) if name else template


def read_fields(template: BodyTemplate, document: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Reads a document by its template.

    Returns:
        The values at the template's placeholders by field, and the dotted paths that the template does not have.
    """
    fields: dict[str, object] = {}
    unknown = []
    for key, value in document.items():
        expected = template.get(key)
        if isinstance(expected, Mapping) and isinstance(value, Mapping):
            nested, unknown_within = read_fields(expected, value)
            fields |= nested
            unknown += [f"{key}.{path}" for path in unknown_within]
        elif key not in template or isinstance(expected, Mapping):
            unknown.append(key)
        elif name := placeholder(expected):
            fields[name] = value
    return fields, unknown
