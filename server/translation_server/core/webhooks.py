"""Webhooks: where the events of a job are delivered, the attempts of each delivery, and when the next one is due.

The time of the first attempt of a delivery is derived from its job, see `core.webhook_events`. After that attempt, the
delivery is stored with the time of the next one. Times are virtual times of the owner's sandbox, in seconds since the
epoch; only signatures have wall times, because receivers compare them with theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from translation_server.core.clock import VirtualTime, WallTime
from translation_server.core.entropy import seeded_entropy, uniform

EventName = Literal["started", "progress", "completed", "error", "cancelled"]

ENDS: tuple[EventName, ...] = ("completed", "error", "cancelled")
"""The events at a job's end, of which each job has at most one. They are delivered unless a webhook names others."""

RETRY_DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
"""How long after an attempt the next one follows, in seconds: the schedule that Standard Webhooks recommends."""

JITTER = 0.1
"""The largest fraction by which a delay is shorter or longer, so that deliveries that failed together are spread."""

ACCEPTED = range(200, 300)  # the status codes of a receiver that has accepted a delivery
GONE = 410  # the status code of a receiver that wants no more deliveries to this URL
MAX_DEPTH = 3  # how many deliveries may lead to a submission with a webhook; after more, it is refused as a loop
MAX_ATTEMPTS = 100  # how many attempts of a delivery are kept: the newest
SHOWN_BODY = 10_000  # how many characters of a body that a fault rule has changed are kept
MAX_RETRY_AFTER = 86_400.0  # how many seconds a receiver may ask to wait at most


@dataclass(frozen=True, slots=True)
class Signature:
    """How deliveries are signed: by default, as Standard Webhooks says. The texts are templates.

    Attributes:
        prefix: How the names of the three headers of Standard Webhooks begin.
        header: The header with an HMAC (RFC 2104, with SHA-256) instead.
        text: What the HMAC signs.
        value: What that header holds.
        encoding: How the HMAC is written, ``hex`` or ``base64``.
    """

    prefix: str = "webhook-"
    header: str | None = None
    text: str = "{body}"
    value: str = "{signature}"
    encoding: str = "hex"


