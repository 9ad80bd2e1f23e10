"""The webhooks of a kind of job, from its tables in a dialect file."""

from translation_server.config.dialect_answers import Table, answer_of, headers_of, parsed, place_of
from translation_server.config.dialect_checks import phases
from translation_server.config.dialect_webhooks import DELIVERY_NAMES, SIGNATURE_TEXTS, body_layers
from translation_server.core.dialects.operations import Operation
from translation_server.core.dialects.template import Names
from translation_server.core.dialects.webhooks import EVENT_NAMES, HeaderPlaces, WebhookFormat
from translation_server.core.job import State
from translation_server.core.webhooks import Signature


def webhook_format(job: Table, known: Names, place: str) -> WebhookFormat | None:
    """Returns the webhooks of a kind of job; ``known`` are the names that its answers may use.

    Raises:
        FormatError: a template cannot be used.
    """
    table = job["webhook"]
    if table is None:
        return None
    for own, where in table["tables"]:
        headers_of(own["headers"], dict.fromkeys(DELIVERY_NAMES), f"{where}.headers")
        for key, names in SIGNATURE_TEXTS.items():
            parsed((own["signature"] or {}).get(key) or "", dict.fromkeys(names), f"{where}.signature.{key}")
    signature = table["signature"]
    return WebhookFormat(
        events=table["events"] or {},
        body=_body(job, {**known, **EVENT_NAMES}, place),
        url=place_of(table["url"]),
        filter=place_of(table["filter"]),
        default=(table["filter"] or {}).get("default") or (),
        caller_header=HeaderPlaces(**table["caller_header"]) if table["caller_header"] else None,
        headers=tuple(table["headers"].items()),
        signature=_signature(signature) if signature else None,
        secrets=(signature["secret"],) if signature else (),
    )


def _body(job: Table, known: Names, place: str) -> Operation:
    layers = body_layers(job, place)
    words = [word for word in phases(job) if any(word in layer["when"] for layer, _ in layers)]
    return Operation(
        action="view",
        requests=(),
        answers={state: answer_of(layers, known, state) for state in State},
        phases={word: answer_of(layers, known, State.PENDING, word) for word in words},
    )


def _signature(table: Table) -> Signature:
    return Signature(**{key: value for key, value in table.items() if value is not None and key != "secret"})
