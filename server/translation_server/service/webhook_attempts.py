"""Makes the attempts of deliveries, as the fault rules of their owners want them.

Theory of operation: for each attempt of a delivery, at most one fault rule fires. It postpones the attempt, loses or
changes it, or makes further attempts beside it. All of them are kept with the delivery, with the kind of the rule.
Those besides the attempts of the schedule are `extra`, and decide nothing. What follows later, such as a second copy,
is stored with the delivery as the time of its next attempt, so a restart loses nothing and any server goes on with it.
"""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from translation_server.core.clock import Clock, VirtualTime, WallTime
from translation_server.core.faults.deliveries import (
    after_end,
    delivery_context,
    is_out_of_order,
    next_burst,
    stale_delivery,
    with_other_end,
)
from translation_server.core.faults.rules import (
    Burst,
    Doubled,
    FaultRule,
    Firing,
    Forged,
    HugeBody,
    Latency,
    Lost,
    OutOfOrder,
    Stale,
    Truncate,
    WrongType,
)
from translation_server.core.job import Job
from translation_server.core.webhook_events import JobEvent
from translation_server.core.webhooks import RETRY_DELAYS, Attempt, Delivery, Webhook
from translation_server.service.faults import Faults
from translation_server.service.webhook_sender import UNCHANGED, Distortion

logger = logging.getLogger(__name__)
OLD = 3600.0  # how many seconds old a signature with an old timestamp is
BY_RULE = "by a fault rule of the sandbox"  # the reason why an attempt had no answer


class Sender(Protocol):
    """Sends deliveries."""

    async def check(self, user: str, url: str) -> None:
        """Raises UnusableUrl if a user's deliveries to a URL are not allowed."""

    async def send(
        self, user: str, delivery: Delivery, webhook: Webhook, clock: Clock, distortion: Distortion = UNCHANGED
    ) -> Attempt:
        """Sends a delivery once for a user, and returns the result; ``clock`` is that of their sandbox."""

    async def close(self) -> None:
        """Closes the connections."""


