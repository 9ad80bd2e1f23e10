"""The local receiver of webhooks."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from standardwebhooks import Webhook

from translation_client import receivers
from translation_client.receivers import Listener, Received

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def received() -> list[Received]:
    return []


@pytest.fixture
def listener(received: list[Received]) -> Iterator[Listener]:
    with Listener(on_delivery=received.append) as listener:
        yield listener


def post(listener: Listener, *, event_id: str = "m1", status: str = "completed", secret: str | None = None) -> int:
    """Posts a delivery; returns the code of the answer."""
    data = {"job_id": "j1", "status": status}
    body = json.dumps({"type": f"job.{status}", "timestamp": "2026-01-02T03:04:05.000Z", "data": data})
    sent = datetime.fromtimestamp(int(time.time()), UTC)
    signature = Webhook(secret or listener.secret or "").sign(event_id, sent, body)
    headers = {"webhook-id": event_id, "webhook-timestamp": str(int(sent.timestamp())), "webhook-signature": signature}
    return httpx.post(listener.url, content=body, headers=headers).status_code


def ask(listener: Listener, request: bytes) -> bytes:
    """Sends bytes; returns the first line of the answer."""
    with socket.create_connection(("127.0.0.1", listener.port)) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").readline()


BROKEN = [b"POST", b"\x00\xff\r\n\r\n"]


class TestListener:
    def test_genuine_delivery_reaches_the_wait_once(self, listener: Listener, received: list[Received]) -> None:
        assert [post(listener), post(listener)] == [204, 204]
        assert listener.wait(["j1"], 60) == ["j1"]
        assert listener.wait(["j1"], 0) == []
        assert [(one.is_new, one.error, one.path) for one in received] == [(True, "", "/"), (False, "", "/")]
        assert received[0].event
        assert received[0].event.type == "job.completed"

    def test_event_about_a_pending_job_wakes_no_wait(self, listener: Listener) -> None:
        assert post(listener, status="pending") == 204
        assert listener.wait(["j1"], 0) == []

    def test_forged_delivery_is_refused(self, listener: Listener, received: list[Received]) -> None:
        assert post(listener, secret="whsec_c2VjcmV0") == 400
        assert listener.wait(["j1"], 0) == []
        assert received[0].event is None
        assert "no signature fits" in received[0].error

    def test_each_listener_has_its_own_secret(self, listener: Listener) -> None:
        with Listener() as other:
            assert other.secret != listener.secret
            assert post(other, secret=listener.secret) == 400

    def test_address_for_the_server_may_be_another_one(self) -> None:
        with Listener(url="http://host.docker.internal:{port}/hook") as listener:
            assert listener.url == f"http://host.docker.internal:{listener.port}/hook"

    def test_only_this_machine_reaches_it_by_default(self, listener: Listener) -> None:
        assert listener.url == f"http://127.0.0.1:{listener.port}/"

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (b"POST / HTTP/1.1\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
            (b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", b"413"),
            (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
            (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"400"),
            (b"GET / HTTP/1.1\r\n\r\n", b"501"),
        ],
    )
    def test_other_requests_are_refused(self, listener: Listener, request_: bytes, code: bytes) -> None:
        assert code in ask(listener, request_)
        assert post(listener) == 204

    @pytest.mark.parametrize(
        "request_", [b"", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}", b"POST", b"\x00\xff\r\n\r\n"]
    )
    def test_request_that_breaks_off_is_no_delivery(
        self, listener: Listener, received: list[Received], request_: bytes
    ) -> None:
        ask(listener, request_)
        assert received == []
        assert post(listener) == 204

    def test_slow_request_is_cut_off(self, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receivers, "LONGEST_REQUEST", 0.05)
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}")
            assert connection.recv(100) == b""

    def test_close_ends_at_once_and_closes_connections_that_wait(self) -> None:
        before, listener = threading.active_count(), Listener()
        with ExitStack() as stack:
            address = ("127.0.0.1", listener.port)
            connections = [stack.enter_context(socket.create_connection(address, 60)) for _ in range(80)]
            connections[0].sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}")
            while threading.active_count() < before + 1 + receivers.MOST_CONNECTIONS:
                time.sleep(0.01)
            began = time.monotonic()
            listener.close()
            listener.close()
            assert [connection.recv(1) for connection in connections[:8]] == [b""] * 8
            assert time.monotonic() - began < 3

    def test_delivery_that_is_being_received_at_the_close_is_answered(self) -> None:
        came, goes_on, codes = threading.Event(), threading.Event(), []

        def receive(_: Received) -> None:
            came.set()
            goes_on.wait(60)

        with Listener(on_delivery=receive) as listener:
            posting = threading.Thread(target=lambda: codes.append(post(listener)))
            posting.start()
            assert came.wait(60)
        goes_on.set()
        posting.join()
        assert codes == [204]

    def test_close_waits_for_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receivers, "LONGEST_ANSWER", 60.0)
        came, goes_on = threading.Event(), threading.Event()

        def receive(_: Received) -> None:
            came.set()
            goes_on.wait(60)

        with Listener(on_delivery=receive) as listener:
            threading.Thread(target=post, args=[listener], daemon=True).start()
            assert came.wait(60)
            threading.Timer(0.1, goes_on.set).start()
        assert goes_on.is_set()

    def test_delivery_may_close_its_listener(self) -> None:
        listener = Listener(on_delivery=lambda _: listener.close())
        assert post(listener) == 204

    def test_port_in_use_is_an_os_error(self, listener: Listener) -> None:
        with pytest.raises(OSError, match="in use"):
            Listener(port=listener.port)

    def test_ipv6_works(self) -> None:
        try:
            listener = Listener("::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        with listener:
            assert listener.url == f"http://[::1]:{listener.port}/"
            assert post(listener) == 204


@pytest.mark.parametrize("options", [{"secret": "nonsense!"}, {"dialect": "none"}])
def test_unusable_argument_is_a_value_error_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(secret must be|dialect none)"):
        Listener(**options)
