"""Waiting for many jobs: over a stream of events, by bulk looks, one by one; scripted, and on the real server."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    Fixed,
    Hinted,
    JobTimeout,
    Learned,
    NotFound,
    ProtocolError,
    Sandbox,
    Status,
    TransportError,
)
from translation_client.core.deadline import FlowTime
from translation_client.core.decode import ParsedStatus
from translation_client.core.dialects import DIALECTS
from translation_client.core.effects import Chunk, Done, Failure, Listen, Reply, Send, Sleep, WaitFailed, Warn
from translation_client.core.estimator import History
from translation_client.core.requests import FlowOptions
from translation_client.core.sse import LARGEST, EventStream, ServerEvent
from translation_client.core.status import State
from translation_client.core.wait_many import LONGEST_BATCH, SILENCE, as_completed
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
    """A flow fed by hand: `script` answers each request and each read, and the caller takes its time for each Loss."""

    def __init__(self, script, *, ids=("a", "b", "c"), timeout=None, dialect="start", caller=0.0, **rules):
        chosen = {"initial_delay": 1.0, "max_delay": 8.0, "backoff_factor": 2.0, "max_retries": 2} | rules
        chosen = {"schedule": Fixed(10), "request_timeout": 5.0, "long_poll": 25.0} | chosen
        self.rules = FlowOptions(**chosen, random=lambda: 0.5, dialect=DIALECTS[dialect])
        self.now, self.asked, self.told, self.notices = 0.0, [], [], []
        time = FlowTime(0.0) if timeout is None else FlowTime(0.0, timeout)
        flow, event = as_completed(self.rules, time, ids), None
        while True:
            try:
                effect = next(flow) if event is None else flow.send(event)
            except StopIteration:
                break
            match effect:
                case Send() | Listen():
                    if not isinstance(effect, Listen) or effect.send:
                        self.asked.append(effect)
                    event = script(self, effect)
                    self.now = max(self.now, event.at)
                case Sleep():
                    assert effect.seconds >= 0
                    self.now += effect.seconds
                    event = Done(self.now)
                case Status() | WaitFailed():
                    self.told.append(effect)
                    self.now += caller if isinstance(effect, WaitFailed) else 0.0
                    event = Done(self.now)
                case Warn():
                    self.notices.append(effect.text)
                    event = Done(self.now)

    @property
    def streams(self):
        return [effect.send.headers for effect in self.asked if isinstance(effect, Listen)]

    @property
    def polls(self):
        return [effect for effect in self.asked if isinstance(effect, Send)]

    @property
    def ends(self):
        return {
            one.id: type(one.error) if isinstance(one, WaitFailed) else one.state
            for one in self.told
            if isinstance(one, WaitFailed) or one.state.ended
        }


def job(job_id, status="pending", **facts):
    return {"job_id": job_id, "status": status} | facts


def reply(fed, document, code=200, *, takes=0.0, **headers):
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(code, told, json.dumps(document).encode(), fed.now + takes, takes)


def bulk(fed, effect, statuses, unknown=(), **more):
    ids = effect.query["job_id"]
    found = [job(job_id, statuses.get(job_id, "pending")) for job_id in ids if job_id not in unknown]
    return reply(fed, {"jobs": found, "unknown": [job_id for job_id in ids if job_id in unknown]}, **more)


def is_single(effect):
    return isinstance(effect, Send) and effect.path.startswith("/status/")


def single(fed, effect, statuses):
    job_id = effect.path.rpartition("/")[2]
    return reply(fed, job(job_id, statuses.get(job_id, "pending")))


def told(*documents):
    return "".join(f"id: 7\nevent: x\ndata: {json.dumps(document)}\n\n" for document in documents).encode()


def test_one_look_and_one_stream_are_enough():
    reads = iter([b"id: 1\n\n", told(job("a", "completed"), job("x", "completed")), told(job("b", "error"))])

    def script(fed, effect):
        if isinstance(effect, Listen):
            return Chunk(next(reads) if effect.send is None else b"", fed.now)
        return bulk(fed, effect, {}, unknown=("c",))

    fed = Fed(script)
    assert [effect.send.path if isinstance(effect, Listen) else effect.path for effect in fed.asked] == [
        "/events",
        "/jobs",
    ]
    assert fed.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": NotFound}
    assert next(one for one in fed.told if one.id == "a" and one.state.ended).cost.polls == 1


def test_a_stream_that_breaks_is_taken_up_where_it_broke():
    reads = iter([told(job("a", "completed")), None, told(job("b", "completed"), job("c", "completed"))])

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, {})
        if effect.send:
            return Chunk(b"", fed.now)
        data = next(reads)
        return Failure("it ended", fed.now) if data is None else Chunk(data, fed.now)

    fed = Fed(script)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    opened = [effect.send.headers.get("Last-Event-ID") for effect in fed.asked if isinstance(effect, Listen)]
    assert opened == [None, "7"]
    assert sum(isinstance(effect, Send) for effect in fed.asked) == 1


def test_a_silent_stream_is_dead():
    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= SILENCE else {})
        if effect.send:
            return Chunk(b"", fed.now)
        return Failure("nothing came", fed.now + effect.timeout)

    assert Fed(script).ends == dict.fromkeys("abc", State.COMPLETED)


@pytest.mark.parametrize("code", [404, 405, 406, 422])
def test_without_a_stream_jobs_are_looked_at_a_hundred_at_a_time(code):
    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, code)
        return bulk(fed, effect, {} if fed.now < 30 else {str(n): "completed" for n in range(250)})

    fed = Fed(script, ids=[str(n) for n in range(250)])
    assert set(fed.ends.values()) == {State.COMPLETED}
    assert len(fed.asked) == 1 + 4 * 3


def test_long_ids_make_smaller_looks():
    def script(fed, effect):
        return reply(fed, {}, 404) if isinstance(effect, Listen) else bulk(fed, effect, {}, effect.query["job_id"])

    ids = [f"{n:0>900}" for n in range(20)]
    fed = Fed(script, ids=ids)
    assert set(fed.ends.values()) == {NotFound}
    assert max(len("".join(poll.query["job_id"])) for poll in fed.polls) <= LONGEST_BATCH


def test_a_server_that_knows_no_bulk_look_is_asked_for_each():
    def script(fed, effect):
        path = effect.send.path if isinstance(effect, Listen) else effect.path
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
    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, 404)
        return reply(fed, {"jobs": [job("a", "completed"), job("b", "pending", progress="much")], "unknown": []})

    assert Fed(script).ends == {"a": State.COMPLETED, "b": ProtocolError, "c": ProtocolError}


@pytest.mark.parametrize("where", [Listen, Send])
def test_refused_credentials_end_it_all(where):
    def script(fed, effect):
        return reply(fed, {}, 401) if isinstance(effect, where) else reply(fed, {}, 404)

    with pytest.raises(AuthenticationError):
        Fed(script)


def test_a_server_that_keeps_failing_loses_all():
    fed = Fed(lambda fed, _: Failure("no route", fed.now))
    assert fed.ends == dict.fromkeys("abc", TransportError)


def test_the_last_look_is_at_the_deadline():
    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, {"b": "completed"} if fed.now >= 30 else {})
        if effect.send:
            return Chunk(b"", fed.now)
        return Failure("nothing came", fed.now + effect.timeout)

    fed = Fed(script, timeout=30.0)
    assert fed.ends == {"a": JobTimeout, "b": State.COMPLETED, "c": JobTimeout}
    assert fed.now == 30
    assert next(one for one in fed.told if one.id == "a" and isinstance(one, WaitFailed)).error.token


def without_a_stream(statuses=lambda _: {}, **more):
    """A server that knows bulk looks alone; `statuses` says how the jobs stand at a time."""

    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, 404)
        return bulk(fed, effect, statuses(fed.now), **more)

    return script


MANY = [str(n) for n in range(250)]


def test_a_last_look_is_taken_at_all_of_them():
    script = without_a_stream(lambda now: dict.fromkeys(MANY, "completed") if now >= 2 else {})
    fed = Fed(script, ids=MANY, timeout=4.0, schedule=Fixed(60))
    assert set(fed.ends.values()) == {State.COMPLETED}


def test_so_it_is_where_each_is_looked_at_alone():
    def script(fed, effect):
        if is_single(effect):
            return single(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= 2 else {})
        return reply(fed, {}, 404)

    assert Fed(script, timeout=4.0, schedule=Fixed(60)).ends == dict.fromkeys("abc", State.COMPLETED)


def test_last_looks_share_one_allowance_and_begin_with_who_was_heard_longest_ago():
    ids = [str(n) for n in range(1000)]
    script = without_a_stream(lambda now: dict.fromkeys(ids, "completed") if now >= 3 else {}, takes=0.01)
    fed = Fed(script, ids=ids, timeout=4.0, schedule=Fixed(60))
    assert 4 < fed.now <= 4.04
    assert [fed.ends[job_id] for job_id in ids[:300]] == [State.COMPLETED] * 300
    assert fed.ends[ids[-1]] is JobTimeout


def test_a_last_look_that_fails_leaves_the_others_theirs():
    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, 404)
        if fed.now >= 4 and "0" in effect.query["job_id"]:
            return Failure("it broke off", fed.now)
        return bulk(fed, effect, dict.fromkeys(MANY, "completed") if fed.now >= 2 else {})

    ends = Fed(script, ids=MANY, timeout=4.0, schedule=Fixed(60)).ends
    assert [*ends.values()].count(State.COMPLETED) == 150
    assert ends["0"] is JobTimeout


@pytest.mark.parametrize("code", [404, 414, 422, 200])
def test_a_stream_goes_on_where_batch_polls_are_refused(code):
    reads = iter([told(job("a", "completed")), told(job("b", "error"), job("c", "completed"))])

    def script(fed, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), fed.now)
        return single(fed, effect, {}) if is_single(effect) else reply(fed, {"title": "No"}, code)

    fed = Fed(script, max_retries=0)
    assert fed.ends == {"a": State.COMPLETED, "b": State.ERROR, "c": State.COMPLETED}
    assert (len(fed.streams), len(fed.polls)) == (1, 4)


@pytest.mark.parametrize("nonsense", [b"x" * (LARGEST + 1), None])
def test_a_stream_of_nonsense_or_of_nothing_is_given_up_at_once(nonsense):
    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= 50 else {})
        if effect.send:
            return Chunk(b"", fed.now)
        return Chunk(nonsense, fed.now) if nonsense else Failure("nothing came", fed.now + effect.timeout)

    fed = Fed(script)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert len(fed.streams) == 1
    assert any("the event stream is given up" in text for text in fed.notices)
    assert fed.now <= 50 + 10


@pytest.mark.parametrize("brings", [b"", b"id: 7\n\n", told(job("x", "completed")), told(job("a", "pending"))])
def test_a_stream_that_ends_without_the_end_of_a_job_is_given_up_in_time(brings):
    reads = iter([brings, b""] * 100)

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= 100 else {})
        if effect.send:
            return Chunk(b"", fed.now)
        data = next(reads)
        return Chunk(data, fed.now) if data else Failure("it ended", fed.now)

    fed = Fed(script)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert len(fed.streams) <= 2 * (fed.rules.max_retries + 1)
    assert len(fed.polls) <= len(fed.streams) + 11


def test_what_a_stream_of_no_use_did_not_tell_is_looked_at():
    reads = iter([b"id: 7\n\n", b""] * 2)

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if len(fed.streams) > 1 else {})
        if effect.send:
            return Chunk(b"", fed.now)
        data = next(reads)
        return Chunk(data, fed.now) if data else Failure("it ended", fed.now)

    fed = Fed(script, max_retries=99)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert [headers.get("Last-Event-ID") for headers in fed.streams] == [None, "7"]


def test_a_stream_that_lasts_is_taken_up_for_ever():
    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, {})
        if effect.send:
            fed.opened = fed.now
            return Chunk(b"", fed.now)
        if fed.now >= 1000:
            return Chunk(told(*(job(job_id, "completed") for job_id in "abc")), fed.now)
        if fed.now >= fed.opened + 30:
            return Failure("it ended", fed.now)
        return Chunk(b"id: 7\n\n: still here\n\n", fed.now + 15)

    fed = Fed(script)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert len(fed.streams) > 30
    assert len(fed.polls) == 1


def test_a_stream_that_is_asked_not_to_come_back_so_soon_does_not():
    asked = []

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= 60 else {})
        assert effect.send, "nobody is waited for any more"
        asked.append(fed.now)
        return reply(fed, {}, 429, retry_after="30") if len(asked) < 3 else Chunk(b"", fed.now)

    fed = Fed(script, schedule=Fixed(50))
    assert asked == [0, 30, 60]
    assert len(fed.polls) == 3, "meanwhile looks go on"


def test_pauses_between_streams_grow_as_all_others_do():
    asked = []

    def script(fed, effect):
        if isinstance(effect, Listen):
            asked.append(fed.now)
            return Failure("no route", fed.now)
        return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= 12 else {})

    Fed(script, backoff_factor=3.0, max_retries=4, schedule=Fixed(100))
    assert asked == [0, 0.5, 2, 6, 10]


def kept_open_until(end, brings, *reads):
    """A server whose stream brings this at first, then breaks off, and is silent when it is opened again."""

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, dict.fromkeys("abc", "completed") if fed.now >= end else {})
        if effect.send:
            fed.opened = [*getattr(fed, "opened", []), fed.now]
            fed.left = [*reads] if len(fed.opened) > 1 else [brings]
            return Chunk(b"", fed.now)
        return Chunk(fed.left.pop(0), fed.now) if fed.left else Failure("it ended", fed.now)

    return script


@pytest.mark.parametrize(
    ("asked", "pause"), [("1000", 1.0), ("0", 0.5), ("90000000", 50.0), ("1e3", 0.5), ("9" * 5000, 50)]
)
def test_a_stream_is_opened_again_when_its_server_wants_it(asked, pause):
    fed = Fed(kept_open_until(50, f"retry: {asked}\n\n".encode()), schedule=Fixed(50), max_retries=1)
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert [*fed.opened[1:], fed.now][0] == pause


@pytest.mark.parametrize("last", ["ä7", "\x01", "a\tb", "7 ", "7" * 5000, "\N{PILE OF POO}", "\x7f"])
def test_an_id_that_no_header_can_carry_keeps_no_stream_from_being_opened_again(last):
    end = told(*(job(job_id, "completed") for job_id in "abc"))
    fed = Fed(kept_open_until(1000, f"id: {last}\n\n".encode(), end))
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert [headers.get("Last-Event-ID") for headers in fed.streams] == [None, None]
    assert len(fed.polls) == 2, "what it did not tell is looked at"


@pytest.mark.parametrize(
    "garbled", [b'data: {"job_id": "a", "sta\n\n', b"data: <html>\n\n", b'data: {"job_id": []}\n\n']
)
def test_an_event_that_cannot_be_read_is_a_failure_of_the_stream(garbled):
    ends = iter([{}, {"a": "completed"}])

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, next(ends))
        if effect.send:
            return Chunk(b"", fed.now)
        return Chunk(garbled if len(fed.streams) == 1 else told(job("b", "completed"), job("c", "error")), fed.now)

    fed = Fed(script)
    assert fed.ends == {"a": State.COMPLETED, "b": State.COMPLETED, "c": State.ERROR}
    assert any("cannot be read" in text for text in fed.notices)


def test_an_event_that_names_no_job_is_none_of_ours():
    reads = iter([b'event: ping\ndata: {"at": 5}\n\n', told(*(job(job_id, "completed") for job_id in "abc"))])

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, {})
        return Chunk(b"" if effect.send else next(reads), fed.now)

    assert len(Fed(script).streams) == 1


GARBLED = [
    (200, {}),
    (200, []),
    (200, None),
    (204, None),
    (302, None),
    (520, None),
    (530, None),
    (200, {"jobs": 7, "unknown": []}),
]


@pytest.mark.parametrize(("code", "document"), GARBLED)
@pytest.mark.parametrize("proven", [False, True])
def test_a_bulk_look_that_cannot_be_read_is_a_failure_as_any(code, document, proven):
    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, 404)
        assert not is_single(effect)
        if len(fed.polls) in ({2, 3} if proven else {1, 2}):
            return reply(fed, document, code)
        return bulk(fed, effect, dict.fromkeys("abc", "completed") if len(fed.polls) > 3 else {})

    assert Fed(script).ends == dict.fromkeys("abc", State.COMPLETED)


@pytest.mark.parametrize(("code", "document"), [*GARBLED[:-1], (503, None)])
def test_a_stream_that_is_none_is_asked_for_again_and_meanwhile_jobs_are_looked_at(code, document):
    def script(fed, effect):
        if not isinstance(effect, Listen):
            return bulk(fed, effect, {"a": "completed"} if fed.now >= 0.5 else {})
        if effect.send:
            return reply(fed, document, code) if len(fed.streams) < 3 else Chunk(b"", fed.now)
        return Chunk(told(job("b", "completed"), job("c", "completed")), fed.now)

    fed = Fed(script, schedule=Fixed(0.6))
    assert fed.ends == dict.fromkeys("abc", State.COMPLETED)
    assert (len(fed.streams), len(fed.polls)) == (3, 4)


SINGLE = [
    (200, {"job_id": "b", "status": 7}),
    (200, {"job_id": "x", "status": "pending"}),
    (204, None),
    (404, None),
    (529, None),
]


@pytest.mark.parametrize(("code", "document"), SINGLE)
@pytest.mark.parametrize("lasts", [False, True])
def test_what_cannot_be_read_of_a_job_is_borne_for_a_while(code, document, lasts):
    """Where each is looked at alone; the others are not kept waiting by it."""
    seen = dict.fromkeys("abc", 0)

    def script(fed, effect):
        if not is_single(effect):
            return reply(fed, {}, 404)
        job_id = effect.path[-1]
        seen[job_id] += 1
        if job_id == "b" and seen["b"] > 1 and (lasts or seen["b"] < 4):
            return reply(fed, document, code)
        return single(fed, effect, {job_id: "completed"} if seen[job_id] > 1 else {})

    fed = Fed(script, max_retries=4, schedule=Fixed(1))
    if code == 529 and lasts:
        assert fed.ends["b"] is TransportError
    else:
        expected = (NotFound if code == 404 else ProtocolError) if lasts else State.COMPLETED
        assert fed.ends == {"a": State.COMPLETED, "b": expected, "c": State.COMPLETED}


@pytest.mark.parametrize("lasts", [False, True])
@pytest.mark.parametrize("answer", [{"jobs": [], "unknown": ["b"]}, {"jobs": [], "unknown": []}])
def test_so_it_is_where_a_bulk_look_leaves_it_out(answer, lasts):
    reads = iter([told(job("a", "completed"), job("c", "completed"))])

    def script(fed, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), fed.now)
        if len(fed.polls) == 1 or (len(fed.polls) > 3 and not lasts):
            return bulk(fed, effect, {} if len(fed.polls) == 1 else {"b": "completed"})
        left = [job(job_id) for job_id in effect.query["job_id"] if job_id != "b"]
        return reply(fed, answer | {"jobs": left})

    def broken(fed, effect):
        if isinstance(effect, Listen) and effect.send and len(fed.streams) == 1:
            return Failure("no route", fed.now)
        return script(fed, effect)

    fed = Fed(broken, schedule=Fixed(0.2), max_retries=4)
    expected = (NotFound if answer["unknown"] else ProtocolError) if lasts else State.COMPLETED
    assert fed.ends == {"a": State.COMPLETED, "b": expected, "c": State.COMPLETED}


def test_the_deadline_says_what_the_last_failure_of_a_job_was():
    def script(fed, effect):
        if isinstance(effect, Listen):
            return reply(fed, {}, 404)
        return reply(fed, {"jobs": [], "unknown": []}) if fed.now >= 1 else bulk(fed, effect, {})

    fed = Fed(script, ids=["a"], schedule=Fixed(1), timeout=1.5)
    assert fed.ends == {"a": JobTimeout}
    assert "the last failure: expected a job as a JSON object" in str(fed.told[-1].error)


def test_ages_in_wall_time_make_the_lateness_that_of_the_wall_clock():
    """Where a sandbox's clock runs sixty times as fast, and jumps at the end."""
    reads = iter([b"Wall-Elapsed-Time: 9\nwall-elapsed-time: 7.5\n" + told(job("c", "completed", elapsed_time=9000.0))])

    def script(fed, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), 10.0 if effect.send is None else fed.now)
        jobs = [job("a", "completed", elapsed_time=99.0), job("b", elapsed_time=240.0), job("c", elapsed_time=60.0)]
        if effect.query["job_id"] == ["a", "b", "c"] and fed.now == 0:
            ended = [one | {"status": "pending", "elapsed_time": 60.0} for one in jobs]
            return reply(fed, {"jobs": ended, "unknown": []}, wall_elapsed_time="1, 1.5,2.000")
        return reply(fed, {"jobs": jobs, "unknown": []}, wall_elapsed_time="2.5, 4, 5")

    fed = Fed(script, ids=["a", "b", "c"], timeout=10.0)
    [end] = [one for one in fed.told if one.id == "c" and not isinstance(one, WaitFailed) and one.state.ended]
    assert end.cost.lateness == 10 - (7.5 - 2)
    fed = Fed(lambda fed, effect: reply(fed, {}, 404) if isinstance(effect, Listen) else script(fed, effect), timeout=4)
    [end] = [one for one in fed.told if one.id == "a" and not isinstance(one, WaitFailed) and one.state.ended]
    assert end.cost.lateness == 4 - (2.5 - 1)