class Attempts:
    """Makes attempts.

    Args:
        sender: sends the deliveries.
        clock: returns the wall time.
        render: returns the body of the delivery of an event.
        dialect_name: returns the name of the wire format of a job.
        faults: draws the faults; None for none.
        retry_delays: how long after an attempt the next one follows, in seconds of virtual time.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        sender: Sender,
        *,
        clock: Callable[[], WallTime],
        render: Callable[[Job, JobEvent], str],
        dialect_name: Callable[[Job], str] = lambda job: job.api,
        faults: Faults | None = None,
        retry_delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        self.sender = sender
        self.render = render
        self._clock = clock
        self._dialect_name = dialect_name
        self._faults = faults
        self._retry_delays = tuple(retry_delays)

    async def make(self, job: Job, delivery: Delivery, clock: Clock) -> Delivery:
        """Makes the next attempt of a delivery of a job, and returns the delivery after it."""
        if delivery.is_copy:
            return delivery.with_attempts(await self._extra("doubled", job, delivery, clock)).next_copy()
        now = clock.virtual(self._clock())
        if is_out_of_order(job, delivery):
            return delivery.postponed(after_end(job, now))
        firing = await self._firing(job, delivery)
        if firing is None:
            return self._after(delivery, await self._send(job, delivery, clock))
        rule, entropy = firing.rule, firing.entropy
        if isinstance(rule, Latency | OutOfOrder | Burst):
            postponed = delivery.with_attempts(self._not_made(clock, rule.kind, "postponed"))
            return postponed.postponed(_later(rule, entropy, job, now))
        return await self._faulty(rule, entropy, job, delivery, clock)

    async def _faulty(self, rule: FaultRule, entropy: bytes, job: Job, delivery: Delivery, clock: Clock) -> Delivery:
        """Makes an attempt, or what a rule wants instead."""
        match rule:
            case Lost():
                return self._after(delivery, replace(self._not_made(clock, rule.kind, "lost"), extra=False))
            case Doubled():
                return await self._doubled(rule, job, delivery, clock)
            case Forged():
                forged, distortion = self._forgery(rule.kind, job, delivery, entropy)
                delivery = delivery.with_attempts(await self._extra(rule.kind, forged, delivery, clock, distortion))
                return self._after(delivery, await self._send(job, delivery, clock))
            case Stale():
                after = self._after(delivery, await self._send(job, delivery, clock))
                stale = stale_delivery(job, delivery, self.render)
                return after.with_attempts(await self._extra(rule.kind, job, stale, clock))
            case HugeBody(size=size):
                huge = replace(delivery, body=delivery.body.ljust(size))
                return self._after(delivery, replace(await self._send(job, huge, clock), fault=rule.kind))
        attempt = await self._send(job, delivery, clock, _distortion(rule))
        error = f"cut off {BY_RULE}" if attempt.error and isinstance(rule, Truncate) else attempt.error
        return self._after(delivery, replace(attempt, fault=rule.kind, error=error))

    async def _firing(self, job: Job, delivery: Delivery) -> Firing | None:
        if self._faults is None:
            return None
        context = delivery_context(job, delivery, self._dialect_name(job))
        return await self._faults.draw_webhook_fault(job.owner, context, delivery)

    def _after(self, delivery: Delivery, attempt: Attempt) -> Delivery:
        return delivery.after(attempt, self._retry_delays)

    def _not_made(self, clock: Clock, kind: str, word: str) -> Attempt:
        """Returns the record of an attempt that a rule has kept from being made."""
        wall = self._clock()
        return Attempt(clock.virtual(wall), wall, 0.0, error=f"{word} {BY_RULE}", fault=kind, extra=True)

    async def _send(self, job: Job, delivery: Delivery, clock: Clock, distortion: Distortion = UNCHANGED) -> Attempt:
        return await self.sender.send(job.owner, delivery, job.webhook or Webhook(""), clock, distortion)

    async def _extra(
        self, kind: str, job: Job, delivery: Delivery, clock: Clock, distortion: Distortion = UNCHANGED
    ) -> Attempt:
        return replace(await self._send(job, delivery, clock, distortion), fault=kind, extra=True)

    async def _doubled(self, rule: Doubled, job: Job, delivery: Delivery, clock: Clock) -> Delivery:
        """Makes a delivery several times at once, or plans its copies for later. One that is accepted counts."""
        if rule.delay:
            now = clock.virtual(self._clock())
            later = tuple(VirtualTime(now + rule.delay * number) for number in range(1, rule.copies))
            attempt = await self._send(job, delivery, clock)
            return self._after(replace(delivery, copies=later) if attempt.was_accepted else delivery, attempt)
        attempts = await asyncio.gather(*(self._send(job, delivery, clock) for _ in range(rule.copies)))
        first, *others = sorted(attempts, key=lambda attempt: not attempt.was_accepted)
        return self._after(delivery, first).with_attempts(
            *(replace(other, fault=rule.kind, extra=True) for other in others)
        )

    def _forgery(self, kind: str, job: Job, delivery: Delivery, entropy: bytes) -> tuple[Job, Distortion]:
        """Returns the job with the secrets that sign a forged delivery, and what else is wrong with the delivery."""
        webhook = job.webhook or Webhook("")
        match kind:
            case "bad-signature":
                wrong = replace(webhook, secrets=(f"whsec_{b64encode(entropy).decode()}",))
                return replace(job, webhook=wrong), UNCHANGED
            case "no-signature":
                return replace(job, webhook=replace(webhook, secrets=())), UNCHANGED
            case "old-timestamp":
                return job, Distortion(age=OLD)
            case "other-job":
                event = JobEvent(delivery.stage, delivery.event, delivery.at)
                return job, Distortion(body=self.render(replace(job, id=str(UUID(bytes=entropy))), event))
        return job, Distortion(body=self.render(*with_other_end(job, delivery.at)))


def _later(rule: Latency | OutOfOrder | Burst, entropy: bytes, job: Job, now: VirtualTime) -> VirtualTime:
    """Returns until when a rule postpones an attempt."""
    match rule:
        case Latency():
            return VirtualTime(now + rule.seconds(entropy))
        case OutOfOrder():
            return after_end(job, now)
        case Burst():
            return next_burst(rule, now)


def _distortion(rule: FaultRule) -> Distortion:
    """Returns what a rule changes of the attempt itself."""
    match rule:
        case Truncate(keep=keep):
            return Distortion(keep=keep)
        case WrongType(content_type=content_type):
            return Distortion(content_type=content_type)
    return UNCHANGED


def log_attempt(owner: str, delivery: Delivery) -> None:
    """Logs the last attempt of a delivery."""
    attempt = delivery.attempts[-1]
    logger.log(
        logging.DEBUG if attempt.was_accepted else logging.INFO,
        "webhook %s of job %s of %s to %s: %s, attempt %d, %s",
        delivery.event,
        delivery.job_id,
        owner,
        delivery.url,
        attempt.error or attempt.status,
        delivery.made,
        delivery.state,
    )
