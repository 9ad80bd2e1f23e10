"""Waiting for several jobs over an event stream."""

import pytest

from tests.batch_player import (
    ALL_COMPLETED,
    COMPLETED,
    UNREADABLE,
    BatchPlayer,
    completed_at,
    events,
    is_job_poll,
    job,
    no_stream,
    silent,
    streaming,
)
from translation_client import Fixed, Hinted, NotFound
from translation_client.core.effects import Chunk, Failure, Listen
from translation_client.core.sse import LARGEST
from translation_client.core.status import State
from translation_client.core.wait_many import SILENCE


def test_one_batch_poll_and_one_stream_are_enough():
    reads = iter([b"id: 1\n\n", events(job("a", "completed"), job("x", "completed")), events(job("b", "error"))])

    def script(player, effect):
        if isinstance(effect, Listen):
            return Chunk(next(reads) if effect.send is None else b"", player.now)
        return player.batch_answer(effect, {}, unknown=("c",))

    player = BatchPlayer(script)
    assert [getattr(effect, "send", effect).path for effect in player.requests] == ["/events", "/jobs"]
    assert player.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": NotFound}
    assert player.cost("a").polls == 1


def test_jobs_that_the_server_wants_polled_at_once_are_polled_until_they_end():
    """So does a job that ends at its third poll: the stream has nothing to report before."""
    count = 0

    def script(player, effect):
        nonlocal count
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else events(job("c", "completed")), player.now)
        count += 1
        if count == 3:
            return player.batch_answer(effect, {"a": "completed", "b": "error"}, retry_after="20")
        return player.batch_answer(effect, {}, retry_after="1", retry_after_ms="1")

    player = BatchPlayer(script, schedule=Hinted(), timeout=60.0)
    assert player.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": State.COMPLETED}
    assert (player.cost("a").polls, player.now < 1) == (3, True)


def test_broken_stream_is_resumed():
    reads = [events(job("a", "completed")), None, events(job("b", "completed"), job("c", "completed"))]
    player = BatchPlayer(streaming(reads))
    assert player.ends == ALL_COMPLETED
    assert [headers.get("Last-Event-ID") for headers in player.streams] == [None, "7"]
    assert len(player.polls) == 1


def test_silent_stream_is_given_up():
    assert BatchPlayer(streaming(silent, completed_at(SILENCE))).ends == ALL_COMPLETED


@pytest.mark.parametrize("code", [404, 414, 422, 200])
def test_stream_works_without_batch_polls(code):
    reads = iter([events(job("a", "completed")), events(job("b", "error"), job("c", "completed"))])

    def script(player, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), player.now)
        return player.job_answer(effect, {}) if is_job_poll(effect) else player.reply({"title": "No"}, code)

    player = BatchPlayer(script, max_retries=0)
    assert player.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": State.COMPLETED}
    assert (len(player.streams), len(player.polls)) == (1, 4)


@pytest.mark.parametrize("reads", [[b"x" * (LARGEST + 1)], silent], ids=["invalid", "silent"])
def test_invalid_or_silent_stream_is_given_up_at_once(reads):
    player = BatchPlayer(streaming(reads, completed_at(50)))
    assert player.ends == ALL_COMPLETED
    assert len(player.streams) == 1
    assert any("the event stream is given up" in text for text in player.warnings)
    assert player.now <= 50 + 10


@pytest.mark.parametrize("brings", [b"", b"id: 7\n\n", events(job("x", "completed")), events(job("a", "pending"))])
def test_useless_stream_is_given_up_after_the_retries(brings):
    reads = [brings, None] * 100 if brings else [None] * 200
    player = BatchPlayer(streaming(reads, completed_at(100)))
    assert player.ends == ALL_COMPLETED
    assert len(player.streams) <= 2 * (player.options.max_retries + 1)
    assert len(player.polls) <= len(player.streams) + 11


def test_jobs_are_polled_after_a_useless_stream():
    script = streaming([b"id: 7\n\n", None] * 2, lambda player: COMPLETED if len(player.streams) > 1 else {})
    player = BatchPlayer(script, max_retries=99)
    assert player.ends == ALL_COMPLETED
    assert [headers.get("Last-Event-ID") for headers in player.streams] == [None, "7"]


def test_lasting_stream_is_always_opened_again():
    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.batch_answer(effect, {})
        if effect.send:
            player.opened = player.now
            return Chunk(b"", player.now)
        if player.now >= 1000:
            return Chunk(events(*(job(job_id, "completed") for job_id in "abc")), player.now)
        if player.now >= player.opened + 30:
            return Failure("it ended", player.now)
        return Chunk(b"id: 7\n\n: still here\n\n", player.now + 15)

    player = BatchPlayer(script)
    assert player.ends == ALL_COMPLETED
    assert len(player.streams) > 30
    assert len(player.polls) == 1


def test_stream_is_opened_again_after_retry_after():
    opened_at = []

    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.batch_answer(effect, COMPLETED if player.now >= 60 else {})
        assert effect.send, "all jobs have ended"
        opened_at.append(player.now)
        return player.reply({}, 429, retry_after="30") if len(opened_at) < 3 else Chunk(b"", player.now)

    player = BatchPlayer(script, schedule=Fixed(50))
    assert opened_at == [0, 30, 60]
    assert len(player.polls) == 3, "polls go on meanwhile"


