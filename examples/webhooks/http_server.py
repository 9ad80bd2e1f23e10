"""Receives webhooks with `http.server`: `WEBHOOK_SECRET=whsec_… python examples/webhooks/http_server.py 9000`."""

import os
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookInProgress, verify

SECRET = os.environ["WEBHOOK_SECRET"]
LARGEST_BODY = 1 << 20  # bytes

seen = Deduplicator(os.environ.get("WEBHOOK_EVENTS"))  # a file, so that a restart forgets nothing


class Receiver(BaseHTTPRequestHandler):
    """Reads deliveries, and answers them."""

    timeout = 15  # seconds without a byte

    def do_POST(self) -> None:
        """Handles a delivery."""
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            self.send_error(411)
            return
        if int(length) > LARGEST_BODY:
            self.send_error(413)
            return
        code, text = handle(dict(self.headers.items()), self.rfile.read(int(length)))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())


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
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()
