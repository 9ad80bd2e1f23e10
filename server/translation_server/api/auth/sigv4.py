"""AWS Signature Version 4 in the Authorization header: the server's side.

The access key is the user's name, the secret key is their password. What is signed, and how, follows
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html: the method, the path, the
query, some headers and a digest of the body.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from starlette.types import Scope

ALGORITHM = "AWS4-HMAC-SHA256"
AUTHORIZATION = re.compile(
    ALGORITHM.encode() + rb" +Credential=(?P<key>[^,\x00-\x1f\x7f]{1,1024})/(?P<date>\d{8})/(?P<region>[^/, ]{1,100})"
    rb"/(?P<service>[^/, ]{1,100})/aws4_request *, *SignedHeaders=(?P<headers>[a-z0-9;-]{1,4096}) *, *"
    rb"Signature=(?P<signature>[0-9a-f]{64}) *"
)
UNSIGNED = "UNSIGNED-PAYLOAD"
TIME = "%Y%m%dT%H%M%SZ"
MAX_SKEW = 900  # how many seconds the time of a signature may differ from the server's, as at AWS
UNRESERVED = "-_.~"
DIGEST = re.compile("[0-9a-f]{64}")
EMPTY = hashlib.sha256(b"").hexdigest()


class SignatureError(Exception):
    """A signature is wrong; the message says why."""


class Signature(NamedTuple):
    """The content of the Authorization header."""

    access_key: bytes
    date: str
    region: str
    service: str
    headers: Sequence[str]  # the names of the signed headers
    value: str


def read_signature(authorization: bytes) -> Signature | None:
    """Returns the signature in an Authorization header; None if it is malformed."""
    found = AUTHORIZATION.fullmatch(authorization)
    if found is None:
        return None
    key, *texts = found.groups()
    date, region, service, headers, value = (text.decode("latin-1") for text in texts)
    names = headers.split(";")
    if len(names) > len(set(names)):  # else a long header could be signed, and hashed, thousands of times
        return None
    return Signature(key, date, region, service, names, value)


def needs_body(scope: Scope) -> bool:
    """Whether the body of a request is signed."""
    return _headers(scope).get("x-amz-content-sha256") != UNSIGNED


def declares_digest(scope: Scope) -> bool:
    """Whether a request declares its body's digest, so that the signature can be checked before the body is read."""
    return "x-amz-content-sha256" in _headers(scope)


def check_signature(scope: Scope, signature: Signature, password: str, body: bytes | None, now: float) -> None:
    """Checks the signature of a request, or the part of it that the head alone allows to check.

    Args:
        scope: the request.
        signature: its signature.
        password: the password of the user whom the signature names.
        body: the request's body, empty if it need not be signed; None if it has not been read yet.
        now: wall time, in seconds since the epoch.

    Raises:
        SignatureError: it is wrong, too old or too new.
    """
    headers = _headers(scope)
    time = headers.get("x-amz-date", "")
    _check_time(time, signature.date, now)
    required = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if missing := sorted(required - {*signature.headers}):
        raise SignatureError(f"The signature must cover the header {missing[0]}.")
    digest = hashlib.sha256(body).hexdigest() if body else EMPTY
    declared = headers.get("x-amz-content-sha256")
    if body is None and declared is None:
        return  # the digest of the body is signed, but unknown
    declared = digest if declared is None else declared
    if declared != UNSIGNED and (not DIGEST.fullmatch(declared) if body is None else declared != digest):
        raise SignatureError(f"X-Amz-Content-SHA256 must be {UNSIGNED}, or the SHA-256 of the body in hexadecimal.")
    request = "\n".join(
        [
            scope["method"],
            _path(scope, signature.service),
            _query(scope["query_string"]),
            *(f"{name}:{headers.get(name, '')}" for name in signature.headers),
            "",
            ";".join(signature.headers),
            declared,
        ]
    )
    where = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    text = f"{ALGORITHM}\n{time}\n{where}\n{hashlib.sha256(request.encode('latin-1')).hexdigest()}"
    key = f"AWS4{password}".encode()
    for part in (*where.split("/"), text):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    if not hmac.compare_digest(key.hex(), signature.value):
        raise SignatureError("The signature does not match this request and the user's password as the secret key.")


def _check_time(text: str, date: str, now: float) -> None:
    try:
        signed_at = datetime.strptime(text, TIME).replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("Send the time of the signature in X-Amz-Date, as in 20150830T123600Z.") from None
    if text[:8] != date:
        raise SignatureError("X-Amz-Date and the Credential of the signature must have the same date.")
    if abs(signed_at.timestamp() - now) > MAX_SKEW:
        server_time = datetime.fromtimestamp(now, UTC).strftime(TIME)
        raise SignatureError(f"The signature is from {text}, but it is {server_time}: set the clock and sign again.")


def _headers(scope: Scope) -> Mapping[str, str]:
    """Returns the headers as they are signed: without needless spaces, repeated ones separated by commas."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), " ".join(value.decode("latin-1").split())
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers | ({"host": scope["forwarded_host"]} if scope.get("forwarded_host") else {})


def _path(scope: Scope, service: str) -> str:
    """Returns the path as it is signed: normalized and encoded once more, except for S3."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("latin-1")
    if service == "s3":
        return path
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    simple = "/" + "/".join(segments) + ("/" if segments and path.endswith("/") else "")
    return quote(simple, safe="/" + UNRESERVED, encoding="latin-1")


def _query(query: bytes) -> str:
    pairs = [part.partition(b"=") for part in query.split(b"&") if part]
    encoded = [
        (
            quote_from_bytes(unquote_to_bytes(name), safe=UNRESERVED),
            quote_from_bytes(unquote_to_bytes(value), safe=UNRESERVED),
        )
        for name, _, value in pairs
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
