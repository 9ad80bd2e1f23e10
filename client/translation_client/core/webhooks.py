"""Verifies deliveries of webhooks: in the format of Standard Webhooks, or in the form of an API.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import binascii
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from translation_client.core.decode import EVERY, parsed_job
from translation_client.core.dialects import Answer, Dialect, Operation, is_text
from translation_client.core.effects import Reply
from translation_client.core.errors import ProtocolError, UnverifiedWebhook
from translation_client.core.status import State, Status
from translation_client.core.templates import read
from translation_client.core.webhook_forms import Signature, WebhookForm

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks begins all secrets
PREFIX = "webhook-"
VERSION = "v1,"  # how signatures by HMAC-SHA256 begin
LATEST = 1e11  # seconds since 1970 that a timestamp may be
DELIVERED = 200  # the status code of a poll with the same body
JOB = "job."  # how the types of events of jobs begin
UNSIGNED = "no signature fits the body and the secret. Check the secret, and pass the body unchanged"


@dataclass(frozen=True)
class WebhookEvent:
    """An event that a server has delivered.

    Attributes:
        id: The id of the event. It stays the same when the delivery is repeated. If the API has none, the job's id and
            state.
        type: What happened: in the API's words, such as `response.completed`, if the body has them; else such as
            `job.completed`.
        timestamp: When it happened, in the form of RFC 3339, on the clock of the sandbox; if the API does not say so,
            when it was sent, or came.
        status: The job, as far as the body shows it; None if the event is not about a job of this kind.
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
    prefix: str | None = None,
    url: str | None = None,
) -> WebhookEvent:
    """Returns the event of a delivery.

    Args:
        headers: The headers, by their names in any case.
        body: The body as it was received.
        secrets: The secrets, of which one must have signed the delivery; none for an API that does not sign.
        dialect: The wire format of the job in it.
        tolerance: How many seconds the delivery may be old, or ahead of `now`.
        now: The seconds since 1970.
        prefix: How the names of the three headers of Standard Webhooks begin, if not as the dialect says.
        url: The URL that it was posted to, if the signature has it.

    Raises:
        UnverifiedWebhook: The delivery is not genuine, too old, or cannot be read.
        ValueError: There is no secret, or one is unusable, or the API does not sign.
    """
    if not all(map(is_text, secrets)):
        raise ValueError("secret must be text that UTF-8 can encode, or several such texts")
    found = {name.lower(): _encodable(value) for name, value in headers.items() if isinstance(value, str)}
    form = dialect.webhook
    if form is None:
        shown = _standard(found, body, secrets, prefix or PREFIX, tolerance, now)
        return _native_event(body, dialect, now, shown)
    if form.signature is None:
        if secrets:
            raise ValueError(f"secret must be None: the API of the dialect {dialect.name} signs no webhooks")
        shown = form.shown(found)
    elif form.signature.header is None:
        shown = _standard(found, body, secrets, prefix or form.signature.prefix, tolerance, now) | form.shown(found)
    else:
        shown = _by_hmac(found, body, secrets, form, form.signature, url and _encodable(url))
        if "timestamp" in shown:
            _check_age(str(shown["timestamp"]), "the timestamp", tolerance, now)
    return _event(body, dialect, form, now, shown)


def _standard(  # noqa: PLR0913, PLR0917 - all that a delivery is checked against
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], prefix: str, tolerance: float, now: float
) -> dict[str, object]:
    """Checks a signature of Standard Webhooks; returns the id and the time of the delivery."""
    keys = [key_of(secret) for secret in secrets]
    if not keys:
        raise ValueError("secret must be a secret or several")
    event_id, timestamp, signatures = (
        _header(headers, f"{prefix.lower()}{name}") for name in ("id", "timestamp", "signature")
    )
    _check_age(timestamp, f"{prefix.lower()}timestamp", tolerance, now)
    if not _is_signed(f"{event_id}.{timestamp}.".encode() + body, signatures, keys):
        raise UnverifiedWebhook(UNSIGNED)
    return {"delivery_id": event_id, "timestamp": timestamp}


