"""A first version of a receiver of webhooks. It works as long as nothing goes wrong."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

SECRET = "whsec_c2VjcmV0"  # noqa: S105 - an example


class Receiver(ThreadingHTTPServer):
    """Believes every delivery, and counts each as the end of its job."""

    daemon_threads = True

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []  # the id and the status of each job that has ended
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Handles a delivery."""

    server: Receiver

    def do_POST(self) -> None:
        """Takes the job's status from the body."""
        job = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
        self.server.ends.append((job["job_id"], job["status"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Logs nothing."""


def start(url: str, auth: tuple[str, str], receiver: Receiver) -> str:
    """Starts a job whose end is delivered to the receiver, and returns its id."""
    webhook = {"url": f"http://127.0.0.1:{receiver.server_port}/", "secret": SECRET}
    answer = httpx.post(f"{url}/start", json={"webhook": webhook}, auth=auth)
    job_id: str = answer.raise_for_status().json()["job_id"]
    return job_id