STANDARD = Signature()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a job's events are delivered, and how. The first secret is the current one.

    Attributes:
        url: Where they are posted.
        events: Which events.
        secrets: The keys of the signatures. All of them sign in Standard Webhooks, the first one in an HMAC.
        base_url: The server's address as the submitter reached it, for the URLs in the body.
        depth: The number of this delivery in a chain, from 1: a receiver may submit another job with a webhook.
        signature: How they are signed; None if they have nothing of a signature.
        headers: Further headers, whose values are templates.
    """

    url: str
    events: tuple[EventName, ...] = ENDS
    secrets: tuple[str, ...] = ()
    base_url: str = ""
    depth: int = 1
    signature: Signature | None = STANDARD
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """About how many characters its caller has sent."""
        texts = (*self.secrets, *(text for header in self.headers for text in header))
        return len(self.url) + len(self.base_url) + sum(map(len, texts))


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"  # there will be another attempt
    DELIVERED = "delivered"
    FAILED = "failed"  # all attempts were made
    GONE = "gone"  # the receiver has said 410: nothing more is delivered to this URL


@dataclass(frozen=True, slots=True)
class SentRequest:
    """The request of an attempt.

    Attributes:
        headers: Its headers, besides those that every request has.
        size: How many bytes of its body were sent.
        body: Its body; None if it is that of the delivery. Of a body that a fault rule has changed, the beginning.
    """

    headers: Mapping[str, str]
    size: int
    body: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a delivery, with the receiver's answer, or the reason why there is none."""

    at: VirtualTime  # when it began
    wall: WallTime  # the same in wall time
    seconds: float  # how long it took, in wall time
    status: int | None = None  # the status code of the answer
    error: str | None = None  # why there is no answer
    answer: str | None = None  # how the body of the answer begins
    retry_after: float | None = None  # how many seconds the receiver asks to wait
    fault: str | None = None  # the kind of the fault rule that changed it
    extra: bool = False  # whether a fault rule made it besides the attempts of the schedule
    request: SentRequest | None = None  # None if nothing was sent

    @property
    def was_accepted(self) -> bool:
        """Whether the receiver has accepted the delivery."""
        return self.status in ACCEPTED

    @property
    def result(self) -> Literal["accepted", "refused", "failed", "not_sent"]:
        """How the attempt ended. It is ``not_sent`` if a fault rule dropped it."""
        if self.was_accepted:
            return "accepted"
        if self.status is not None:
            return "refused"
        return "not_sent" if self.fault and not self.seconds else "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of a job, on its way to a receiver."""

    id: str  # the same in all attempts, and in no other delivery
    ordinal: int  # of the job
    stage: int  # which of the job's events it is
    event: str
    job_id: str
    url: str
    at: VirtualTime  # when the event happened
    body: str
    attempts: tuple[Attempt, ...] = ()
    state: DeliveryState = DeliveryState.PENDING
    next_at: VirtualTime | None = None  # when the next attempt is due
    copies: tuple[VirtualTime, ...] = ()  # when it is made again after it was accepted, because of a fault rule
    dropped: int = 0  # how many older attempts are no longer kept
    dropped_extra: int = 0  # how many of those were extra

    @property
    def size(self) -> int:
        """About how many characters of its body, its requests and its answers it holds."""
        requests = [attempt.request for attempt in self.attempts if attempt.request]
        sent = sum(len(request.body or "") + sum(map(len, request.headers.values())) for request in requests)
        return len(self.body) + sent + sum(len(attempt.answer or "") for attempt in self.attempts)

    @property
    def made(self) -> int:
        """How many attempts were made, also those that are no longer kept."""
        return self.dropped + len(self.attempts)

    @property
    def number(self) -> int:
        """The number of the next attempt of the schedule, from 1."""
        return 1 + self.dropped - self.dropped_extra + sum(not attempt.extra for attempt in self.attempts)

    @property
    def is_copy(self) -> bool:
        """Whether the next attempt is one that a fault rule makes although the delivery was accepted."""
        return self.state is DeliveryState.DELIVERED and self.next_at is not None

    def is_due(self, now: VirtualTime) -> bool:
        """Whether the next attempt is due."""
        return self.next_at is not None and self.next_at <= now

    def after(self, attempt: Attempt, retry_delays: tuple[float, ...] = RETRY_DELAYS) -> "Delivery":
        """Returns the delivery after an attempt, which ends it or makes the next one due.

        A delivery that was accepted before stays delivered if another attempt fails.
        """
        number, was_accepted = self.number - 1, any(one.was_accepted and not one.extra for one in self.attempts)
        attempted = replace(self.with_attempts(attempt), next_at=None)
        if attempt.was_accepted:
            return replace(attempted, state=DeliveryState.DELIVERED).next_copy()
        if attempt.status == GONE:
            return replace(attempted, state=DeliveryState.GONE)
        if was_accepted:
            return replace(attempted, state=DeliveryState.DELIVERED)
        if number >= len(retry_delays):
            return replace(attempted, state=DeliveryState.FAILED)
        spread = 1 + JITTER * (2 * uniform(seeded_entropy(self.id, number)[:8]) - 1)
        pause = max(retry_delays[number] * spread, min(attempt.retry_after or 0.0, MAX_RETRY_AFTER))
        return replace(attempted, state=DeliveryState.PENDING, next_at=VirtualTime(attempt.at + pause))

    def with_attempts(self, *attempts: Attempt) -> "Delivery":
        """Returns the delivery with further attempts, which change nothing else."""
        every = (*self.attempts, *map(self._storable, attempts))
        dropped = every[:-MAX_ATTEMPTS]
        return replace(
            self,
            attempts=every[-MAX_ATTEMPTS:],
            dropped=self.dropped + len(dropped),
            dropped_extra=self.dropped_extra + sum(attempt.extra for attempt in dropped),
        )

    def attempts_since(self, before: "Delivery") -> tuple[Attempt, ...]:
        """Returns the attempts that were made since an earlier state of the delivery."""
        return self.attempts[len(self.attempts) - (self.made - before.made) :]

    def postponed(self, until: VirtualTime) -> "Delivery":
        """Returns the delivery with its next attempt due at a later time."""
        return replace(self, next_at=until)

    def next_copy(self) -> "Delivery":
        """Returns the delivery with its next copy due, if there is one."""
        return replace(self, next_at=next(iter(self.copies), None), copies=self.copies[1:])

    def due_again(self, now: VirtualTime) -> "Delivery":
        """Returns the delivery with one more attempt due now, whatever its state is."""
        return replace(self, state=DeliveryState.PENDING, next_at=now)

    def _storable(self, attempt: Attempt) -> Attempt:
        """Returns an attempt as it is stored: without a body that the delivery already has."""
        if attempt.request is None or attempt.request.body is None:
            return attempt
        body = None if attempt.request.body == self.body else attempt.request.body[:SHOWN_BODY]
        return replace(attempt, request=replace(attempt.request, body=body))