@pytest.mark.parametrize("number", [7, 2**63, -1, 10**30])
def test_ids_that_are_numbers_are_their_texts(number):
    reads = iter([told(job(number, "completed")), told(job(1.5, "error"))])

    def script(fed, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), fed.now)
        return reply(fed, {"jobs": [job(number), job(1.5)], "unknown": [3]})

    assert Fed(script, ids=[str(number), "1.5", "3"]).ends == {
        str(number): State.COMPLETED,
        "1.5": State.ERROR,
        "3": NotFound,
    }


def test_the_first_status_is_told_of_a_job_that_was_started_here_too():
    known = ParsedStatus(Status("a", State.PENDING), None, None)
    remembered = {"a": (Reply(202, {}, b"", 0.0), known)}
    fed = Fed(without_a_stream(lambda now: {"a": "completed"} if now >= 30 else {}), ids=["a"], remembered=remembered)
    assert [one.state for one in fed.told] == ["pending", "completed"]


def test_an_event_that_is_told_again_is_no_news():
    """A stream that is taken up again repeats how the jobs stood, which was later looked at."""
    reads = iter(
        [
            Chunk(b"id: 1\n\n", 0.0),
            Failure("it ended", 0.0),
            Chunk(told(job("a", elapsed_time=0.0)), 8.0),
            Chunk(told(job("a", "completed", elapsed_time=5.0)), 8.0),
        ]
    )

    def script(fed, effect):
        if not isinstance(effect, Listen):
            return reply(fed, {"jobs": [job("a", elapsed_time=1.0 + fed.now)], "unknown": []})
        return Chunk(b"", fed.now) if effect.send else next(reads)

    fed = Fed(script, ids=["a"])
    assert [one.elapsed for one in fed.told] == [1.0, 1.5, 5.0]
    assert fed.told[-1].cost.lateness == 4.0


