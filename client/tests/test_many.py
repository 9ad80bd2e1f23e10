"""Waiting for many jobs: over a stream of events, by bulk looks, one by one; scripted, and on the real server."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    Fixed,
    JobTimeout,
    NotFound,
    ProtocolError,
    Status,
    TransportError,
)
from translation_client.core.dialects import DIALECTS
from translation_client.core.events import LARGEST, EventStream, ServerEvent
from translation_client.core.flows import Rules, Time
from translation_client.core.many import SILENCE, as_completed
from translation_client.core.model import Chunk, Failure, Listen, Loss, Notice, Reply, Send, Sleep, State, Woke
from translation_server import TranslationServer

STREAM = (
    b"\xef\xbb\xbfretry: 5\r\nid: 1\r\n\r\n: still here\n\n"
    b'id:2\nevent: completed\ndata: {"a":\rdata:1}\r\r\nid: 3\0\n\ndata\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_a_stream_is_read_wherever_it_is_cut(cuts):
    stream, read = EventStream(), []
    for begin, end in pairwise(sorted([0, *cuts, len(STREAM)])):
        read += stream.feed(STREAM[begin:end])
    assert read == [ServerEvent("completed", '{"a":\n1}'), ServerEvent("message", "")]
    assert stream.last_id == "2"


@given(st.lists(st.binary()))
def test_no_stream_is_too_odd(parts):
    stream = EventStream()
    for part in parts:
        stream.feed(part)


def test_an_event_without_end_is_refused():
    with pytest.raises(ValueError, match="larger than"):
        EventStream().feed(b"x" * (LARGEST + 1))


class Fed:
    """A flow fed by hand: `script` answers each request and each read; time goes on by sleeps alone."""

    def __init__(self, script, *, ids=("a", "b", "c"), timeout=None, dialect="start", **rules):
        chosen = {"initial_delay": 1.0, "max_delay": 8.0, "backoff_factor": 2.0, "max_retries": 2} | rules
        chosen = {"schedule": Fixed(10), "request_timeout": 5.0, "long_poll": 25.0} | chosen
        self.rules = Rules(**chosen, random=lambda: 0.5, dialect=DIALECTS[dialect])
        self.now, self.asked, self.told, self.notices = 0.0, [], [], []
        time = Time(0.0) if timeout is None else Time(0.0, timeout)
        flow, event = as_completed(self.rules, time, ids), None
        while True:
            try:
                command = next(flow) if event is None else flow.send(event)
            except StopIteration:
                break
            match command:
                case Send() | Listen():
                    if not isinstance(command, Listen) or command.send:
                        self.asked.append(command)
                    event = script(self, command)
                    self.now = max(self.now, event.at)
                case Sleep():
                    assert command.seconds >= 0
                    self.now += command.seconds
                    event = Woke(self.now)
                case Status() | Loss():
                    self.told.append(command)
                    event = Woke(self.now)
                case Notice():
                    self.notices.append(command.text)
                    event = Woke(self.now)

    @property
    def ends(self):
        return {
            one.id: type(one.error) if isinstance(one, Loss) else one.state
            for one in self.told
            if isinstance(one, Loss) or one.state.ended
        }


def job(job_id, status="pending", **facts):
    return {"job_id": job_id, "status": status} | facts


def reply(fed, document, code=200):
    return Reply(code, {}, json.dumps(document).encode(), fed.now)


def bulk(fed, command, statuses, unknown=()):
    ids = command.query["job_id"]
    found = [job(job_id, statuses.get(job_id, "pending")) for job_id in ids if job_id not in unknown]
    return reply(fed, {"jobs": found, "unknown": [job_id for job_id in ids if job_id in unknown]})


def told(*documents):
    return "".join(f"id: 7\nevent: x\ndata: {json.dumps(document)}\n\n" for document in documents).encode()


def test_one_look_and_one_stream_are_enough():
    reads = iter([b"id: 1\n\n", told(job("a", "completed"), job("x", "completed")), told(job("b", "error"))])

    def script(fed, command):
        if isinstance(command, Listen):
            return Chunk(next(reads) if command.send is None else b"", fed.now)
        return bulk(fed, command, {}, unknown=("c",))

    fed = Fed(script)
    assert [command.send.path if isinstance(command, Listen) else command.path for command in fed.asked] == [
        "/events",
        "/jobs",
    ]
    assert fed.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": NotFound}
    assert next(one for one in fed.told if one.id == "a" and one.state.ended).cost.looks == 1


def test_a_stream_that_breaks_is_taken_up_where_it_broke():
    reads = iter([told(job("a", "completed")), None, told(job("b", "completed"), job("c", "completed"))])

    def script(fed, command):
        if not isinstance(command, Listen):
            return bulk(fed, command, {})
        if command.send:
            return Chunk(b"", fed.now)
        data = next(reads)
        return Failure("it ended", fed.now) if data is None else Chunk(data, fed.now)

    fed = Fed(script)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    opened = [command.send.headers.get("Last-Event-ID") for command in fed.asked if isinstance(command, Listen)]
    assert opened == [None, "7"]
    assert sum(isinstance(command, Send) for command in fed.asked) == 1


def test_a_silent_stream_is_dead():
    def script(fed, command):
        if not isinstance(command, Listen):
            return bulk(fed, command, dict.fromkeys("abc", "completed") if fed.now >= SILENCE else {})
        if command.send:
            return Chunk(b"", fed.now)
        return Failure("nothing came", fed.now + command.timeout)

    assert Fed(script).ends == dict.fromkeys("abc", State.COMPLETED)


@pytest.mark.parametrize("code", [404, 405, 501])
def test_without_a_stream_jobs_are_looked_at_a_hundred_at_a_time(code):
    def script(fed, command):
        if isinstance(command, Listen):
            return reply(fed, {}, code)
        return bulk(fed, command, {} if fed.now < 30 else {str(n): "completed" for n in range(250)})

    fed = Fed(script, ids=[str(n) for n in range(250)])
    assert set(fed.ends.values()) == {State.COMPLETED}
    assert len(fed.asked) == 1 + 4 * 3


def test_long_ids_make_smaller_looks():
    def script(fed, command):
        return reply(fed, {}, 404) if isinstance(command, Listen) else bulk(fed, command, {}, command.query["job_id"])

    ids = [f"{n:0>900}" for n in range(20)]
    fed = Fed(script, ids=ids)
    assert set(fed.ends.values()) == {NotFound}


def test_a_server_that_knows_no_bulk_look_is_asked_for_each():
    def script(fed, command):
        path = command.send.path if isinstance(command, Listen) else command.path
        if path.startswith("/status/"):
            job_id = path.rpartition("/")[2]
            return reply(fed, {}, 404) if job_id == "b" else reply(fed, job(job_id, "completed"))
        return reply(fed, {"title": "Not Found"}, 404)

    fed = Fed(script)
    assert fed.ends == {"a": State.COMPLETED, "b": NotFound, "c": State.COMPLETED}
    assert any("one by one" in text for text in fed.notices)


def test_a_dialect_of_one_job_is_looked_at_by_its_schedule():
    fed = Fed(
        lambda fed, _: reply(fed, {"status": "completed" if fed.now >= 20 else "pending"}),
        ids=["current"],
        dialect="status",
    )
    assert (fed.ends, fed.now) == ({"current": State.COMPLETED}, 20)


def test_what_the_answer_leaves_out_or_garbles_is_that_jobs_failure():
    def script(fed, command):
        if isinstance(command, Listen):
            return reply(fed, {}, 404)
        return reply(fed, {"jobs": [job("a", "completed"), job("b", "pending", progress="much")], "unknown": []})

    assert Fed(script).ends == {"a": State.COMPLETED, "b": ProtocolError, "c": ProtocolError}


@pytest.mark.parametrize("where", [Listen, Send])
def test_refused_credentials_end_it_all(where):
    def script(fed, command):
        return reply(fed, {}, 401) if isinstance(command, where) else reply(fed, {}, 404)

    with pytest.raises(AuthenticationError):
        Fed(script)


def test_a_server_that_keeps_failing_loses_all():
    fed = Fed(lambda fed, _: Failure("no route", fed.now))
    assert fed.ends == dict.fromkeys("abc", TransportError)


def test_the_last_look_is_at_the_deadline():
    def script(fed, command):
        if not isinstance(command, Listen):
            return bulk(fed, command, {"b": "completed"} if fed.now >= 30 else {})
        if command.send:
            return Chunk(b"", fed.now)
        return Failure("nothing came", fed.now + command.timeout)

    fed = Fed(script, timeout=30.0)
    assert fed.ends == {"a": JobTimeout, "b": State.COMPLETED, "c": JobTimeout}
    assert fed.now == 30
    assert next(one for one in fed.told if one.id == "a" and isinstance(one, Loss)).error.token


def test_a_schedule_that_ends_ends_the_wait_at_the_deadline():
    def plan():
        yield 0.0
        yield 1.0

    def script(fed, command):
        return reply(fed, {}, 404) if isinstance(command, Listen) else bulk(fed, command, {})

    assert set(Fed(script, timeout=5.0, schedule=plan).ends.values()) == {JobTimeout}


class TestOnTheRealServer:
    def test_sync(self):
        updates = list[Status]()
        with TranslationServer(completion_time=0.4, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(120)]
            ends = client.wait_all([*ids, "none", ids[0]], timeout=30, on_update=updates.append)
            assert list(ends) == [*ids, "none"]
            assert isinstance(ends.pop("none"), NotFound)
            assert {end.state for end in ends.values()} == {State.COMPLETED}
            assert {update.id for update in updates} == set(ids)
            assert client.wait_all([]) == {}

    def test_async(self):
        async def wait(url):
            async with AsyncClient(url) as client:
                ids = [(await client.start()).id for _ in range(20)]
                async for _, end in client.as_completed(ids, timeout=0.05):
                    assert isinstance(end, JobTimeout)
                return await client.wait_all(ids, timeout=30)

        with TranslationServer(completion_time=0.4, error_rate=1) as server:
            ends = asyncio.run(wait(server.url))
        assert {end.state for end in ends.values()} == {State.ERROR}

    def test_without_held_looks_and_streams(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url, long_poll=0) as client:
            ends = client.wait_all([client.start().id for _ in range(5)], timeout=30)
        assert {end.state for end in ends.values()} == {State.COMPLETED}

    def test_a_caller_who_stops_listening_leaves_nothing_open(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(5)]
            for job_id, end in client.as_completed(ids):
                assert job_id == end.id
                break
            assert client.status(ids[0]).id == ids[0]