def test_pauses_between_streams_grow():
    opened_at = []

    def script(player, effect):
        if isinstance(effect, Listen):
            opened_at.append(player.now)
            return Failure("no route", player.now)
        return player.batch_answer(effect, COMPLETED if player.now >= 12 else {})

    BatchPlayer(script, backoff_factor=3.0, max_retries=4, schedule=Fixed(100))
    assert opened_at == [0, 0.5, 2, 6, 10]


def reopening_stream(end, brings, *reads):
    """Returns a server whose first stream sends `brings` and breaks off, and whose later ones send `reads`."""

    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.batch_answer(effect, COMPLETED if player.now >= end else {})
        if effect.send:
            player.opened = [*getattr(player, "opened", []), player.now]
            player.left = [*reads] if len(player.opened) > 1 else [brings]
            return Chunk(b"", player.now)
        return Chunk(player.left.pop(0), player.now) if player.left else Failure("it ended", player.now)

    return script


@pytest.mark.parametrize(
    ("retry", "pause"), [("1000", 1.0), ("0", 0.5), ("90000000", 50.0), ("1e3", 0.5), ("9" * 5000, 50)]
)
def test_stream_is_opened_again_after_its_retry_field(retry, pause):
    player = BatchPlayer(reopening_stream(50, f"retry: {retry}\n\n".encode()), schedule=Fixed(50), max_retries=1)
    assert player.ends == ALL_COMPLETED
    assert [*player.opened[1:], player.now][0] == pause


@pytest.mark.parametrize("last", ["ä7", "\x01", "a\tb", "7 ", "7" * 5000, "\N{PILE OF POO}", "\x7f"])
def test_stream_with_an_unusable_event_id_is_opened_again_without_it(last):
    end = events(*(job(job_id, "completed") for job_id in "abc"))
    player = BatchPlayer(reopening_stream(1000, f"id: {last}\n\n".encode(), end))
    assert player.ends == ALL_COMPLETED
    assert [headers.get("Last-Event-ID") for headers in player.streams] == [None, None]
    assert len(player.polls) == 2, "changes may be lost"


@pytest.mark.parametrize(
    "unreadable", [b'data: {"job_id": "a", "sta\n\n', b"data: <html>\n\n", b'data: {"job_id": []}\n\n']
)
def test_unreadable_event_is_a_failure_of_the_stream(unreadable):
    polls = iter([{}, {"a": "completed"}])
    script = streaming([unreadable, events(job("b", "completed"), job("c", "error"))], lambda _: next(polls))
    player = BatchPlayer(script)
    assert player.ends == {"a": State.COMPLETED, "b": State.COMPLETED, "c": State.ERROR}
    assert any("cannot be read" in text for text in player.warnings)


def test_event_without_a_job_is_ignored():
    reads = [b'event: ping\ndata: {"at": 5}\n\n', events(*(job(job_id, "completed") for job_id in "abc"))]
    assert len(BatchPlayer(streaming(reads)).streams) == 1


@pytest.mark.parametrize(("code", "document"), [*UNREADABLE[:-1], (503, None)])
def test_unreadable_stream_is_retried_while_polling_goes_on(code, document):
    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.batch_answer(effect, {"a": "completed"} if player.now >= 0.5 else {})
        if effect.send:
            return player.reply(document, code) if len(player.streams) < 3 else Chunk(b"", player.now)
        return Chunk(events(job("b", "completed"), job("c", "completed")), player.now)

    player = BatchPlayer(script, schedule=Fixed(0.6))
    assert player.ends == ALL_COMPLETED
    assert (len(player.streams), len(player.polls)) == (3, 4)


def test_lateness_of_several_jobs_is_in_wall_time():
    """The sandbox's clock runs sixty times as fast, and jumps at the end."""
    ended = events(job("c", "completed", elapsed_time=9000.0))
    reads = iter([b"Wall-Elapsed-Time: 9\nwall-elapsed-time: 7.5\n" + ended])

    def script(player, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), 10.0 if effect.send is None else player.now)
        jobs = [job("a", "completed", elapsed_time=99.0), job("b", elapsed_time=240.0), job("c", elapsed_time=60.0)]
        if effect.query["job_id"] == ["a", "b", "c"] and player.now == 0:
            ended = [result | {"status": "pending", "elapsed_time": 60.0} for result in jobs]
            return player.reply({"jobs": ended, "unknown": []}, wall_elapsed_time="1, 1.5,2.000")
        return player.reply({"jobs": jobs, "unknown": []}, wall_elapsed_time="2.5, 4, 5")

    player = BatchPlayer(script, ids=["a", "b", "c"], timeout=10.0)
    assert player.cost("c").lateness == 10 - (7.5 - 2)
    player = BatchPlayer(no_stream(script), timeout=4)
    assert player.cost("a").lateness == 4 - (2.5 - 1)


def test_outdated_event_is_ignored():
    """A resumed stream repeats events that are older than the last poll."""
    old, new = events(job("a", elapsed_time=0.0)), events(job("a", "completed", elapsed_time=5.0))
    reads = iter([Chunk(b"id: 1\n\n", 0.0), Failure("it ended", 0.0), Chunk(old, 8.0), Chunk(new, 8.0)])

    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.reply({"jobs": [job("a", elapsed_time=1.0 + player.now)], "unknown": []})
        return Chunk(b"", player.now) if effect.send else next(reads)

    player = BatchPlayer(script, ids=["a"])
    assert [result.elapsed for result in player.results] == [1.0, 1.5, 5.0]
    assert player.results[-1].cost.lateness == 4.0