def test_where_the_schedule_ends_so_does_the_wait():
    def plan():
        yield 0.0
        yield 1.0

    fed = Fed(without_a_stream(), schedule=plan)
    assert fed.ends == dict.fromkeys("abc", JobTimeout)
    assert "after the last poll of the schedule" in str(fed.told[-1].error)
    assert fed.now == 1


@pytest.mark.parametrize("yielded", [0, -5])
def test_no_schedule_makes_a_spin(yielded):
    fed = Fed(without_a_stream(), schedule=lambda: (yielded for _ in range(99)), timeout=1.0)
    assert len(fed.polls) <= 22


def test_a_schedule_that_yields_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"^schedule must yield seconds"):
        Fed(without_a_stream(), schedule=lambda: (None for _ in range(99)))


def test_each_job_is_lost_once_however_slow_the_caller_is():
    fed = Fed(lambda fed, _: Failure("no route", fed.now), max_retries=0, timeout=0.5, caller=0.6)
    assert [(one.id, type(one.error)) for one in fed.told] == [(job_id, TransportError) for job_id in "abc"]


def test_an_end_is_learned_from_if_it_was_waited_for():
    history = History()

    def statuses(now):
        return {"a": "completed"} if now < 5 else dict.fromkeys("ab", "completed") | {"c": "cancelled"}

    Fed(without_a_stream(statuses), schedule=Learned(history), kind="k")
    assert len(history.durations("k")) == 1


