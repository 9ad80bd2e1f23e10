"""The download of a job's file: the flow by hand, then both clients against a server that breaks its answers off."""

import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from math import inf

import httpx
import pytest

from tests.blocking import open_client
from tests.flow_player import START, FlowPlayer, flow_options
from translation_client import (
    AuthenticationError,
    InvalidRequest,
    JobFailed,
    NotFound,
    ProtocolError,
    State,
    Status,
    TransportError,
)
from translation_client.core.builtin_dialects import START as NATIVE
from translation_client.core.deadline import FlowTime
from translation_client.core.download import download, urls_in
from translation_client.core.effects import Chunk, Done, Failure, Listen, Piece, Reply, Send, Sleep

CONTENT = b"0123456789"
URL = "http://files.example/signed/output.mp4"
TAGGED = {"etag": '"a"'}
WHOLE = {"content-length": "10", **TAGGED}
CUT = Failure("broke off", 0.0)


def part(first, last=9, size=10, tag='"a"'):
    """Returns the headers of a part of the content."""
    return {"content-range": f"bytes {first}-{last}/{size}", "etag": tag}


@dataclass
class DownloadPlayer(FlowPlayer):
    """Runs a download: each request to a file gets the next of the scripted answers, a code, headers and chunks."""

    content: bytes = b""
    asked: list = field(default_factory=list)
    chunks: list = field(default_factory=list)

    def play(self, flow):
        result = None
        try:
            while True:
                effect = flow.send(result) if result else next(flow)
                self.effects.append(effect)
                result = self.input_for(effect)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - the tests check which one it is
            self.error = error
        return self

    def input_for(self, effect):
        match effect:
            case Send():
                return self.answer(effect)
            case Sleep(seconds=seconds):
                self.now += seconds
            case Piece(offset=offset, data=data):
                self.content = self.content[:offset] + data
            case Listen(send=None):
                chunk = self.chunks.pop(0) if self.chunks else b""
                self.now += 0.01
                return Failure(chunk.why, self.now) if isinstance(chunk, Failure) else Chunk(chunk, self.now)
            case Listen(send=send):
                self.asked.append((send.path, send.headers.get("Range"), send.headers.get("If-Range")))
                code, headers, *self.chunks = self.files.pop(0) if len(self.files) > 1 else self.files[0]
                self.now += 0.01
                return Reply(code, headers, b"", self.now) if code else Failure("refused", self.now)
        return Done(self.now)


def fetch(*files, answers=(), job_id=None, timeout=inf, **options):
    player = DownloadPlayer()
    player.files, player.answers = list(files), list(answers)
    options = flow_options(**options, dialect=NATIVE)
    return player.play(download(options, FlowTime(START, START + timeout), URL, job_id))


def completed(url):
    """Returns the answer to a poll of a completed job with this file."""
    body = {"job_id": "j1", "status": "completed", "output": {"video_url": url}}
    return Answered(json.dumps(body).encode())


@dataclass
class Answered:
    body: bytes

    def result(self, now, _):
        return Reply(200, {}, self.body, now + 0.01)


def test_whole_file():
    player = fetch((200, WHOLE, b"0123", b"456789"))
    assert (player.content, player.error, player.asked) == (CONTENT, None, [(URL, None, None)])
    pieces = [effect for effect in player.effects if isinstance(effect, Piece)]
    assert [(piece.offset, piece.size) for piece in pieces] == [(0, 10), (4, 10)]


def test_download_is_resumed_where_it_broke_off():
    player = fetch((200, WHOLE, b"0123", CUT), (0, {}), (206, part(4), b"45", CUT), (206, part(6), b"6789"))
    assert (player.content, player.error) == (CONTENT, None)
    assert [asked[1:] for asked in player.asked] == [
        (None, None),
        ("bytes=4-", '"a"'),
        ("bytes=4-", '"a"'),
        ("bytes=6-", '"a"'),
    ]
    assert len(player.sleeps) == 3


def test_last_modified_shows_whether_the_file_is_the_same():
    date = "Sat, 01 Jan 2000 00:00:00 GMT"
    headers = {"content-length": "10", "last-modified": date, "etag": 'W/"weak"'}
    player = fetch((200, headers, b"0123", CUT), (206, {"content-range": "bytes 4-9/10"}, b"456789"))
    assert (player.content, player.asked[1][1:]) == (CONTENT, ("bytes=4-", date))


