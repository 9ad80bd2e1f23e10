"""The limits on answers: their size, their headers, their encoding."""

import asyncio
import gzip
import json
import tracemalloc
from functools import partial

import pytest

from tests.blocking import open_client
from translation_client import Client, NotFound, ProtocolError, Sandbox, TransportError
from translation_client.cli import main
from translation_client.compat.start import TranslationStatusClient
from translation_client.compat.translate import TranslationError, VideoTranslationClient

LOGIN = {"username": "admin", "password": "secretpassword"}
ONCE = {"max_retries": 0, "initial_delay": 0.01}
MIB = 1 << 20
SOCKETS = 32 * MIB  # unread bytes in the buffers of both sockets


def by_client(url, method, *arguments, kind="sync", **options):
    with open_client(kind, url, **LOGIN, **ONCE, **options) as client:
        getattr(client, method)(*arguments)


by_async_client = partial(by_client, kind="async")


def in_sandbox(url, method, *arguments):
    with Sandbox(url, **LOGIN) as sandbox:
        result = getattr(sandbox, method)(*arguments)
        if method == "requests":
            next(result)


def listing(url):
    with Client(url, **LOGIN, **ONCE) as client:
        next(client.list())


CALLS = {
    "status": lambda url: by_client(url, "status", "j1"),
    "start": lambda url: by_client(url, "start"),
    "wait": lambda url: by_client(url, "wait", "j1"),
    "cancel": lambda url: by_client(url, "cancel", "j1"),
    "list": listing,
    "async status": lambda url: by_async_client(url, "status", "j1"),
    "async run": lambda url: by_async_client(url, "run"),
    "compat": lambda url: TranslationStatusClient(url, **LOGIN).wait_for_completion("j1"),
    "show": lambda url: in_sandbox(url, "show"),
    "set": lambda url: in_sandbox(url, "scenario", "flaky"),
    "scenarios": lambda url: in_sandbox(url, "scenarios"),
    "pause": lambda url: in_sandbox(url, "pause", "j1"),
    "requests": lambda url: in_sandbox(url, "requests"),
    "report": lambda url: in_sandbox(url, "report"),
    "report as text": lambda url: in_sandbox(url, "report_as", "text/plain"),
}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class Flood:
    """A bare server that sends `begin`, then `more` without end, and counts the bytes that it could send."""

    def __init__(self, begin, more):
        self.begin, self.more, self.sent = begin, more, 0

    def __call__(self, connection, over):
        connection.recv(65_536)
        connection.sendall(self.begin)
        while not over.is_set():
            self.sent += connection.send(self.more)


@every_call
def test_endless_answer_is_refused(listen, call):
    flood = Flood(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536)
    with listen(flood) as url, pytest.raises(ProtocolError, match=r"is larger than (1048576|16777216) bytes\. Check"):
        call(url)
    assert flood.sent < 16 * MIB + SOCKETS


@pytest.mark.parametrize("name", ["status", "async status", "pause"])
def test_endless_error_is_not_read(listen, name):
    flood = Flood(b"HTTP/1.1 404 Not Found\r\n\r\n", b" " * 65_536)
    with listen(flood) as url, pytest.raises(NotFound, match="404 without a reason"):
        CALLS[name](url)
    assert flood.sent < 16 * MIB + SOCKETS


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65_536),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10_000),
        (b"HTTP/1.1 200 ", b"x" * 65_536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
    ],
)
@pytest.mark.parametrize("name", ["status", "async status", "show"])
def test_endless_headers_are_refused(listen, name, begin, more):
    flood = Flood(begin, more)
    with listen(flood) as url, pytest.raises(TransportError):
        CALLS[name](url)
    assert flood.sent < MIB + SOCKETS


@pytest.mark.parametrize("method", [by_client, by_async_client])
def test_endless_early_hints_time_out(listen, method):
    hints = Flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
    with listen(hints) as url, pytest.raises(TransportError, match=r"did not answer in full within 0\.25 s"):
        method(url, "status", "j1", request_timeout=0.25)


@every_call
def test_unrequested_encoding_is_refused_without_decoding(server, call):
    bomb = gzip.compress(gzip.compress(bytes(64 * MIB)))
    server.says((200, bomb, {"content-encoding": "gzip, gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=r"is encoded \(gzip, gzip\), which was not requested\. Check"):
            call(server.url)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


@pytest.mark.parametrize("name", ["status", "async status", "show"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "gzip, identity", "?"])
def test_any_encoding_is_refused(server, name, encoding):
    server.says((200, {"job_id": "j1", "status": "completed"}, {"content-encoding": encoding}))
    with pytest.raises(ProtocolError, match="which was not requested"):
        CALLS[name](server.url)


@pytest.mark.parametrize("name", ["status", "async status"])
def test_identity_encoding_is_accepted(server, name):
    server.says((200, {"job_id": "j1", "status": "completed"}, {"content-encoding": "Identity"}))
    CALLS[name](server.url)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_encoded_event_stream_is_not_used(server, job, asynchronous):
    def script(request):
        if request.path == "/events":
            return 200, gzip.compress(b"data: \n\n"), {"content-type": "text/event-stream", "content-encoding": "gzip"}
        return 200, {"jobs": [job("completed", "a"), job("completed", "b")], "unknown": []}, {}

    server.script = script
    with open_client("async" if asynchronous else "sync", server.url, **LOGIN) as client:
        ended = client.wait_all(["a", "b"])
    assert [status.state for status in ended.values()] == ["completed", "completed"]


def test_command_refuses_endless_answers(listen, capsys):
    flood = Flood(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536)
    with listen(flood) as url:
        for words in (["report"], ["sandbox"], ["sandbox", "requests"], ["sandbox", "finish", "j1"], ["status", "j1"]):
            assert main([*words, "--url", url, "--username", "admin", "--password", "x"]) == 5
            out, err = capsys.readouterr()
            assert (out, "larger than" in err, err.count("\n")) == ("", True, 4 if words[0] == "status" else 1)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"\xff", b"[" * 100_000, b"{}", b'{"scenarios": 1}'),
        b'{"findings": [{}], "scenarios": [[]], "requests": 7}',
        *[b'{"requests": [], "next": %s}' % after for after in (b"0", b"-1", b'"a"', b"{}")],
    ],
)
def test_answer_of_another_server_is_no_sandbox(server, capsys, answer):
    server.says((200, answer))
    for method in ("scenarios", "report", "requests"):
        with pytest.raises(ProtocolError, match="not that of a sandbox"):
            in_sandbox(server.url, method)
    for words in (["sandbox", "scenarios"], ["sandbox", "requests"], ["report", "--json"]):
        assert main([*words, "--url", server.url, "--username", "admin", "--password", "x"]) == 5
    assert "Traceback" not in capsys.readouterr().err


def test_long_request_log_is_printed_page_by_page(server, capsys):
    pages = [{"requests": [{"at": number}], "next": number + 1} for number in range(3)]
    pages.append({"requests": [], "next": None})
    server.says(*((200, page) for page in pages))
    words = ["sandbox", "requests", "--url", server.url, "--username", "admin", "--password", "x"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == [{"at": number} for number in range(3)]
    server.says((200, pages[-1]))
    assert main([*words, "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_classes_of_earlier_systems_translate_the_encoding_error(server):
    server.says((200, b"", {"content-encoding": "gzip"}))
    with pytest.raises(TranslationError, match="which was not requested"):
        asyncio.run(VideoTranslationClient(server.url, **LOGIN).wait_for_completion("j1"))
