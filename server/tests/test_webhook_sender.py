"""Where deliveries go: the addresses of a host are looked up and checked for each attempt."""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from threading import Event

import pytest

from translation_server.core.clock import Clock
from translation_server.core.webhooks import Delivery, Webhook
from translation_server.service.webhook_policy import UnusableUrl, WebhookPolicy
from translation_server.service.webhook_sender import WebhookSender

SECRET = "whsec_c2VjcmV0"


class Names:
    """Stands for the name service: it gives a list of addresses for each host, or refuses."""

    def __init__(self, monkeypatch):
        self.addresses = {}
        self.asked = []
        monkeypatch.setattr(socket, "getaddrinfo", self.find)

    def find(self, host, port, **_):
        self.asked.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses[host]]


@asynccontextmanager
async def receiving(answer=b"HTTP/1.1 204 No Content\r\n\r\n"):
    """Runs a receiver on 127.0.0.1; yields its port and the requests that it gets."""
    requests, writers = [], []

    async def serve(reader, writer):
        writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.append(head.decode())
                await reader.readexactly(2)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def sender():
    sender = WebhookSender(WebhookPolicy.of(["inside.example"]), lambda: 5000.0)
    yield sender
    await sender.close()


async def send(sender, url, user="ann"):
    delivery = Delivery("msg_1", 1, 11, "completed", "job-1", url, 4000.0, "{}")
    return await sender.send(user, delivery, Webhook(url, secrets=(SECRET,)), Clock())


async def test_changed_address_is_checked_again_also_while_a_connection_is_idle(monkeypatch, sender):
    async with receiving() as (port, requests):
        names, url = Names(monkeypatch), f"http://hook.example:{port}/"
        names.addresses["hook.example"] = ["127.0.0.1"]
        await sender.check("ann", url)
        assert (await send(sender, url)).status == 204
        names.addresses["hook.example"] = ["10.1.2.3"]
        attempt = await send(sender, url)
        assert (attempt.status, "hook.example is 10.1.2.3" in attempt.error) == (None, True)
        assert (len(requests), names.asked) == (1, ["hook.example"] * 3)


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "::ffff:10.1.2.3", "169.254.169.254", "0.0.0.0", "::", "64:ff9b::7f00:1", "fe80::1%1", "224.0.0.1"],  # noqa: S104 - nothing listens there
)
async def test_name_that_leads_elsewhere_is_refused(monkeypatch, sender, address):
    Names(monkeypatch).addresses["hook.example"] = [address]
    with pytest.raises(UnusableUrl, match="must lead to this machine or to a host in WEBHOOK_ALLOW"):
        await sender.check("ann", "http://hook.example/")
    assert "must lead to this machine" in (await send(sender, "http://hook.example/")).error


@pytest.mark.parametrize("host", ["2130706434", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"])
async def test_loopback_is_loopback_however_it_is_written(sender, host):
    await sender.check("ann", f"http://{host}/")


@pytest.mark.parametrize("host", ["167838211", "0x0a010203", "012.1.2.3", "10.66051", "[::ffff:a01:203]", "0"])
async def test_other_address_is_refused_however_it_is_written(sender, host):
    with pytest.raises(UnusableUrl):
        await sender.check("ann", f"http://{host}/")


async def test_only_the_allowed_addresses_of_a_host_are_used(monkeypatch, sender):
    async with receiving() as (port, requests):
        Names(monkeypatch).addresses["hook.example"] = ["10.1.2.3", "127.0.0.1"]
        assert (await send(sender, f"http://hook.example:{port}/")).status == 204
        assert len(requests) == 1


async def test_receiver_that_listens_on_one_of_the_addresses_is_reached(monkeypatch, sender):
    async with receiving() as (port, _):
        Names(monkeypatch).addresses["localhost"] = ["127.0.0.2", "127.0.0.1"]
        assert (await send(sender, f"http://localhost:{port}/")).status == 204


async def test_named_host_may_have_any_address(monkeypatch, sender):
    names = Names(monkeypatch)
    for host in ("inside.example", "INSIDE.example."):
        names.addresses[host.lower()] = ["10.1.2.3"]
        await sender.check("ann", f"http://{host}/")


async def test_host_that_is_unknown_now_is_tried_at_each_attempt(monkeypatch, sender):
    Names(monkeypatch)
    await sender.check("ann", "http://later.example/")
    assert "Name or service not known" in (await send(sender, "http://later.example/")).error


async def test_attempt_that_reaches_nobody_has_no_request(monkeypatch, sender):
    async with receiving() as (port, _):
        url = f"http://127.0.0.1:{port}/"
        assert (await send(sender, url)).request.size == len("{}")
    await sender.close()
    Names(monkeypatch)
    for unreachable in (url, f"http://127.0.0.2:{port}/", "http://unknown.example/"):
        attempt = await send(sender, unreachable)
        assert (bool(attempt.error), attempt.request) == (True, None)


async def test_slow_names_of_one_user_delay_nobody_else(monkeypatch, sender):
    ended, names = Event(), Names(monkeypatch)
    names.addresses["quick.example"] = ["127.0.0.1"]

    def find(host, port, **options):
        if "slow" in host:
            ended.wait(60)
        return names.find(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr("translation_server.service.webhook_sender.CHECK_TIMEOUT", 0.01)
    async with receiving() as (port, _):
        slow = [asyncio.create_task(send(sender, f"http://slow-{number}.example/")) for number in range(20)]
        try:
            await sender.check("ann", "http://slow.example/")  # it does not wait for the name
            for _ in range(3):
                attempt = await send(sender, f"http://quick.example:{port}/", "bob")
                assert attempt.status == 204
            assert not any(task.done() for task in slow)
        finally:
            ended.set()
        attempts = await asyncio.gather(*slow)
        assert all("Name or service not known" in attempt.error for attempt in attempts)


async def test_redirect_is_an_answer_and_not_followed(sender):
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://10.1.2.3/\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answer) as (port, requests):
        attempt = await send(sender, f"http://127.0.0.1:{port}/")
        assert (attempt.status, len(requests)) == (302, 1)


async def test_attempt_ends_without_an_answer_in_time():
    sender = WebhookSender(WebhookPolicy(), lambda: 5000.0, timeout=0.05)
    for beginning in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"):
        async with receiving(beginning) as (port, _):
            attempt = await send(sender, f"http://127.0.0.1:{port}/")
            assert (attempt.status, attempt.error) == (None, "no answer within 0.05 seconds")


async def test_secret_shows_in_no_message(monkeypatch, sender, caplog):
    caplog.set_level("DEBUG")
    async with receiving(b"SSH-2.0\r\n") as (port, requests):
        attempt = await send(sender, f"http://127.0.0.1:{port}/")
        assert "not HTTP" in attempt.error
    Names(monkeypatch)
    shown = [str(await send(sender, "http://later.example/")), str(attempt), *requests, caplog.text]
    assert not any(SECRET in text or "c2VjcmV0" in text for text in shown)
