"""Sends deliveries of webhooks over HTTP, each to an address that the policy allows."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult

from translation_server.core.clock import Clock, WallTime
from translation_server.core.webhooks import Attempt, Delivery, SentRequest, Webhook
from translation_server.service.webhook_http import PORTS, Http
from translation_server.service.webhook_policy import UnusableUrl, WebhookPolicy, split_url
from translation_server.service.webhook_resolver import Resolver
from translation_server.service.webhook_signatures import own_headers, shown_headers
from translation_server.version import __version__

TIMEOUT = 15.0  # how long an attempt may take, in seconds
CHECK_TIMEOUT = 1.0  # how long a submission waits for the addresses of a host, in seconds
SHOWN = 200  # how many characters of an answer are kept
AGENT = f"translation-server/{__version__}"
DEPTH = "webhook-depth"  # the header that says how many deliveries have led to this one


@dataclass(frozen=True, slots=True)
class Message:
    """The request of a delivery."""

    headers: Mapping[str, str]
    body: bytes
    cut_at: int | None = None  # after how many bytes of the body the connection ends; None if it is sent whole

    def shown(self, webhook: Webhook) -> SentRequest:
        """Returns the request as the webhook's owner sees it."""
        return SentRequest(shown_headers(self.headers, webhook), len(self.body[: self.cut_at]), self.body.decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """What a fault rule changes of the request of a delivery."""

    age: float = 0.0  # how many seconds ago it was signed
    body: str | None = None  # the body in place of the signed one
    content_type: str | None = None  # another content type
    keep: float | None = None  # the share of the body after which the connection ends

    def apply(self, message: Message) -> Message:
        """Returns the changed request."""
        body = message.body if self.body is None else self.body.encode()
        changed = {} if self.content_type is None else {"content-type": self.content_type}
        cut_at = None if self.keep is None else int(len(body) * self.keep)
        return Message({**message.headers, **changed}, body, cut_at)


UNCHANGED = Distortion()


def signed_message(delivery: Delivery, webhook: Webhook, wall: WallTime) -> Message:
    """Returns a delivery as it is sent at this wall time."""
    headers = {"content-type": "application/json", "user-agent": AGENT, DEPTH: str(webhook.depth)}
    return Message(headers | own_headers(delivery, webhook, wall), delivery.body.encode())


class WebhookSender:
    """Sends deliveries.

    Args:
        policy: where they may go.
        clock: returns the wall time.
        timeout: how long an attempt may take, in seconds.
    """

    def __init__(self, policy: WebhookPolicy, clock: Callable[[], WallTime], timeout: float = TIMEOUT) -> None:
        self._policy = policy
        self._clock = clock
        self._timeout = timeout
        self._http = Http()
        self._resolver = Resolver()

    async def check(self, user: str, url: str) -> None:
        """Checks that a user's deliveries to a URL are allowed now. A host whose addresses cannot be found is allowed.

        Raises:
            UnusableUrl: they are not allowed, or it is no URL of HTTP.
        """
        with suppress(OSError):
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._addresses(user, split_url(url))

    async def send(
        self, user: str, delivery: Delivery, webhook: Webhook, clock: Clock, distortion: Distortion = UNCHANGED
    ) -> Attempt:
        """Makes an attempt for a user, and returns its result; ``clock`` is that of their sandbox."""
        wall, began = self._clock(), time.monotonic()
        status, error, answer, retry_after = None, None, None, None
        sent: SentRequest | None = None
        try:
            async with asyncio.timeout(self._timeout):
                url = split_url(delivery.url)
                addresses = await self._addresses(user, url)
                message = distortion.apply(signed_message(delivery, webhook, WallTime(wall - distortion.age)))

                def keep_request() -> None:
                    nonlocal sent
                    sent = message.shown(webhook)

                received = await self._http.post(
                    user, url, addresses, message.headers, message.body, message.cut_at, keep_request
                )
            status, answer = received.status, received.body.decode("utf-8", "replace")[:SHOWN]
            retry_after = _retry_after(received.retry_after, wall)
        except TimeoutError:
            error = f"no {'answer' if sent else 'connection'} within {self._timeout:g} seconds"
        except (OSError, UnusableUrl) as failure:
            error = str(failure) or type(failure).__name__
        seconds = round(time.monotonic() - began, 3)
        return Attempt(clock.virtual(wall), wall, seconds, status, error, answer, retry_after, request=sent)

    async def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    async def _addresses(self, user: str, url: SplitResult) -> list[str]:
        """Returns the allowed addresses of the host of a user's URL.

        Raises:
            UnusableUrl: there are none.
            OSError: the host is unknown.
        """
        host, port = url.hostname or "", url.port or PORTS[url.scheme]
        try:
            addresses = await self._resolver.addresses(user, host, port)
        except UnicodeError as error:
            raise UnusableUrl(f"must have a valid host name: {error}") from None
        if allowed := [address for address in addresses if self._policy.allows(host, address)]:
            return allowed
        raise UnusableUrl(f"must lead to this machine or to a host in WEBHOOK_ALLOW; {host} is {', '.join(addresses)}")


def _retry_after(value: str, wall: WallTime) -> float | None:
    """Returns how many seconds the Retry-After header of an answer asks to wait."""
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall)
    except (ValueError, OverflowError):
        return None
