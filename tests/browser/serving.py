"""HTTP servers beside the one under test: pages of other origins."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def serving(text, host="localhost"):
    """Serves a page from another origin, which is of the same site if the host is 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with in_background(Handler) as server:
        yield f"http://{host}:{server.server_port}/"


@contextmanager
def in_background(handler):
    """Runs an HTTP server in a thread."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
