"""The HTTP of deliveries, against receivers on raw sockets."""

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from translation_server.service import webhook_http
from translation_server.service.webhook_http import MAX_ANSWER, Http

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSE = object()  # ends the connection


class Receiver:
    """Answers each request with the next of its answers, in parts; then with 204."""

    def __init__(self):
        self.answers = []
        self.requests = []  # the number of the connection, the head and the body of each request
        self.connections = 0
        self.begun, self.ended = asyncio.Queue(), asyncio.Queue()

    async def serve(self, reader, writer):
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
                body = await reader.readexactly(int(length.split(":")[1]))
                self.requests.append((number, head, body))
                self.begun.put_nowait(number)
                for part in self.answers.pop(0) if self.answers else [NO_CONTENT]:
                    if part is CLOSE:
                        return
                    writer.write(part)
                    await writer.drain()
        except asyncio.IncompleteReadError as error:
            self.ended.put_nowait(error.partial)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(tls=None, host="127.0.0.1"):
    receiver, http = Receiver(), Http()
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]

    async def post(user="ann", path="/hook", addresses=("127.0.0.1",), host="localhost", headers=None, **options):
        url = f"{'https' if tls else 'http'}://{host}:{receiver.port}{path}"
        async with asyncio.timeout(60):
            return await http.post(user, urlsplit(url), addresses, headers or {}, b"body", **options)

    try:
        yield receiver, post
    finally:
        http.close()
        server.close()


async def test_request_names_host_path_and_length():
    async with receiving() as (receiver, post):
        assert (await post(path='/a b"ü?q={1}&r=%20#part', headers={"webhook-id": "msg"})).status == 204
        [(_, head, body)] = receiver.requests
        assert head.split("\r\n") == [
            "POST /a%20b%22%C3%BC?q=%7B1%7D&r=%20 HTTP/1.1",
            "webhook-id: msg",
            f"host: localhost:{receiver.port}",
            "content-length: 4",
            "",
            "",
        ]
        assert body == b"body"


async def test_connection_is_used_again_by_the_same_user_only():
    async with receiving() as (receiver, post):
        for user in ("ann", "ann", "bob", "ann", "bob"):
            await post(user)
        assert [number for number, *_ in receiver.requests] == [1, 1, 2, 1, 2]


async def test_connection_is_used_for_a_second_only(monkeypatch):
    monkeypatch.setattr(webhook_http, "KEEP", 0.01)
    async with receiving() as (receiver, post):
        await post()
        assert await asyncio.wait_for(receiver.ended.get(), 60) == b""
        await post()
        assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\nto the end", CLOSE],
        [NO_CONTENT + NO_CONTENT],
        [NO_CONTENT + b"HTTP/1.1 410 Gone\r\nRetry-After: 9\r\nContent-Length: 1\r\n\r\nx"],
        [NO_CONTENT + b"no HTTP"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nother"],
    ],
)
async def test_connection_is_not_used_again_after(answer):
    async with receiving() as (receiver, post):
        receiver.answers = [answer]
        first, second = await post(), await post()
        assert first.status == int(answer[0].split()[1])
        assert first.retry_after == ""
        assert second == (204, b"", "")
        assert receiver.connections == 2


