"""The routes of webhooks: the deliveries of the caller's sandbox, past and due, and deliveries on demand."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any, cast

from fastapi import Request
from starlette.responses import JSONResponse, Response

from translation_server.api.bodies import read_body
from translation_server.api.context import context_of
from translation_server.api.openapi import answer, error_references, model_body
from translation_server.api.own_routes import OwnRoute
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import WebhooksQuery
from translation_server.core.dialects.filters import timestamp
from translation_server.core.job import Job
from translation_server.core.webhook_events import JobEvent
from translation_server.core.webhooks import Attempt, Delivery, DeliveryState
from translation_server.documents import Receiver
from translation_server.service.deliveries import Deliveries
from translation_server.service.jobs import Service
from translation_server.service.webhook_policy import UnusableUrl

EXAMPLE_ATTEMPT = {
    "at": "2026-01-02T03:04:05.000Z",
    "request": {"headers": {"content-type": "application/json"}, "size": 24, "body": None},
    "seconds": 0.012,
    "status": 204,
    "error": None,
    "answer": "",
    "retry_after": None,
    "fault": None,
}
EXAMPLE = {
    "id": "msg_0Xv3rZkq6bV1lJ7d9y2s8QwE",
    "event": "completed",
    "job_id": "4b3a3f0e-9b0c-4f43-8f6e-2d6f3f5a1f0e",
    "url": "http://127.0.0.1:9000/hook",
    "at": "2026-01-02T03:04:05.000Z",
    "state": DeliveryState.DELIVERED,
    "next_attempt_at": None,
    "attempts": [EXAMPLE_ATTEMPT],
    "body": '{"type":"job.completed"}',
}
DELIVERY = answer("The delivery.", {"type": "object"}, EXAMPLE)


class WebhookApi:
    """The routes of the webhooks of the caller's own sandbox."""

    def __init__(self, service: Service, deliveries: Deliveries) -> None:
        self._service = service
        self._deliveries = deliveries

    @OwnRoute(
        "GET",
        "/sandbox/webhooks",
        answer("A page of deliveries.", {"type": "object"}, {"due": [], "deliveries": [EXAMPLE], "next": None}),
        query=WebhooksQuery,
    )
    async def show(self, request: Request) -> Response:
        """Pages through the deliveries of webhooks, those of the newest job first, with all their attempts.

        `due` lists the next events whose first attempt is due, or has not been answered yet: at most `limit` of them.
        """
        context = context_of(request)
        query = cast("WebhooksQuery", context.query)
        try:
            found, following = await self._deliveries.page(context.user, limit=query.limit, after=query.after)
        except KeyError:
            raise invalid([{"field": "after", "message": "must be the `next` of the page before"}]) from None
        due = [_shown_due(*one) for one in await self._deliveries.due(context.user, query.limit)]
        return JSONResponse({"due": due, "deliveries": [_shown(delivery) for delivery in found], "next": following})

    @OwnRoute(
        "POST",
        "/sandbox/webhooks/{delivery_id}/redeliver",
        DELIVERY,
        responses=error_references(HTTPStatus.NOT_FOUND),
    )
    async def redeliver(self, request: Request, delivery_id: str) -> Response:
        """Makes another attempt of a delivery now, even of one that has succeeded."""
        delivery = await self._deliveries.redeliver(context_of(request).user, delivery_id)
        if delivery is None:
            raise Problem(HTTPStatus.NOT_FOUND, "You have no delivery of this id.")
        return JSONResponse(_shown(delivery))

    @OwnRoute(
        "POST",
        "/sandbox/webhooks/ping",
        answer("The result of the attempt.", {"type": "object"}, EXAMPLE_ATTEMPT),
        body=model_body(Receiver, {"url": "http://127.0.0.1:9000/hook"}),
    )
    async def ping(self, request: Request) -> Response:
        """Posts an event of the type `ping` to a URL at once, and shows the answer."""
        body = await read_body(Receiver, request)
        try:
            attempt = await self._deliveries.ping(context_of(request).user, body.url, tuple(body.secret or ()))
        except UnusableUrl as error:
            raise invalid([{"field": "url", "message": str(error)}]) from None
        return JSONResponse(_shown_attempt(attempt))


def _shown_due(job: Job, event: JobEvent) -> dict[str, Any]:
    url = job.webhook.url if job.webhook else None
    return {"event": event.name, "job_id": job.id, "url": url, "at": timestamp(event.at)}


def _shown(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event,
        "job_id": delivery.job_id,
        "url": delivery.url,
        "at": timestamp(delivery.at),
        "state": delivery.state,
        "next_attempt_at": None if delivery.next_at is None else timestamp(delivery.next_at),
        "attempts": [_shown_attempt(attempt) for attempt in delivery.attempts],
        "body": delivery.body,
    }


def _shown_attempt(attempt: Attempt) -> dict[str, Any]:
    shown = asdict(attempt)
    del shown["wall"], shown["extra"]
    return shown | {"at": timestamp(attempt.at)}