@pytest.mark.parametrize("headers", [{"content-length": "10"}, {"content-length": "10", "etag": 'W/"weak"'}])
def test_file_that_may_have_changed_is_downloaded_again(headers):
    player = fetch((200, headers, b"xxxx", CUT), (200, headers, CONTENT))
    assert (player.content, player.asked[1][1:]) == (CONTENT, (None, None))


def test_changed_file_is_downloaded_from_the_beginning():
    player = fetch((200, WHOLE, b"xxxx", CUT), (200, {"content-length": "3", "etag": '"b"'}, b"new"))
    assert (player.content, player.error) == (b"new", None)


@pytest.mark.parametrize(
    "wrong", [(206, part(3)), (206, part(4, size=11)), (206, {}), (206, {"content-range": "bytes x"}), (416, {})]
)
def test_another_part_than_requested_is_not_used(wrong):
    player = fetch((200, WHOLE, b"xxxx", CUT), (*wrong, b"!!!!!!"), (200, WHOLE, CONTENT))
    assert (player.content, player.error, player.asked[-1][1]) == (CONTENT, None, None)


def test_size_is_unknown_without_a_length():
    player = fetch((200, {}, b"0123", b"456789", b""))
    assert (player.content, player.error) == (CONTENT, None)
    assert fetch((200, {"content-length": "0"})).error is None


def test_short_file_is_not_complete():
    player = fetch((200, WHOLE, b"0123", b""), (206, part(4), b"456789"))
    assert (player.content, player.asked[1][1]) == (CONTENT, "bytes=4-")
    assert "6 bytes are missing" in player.warnings[0]


def test_long_file_is_not_complete():
    player = fetch((200, WHOLE, CONTENT + b"more"), (200, WHOLE, CONTENT))
    assert (player.content, player.asked[1][1]) == (CONTENT, None)
    assert "more than the 10 bytes" in player.warnings[0]


def test_failures_in_a_row_end_the_download():
    player = fetch((200, WHOLE, b"0", CUT), *[(503, {})] * 20, max_retries=3)
    assert isinstance(player.error, TransportError)
    assert (player.error.attempts, player.error.last) == (4, "the server answered 503")
    assert len(player.asked) == 4  # the first one received something, and it is counted as a failure of its own
    assert "signed" not in str(player.error)


def test_every_byte_that_arrives_resets_the_count_of_failures():
    cuts = [(206, part(number), CONTENT[number : number + 1], CUT) for number in range(1, 9)]
    player = fetch((200, WHOLE, b"0", CUT), *cuts, (206, part(9), b"9"), max_retries=1)
    assert (player.content, player.error) == (CONTENT, None)


def test_retry_after_is_the_least_pause():
    player = fetch((503, {"retry-after": "7"}), (200, WHOLE, CONTENT))
    assert (player.content, player.sleeps) == (CONTENT, [7.0])


def test_deadline_ends_the_download():
    player = fetch((200, WHOLE, b"0", CUT), (503, {"retry-after": "60"}), timeout=5)
    assert isinstance(player.error, TransportError)
    assert "the time was up" in str(player.error)
    assert player.now == pytest.approx(START + 5, abs=0.1)
    slow = fetch((200, {}, *[b"x"] * 1000), timeout=1)
    assert isinstance(slow.error, TransportError)
    assert all(effect.timeout <= 1 for effect in slow.effects if isinstance(effect, Listen))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, AuthenticationError) for code in (401, 403)),
        *((code, NotFound) for code in (404, 410)),
        *((code, ProtocolError) for code in (204, 304)),
        (400, InvalidRequest),
    ],
)
def test_refusal_of_a_chosen_url_ends_the_download(code, error):
    player = fetch((code, {}))
    assert (type(player.error), len(player.asked), "signed" in str(player.error)) == (error, 1, False)


def test_encoded_file_is_refused():
    player = DownloadPlayer()
    player.files = [(200, {})]
    player.input_for = lambda _: Reply(200, {}, b"", START, unread="it is encoded")
    assert str(player.play(download(flow_options(), FlowTime(START), URL)).error) == "it is encoded"


def test_expired_url_is_replaced_by_a_poll():
    new = "https://files.example/new"
    files = (200, WHOLE, b"0123", CUT), (403, {}), (206, part(4), b"456789")
    player = fetch(*files, answers=[completed(new)], job_id="j1")
    assert (player.content, player.error) == (CONTENT, None)
    assert [asked[0] for asked in player.asked] == [URL, URL, new]
    assert [send.path for send in player.sends] == ["/status/j1"]


