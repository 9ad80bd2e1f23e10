"""The headers of a delivery: those of its signature, and those that its API adds."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from standardwebhooks import Webhook as Signer

from translation_server.core.clock import WallTime
from translation_server.core.dialects.template import Names, Node, ValueOf, fill, names, parse
from translation_server.core.webhooks import Delivery, Signature, Webhook

HIDDEN = "(not shown)"
NAMES: Names = dict.fromkeys(("job_id", "delivery_id", "timestamp", "url", "body", "signature"))


def own_headers(delivery: Delivery, webhook: Webhook, wall: WallTime) -> dict[str, str]:
    """Returns the headers that the webhook itself asks for: its own, and those of its signature at this wall time."""
    values = {
        "job_id": delivery.job_id,
        "delivery_id": delivery.id,
        "timestamp": str(int(wall)),
        "url": delivery.url,
        "body": delivery.body,
    }
    headers = {name.lower(): _filled(value, values.get) for name, value in webhook.headers}
    if webhook.signature is None:
        return headers
    if webhook.signature.header is None:
        return headers | _standard(delivery, webhook.signature.prefix, webhook.secrets, wall)
    for secret in webhook.secrets[:1]:
        values["signature"] = _hmac(webhook.signature, secret, _filled(webhook.signature.text, values.get))
        headers[webhook.signature.header.lower()] = _filled(webhook.signature.value, values.get)
    return headers


def shown_headers(headers: Mapping[str, str], webhook: Webhook) -> dict[str, str]:
    """Returns headers for their reader: a fixed value of the webhook's own is hidden, because it may be a secret."""
    fixed = {name.lower() for name, value in webhook.headers if not names(_parsed(value))}
    return {name: HIDDEN if name in fixed else value for name, value in headers.items()}


def _standard(delivery: Delivery, prefix: str, secrets: tuple[str, ...], wall: WallTime) -> dict[str, str]:
    """Returns the headers of Standard Webhooks, with a signature for each secret."""
    headers = {f"{prefix}id": delivery.id, f"{prefix}timestamp": str(int(wall))}
    if secrets:
        at = datetime.fromtimestamp(int(wall), UTC)
        signatures = [Signer(secret).sign(delivery.id, at, delivery.body) for secret in secrets]
        headers[f"{prefix}signature"] = " ".join(signatures)
    return headers


def _hmac(signature: Signature, secret: str, text: str) -> str:
    digest = hmac.digest(secret.encode(), text.encode(), "sha256")
    return digest.hex() if signature.encoding == "hex" else b64encode(digest).decode()


def _filled(template: str, value_of: ValueOf) -> str:
    return str(fill(_parsed(template), value_of))


@cache
def _parsed(template: str) -> Node:
    return parse(template, NAMES)
