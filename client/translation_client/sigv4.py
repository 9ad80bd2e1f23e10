"""AWS Signature Version 4: the access key is the user's name, the secret key their password.

What is signed, and how, follows
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from urllib.parse import quote

from translation_client.http_library import httpx

ALGORITHM = "AWS4-HMAC-SHA256"
DOMAIN = ".amazonaws.com"
REGION, SERVICE = "us-east-1", "execute-api"  # at hosts that do not name theirs
UNSIGNED = frozenset({"authorization", "connection", "expect", "user-agent", "accept-encoding"})
"""The headers that proxies may change."""


class SigV4Auth(httpx.Auth):
    """Signs each request, with the time at which it is sent."""

    requires_request_body = True

    def __init__(self, username: str, password: str, clock: Callable[[], float] = time.time) -> None:
        self._username, self._password, self._clock = username, password, clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds X-Amz-Date and Authorization to a request."""
        signed_at = f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%dT%H%M%SZ}"
        request.headers["X-Amz-Date"] = signed_at
        headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
        names = sorted(headers.keys() - UNSIGNED)
        canonical = "\n".join(
            [
                request.method,
                quote(request.url.raw_path.partition(b"?")[0].decode("ascii"), safe="/-_.~"),
                _query(request.url),
                *(f"{name}:{headers[name]}" for name in names),
                "",
                ";".join(names),
                hashlib.sha256(request.content).hexdigest(),
            ]
        )
        service, region = _service_and_region(request.url.host)
        scope = f"{signed_at[:8]}/{region}/{service}/aws4_request"
        text = f"{ALGORITHM}\n{signed_at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._password}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        request.headers["Authorization"] = (
            f"{ALGORITHM} Credential={self._username}/{scope}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
        )
        yield request


def _service_and_region(host: str) -> tuple[str, str]:
    """Returns the service and the region in the host of an AWS endpoint such as transcribe.eu-west-1.amazonaws.com."""
    labels = host.removesuffix(DOMAIN).split(".")
    return (labels[-2], labels[-1]) if host.endswith(DOMAIN) and len(labels) > 1 else (SERVICE, REGION)


def _query(url: httpx.URL) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in url.params.multi_items())
    return "&".join(f"{name}={value}" for name, value in pairs)