def test_refused_url_is_tried_three_times_again():
    player = fetch((404, {}), answers=[completed(URL)], job_id="j1")
    assert (type(player.error), len(player.asked), len(player.sends)) == (NotFound, 4, 3)


def test_redirects_are_followed_and_resumed_from_the_first_address():
    away = "https://storage.example/x"
    files = (302, {"location": away}), (200, WHOLE, b"0123", CUT), (307, {"location": away}), (206, part(4), b"456789")
    player = fetch(*files)
    assert (player.content, [asked[0] for asked in player.asked]) == (CONTENT, [URL, away, URL, away])


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x/y", "", "javascript:x", "http://"])
def test_redirect_to_something_else_is_refused(location):
    player = fetch((302, {"location": location}))
    assert isinstance(player.error, ProtocolError)
    assert len(player.asked) == 1


def test_endless_redirects_are_refused():
    player = fetch((302, {"location": URL}))
    assert isinstance(player.error, ProtocolError)
    assert len(player.asked) == 6


def test_urls_in_an_output():
    output = {"video": {"url": "https://a/1"}, "more": ["http://b/2?x=1", "https://a/1", 7, None, "see https://c"]}
    assert urls_in(output) == ["https://a/1", "http://b/2?x=1"]
    assert (urls_in(None), urls_in("http://x"), urls_in("http:///x")) == ([], ["http://x"], [])


# The clients

CHUNK = os.urandom(300_000)
SLOW = 20  # seconds: more than any machine needs


