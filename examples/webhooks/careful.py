"""The same receiver as it should be: it verifies each delivery, handles each event once, and polls as well."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from translation_client import Client, Status
from translation_client.receivers import Inbox
from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookInProgress, verify

SECRET = "whsec_c2VjcmV0"  # noqa: S105 - an example
MAX_BODY = 2**20  # how many bytes a delivery may have


class Receiver(ThreadingHTTPServer):
    """Puts each genuine event into an inbox, once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = Deduplicator()
        self.inbox = Inbox(f"http://127.0.0.1:{self.server_port}/", SECRET)


class Handler(BaseHTTPRequestHandler):
    """Handles a delivery."""

    server: Receiver
    timeout = 10  # for a body that is cut off

    def do_POST(self) -> None:
        """Answers at once; the waits of the inbox do the rest."""
        size = int(self.headers["content-length"])
        self.send_response(413 if size > MAX_BODY else self._code(self.rfile.read(size)))
        self.end_headers()

    def _code(self, body: bytes) -> int:
        try:
            event = verify(dict(self.headers), body, SECRET)
            with self.server.seen.once(event.id) as is_new:
                if is_new:
                    self.server.inbox.put(event)
        except UnverifiedWebhook:
            return 400
        except WebhookInProgress:
            return 503
        return 204

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Logs nothing."""


def run(url: str, auth: tuple[str, str], receiver: Receiver) -> Status:
    """Runs a job. Its delivery ends the wait; polls underneath find the end of a job whose delivery is lost."""
    with Client(url, username=auth[0], password=auth[1]) as client:
        return client.run(webhook=receiver.inbox)
