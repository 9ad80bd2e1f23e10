"""Webhooks in a dialect file: the table of the whole API with that of a kind of job, and their checks.

The client's `dialect_webhooks.py` is a copy of the server's, by `make generate`.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from translation_server.config.dialect_shapes import FormatError, below, unknown

EVENTS = ("started", "progress", "completed", "error", "cancelled")
EVENT_NAMES = ("event", "event_at", "delivery_id")  # what bodies may show besides the fields of the job
DELIVERY_NAMES = ("job_id", "delivery_id", "timestamp")  # what headers may show
SIGNATURE_TEXTS = {"text": (*DELIVERY_NAMES, "url", "body"), "value": (*DELIVERY_NAMES, "signature")}

OF_HMAC = ("text", "value", "encoding")
SECRET = re.compile(r"whsec_(.+)")
NO_LAYER: Mapping[str, Any] = {"code": None, "headers": {}, "body": None}


def merged_webhook(
    of_api: Mapping[str, Any] | None, of_kind: Mapping[str, Any] | None, place: str, states: Sequence[str]
) -> dict[str, Any] | None:
    """Returns the webhooks of a kind of job: what the table of the API says, with the differences of the kind.

    The result has its ``tables``, too, each with its place in the file.

    Args:
        of_api: The table of the API; None if it has none.
        of_kind: The table of the kind; None if it has none.
        place: The place of the latter.
        states: What ``when`` may name.

    Raises:
        FormatError: The tables do not go together.
    """
    tables = [(table, where) for table, where in ((of_api, "webhook"), (of_kind, place)) if table is not None]
    if not tables:
        return None
    merged: dict[str, Any] = {"headers": {}}
    for table, where in tables:
        _check_signature(table["signature"], f"{where}.signature")
        merged |= {key: value for key, value in table.items() if value is not None and key != "headers"}
        merged["headers"] |= table["headers"]
        if host := [name for name in table["headers"] if name.lower() == "host"]:
            raise FormatError(f"{where}.headers.{host[0]}", "the server sets this header itself")
        for state in table["when"]:
            if state not in states:
                raise FormatError(below(f"{where}.when", state), unknown("state", states))
    if of_kind is not None and "events" not in merged:
        raise FormatError(f"{place}.events", f"is required: a table with some of {', '.join(EVENTS)}")
    words = [word for of_event in merged.get("events", {}).values() for word in of_event]
    for word in (merged.get("filter") or {}).get("default") or ():
        if words and word not in words:
            raise FormatError(f"{tables[-1][1]}.filter.default", unknown("event", list(dict.fromkeys(words))))
    return {**dict.fromkeys(("url", "filter", "events", "caller_header", "body", "signature")), **merged} | {
        "tables": tables
    }


def body_layers(job: Mapping[str, Any], place: str) -> list[tuple[Mapping[str, Any], str]]:
    """Returns the tables of the body of a kind's deliveries: without a body of its own, it is that of the poll."""
    webhook, poll = job["webhook"], job["poll"]
    tables = [*webhook["tables"]]
    if webhook["body"] is None:
        tables = [*([(job, place)] if poll["body"] is None else []), (poll, f"{place}.poll"), *tables]
    return [(_layer(table), where) for table, where in tables]


def check_events(file: Mapping[str, Any]) -> None:
    """Checks that an API with webhooks has events of some kind of job."""
    if file["webhook"] is not None and not any(job["webhook"]["events"] for job in file["job"].values()):
        raise FormatError("webhook.events", "is required, here or for some kind of job")


def _layer(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body of a table, and those of its states, in the form of an answer's table."""
    when = {state: {**NO_LAYER, "body": one["body"]} for state, one in table["when"].items()}
    return {**NO_LAYER, "body": table["body"], "when": when}


def _check_signature(signature: Mapping[str, Any] | None, place: str) -> None:
    """Checks that a signature has the keys of its kind, and a secret with which it can be made."""
    if signature is None:
        return
    wrong = ("prefix",) if signature["header"] else OF_HMAC
    for key in wrong:
        if signature[key] is not None:
            raise FormatError(f"{place}.{key}", f"does not go {'with' if signature['header'] else 'without'} header")
    if signature["header"] is None and not _is_standard(signature["secret"]):
        raise FormatError(f"{place}.secret", "must be whsec_ and base64, without header: this is Standard Webhooks")


def _is_standard(secret: str) -> bool:
    found = SECRET.fullmatch(secret)
    try:
        return found is not None and bool(b64decode(found[1], validate=True))
    except ValueError:
        return False
