"""Requests as bytes on a socket, for the tests."""

import base64
import contextlib
import json
import re
import socket

from tests.patience import PATIENCE

LOGIN = b"Authorization: Basic " + base64.b64encode(b"admin:secretpassword")
JSON = b"Content-Type: application/json"


def head(target, *fields, method="GET", version="1.1", host=b"127.0.0.1"):
    first = f"{method} {target} HTTP/{version}".encode()
    return b"\r\n".join([first, b"Host: " + host, LOGIN, *fields, b"", b""])


LAST = head("/livez", b"Connection: close")


def connect(api):
    return socket.create_connection((api.base_url.host, api.base_url.port), timeout=PATIENCE)


def rest(connection):
    """Receives everything until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def exchange(api, *pieces, half_close=False):
    """Sends pieces one by one, and returns everything that is received until the server closes the connection."""
    with connect(api) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # the server stops reading once it has refused
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        return rest(connection)


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


def problem(received):
    """Returns the problem document of the only answer, which closes the connection."""
    fields, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in fields
    assert b"connection: close" in fields
    problem_document = json.loads(body)
    assert problem_document["status"] == statuses(received)[0]
    return problem_document


def jobs(api):
    return len(api.get("/jobs").raise_for_status().json()["jobs"])
