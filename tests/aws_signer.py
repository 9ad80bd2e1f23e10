"""AWS Signature Version 4 as AWS's documentation describes it, for the tests."""

import datetime as dt
import hashlib
import hmac
from collections.abc import Callable, Generator

import httpx


class AwsSigner(httpx.Auth):
    """Signs the host and the headers of AWS.

    Args:
        key: the access key.
        secret: the secret key.
        now: returns the time, in seconds since the epoch.
        digest: what the request says is the digest of its body; the true one if it is missing.
        date: the date of the key; that of the time if it is missing.
    """

    requires_request_body = True

    def __init__(
        self, key: str, secret: str, now: Callable[[], float], digest: str | None = None, date: str | None = None
    ) -> None:
        self._key, self._secret, self._now, self._digest, self._date = key, secret, now, digest, date

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds X-Amz-Date and Authorization to a request."""
        at = f"{dt.datetime.fromtimestamp(self._now(), dt.UTC):%Y%m%dT%H%M%SZ}"
        request.headers["x-amz-date"] = at
        if self._digest:
            request.headers["x-amz-content-sha256"] = self._digest
        names = sorted({"host", *(name for name in request.headers if name.startswith("x-amz-"))})
        digest = self._digest or hashlib.sha256(request.content).hexdigest()
        path, _, query = request.url.raw_path.decode().partition("?")
        lines = [request.method, path, query, *(f"{name}:{request.headers[name]}" for name in names)]
        canonical = "\n".join([*lines, "", ";".join(names), digest])
        scope = f"{self._date or at[:8]}/eu-west-1/transcribe/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in [*scope.split("/"), text]:
            key = hmac.digest(key, part.encode(), "sha256")
        request.headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._key}/{scope}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
        )
        yield request
