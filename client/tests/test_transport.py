"""Both drivers on real sockets, against servers that behave badly."""

import asyncio
import gc
import json
import socket
import ssl
import sys
import threading
import time
from email.utils import formatdate

import pytest
import uvicorn

from tests.blocking import open_client
from tests.ports import free_port
from translation_client import AsyncClient, Client, JobTimeout, ProtocolError, State, TransportError
from translation_client.client import shared_http
from translation_client.core.effects import Reply, Send
from translation_client.drivers.async_driver import AsyncDriver
from translation_client.drivers.transport import KEEP_ALIVE, AsyncTransport, EndTime, Transport, _Backend
from translation_client.http_library import httpcore, httpx

LOGIN = {"username": "admin", "password": "secretpassword"}
BODY = b'{"job_id": "j1", "status": "completed"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
WHOLE = HEAD + b"\r\n" + BODY
SLOW, NEVER = 20, 600  # seconds: more than any machine needs, and longer than any test lasts


@pytest.fixture(params=["sync", "async"])
def call(request):
    """Calls a method of a client of either kind and returns its result."""

    def call(url, method, *args, **options):
        with open_client(request.param, url, **LOGIN | options) as client:
            return getattr(client, method)(*args)

    return call


def read_request(connection):
    """Reads a request to its end."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := connection.recv(65_536)):
            raise OSError
        received += chunk


def drip(connection, over, sent):
    """Sends a byte every 100 ms."""
    for index in range(len(sent)):
        if over.wait(0.1):
            return
        connection.sendall(sent[index : index + 1])


def hang(_, over):
    over.wait()


def hang_in_the_body(connection, over):
    read_request(connection)
    connection.sendall(WHOLE[:-5])
    over.wait()


def drip_in_the_headers(connection, over):
    read_request(connection)
    drip(connection, over, b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 1000)


def drip_in_the_body(connection, over):
    read_request(connection)
    connection.sendall(HEAD + b"\r\n")
    drip(connection, over, BODY * 9)


@pytest.mark.parametrize("handler", [hang, hang_in_the_body, drip_in_the_headers, drip_in_the_body])
def test_request_ends_in_time_with_a_slow_server(call, listen, handler):
    with listen(handler) as url:
        began = time.monotonic()
        with pytest.raises(TransportError, match=r"did not answer in full within 0\.25 s"):
            call(url, "status", "j1", request_timeout=0.25, max_retries=0)
        assert 0.24 < time.monotonic() - began < SLOW


def test_timeout_of_nearly_zero_sends_nothing(server):
    with httpx.Client(transport=Transport(httpx.URL(server.url))) as http, pytest.raises(httpx.TimeoutException):
        http.get(server.url, timeout=1e-9)
    assert server.requests == []


def test_tls_handshake_ends_in_time(call, listen):
    with listen(hang) as url, pytest.raises(TransportError, match=r"did not answer in full within 0\.1 s"):
        call(url.replace("http:", "https:"), "status", "j1", request_timeout=0.1, max_retries=0)
    gc.collect()  # a socket left open would be a ResourceWarning, and so an error


def test_tls_handshake_without_time_left_closes_the_connection(listen):
    closed = threading.Event()

    def read(connection, _):
        if connection.recv(1) == b"":
            closed.set()

    with listen(read) as url:
        stream = _Backend().connect_tcp("127.0.0.1", httpx.URL(url).port, EndTime(time.monotonic() + 10))
        with pytest.raises(httpcore.TimeoutException):
            stream.start_tls(ssl.create_default_context(), "jobs.example", EndTime(time.monotonic()))
        assert closed.wait(10)


def test_wait_ends_in_time_with_a_hanging_server(call, listen):
    def hang_at_the_second(connection, over):
        read_request(connection)
        connection.sendall(WHOLE.replace(b"completed", b"pending  "))
        hang_in_the_body(connection, over)

    with listen(hang_at_the_second) as url:
        began = time.monotonic()
        with pytest.raises(JobTimeout):
            call(url, "wait", "j1", timeout=0.25, initial_delay=0.1, request_timeout=NEVER)
        assert 0.24 < time.monotonic() - began < SLOW


def test_sync_client_with_a_given_transport_ends_between_reads(listen):
    with listen(drip_in_the_body) as url, httpx.Client() as http:
        client = Client(url, http_client=http, request_timeout=0.25, max_retries=0)
        with pytest.raises(TransportError, match="did not answer in full"):
            client.status("j1")


BROKEN = {"reset": None, "no answer": b"", "half an answer": WHOLE[:-5], "no HTTP": b"220 mail.example ESMTP\r\n"}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_answer_is_retried(call, listen, broken):
    answers = iter([broken, broken, WHOLE])

    def serve(connection, _):
        read_request(connection)
        answer = next(answers)
        if answer is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # resets it
        else:
            connection.sendall(answer)

    with listen(serve) as url:
        assert call(url, "status", "j1", initial_delay=0.01).state is State.COMPLETED


def test_refused_connection_is_a_transport_error(call):
    port = free_port()
    with pytest.raises(TransportError, match=f"http://127.0.0.1:{port} refused the connection") as raised:
        call(f"http://127.0.0.1:{port}", "start", max_retries=1, initial_delay=0.01)
    assert raised.value.attempts == 2
    assert "secretpassword" not in str(raised.value)


def test_connection_closed_by_the_server_is_replaced(call, listen):
    connections = []

    def once(connection, _):
        connections.append(connection)
        read_request(connection)
        connection.sendall(WHOLE if len(connections) > 2 else WHOLE.replace(b"completed", b"pending  "[:9]))

    with listen(once) as url:
        assert call(url, "wait", "j1", initial_delay=0.05, max_retries=1).state is State.COMPLETED
    assert len(connections) == 3


def test_proxy_in_the_environment_is_used(call, server, job, monkeypatch):
    server.says((200, job("completed", "j1")))
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//proxyuser:proxypass@"))
    assert call("http://jobs.example/api", "status", "j1").state is State.COMPLETED
    assert server.requests[0].headers["host"] == "jobs.example"
    assert server.requests[0].headers["proxy-authorization"].startswith("Basic ")

    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert call(server.url, "status", "j1").state is State.COMPLETED


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("name", "value"),
    [("all_proxy", "socks5://u:secret@127.0.0.1:9"), ("http_proxy", "ftp://u:secret@x"), ("http_proxy", "http://x:y")],
)
def test_unusable_proxy_is_refused_at_once(monkeypatch, kind, name, value):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="HTTP_PROXY or ALL_PROXY must be an address") as raised:
        kind("http://jobs.example")
    assert "secret" not in str(raised.value)


def test_unresolvable_host_name_is_a_transport_error(call):
    with pytest.raises(TransportError, match="could not be reached"):
        call(f"http://{'x' * 80}.example", "status", "j1", max_retries=0)


def wait_sync(url):
    """Waits for a job with a client that keeps no idle connection."""
    with httpx.Client(transport=Transport(httpx.URL(url), keep_alive=0)) as http:
        return Client(url, **LOGIN, http_client=http, initial_delay=0.01).wait("j1")


async def wait_async(url):
    async with httpx.AsyncClient(transport=AsyncTransport(httpx.URL(url), keep_alive=0)) as http:
        return await AsyncClient(url, **LOGIN, http_client=http, initial_delay=0.01).wait("j1")


@pytest.mark.parametrize("wait", [wait_sync, lambda url: asyncio.run(wait_async(url))], ids=["sync", "async"])
def test_idle_connection_is_closed_before_the_server_closes_it(wait, listen):
    assert uvicorn.Config("main:app").timeout_keep_alive > KEEP_ALIVE
    connections = []

    def serve(connection, _):
        connections.append(connection)
        while True:
            read_request(connection)
            connection.sendall(WHOLE.replace(b"completed", b"pending  ") if len(connections) == 1 else WHOLE)

    with listen(serve) as url:
        assert wait(url).state is State.COMPLETED
    assert len(connections) == 2


class TestQueueing:
    """More requests than connections."""

    def test_queueing_for_a_connection_does_not_count_as_request_time(self, listen):
        connections = []

        def slow(connection, over):
            connections.append(connection)
            while True:
                read_request(connection)
                over.wait(0.15)
                connection.sendall(WHOLE)

        def poll(inputs):
            inputs.append((yield Send("GET", "/status/j1", timeout=2)))

        async def main(url):
            inputs = []
            async with shared_http(url) as http, asyncio.TaskGroup() as tasks:
                for _ in range(60):
                    driver = AsyncDriver(http=http, base_url=url, connections=4)
                    tasks.create_task(anext(driver.run(poll(inputs)), None))
            return inputs

        with listen(slow) as url:
            assert [type(result) for result in asyncio.run(main(url))] == [Reply] * 60
        assert len(connections) <= 4

    def test_wait_ends_in_time_without_a_free_connection(self, listen):
        async def main(url):
            async with AsyncClient(url, **LOGIN, request_timeout=NEVER) as client:
                others = [asyncio.create_task(client.status("j1")) for _ in range(100)]
                await asyncio.sleep(0)
                began = time.monotonic()
                with pytest.raises(JobTimeout):
                    await client.wait("j1", timeout=0)
                lasted = time.monotonic() - began
                for other in others:
                    other.cancel()
                await asyncio.wait(others)
                return lasted

        with listen(hang) as url:
            assert asyncio.run(main(url)) < SLOW


def answer(code, body=b"", *lines):
    head = "\r\n".join([f"HTTP/1.1 {code}", *lines, f"Content-Length: {len(body)}"])
    return head.encode("latin-1") + b"\r\n\r\n" + body


INVALID = {
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer("502 Bad Gateway"),
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "not even HTTP": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "a head that is none": b"HTTP/1.1 200 OK\r\nContent-Type\r\n\r\n",
    "half a body": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"job_id": "j1"',
    "half a body, to the end": b'HTTP/1.1 200 OK\r\n\r\n{"job_id": "j1"',
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "a part": answer("206 Partial Content", b'{"job', "Content-Range: bytes 0-4/9"),
    "a page": answer("200 OK", b"<html>Just a moment...", "Content-Type: text/html"),
    "an empty body": answer("200 OK"),
    "a redirect to nowhere": answer("302 Found"),
    "an encoding": answer("200 OK", b"abc", "Content-Encoding: br"),
    "another charset": answer("200 OK", '{"ü"'.encode("latin-1"), "Content-Type: application/json; charset=latin-1"),
    "a reason of bytes": answer("520 \xff\xfe", b"\xff", "X: \xff"),
    "two pauses": answer("530 ", b"", "Retry-After: 0.02", "Retry-After: 0.01"),
    "a code of its own": answer("999 Request denied"),
}


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_wait_survives_any_invalid_answer(call, listen, job, invalid):
    """The peer closes the connection after each answer."""
    answers = [invalid, invalid, answer("200 OK", json.dumps(job("completed", "j1")).encode())]
    answers.insert(0, answer("200 OK", json.dumps(job("pending", "j1")).encode()))

    def handler(connection, _):
        read_request(connection)
        connection.sendall(answers.pop(0))
        connection.shutdown(socket.SHUT_WR)

    with listen(handler) as url:
        assert call(url, "wait", "j1", initial_delay=0.01, max_delay=0.01).state == "completed"
    assert answers == []


def test_redirect_is_not_followed(call, server):
    server.says((307, None, {"location": "http://elsewhere.example/status/j1"}))
    with pytest.raises(ProtocolError, match=r"elsewhere\.example"):
        call(server.url, "status", "j1", max_retries=0)
    assert len(server.requests) == 1


def test_closed_client_has_no_connections(server, job):
    server.says((200, job("completed", "j1")))
    with Client(server.url, **LOGIN) as client:
        client.status("j1")
        client.status("j1")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.status("j1")


def test_retry_after_date_of_a_server_without_a_date(listen, call):
    """RFC 9110, section 6.6.1: the time of receipt takes the place of a missing `Date`."""
    polled = []

    def handle(connection, _):
        connection.recv(65536)
        polled.append(time.monotonic())
        pause = f"Retry-After: {formatdate(time.time() + 3, usegmt=True)}\r\n".encode()  # the next whole second or more
        first = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n" + pause + b"\r\n"
        connection.sendall(first if len(polled) == 1 else WHOLE)

    with listen(handle) as url:
        assert call(url, "status", "j1", initial_delay=0.01).state is State.COMPLETED
    assert polled[1] - polled[0] > 1
