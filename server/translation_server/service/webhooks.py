"""Puts the parts of webhook deliveries together: the bodies, the policy and the sender."""

import json
from collections.abc import Callable, Iterable

from translation_server.core.clock import WallTime
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import Dialect, View
from translation_server.core.dialects.filters import timestamp
from translation_server.core.dialects.webhooks import with_event
from translation_server.core.job import Job, json_text
from translation_server.core.metrics import Metrics
from translation_server.core.webhook_events import JobEvent, delivery_id, snapshot_at
from translation_server.service.deliveries import Deliveries, DeliveryAndJobStore
from translation_server.service.faults import Faults
from translation_server.service.files import Files
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.webhook_attempts import Attempts
from translation_server.service.webhook_policy import WebhookPolicy
from translation_server.service.webhook_sender import WebhookSender


def open_deliveries(  # noqa: PLR0913 - the options are keywords
    store: DeliveryAndJobStore,
    sandboxes: SandboxCache,
    *,
    dialects: Iterable[Dialect],
    files: Files,
    faults: Faults,
    policy: WebhookPolicy,
    retry_delays: tuple[float, ...],
    clock: Callable[[], WallTime],
    metrics: Metrics,
) -> Deliveries:
    """Returns the deliveries of a server; ``dialects`` are those besides the built-in ones."""
    by_kind = {(dialect.api.name, dialect.kind): dialect for dialect in [*dialects, DIALECTS[0]]}

    def dialect_of(job: Job) -> Dialect:
        return by_kind.get((job.api, job.kind), DIALECTS[0])

    def render(job: Job, event: JobEvent) -> str:
        """Returns the body of a delivery: as its API describes it, or natively with the job as a poll would show it."""
        dialect = dialect_of(job)
        view = View(job.webhook.base_url if job.webhook else "", dialect.api.mount, files.path)
        snapshot = snapshot_at(job, event)
        if dialect.webhook:
            word, delivery = dialect.webhook.word(event.name), delivery_id(job, event.stage)
            values = {"event": word, "event_at": event.at, "delivery_id": delivery}
            shown = with_event(snapshot, values)
            return dialect.partial_body(shown, view, dialect.webhook.body).complete(shown)
        data = json.loads(dialect.body(snapshot, view))
        return json_text({"type": f"job.{event.name}", "timestamp": timestamp(event.at), "data": data})

    attempts = Attempts(
        WebhookSender(policy, clock),
        clock=clock,
        render=render,
        dialect_name=lambda job: dialect_of(job).name,
        faults=faults,
        retry_delays=retry_delays,
    )
    return Deliveries(store, sandboxes, attempts=attempts, clock=clock, metrics=metrics)