def _by_hmac(  # noqa: PLR0913, PLR0917 - all that a delivery is checked against
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    form: WebhookForm,
    signature: Signature,
    url: str | None,
) -> dict[str, object]:
    """Checks the HMAC in a header of the API's own; returns what the headers show."""
    if not all(secrets) or not secrets:
        raise ValueError("secret must be a secret or several")
    header = _header(headers, str(signature.header).lower())
    shown = form.shown(headers)
    given = shown.get("signature")
    if not isinstance(given, str):
        raise UnverifiedWebhook(f"the header {signature.header} is not of the API's form: {header!r}")
    values = shown | {"body": body.decode(errors="surrogateescape")} | ({} if url is None else {"url": url})
    expected = [signature.hmac(secret, values) for secret in secrets]
    if None in expected:
        raise UnverifiedWebhook("the delivery lacks a value that is signed, such as a timestamp or the url")
    equal = [hmac.compare_digest(str(one).encode(), given.encode(errors="replace")) for one in expected]
    if not any(equal):
        raise UnverifiedWebhook(UNSIGNED)
    return shown


def _check_age(timestamp: str, name: str, tolerance: float, now: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):  # noqa: PLR2004 - until the year 5138
        raise UnverifiedWebhook(f"{name} is not a number of seconds since 1970")
    age = now - int(timestamp)
    if abs(age) > tolerance:
        which = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead"
        raise UnverifiedWebhook(f"the delivery is {which}; {tolerance:g} s are allowed. Check this machine's clock")


def key_of(secret: str) -> bytes:
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


def _encodable(text: str) -> str:
    """Returns a text that UTF-8 can encode. Some servers make lone surrogates of bytes that are not UTF-8."""
    return text.encode(errors="replace").decode()


def _is_signed(content: bytes, signatures: str, keys: Iterable[bytes]) -> bool:
    """Whether one of the keys has signed; takes the same time whichever part of a signature differs."""
    expected = [b64encode(hmac.digest(key, content, "sha256")) for key in keys]
    given = [text.removeprefix(VERSION).encode() for text in signatures.split() if text.startswith(VERSION)]
    return any([hmac.compare_digest(one, other) for one in expected for other in given])  # noqa: C419 - compares all


def _native_event(body: bytes, dialect: Dialect, now: float, shown: Mapping[str, object]) -> WebhookEvent:
    document = _document(body)
    kind, timestamp = (document.get("type"), document.get("timestamp")) if document else (None, None)
    if document is None or not isinstance(kind, str) or not isinstance(timestamp, str):
        raise UnverifiedWebhook("the body must be a JSON object with a type and a timestamp")
    status = _job(document.get("data"), body, dialect, dialect.poll, now) if kind.startswith(JOB) else None
    return WebhookEvent(str(shown["delivery_id"]), kind, timestamp, status, document)


def _event(body: bytes, dialect: Dialect, form: WebhookForm, now: float, shown: Mapping[str, object]) -> WebhookEvent:
    """Returns the event in a body of the API's own form."""
    document = _document(body)
    if document is None:
        raise UnverifiedWebhook("the body must be a JSON object")
    word = form.word(document)
    state, status = (form.state(word), None) if word else (None, None)
    if word is not None and state is None and form.signature is None:
        raise UnverifiedWebhook(f"the event {word!r} is unknown")
    if word is None or state:
        answers = {
            one: Answer(DELIVERED if state in {None, one} else 0, body=shown_body)
            for one, shown_body in form.bodies.items()
        }
        operation = Operation(action="view", requests=(), answers=answers)
        status = _job(document, body, dialect, operation, now, {state} if state else form.states)
    kind = word or f"{JOB}{status.state if status else ''}"
    state = status.state if status else State.PENDING
    values = {**read(form.bodies[state], document), **shown}
    event_id = values.get("delivery_id") or (
        f"{status.id}:{state}" if status else f"{kind}:{hashlib.sha256(body).hexdigest()}"
    )
    times = (_rfc3339(time) for time in (values.get("event_at"), values.get("timestamp"), now))
    return WebhookEvent(_encodable(str(event_id)), str(kind), next(filter(None, times)), status, document)


def _rfc3339(time: object) -> str:
    """Returns a time in the form of RFC 3339; empty if it has not this form already, and is not seconds since 1970."""
    if isinstance(time, str) and time.isascii() and time.isdigit():
        time = float(time)
    if isinstance(time, int | float) and not isinstance(time, bool):
        return datetime.fromtimestamp(time, UTC).isoformat() if 0 <= time < LATEST else ""
    try:
        datetime.fromisoformat(str(time))
    except ValueError:
        return ""
    return str(time)


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _job(  # noqa: PLR0913, PLR0917 - all that defines a job
    data: object, body: bytes, dialect: Dialect, operation: Operation, now: float, known: Collection[State] = EVERY
) -> Status:
    try:
        return parsed_job(dialect, operation, data, Reply(DELIVERED, {}, body, now), known=known).status
    except ProtocolError as error:
        raise UnverifiedWebhook(f"the data is not a job of the dialect {dialect.name!r}: {error}") from error
