"""The flow that downloads a job's file, run by hand."""

import json
from dataclasses import dataclass, field
from math import inf

import pytest

from tests.flow_player import START, FlowPlayer, flow_options
from translation_client import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TransportError,
)
from translation_client.core.builtin_dialects import START as NATIVE
from translation_client.core.deadline import FlowTime
from translation_client.core.download import MAX_SIZE, download, urls_in
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


def fetch(*files, answers=(), job_id=None, timeout=inf, max_size=MAX_SIZE, **options):
    player = DownloadPlayer()
    player.files, player.answers = list(files), list(answers)
    options = flow_options(**options, dialect=NATIVE)
    return player.play(download(options, FlowTime(START, START + timeout), URL, job_id, max_size))


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


def test_file_whose_announced_size_is_too_large_is_refused_unread():
    player = fetch((200, WHOLE, CONTENT), max_size=9)
    assert isinstance(player.error, ProtocolError)
    assert "the file of http://files.example has more than 9 bytes" in str(player.error)
    assert player.content == b""
    assert fetch((200, WHOLE, CONTENT), max_size=10).content == CONTENT


def test_file_of_unknown_size_ends_at_the_limit():
    player = fetch((200, {}, *[CONTENT] * 5), max_size=25)
    assert isinstance(player.error, ProtocolError)
    assert len(player.content) == 20
    assert fetch((200, {}, CONTENT), max_size=10).content == CONTENT


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