def test_the_hint_of_a_bulk_look_is_followed():
    script = without_a_stream(
        lambda now: dict.fromkeys("abc", "completed") if now >= 40 else {}, retry_after="20", retry_after_ms="19500"
    )
    fed = Fed(script, schedule=Hinted(jitter=0))
    assert (len(fed.polls), fed.now) == (4, 58.5)


@pytest.mark.parametrize("schedule", [5, "fixed", []])
def test_a_schedule_is_made_by_a_plan(schedule):
    with pytest.raises(ValueError, match=r"^schedule must be a callable that makes a generator, Fixed\(2\)"):
        Client(schedule=schedule)


@pytest.mark.parametrize("ids", ["j1", None, 5])
def test_ids_are_several(ids):
    with (
        Client() as client,
        pytest.raises(ValueError, match=r"^ids must be an iterable of ids, a list"),
    ):
        client.wait_all(ids)


class TestOnTheRealServer:
    def test_sync(self):
        updates = list[Status]()
        with TranslationServer(completion_time=0.4, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(120)]
            ends = client.wait_all([*ids, "none", ids[0]], timeout=60, on_update=updates.append)
            assert list(ends) == [*ids, "none"]
            assert isinstance(ends.pop("none"), NotFound)
            assert {end.state for end in ends.values()} == {State.COMPLETED}
            assert {update.id for update in updates} == set(ids)
            assert client.wait_all([]) == {}

    def test_async(self):
        async def wait(url):
            async with AsyncClient(url) as client:
                ids = [(await client.start()).id for _ in range(20)]
                assert {type(end) async for _, end in client.as_completed(ids, timeout=0.05)} == {JobTimeout}
                with Sandbox(url) as sandbox:
                    sandbox.advance(1000)
                return await client.wait_all(ids, timeout=60)

        with TranslationServer(completion_time=1000, error_rate=1) as server:
            ends = asyncio.run(wait(server.url))
        assert {end.state for end in ends.values()} == {State.ERROR}

    def test_without_long_polls_and_streams(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url, long_poll=0) as client:
            ends = client.wait_all([client.start().id for _ in range(5)], timeout=60)
        assert {end.state for end in ends.values()} == {State.COMPLETED}

    def test_a_stream_is_not_cut_between_its_heartbeats(self, caplog):
        """A client of the caller's has one timeout for opening the stream, and another for reading it."""
        opened = []

        def trace(item):
            opened.extend([item] if isinstance(item, Listen) and item.send else [])

        with (
            TranslationServer(completion_time=2, error_rate=0) as server,
            httpx.Client() as http,
            Client(server.url, http_client=http, request_timeout=1.5, trace=trace) as client,
        ):
            (end,) = client.wait_all([client.start().id]).values()
        assert end.state is State.COMPLETED
        assert len(opened) == 1
        assert "did not answer in full" not in caplog.text

    def test_hints_are_followed_where_there_is_no_stream(self):
        polls = []

        def trace(item):
            polls.extend([item] if isinstance(item, Send) and item.path == "/jobs" else [])

        with TranslationServer(completion_time=0.4, error_rate=0) as server:
            with Client(server.url) as client:
                stale = client.start().id
            with Client(server.url, long_poll=0, trace=trace) as client:
                client.wait_all([stale])
                assert len(polls) <= 2
                polls.clear()
                client.wait_all([client.start().id])
                assert len(polls) == 1

    def test_a_caller_who_stops_listening_leaves_nothing_open(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(5)]
            for job_id, end in client.as_completed(ids):
                assert job_id == end.id
                break
            else:
                pytest.fail("none has ended")
            assert client.status(ids[0]).id == ids[0]