async def test_answer_that_comes_unasked_answers_no_later_request():
    async with receiving() as (receiver, post):
        receiver.answers = [[NO_CONTENT, b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"]]
        assert (await post()).status == 204
        assert await asyncio.wait_for(receiver.ended.get(), 60) == b""
        assert (await post()).status == 204


async def test_request_is_repeated_if_the_idle_connection_was_closed_meanwhile():
    async with receiving() as (receiver, post):
        receiver.answers = [[NO_CONTENT], [CLOSE]]
        assert [(await post()).status for _ in range(2)] == [204, 204]
        assert [number for number, *_ in receiver.requests] == [1, 1, 2]


async def test_request_without_an_answer_on_a_new_connection_is_not_repeated():
    async with receiving() as (receiver, post):
        receiver.answers = [[CLOSE]]
        with pytest.raises(OSError, match="the connection ended before the answer did"):
            await post()
        assert receiver.connections == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"HTTP/1.1 503 Busy\r\nRetry-", b"After: 7\r\nContent-Le", b"ngth: 4\r\n\r\nbu", b"sy"], (503, b"busy", "7")),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], (200, b"ok", "")),
        ([b"HTTP/1.1 100 Continue\r\nRetry-After: 9\r\n\r\n", NO_CONTENT], (204, b"", "")),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" * 3 + NO_CONTENT], (204, b"", "")),
        ([b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"], (307, b"", "")),
    ],
)
async def test_answer_is_read(parts, expected):
    async with receiving() as (receiver, post):
        receiver.answers = [parts]
        assert await post() == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", CLOSE], "ended before"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nsh", CLOSE], "ended before"),
        ([b"HTTP/1.1 200", CLOSE], "ended before"),
        ([b"SSH-2.0-server\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\nA: ", b"a" * (MAX_ANSWER + 1)], "begins with more than"),
        ([b"HTTP/1.1 102 Wait\r\n\r\n" * 4000], "begins with more than"),
    ],
)
async def test_unusable_answer_is_no_answer(parts, message):
    async with receiving() as (receiver, post):
        receiver.answers = [parts]
        with pytest.raises(OSError, match=message):
            await post()
        assert (await post()).status == 204


async def test_large_answer_is_read_in_part():
    async with receiving() as (receiver, post):
        receiver.answers = [[b"HTTP/1.1 500 No\r\nContent-Length: 999999999\r\n\r\n", *[b"a" * 10_000] * 100]]
        status, body, _ = await post()
        assert (status, len(body)) == (500, MAX_ANSWER + 1)


async def test_cut_off_body_ends_the_connection():
    async with receiving() as (receiver, post):
        await post()
        with pytest.raises(ConnectionAbortedError):
            await post(cut_at=2)
        assert await asyncio.wait_for(receiver.ended.get(), 60) == b"bo"
        assert receiver.connections == 2


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\0b", "a\x7fb"])
async def test_header_that_would_be_several_is_not_sent(value):
    async with receiving() as (receiver, post):
        with pytest.raises(OSError, match="characters that cannot be sent"):
            await post(headers={"A": value})
        assert receiver.connections == 0


async def test_next_address_is_tried_if_one_cannot_be_reached():
    async with receiving() as (_, post):
        assert (await post(addresses=["127.0.0.2", "127.0.0.1"])).status == 204
        with pytest.raises(OSError, match="Connect"):
            await post(addresses=["127.0.0.2"])


async def test_request_that_is_cancelled_leaves_no_connection():
    async with receiving() as (receiver, post):
        receiver.answers = [[b"HTTP/1.1 200 OK\r\n"]]
        request = asyncio.create_task(post())
        await asyncio.wait_for(receiver.begun.get(), 60)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (await post()).status == 204
        assert receiver.connections == 2


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A context for a receiver with a certificate for `localhost`, and the path of that certificate."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def test_https_is_verified_by_the_name_of_the_host(tls, monkeypatch):
    context, certificate = tls
    names = []
    context.sni_callback = lambda _, name, __: names.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with receiving(context) as (receiver, post):
        assert [(await post()).status for _ in range(2)] == [204, 204]
        assert (receiver.connections, names) == (1, ["localhost"])
        with pytest.raises(OSError, match="certificate"):
            await post(host="other.example")


async def test_https_without_a_known_certificate_is_refused(tls):
    async with receiving(tls[0]) as (receiver, post):
        with pytest.raises(OSError, match="certificate"):
            await post()
        assert receiver.requests == []


async def test_proxies_of_the_environment_are_ignored(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiving() as (_, post):
        assert (await post()).status == 204
