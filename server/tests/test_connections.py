"""Limits of connections: pipelines, slow readers, too many connections."""

import asyncio
import contextlib
import gc
import socket
import struct
from functools import partial

import pytest

from tests.processes import wait_until
from tests.raw_http import JSON, LAST, PATIENCE, connect, exchange, head, problem, rest, statuses
from translation_server.api.connections import Guard, Limits
from translation_server.api.limited_protocol import MAX_HEAD
from translation_server.api.protocol import HttpProtocol


class TestPipelines:
    def test_requests_behind_a_waiting_one_are_not_read(self, start):
        api = start()
        path = f"/status/{api.post('/start').json()['job_id']}"
        flood = head("/jobs") * 200_000
        with connect(api) as connection:
            connection.sendall(head(path, b"Prefer: wait=60"))
            connection.settimeout(2)
            with pytest.raises(TimeoutError):
                connection.sendall(flood)
            entries = api.get("/sandbox/requests").json()["requests"]
            assert not [entry for entry in entries if entry["path"] == "/jobs"]
            assert api.delete(path.replace("status", "jobs")).status_code == 200

    def test_requests_are_answered_in_order_however_they_are_split(self, start):
        api = start()
        made = [api.post("/start").json()["job_id"] for _ in range(3)]
        body = b'{"source_language": "en"}'
        post = head("/start", JSON, b"Content-Length: %d" % len(body), method="POST") + body
        sent = b"".join(head(f"/status/{job_id}") + post + head("/jobs") for job_id in made) * 20 + LAST
        for size in (1, 511, 512, 513, len(sent)):
            received = exchange(api, *[sent[at : at + size] for at in range(0, len(sent), size)])
            assert statuses(received) == [200, 202, 200] * 60 + [200]


class TestSlowReaders:
    def test_a_client_that_reads_no_answer_is_cut_off(self, start):
        limits = Limits(answer_grace=1, min_rate=1e6)
        api = start(http=partial(HttpProtocol, guard=Guard(limits)))
        for _ in range(20):
            api.post("/start", json={"source_language": "en"})
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection:
            connection.settimeout(PATIENCE)
            connection.connect((api.base_url.host, api.base_url.port))
            with pytest.raises(ConnectionError):
                connection.sendall(head("/jobs") * 1_000_000)


class TestLimits:
    def test_idle_connections_and_incomplete_heads_are_closed_first(self, start, caplog):
        api = start(max_connections=20)
        api.headers["Connection"] = "close"
        path = f"/status/{api.post('/start').json()['job_id']}"
        with contextlib.ExitStack() as open_:
            polls = [open_.enter_context(connect(api)) for _ in range(10)]
            for connection in polls:
                connection.sendall(head(path, b"Prefer: wait=60"))
            waiting = [open_.enter_context(connect(api)) for _ in range(10)]
            for connection in waiting[:5]:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost")
            assert [api.get("/livez").status_code for _ in range(5)] == [200] * 5
            assert rest(waiting[0]) == b""
            polls += [open_.enter_context(connect(api)) for _ in range(10)]
            for connection in polls[10:]:
                connection.sendall(head(path, b"Prefer: wait=60"))
            assert [rest(connection) for connection in waiting] == [b""] * 10
            assert api.get("/livez").status_code == 200
            assert (refused := api.get("/jobs")).status_code == 503
            assert refused.headers["Retry-After"] == "1"
            assert api.post("/livez").status_code == 405
        assert caplog.messages.count("connections: MAX_CONNECTIONS=20 are open, closing idle ones") == 1

    def test_all_connections_beyond_the_limit_are_surplus(self):
        guard, loop = Guard(Limits(connections=10)), asyncio.new_event_loop()
        try:
            for _ in range(10):
                guard.admit(connection := _Connection(), None, loop)
                guard.waiting.pop(connection)  # its request is being answered
            beyond = [_Connection() for _ in range(20)]
            for connection in beyond:
                guard.admit(connection, None, loop)
            assert all(connection.surplus for connection in beyond)
            guard.lost(connection)
            guard.admit(connection := _Connection(), None, loop)
            assert connection.surplus
        finally:
            loop.close()

    def test_connections_per_address_are_limited_except_from_loopback(self):
        guard, loop = Guard(Limits(per_address=2, trusted="192.0.2.7, 10.0.0.0/8")), asyncio.new_event_loop()
        try:
            for address in ("192.0.2.1", "2001:db8::1"):
                first, *_ = taken = [_Connection() for _ in range(2)]
                assert [guard.admit(connection, address, loop) for connection in taken] == [None, None]
                refused = guard.admit(_Connection(), address.replace("::1", "::2"), loop)
                assert refused
                assert refused.status == 429
                guard.lost(first)
                assert guard.admit(_Connection(), address, loop) is None
            for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "10.1.2.3", None):
                assert not any(guard.admit(_Connection(), address, loop) for _ in range(5))
        finally:
            loop.close()

    def test_a_connection_beyond_the_limit_gets_a_503(self, start):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            own = probe.getsockname()[0]
        if own.startswith("127."):
            pytest.skip("this machine has no address but the loopback's")
        api = start(host=own, max_connections_per_address=2)
        with connect(api), connect(api):
            assert problem(exchange(api))["status"] == 429
        wait_until(lambda: statuses(exchange(api, LAST)) == [200])

    def test_a_reset_connection_no_longer_counts(self, start):
        api = start(max_connections=5)
        for _ in range(20):
            with connect(api) as connection:
                connection.sendall(head("/events"))
                assert b"200 OK" in connection.recv(65_536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert api.get("/jobs").status_code == 200


class _Connection:
    surplus = False

    def check(self): ...

    def abandon(self): ...


def test_a_head_is_parsed_in_any_pieces(start):
    sent = head("/livez", b"X: " + b"x" * (MAX_HEAD - 1000), b"Connection: close")
    api = start()
    for size in (1000, 5000):
        assert statuses(exchange(api, *[sent[at : at + size] for at in range(0, len(sent), size)])) == [200]


@pytest.mark.parametrize("prefer", [b"Prefer: wait=60", b"Prefer: wait=0"])
def test_closed_connections_are_freed_without_the_garbage_collector(start, prefer):
    api = start(min_delay=0.2, max_delay=0.2)
    ids = [api.submit() for _ in range(5)]
    gc.collect()
    gc.disable()
    before = protocols()
    try:
        for job_id in ids * 2:  # pending and ended
            assert statuses(exchange(api, head(f"/status/{job_id}", prefer, b"Connection: close"))) == [200]
        wait_until(lambda: protocols() == before)
    finally:
        gc.enable()


def protocols():
    """Returns how many connections exist in this process, with those that are closed and were not freed."""
    return sum(type(one) is HttpProtocol for one in gc.get_objects())
