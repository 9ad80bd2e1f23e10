"""The fingerprint of a submission, by which an idempotency key recognizes a retry.

It is made from the whole document, not from the fields that this version knows. So a retry after an upgrade finds its
job, even if the new version knows more fields. Documents are equal if they differ only in the order of their fields, in
empty fields (null or an empty object), or in how a whole number is written.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MAX_EXACT = 2**53  # the largest whole number up to which integers and doubles are the same
FORMER_FIELDS = {"source_language": str, "target_language": str, "video_length": float}
FORMER_OVERRIDES = {"delay": float, "outcome": str, "message": str, "hold": bool}


def fingerprint(document: Mapping[str, Any]) -> bytes:
    """Returns the fingerprint of a document."""
    return _digest(_canonical(document))


def former_fingerprint(fields: Mapping[str, Any]) -> bytes | None:
    """Returns the fingerprint that version 0.1.0 stored for these fields; None if it did not know them all.

    Its field names are frozen here, however the fields are called today.
    """
    known = _canonical(fields)
    overrides, job_id = known.pop("simulate", {}), known.pop("job_id", None)
    if "paused" in overrides:
        overrides["hold"] = overrides.pop("paused")
    if known.keys() - FORMER_FIELDS.keys() or overrides.keys() - FORMER_OVERRIDES.keys():
        return None
    return _digest(
        [_typed(known, FORMER_FIELDS), job_id, *([_typed(overrides, FORMER_OVERRIDES)] if overrides else [])]
    )


def _typed(values: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    """Returns a value for each of the types, with None for those that are absent."""
    return {name: None if values.get(name) is None else kind(values[name]) for name, kind in types.items()}


def _canonical(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Returns the same value for all documents that are equal."""
    match value:
        case Mapping():
            fields = {name: _canonical(each) for name, each in value.items()}
            return {name: each for name, each in fields.items() if each is not None and each != {}}
        case list():
            return [_canonical(each) for each in value]
        case float() if value.is_integer() and abs(value) <= MAX_EXACT:
            return int(value)
    return value


def _digest(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