@dataclass
class Files:
    """A bare server of one file: cuts the body of the first answers after so many bytes each."""

    cuts: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    redirect: str = ""

    def __call__(self, connection, _):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            received = connection.recv(65_536)
            if not received:
                return
            data += received
        head = data.decode("latin-1")
        self.heads.append(head)
        if self.redirect:
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        found = re.search(r"range: bytes=(\d+)-", head, re.IGNORECASE)
        start = int(found[1]) if found else 0
        lines = [f"HTTP/1.1 {206 if found else 200} OK", f"Content-Range: bytes {start}-{len(CHUNK) - 1}/{len(CHUNK)}"]
        lines += [f"Content-Length: {len(CHUNK) - start}", 'ETag: "a"', "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        stop = start + self.cuts.pop(0) if self.cuts else len(CHUNK)
        connection.sendall(CHUNK[start:stop])


def final(url, state=State.COMPLETED):
    return Status("j1", state, output={"video_url": url})


@pytest.fixture(params=["sync", "async"])
def open_(request):
    def opened(url="http://127.0.0.1:1", **options):
        login = {"username": "admin", "password": "secretpassword"}
        return open_client(request.param, url, **login | {"initial_delay": 0.01, "max_delay": 0.01} | options)

    return opened


def only(folder):
    """Returns the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_file_is_complete_after_cuts(open_, listen, tmp_path):
    files, seen = Files(cuts=[100_000, 50_000, 0]), []
    with listen(files) as url, open_(url) as client:
        path = client.download(final(f"{url}/f"), tmp_path / "a.mp4", on_progress=lambda *numbers: seen.append(numbers))
    assert path.read_bytes() == CHUNK
    assert only(tmp_path) == ["a.mp4"]
    assert [found[1] for head in files.heads if (found := re.search(r"range: bytes=(\d+)-", head, re.IGNORECASE))] == [
        "100000",
        "150000",
        "150000",
    ]
    assert seen[-1] == (len(CHUNK), len(CHUNK))
    assert seen == sorted(seen)


def test_credentials_stay_with_the_clients_server(open_, listen, tmp_path):
    files, others = Files(), Files()
    with listen(files) as url, listen(others) as other, open_(url) as client:
        client.download(final(f"{url}/f"), tmp_path / "own")
        client.download(final(f"{other}/f"), tmp_path / "other")
        files.redirect = f"{other}/g"
        client.download(final(f"{url}/f"), tmp_path / "redirected")
    assert ["authorization:" in head.lower() for head in files.heads] == [True, True]
    assert ["authorization:" in head.lower() for head in others.heads] == [False, False]
    assert (tmp_path / "redirected").read_bytes() == (tmp_path / "other").read_bytes() == CHUNK


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_of_the_callers_http_client_goes_to_other_servers(kind, listen, tmp_path):
    files = Files()
    given = {"headers": {"X-Api-Key": "secret"}, "cookies": {"session": "secret"}, "auth": ("user", "secret")}
    http = (httpx.Client if kind == "sync" else httpx.AsyncClient)(**given)
    with listen(files) as other, open_client(kind, "http://127.0.0.1:1", http_client=http) as client:
        client.download(final(f"{other}/f"), tmp_path / "file")
    assert not re.search("secret|authorization|cookie|x-api-key", files.heads[0], re.IGNORECASE)
    assert (tmp_path / "file").read_bytes() == CHUNK


def test_failed_download_leaves_nothing_behind_and_the_old_file_as_it_was(open_, listen, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with listen(Files(cuts=[10] + [0] * 50)) as url, open_(url, max_retries=2) as client, pytest.raises(TransportError):
        client.download(final(f"{url}/f"), tmp_path / "a")
    assert (only(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"old")


def test_existing_file_is_replaced_only_if_wanted(open_, listen, tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o640)
    files = Files()
    with listen(files) as url, open_(url) as client:
        with pytest.raises(FileExistsError, match="exists already"):
            client.download(final(f"{url}/f"), target, overwrite=False)
        assert (files.heads, target.read_bytes()) == ([], b"old")
        client.download(final(f"{url}/f"), target)
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (CHUNK, 0o640)
        client.download(final(f"{url}/f"), tmp_path / "new", overwrite=False)
    assert only(tmp_path) == ["a", "new"]


def test_file_that_appears_during_the_download_is_not_overwritten(open_, listen, tmp_path):
    target = tmp_path / "a"
    with listen(Files()) as url, open_(url) as client, pytest.raises(FileExistsError):
        client.download(final(f"{url}/f"), target, overwrite=False, on_progress=lambda *_: target.write_bytes(b"other"))
    assert (only(tmp_path), target.read_bytes()) == (["a"], b"other")


@pytest.mark.parametrize(("name", "error"), [("missing/a", FileNotFoundError), (".", IsADirectoryError)])
def test_unusable_path_is_reported_before_any_request(open_, listen, tmp_path, name, error):
    files = Files()
    with listen(files) as url, open_(url) as client, pytest.raises(error):
        client.download(final(f"{url}/f"), tmp_path / name)
    assert files.heads == []


def test_interrupted_download_leaves_nothing_behind(open_, listen, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with listen(Files()) as url, open_(url) as client, pytest.raises(KeyboardInterrupt):
        client.download(final(f"{url}/f"), tmp_path / "a", on_progress=interrupt)
    assert only(tmp_path) == []


def test_silent_server_is_left_at_the_deadline(open_, listen, tmp_path):
    def silent(connection, over):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
        over.wait()

    began = time.monotonic()
    with listen(silent) as url, open_(url) as client, pytest.raises(TransportError, match=r"the time was up|in full"):
        client.download(final(f"{url}/f"), tmp_path / "a", timeout=0.3)
    assert time.monotonic() - began < SLOW
    assert only(tmp_path) == []


def test_unusable_output_is_a_clear_error(open_, tmp_path):
    with open_() as client:
        for output, count in ((None, "no URLs"), ({"a": "http://x/1", "b": "http://x/2"}, "2 URLs")):
            with pytest.raises(ValueError, match=count):
                client.download(Status("j1", State.COMPLETED, output=output), tmp_path / "a")
        with pytest.raises(ValueError, match="pending"):
            client.download(Status("j1", State.PENDING), tmp_path / "a")
        with pytest.raises(JobFailed):
            client.download(Status("j1", State.ERROR), tmp_path / "a")
        with pytest.raises(ValueError, match="http or https"):
            client.download(final("http://x/1"), tmp_path / "a", url="file:///etc/passwd")
    assert only(tmp_path) == []


def test_url_can_be_chosen(open_, listen, tmp_path):
    with listen(Files()) as url, open_(url) as client:
        chosen = f"{url}/f"
        client.download(
            Status("j1", State.COMPLETED, output={"a": "http://x/1", "b": chosen}), tmp_path / "a", url=chosen
        )
    assert (tmp_path / "a").read_bytes() == CHUNK


def test_file_is_written_as_it_arrives(listen, tmp_path):
    arrived, half = [], threading.Event()

    def slow(connection, _):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CHUNK))
        connection.sendall(CHUNK[:150_000])
        half.wait(SLOW)
        connection.sendall(CHUNK[150_000:])

    def progress(received, _):
        arrived.append(received)
        if received == 150_000:
            [temporary] = tmp_path.iterdir()
            assert temporary.name.startswith(".a.")
            half.set()

    with listen(slow) as url, open_client("sync", url) as client:
        client.download(final(f"{url}/f"), tmp_path / "a", on_progress=progress)
    assert 150_000 in arrived
    assert (tmp_path / "a").read_bytes() == CHUNK
