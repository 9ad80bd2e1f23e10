"""Receives webhooks with FastAPI or Starlette.

WEBHOOK_SECRET=whsec_c2VjcmV0 uvicorn --app-dir examples/webhooks fastapi_app:app --port 9000
"""

import os
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookInProgress, verify

SECRET = os.environ["WEBHOOK_SECRET"]
LARGEST_BODY = 1 << 20  # bytes

app = FastAPI()
seen = Deduplicator(os.environ.get("WEBHOOK_EVENTS"))  # a file, so that a restart forgets nothing


@app.post("/")
async def receive(request: Request) -> Response:
    """Reads a delivery, and answers it."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return Response(status_code=413)
    code, text = await run_in_threadpool(handle, request.headers, body)
    return Response(text or None, code)


def handle(headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    """Handles an event once; returns the code of the answer, and what was wrong."""
    try:
        event = verify(headers, body, SECRET)
        with seen.once(event.id) as is_new:
            if is_new and event.status and event.status.state.ended:  # a stale event shows a pending job
                print(event.status.id, event.status.state, flush=True)
    except UnverifiedWebhook as error:
        return 400, str(error)
    except WebhookInProgress as error:
        return 503, str(error)
    return 204, ""
