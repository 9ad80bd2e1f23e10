"""What tells one submission from another under an idempotency key: a fingerprint of what was sent.

It is made of the document, and not of what this version reads in it: so a retry after an upgrade finds its job,
whatever fields the new version knows. Documents are the same if they differ only in the order of their fields, in
fields that say nothing (null or an empty object), or in how a whole number is written.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

EXACT = 2**53
"""Whole numbers up to this one are the same as an integer and as a double."""

FORMER_FACTS = {"source_language": str, "target_language": str, "video_length": float}
FORMER_FATE_OVERRIDES = {"delay": float, "outcome": str, "message": str, "hold": bool}


def fingerprint(sent: Mapping[str, Any]) -> bytes:
    """The fingerprint of a document."""
    return _digest(_canonical(sent))


def former_fingerprint(facts: Mapping[str, Any]) -> bytes | None:
    """The fingerprint that was kept of these facts before there was one of documents; None if there were no such facts.

    The names in it are those of that time: they stay, however the fields are called today.
    """
    told = _canonical(facts)
    fate_overrides, job_id = told.pop("simulate", {}), told.pop("job_id", None)
    if "paused" in fate_overrides:
        fate_overrides["hold"] = fate_overrides.pop("paused")
    if told.keys() - FORMER_FACTS.keys() or fate_overrides.keys() - FORMER_FATE_OVERRIDES.keys():
        return None
    return _digest(
        [
            _former(told, FORMER_FACTS),
            job_id,
            *([_former(fate_overrides, FORMER_FATE_OVERRIDES)] if fate_overrides else []),
        ]
    )


def _former(told: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """All that could be told, each in its type, with None for what is not."""
    return {name: None if told.get(name) is None else kind(told[name]) for name, kind in known.items()}


def _canonical(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The same for all ways to say the same."""
    match value:
        case Mapping():
            told = {name: _canonical(each) for name, each in value.items()}
            return {name: each for name, each in told.items() if each is not None and each != {}}
        case list():
            return [_canonical(each) for each in value]
        case float() if value.is_integer() and abs(value) <= EXACT:
            return int(value)
    return value


def _digest(told: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()
