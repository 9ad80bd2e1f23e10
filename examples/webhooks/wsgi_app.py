"""Receives webhooks with any WSGI server: `WEBHOOK_SECRET=whsec_c2VjcmV0 python examples/webhooks/wsgi_app.py 9000`.

With Flask, `handle` stays the same, and this calls it:

    @app.post("/")
    def receive():
        code, text = handle(request.headers, request.get_data())
        return text, code
"""

import os
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import make_server

from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookInProgress, verify

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

SECRET = os.environ["WEBHOOK_SECRET"]
LARGEST_BODY = 1 << 20  # bytes

seen = Deduplicator(os.environ.get("WEBHOOK_EVENTS"))  # a file, so that a restart forgets nothing


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Reads a delivery, and answers it."""
    length = environ.get("CONTENT_LENGTH", "")
    if environ["REQUEST_METHOD"] != "POST":
        code, text = 405, "post webhooks here"
    elif not (length.isascii() and length.isdigit()):
        code, text = 411, "the request must have a Content-Length"
    elif int(length) > LARGEST_BODY:
        code, text = 413, "the body is too large"
    else:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        code, text = handle(headers, environ["wsgi.input"].read(int(length)))
    lines = [("Allow", "POST")] if code == HTTPStatus.METHOD_NOT_ALLOWED else []
    start_response(f"{code} {HTTPStatus(code).phrase}", [*lines, ("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode()]


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


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()
