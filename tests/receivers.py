"""Receivers of webhooks for the tests: real HTTP servers on loopback."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.patience import PATIENCE


class Received(NamedTuple):
    """A delivery as it arrived."""

    headers: dict[str, str]
    text: str

    @property
    def body(self):
        return json.loads(self.text)

    @property
    def type(self):
        return self.body["type"]

    @property
    def id(self):
        return self.headers["webhook-id"]


class Receiver:
    """Receives deliveries. It answers with the codes in ``codes`` one after another, then with 204."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/hook"
        self.codes = []
        self.headers = {}
        self.body = b""
        self.received = []
        self.cut_off = queue.Queue()  # the beginnings of bodies that ended too early
        self.may_answer = threading.Event()  # cleared: no delivery is answered
        self.may_answer.set()
        self.silent_from = 0  # the number of the delivery that clears it
        self._queue = queue.Queue()

    def take(self, count=1):
        """Waits for so many deliveries that were not taken before."""
        return [self._queue.get(timeout=PATIENCE) for _ in range(count)]

    def is_quiet(self, seconds=0.5):
        """Whether nothing that was not taken arrives within so many seconds."""
        try:
            self._queue.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def add(self, received):
        self.received.append(received)
        if len(self.received) == self.silent_from:
            self.may_answer.clear()
        self._queue.put(received)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Runs a receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            if len(text.encode()) < int(self.headers["content-length"]):
                receiver.cut_off.put(text)  # by a fault, or because the sender was killed
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            code = receiver.codes.pop(0) if receiver.codes else 204
            receiver.add(Received(headers, text))
            receiver.may_answer.wait(PATIENCE)
            self.send_response(code)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body if code != 204 else b"")

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 2000

        def handle_error(self, *_):  # a sender that was killed
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.may_answer.set()
            server.shutdown()
            thread.join()
