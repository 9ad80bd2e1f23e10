"""Verifies deliveries of webhooks in the format of Standard Webhooks.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import binascii
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from translation_client.core.decode import parsed_job
from translation_client.core.dialects import Dialect
from translation_client.core.effects import Reply
from translation_client.core.errors import ProtocolError, UnverifiedWebhook
from translation_client.core.status import Status

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks begins all secrets
PREFIX = "webhook-"
VERSION = "v1,"  # how signatures by HMAC-SHA256 begin
DELIVERED = 200  # the status code of a poll with the same body
JOB = "job."  # how the types of events of jobs begin


@dataclass(frozen=True)
class WebhookEvent:
    """An event that a server has delivered.

    Attributes:
        id: The id of the event. It stays the same when the delivery is repeated.
        type: What happened, such as `job.completed`.
        timestamp: When it happened, in the form of RFC 3339, on the clock of the sandbox.
        status: The job as a poll at that time would have shown it; None if the event is not about a job.
        raw: The whole body.
    """

    id: str
    type: str
    timestamp: str
    status: Status | None
    raw: Mapping[str, Any]


def verified(  # noqa: PLR0913 - all that a delivery is checked against
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    dialect: Dialect,
    tolerance: float,
    now: float,
    prefix: str = PREFIX,
) -> WebhookEvent:
    """Returns the event of a delivery.

    Args:
        headers: The headers, by their names in any case.
        body: The body as it was received.
        secrets: The secrets, of which one must have signed the delivery.
        dialect: The wire format of the job in it.
        tolerance: How many seconds the delivery may be old, or ahead of `now`.
        now: The seconds since 1970.
        prefix: How the names of the three headers begin.

    Raises:
        UnverifiedWebhook: The delivery is not genuine, too old, or cannot be read.
        ValueError: There is no secret, or one is unusable.
    """
    keys = [key_of(secret) for secret in secrets]
    if not keys:
        raise ValueError("secret must be a secret or several")
    found = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp, signatures = (
        _header(found, f"{prefix.lower()}{name}") for name in ("id", "timestamp", "signature")
    )
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):  # noqa: PLR2004 - until the year 5138
        raise UnverifiedWebhook(f"{prefix.lower()}timestamp is not a number of seconds since 1970")
    age = now - int(timestamp)
    if abs(age) > tolerance:
        which = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead"
        raise UnverifiedWebhook(f"the delivery is {which}; {tolerance:g} s are allowed. Check this machine's clock")
    if not _is_signed(f"{event_id}.{timestamp}.".encode() + body, signatures, keys):
        raise UnverifiedWebhook(
            "no signature fits the body and the secret. Check the secret, and pass the body unchanged"
        )
    return _event(event_id, body, dialect, now, datetime.fromtimestamp(int(timestamp), UTC))


def key_of(secret: str) -> bytes:
    """Returns the key in a secret.

    Raises:
        ValueError: The secret is unusable.
    """
    """Returns the key in a secret.

    Raises:
        ValueError: It is unusable.
    """
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(f"secret must be {SECRET_PREFIX} and base64")
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    if value := headers.get(name):
        return value
    raise UnverifiedWebhook(f"the header {name} is missing")


def _is_signed(content: bytes, signatures: str, keys: Iterable[bytes]) -> bool:
    """Whether one of the keys has signed; takes the same time whichever part of a signature differs."""
    expected = [b64encode(hmac.digest(key, content, "sha256")) for key in keys]
    given = [text.removeprefix(VERSION).encode() for text in signatures.split() if text.startswith(VERSION)]
    return any([hmac.compare_digest(one, other) for one in expected for other in given])  # noqa: C419 - compares all


def _event(event_id: str, body: bytes, dialect: Dialect, now: float, sent: datetime) -> WebhookEvent:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"type": str(kind), "timestamp": str(timestamp)}:
            status = _job(document.get("data"), body, dialect, now) if kind.startswith(JOB) else None
        case {} if dialect.mount:  # many APIs post what a poll shows
            status = _job(document, body, dialect, now)
            kind, timestamp = f"{JOB}{status.state}", sent.isoformat()
        case _:
            raise UnverifiedWebhook("the body must be a JSON object with a type and a timestamp")
    return WebhookEvent(event_id, kind, timestamp, status, document)


def _job(data: object, body: bytes, dialect: Dialect, now: float) -> Status:
    try:
        return parsed_job(dialect, dialect.poll, data, Reply(DELIVERED, {}, body, now)).status
    except ProtocolError as error:
        raise UnverifiedWebhook(f"the data is not a job of the dialect {dialect.name!r}: {error}") from error
