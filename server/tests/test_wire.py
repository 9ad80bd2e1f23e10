"""HTTP/1.1: heads, bodies, upgrades and half-closed connections; ambiguous requests are refused."""

import contextlib
import re
import socket
from functools import partial

import pytest

from tests.raw_http import JSON, LAST, LOGIN, connect, exchange, head, jobs, problem, rest, statuses
from translation_server.api.connections import Guard, Limits
from translation_server.api.protocol import HttpProtocol


class TestHeads:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (head("/livez", b"X: " + b"x" * 150_000), 431),
            (head("/livez", *[b"X-%d: x" % number for number in range(100)]), 431),
            (head("/livez")[:-2] + b"a:\r\n" * 100_000, 431),
            (head("/" + "x" * 200_000), 414),
            (b"GET /" + b"x" * 200_000, 414),
            (head("/livez", b"X: " + b"x" * 60_000), 200),
            (head("/livez", *[b"X-%d: x" % number for number in range(97)]), 200),
            (b"\r\n" * 100_000 + head("/livez"), 200),
        ],
    )
    def test_a_large_head_is_refused(self, start, sent, status):
        received = exchange(start(), sent + LAST)
        assert statuses(received)[0] == status
        assert status == 200 or problem(received)

    def test_an_endless_head_is_read_no_further(self, start):
        api = start()
        with connect(api) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 150_000_000:
                    sent += connection.send(b"x" * 65_536)
        assert sent < 20_000_000  # as much as the system buffers

    @pytest.mark.parametrize("behind", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000])
    def test_a_refusal_follows_the_answers_to_earlier_requests(self, start, behind):
        api = start()
        path = f"/status/{api.post('/start').json()['job_id']}"
        received = exchange(api, head(path, b"Prefer: wait=1") + head(path) + behind)
        assert statuses(received) in ([200, 200, 400], [200, 200, 431])

    @pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX"])
    def test_a_slow_head_is_refused(self, start, begun):
        api = start(head_timeout=1)
        assert statuses(exchange(api, begun)) == ([408] if begun else [])
        assert statuses(exchange(api, head("/livez") + begun + b"X"))[0] == 200


class TestAmbiguity:
    """A request that two recipients could read in two ways (RFC 9112, section 11.2) creates no job."""

    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length: 2\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 2",
            b"Content-Length: 2\r\nContent-Length: 2",
            b"Content-Length: 2\r\nContent-Length: 3",
            *[
                b"Content-Length: " + value
                for value in (b"2, 2", b"+2", b"-2", b"0x2", b"2 2", b"99999999999999999999")
            ],
            *[b"Transfer-Encoding: " + coding for coding in (b"gzip", b"identity", b"xchunked", b"chunked, gzip")],
            *[b"Transfer-Encoding: " + coding for coding in (b"gzip, chunked", b"chunked, chunked", b",chunked")],
            *[b"Transfer-Encoding: " + coding for coding in (b"chunked;a=b", b"\x0bchunked")],
            *(b"Content-Length:", b"Transfer-Encoding:", b"Transfer-Encoding : chunked", b"Content-Length : 2"),
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            *(b"X: a\r\n folded", b" X: a", b"X Y: a", b"X\x00: a", b"X: a\x00b", b"X: a\x01b", b": a", b"nothing"),
            *(b"X: a\nY: b", b"X: a\rY: b", b"Host: 127.0.0.1", b"Host: other.example"),
        ],
    )
    def test_an_ambiguous_head_is_refused(self, start, fields):
        api = start()
        received = exchange(api, head("/start", JSON, fields, method="POST") + b"{}" + LAST)
        assert problem(received)["status"] == 400
        assert jobs(api) == 0

    @pytest.mark.parametrize(
        "body",
        [
            *[size + b"{}\r\n0\r\n\r\n" for size in (b"2\n", b"2;a\n", b"0x2\r\n", b"2 \r\n", b"-2\r\n")],
            *(b"2\r\n{}0\r\n\r\n", b"fffffffffffffffff\r\n{}"),
            *[b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n" for trailer in (b"X Y: a", b" X: a")],
        ],
    )
    def test_ambiguous_chunks_are_refused(self, start, body):
        api = start()
        received = exchange(api, head("/start", JSON, b"Transfer-Encoding: chunked", method="POST"), body, LAST)
        assert problem(received)["status"] == 400
        assert jobs(api) == 0

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET /livez HTTP/1.1\r\n\r\n", 400),
            (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET /livez HTTP/1.0\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET http://127.0.0.1/livez HTTP/1.1\r\n\r\n", 400),
            (b"GET /livez HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
            (b"GET\t/livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET // HTTP/1.2\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"CONNECT other.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET /livez\r\n\r\n", 505),
            (b"GET /livez HTTP/0.9\r\nHost: 127.0.0.1\r\n\r\n", 505),
            (b"GET /livez HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505),
            (b"POST /start HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ],
    )
    def test_other_versions_than_http_1_are_refused(self, start, sent, status):
        assert problem(exchange(start(), sent + LAST))["status"] == status

    @pytest.mark.parametrize("fields", [b"", b"Host: 127.0.0.1\r\n"])
    def test_http_1_0_needs_no_host(self, start, fields):
        assert statuses(exchange(start(), b"GET /livez HTTP/1.0\r\n" + fields + b"\r\n")) == [200]

    def test_http_1_0_gets_no_chunks(self, start):
        api = start(max_delay=0)
        job_id = api.post("/start").json()["job_id"]
        for sent in (head(f"/jobs/{job_id}/events", version="1.0"), head("/jobs", version="1.0")):
            received = exchange(api, sent)
            assert statuses(received) == [200]
            assert b"transfer-encoding" not in received
            assert job_id.encode() in received
            assert not received.endswith(b"0\r\n\r\n")

    def test_http_1_0_gets_no_100_continue(self, start):
        sent = head("/start", JSON, b"Content-Length: 2", b"Expect: 100-continue", method="POST", version="1.0")
        assert statuses(exchange(start(), sent + b"{}")) == [202]


class TestBodies:
    def test_trailers_are_not_headers(self, start):
        api = start()
        fields = [b"Host: 127.0.0.1", JSON, b"Transfer-Encoding: chunked", b"Trailer: Authorization"]
        sent = b"\r\n".join([b"POST /start HTTP/1.1", *fields, b"", b"2\r\n{}\r\n0", LOGIN, b"", b""])
        assert statuses(exchange(api, sent + LAST)) == [401, 200]
        sent = head("/start", JSON, b"Transfer-Encoding: chunked", method="POST") + b"2\r\n{}\r\n0\r\n"
        trailers = b"Idempotency-Key: k\r\nX-Forwarded-For: x\r\nSimulate-Fault: reset\r\nHost: b\r\n\r\n"
        assert statuses(exchange(api, (sent + trailers) * 2 + LAST)) == [202, 202, 200]
        assert statuses(exchange(api, sent, trailers, LAST)) == [202, 200]
        assert jobs(api) == 3

    def test_a_trailer_that_closes_the_connection_leaves_no_request_waiting(self, start):
        api = start()
        sent = head("/start", JSON, b"Transfer-Encoding: chunked", method="POST") + b"2\r\n{}\r\n0\r\n"
        closing = b"Connection: close\r\n\r\n"
        for received in (exchange(api, sent + closing + LAST), exchange(api, sent, closing, LAST)):
            assert statuses(received) == [202]
            assert b"\r\nconnection: close\r\n" in received
        refused = sent.replace(LOGIN, b"X: x")
        with connect(api) as connection:
            connection.sendall(refused)
            received = connection.recv(65_536)
            connection.sendall(closing)
            assert statuses(received + rest(connection)) == [401]
        assert jobs(api) == 2

    @pytest.mark.parametrize(
        "framing",
        [
            b"2;" + b"x" * 10_000_000,
            b"2\r\n{}\r\n0\r\nX: " + b"x" * 10_000_000,
            b"2\r\n{}\r\n0\r\n" + b"X: x\r\n" * 1_000_000,
        ],
    )
    def test_the_framing_of_a_body_is_bounded(self, start, framing):
        api = start()
        received = exchange(api, head("/start", JSON, b"Transfer-Encoding: chunked", method="POST"), framing)
        assert statuses(received) == [431]
        assert jobs(api) == 0

    def test_chunks_of_one_byte_are_read(self, start):
        text = b'{"source_language":"en"' + b" " * 20_000 + b"}"
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
        received = exchange(start(), head("/start", JSON, b"Transfer-Encoding: chunked", method="POST"), chunks, LAST)
        assert statuses(received) == [202, 200]
        assert b'"source_language":"en"' in received

    def test_a_slow_body_is_refused(self, start):
        limits = Limits(body_grace=1, min_rate=1000)
        api = start(http=partial(HttpProtocol, guard=Guard(limits)))
        sent = head("/start", JSON, b"Content-Length: 100", method="POST")
        assert problem(exchange(api, sent, b"{"))["status"] == 408
        assert statuses(exchange(api, sent.replace(b"admin", b"").replace(LOGIN, b"X: x"), b"{")) == [401]
        assert jobs(api) == 0

    def test_an_unread_body_is_not_received_for_ever(self, start):
        sent = head("/start", JSON, b"Content-Length: 100000000", method="POST").replace(LOGIN, b"X: x")
        assert statuses(exchange(start(), sent, b" " * 100_000_000)) == [401]


OFFERS = {
    "h2c": [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"],
    "websocket": [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"],
    "several": [b"Connection: upgrade", b"Upgrade: h2c, TLS/1.3, unheard-of"],
}


@pytest.mark.parametrize("offer", OFFERS)
class TestUpgrades:
    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("segments", [1, 2, 3])
    def test_the_body_of_an_upgrade_request_is_read(self, start, offer, chunked, segments):
        api = start()
        body = b'{"source_language": "en", "simulate": {"delay": 0}}'
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        sent = head("/start", JSON, framing, b"Idempotency-Key: k", *OFFERS[offer], method="POST")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        with connect(api) as connection:
            for piece in {1: [sent + body], 2: [sent, body], 3: [sent, body[:9], body[9:]]}[segments]:
                connection.sendall(piece)
                if piece != sent + body and piece != body[9:] and piece != body:
                    api.get("/livez")  # the server has seen it by then
            received = connection.recv(65_536)
            assert statuses(received) == [202]
            location = re.findall(rb"location: (.*)\r", received)[0].decode()
            connection.sendall(sent + body + head(location, *OFFERS[offer]) + LAST)
            received = rest(connection)
        assert statuses(received) == [202, 200, 200]
        assert b"idempotency-replayed: true" in received
        assert b'"status":"completed"' in received

    def test_a_body_after_100_continue_is_read(self, start, offer):
        api = start()
        sent = head("/start", JSON, b"Content-Length: 25", b"Expect: 100-continue", *OFFERS[offer], method="POST")
        with connect(api) as connection:
            connection.sendall(sent)
            assert statuses(connection.recv(65_536)) == [100]
            connection.sendall(b'{"source_language": "en"}' + LAST)
            received = rest(connection)
        assert statuses(received) == [202, 200]
        assert b'"source_language":"en"' in received

    def test_polls_with_an_upgrade_are_answered(self, start, offer):
        api = start()
        path = f"/status/{api.post('/start').json()['job_id']}"
        assert statuses(exchange(api, head(path, *OFFERS[offer]) * 50 + LAST)) == [200] * 51


class TestHalfClose:
    @pytest.mark.parametrize("apart", [False, True])
    def test_complete_requests_are_answered(self, start, apart):
        api = start()
        sent = head("/start", JSON, b"Content-Length: 2", method="POST")
        for _ in range(10):
            pieces = (sent, b"{}") if apart else (sent + b"{}",)
            assert statuses(exchange(api, *pieces, half_close=True)) == [202]
        assert statuses(exchange(api, (sent + b"{}") * 100, half_close=True)) == [202] * 100
        assert statuses(exchange(api, head("/jobs") + sent + b"{}" + sent + b"{", half_close=True)) == [200, 202]
        assert api.get("/jobs?limit=1").status_code == 200
        assert jobs(api) == 20

    def test_incomplete_requests_are_not_served(self, start):
        api = start()
        sent = head("/start", JSON, b"Content-Length: 3", method="POST")
        assert exchange(api, sent + b"{}", half_close=True) == b""
        assert exchange(api, sent[:-2], half_close=True) == b""
        assert exchange(api, half_close=True) == b""
        assert jobs(api) == 0

    def test_a_dripping_answer_is_sent_to_its_end(self, start):
        received = exchange(start(), head("/jobs", b'Simulate-Fault: {"kind": "drip", "rate": 100}'), half_close=True)
        assert received.endswith(b'{"jobs":[],"next":null}')

    @pytest.mark.parametrize("path", ["/status/{}", "/events", "/jobs/{}/events"])
    def test_a_long_poll_and_a_stream_end_at_a_half_close(self, start, path):
        api = start()
        sent = head(path.format(api.post("/start").json()["job_id"]), b"Prefer: wait=60")
        with connect(api) as connection:
            connection.sendall(sent)
            api.get("/livez")
            connection.shutdown(socket.SHUT_WR)
            assert not rest(connection).endswith(b"}")

    def test_a_stream_ends_with_requests_behind_it(self, start):
        behind = head("/jobs") * 100 + head("/start", b"Content-Length: 100", method="POST") + b"{"
        assert statuses(exchange(start(), head("/events") + behind, half_close=True)) in ([], [200])
