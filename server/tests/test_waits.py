"""Looks that are held, entity tags, hints and event streams, over HTTP against a real server."""

import asyncio
import base64
import json
import logging
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import inf

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server import TranslationServer
from translation_server.api.preferences import matches, preferred_wait
from translation_server.core.change_feed import PAGE, ChangeFeed, end_of
from translation_server.core.dialects.dialect import DIALECTS
from translation_server.core.job import Fate, Job, JobSnapshot, State

LONG = 1000.0


def submit(api, **headers) -> str:
    answer = api.post("/start", headers=headers)
    assert answer.status_code == 202
    return answer.json()["job_id"]


def head(path: str, *headers: str) -> bytes:
    """The bytes of a GET with the credentials."""
    login = base64.b64encode(b"admin:secretpassword").decode()
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Basic {login}", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


@contextmanager
def many_files():
    """More open files than the 1,024 that many systems give a process at first."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, min(most, 4096)), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def events(lines):
    """The events of a stream: a dict of fields for each block."""
    block: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            block[name] = value.strip()
        elif block:
            yield block
            block = {}


class TestHolding:
    def test_a_held_look_is_answered_when_the_job_ends(self, start):
        api = start(min_delay=0.3, max_delay=0.3)
        job_id = submit(api)
        began = time.monotonic()
        answer = api.get(f"/status/{job_id}", headers={"Prefer": "wait=20"})
        assert answer.json()["status"] == "completed"
        assert answer.headers["Preference-Applied"] == "wait=20"
        assert time.monotonic() - began < 19

    @pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}", "/job/{}"])
    def test_a_held_look_is_answered_when_its_time_is_up(self, start, path):
        api = start(max_delay=LONG)
        job_id = submit(api)
        began = time.monotonic()
        answer = api.get(path.format(job_id), headers={"Prefer": "respond-async, wait=1;x=y"})
        assert answer.json()["status"] == "pending"
        assert time.monotonic() - began >= 0.8

    def test_the_current_job_can_be_held_too(self, start):
        api = start(min_delay=0.2, max_delay=0.2)
        assert api.get("/status", headers={"Prefer": "wait=20"}).json()["status"] == "completed"

    @pytest.mark.parametrize("asked", ["wait=0", "WAIT = 0", 'wait="0"', "foo, wait=0", 'a="b", wait=0; c'])
    def test_no_wait_is_applied_too_and_shows_that_looks_can_be_held(self, start, asked):
        api = start(max_delay=LONG)
        accepted = api.post("/start", headers={"Prefer": asked})
        assert accepted.headers["Preference-Applied"] == "wait=0"
        snapshot = api.get(f"/status/{accepted.json()['job_id']}", headers={"Prefer": asked})
        assert (snapshot.headers["Preference-Applied"], snapshot.json()["status"]) == ("wait=0", "pending")

    @pytest.mark.parametrize("asked", ["", "return=minimal", "wait", "wait=-1", "wait=soon", "waiting=3"])
    def test_other_preferences_are_ignored(self, start, asked):
        api = start(max_delay=LONG)
        answer = api.get(f"/status/{submit(api)}", headers={"Prefer": asked})
        assert answer.status_code == 200
        assert "Preference-Applied" not in answer.headers

    def test_nobody_waits_longer_than_a_minute(self, start):
        api = start(max_delay=0)
        answer = api.get(f"/status/{submit(api)}", headers={"Prefer": "wait=999999999"})
        assert answer.headers["Preference-Applied"] == "wait=60"

    def test_a_cancel_ends_the_wait_in_the_same_and_in_another_process(self, start):
        here = start(max_delay=LONG)
        there = start(max_delay=LONG)
        for api, canceller in ((here, here), (here, there)):
            job_id = submit(api)
            with ThreadPoolExecutor() as pool:
                held = pool.submit(api.get, f"/status/{job_id}", headers={"Prefer": "wait=30"}, timeout=40)
                assert canceller.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
                assert held.result(25).json()["status"] == "cancelled"

    def test_a_client_that_leaves_is_not_held_any_longer(self, start, caplog):
        caplog.set_level(logging.DEBUG, "translation_server")
        api = start(max_delay=LONG)
        job_id = submit(api)
        with socket.create_connection(("127.0.0.1", api.base_url.port)) as connection:
            connection.sendall(head(f"/status/{job_id}", "Prefer: wait=60"))
            time.sleep(0.2)  # so that it is held; where it is not yet, it never will be
        until = time.monotonic() + 60
        while "the client disconnected" not in caplog.text:
            assert time.monotonic() < until
            time.sleep(0.01)

    @pytest.mark.anyio
    async def test_a_thousand_looks_are_held_at_once(self, start):
        api = start(max_delay=LONG)
        path = f"/status/{submit(api)}"

        async def snapshot() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.base_url.port)
            writer.write(head(path, "Prefer: wait=60", "Connection: close"))
            return reader, writer

        with many_files():
            held = await asyncio.gather(*(snapshot() for _ in range(1000)))
            await asyncio.to_thread(api.post, "/sandbox/clock", json={"advance": LONG})
            answers = await asyncio.gather(*(reader.read() for reader, _ in held))
            for _, writer in held:
                writer.close()
        assert all(b'"status":"completed"' in answer for answer in answers)

    def test_hints_come_in_seconds_and_in_milliseconds(self, start):
        api = start(min_delay=3, max_delay=7)
        for answer in (accepted := api.post("/start"), api.get(accepted.headers["Location"])):
            seconds, milliseconds = int(answer.headers["Retry-After"]), int(answer.headers["retry-after-ms"])
            assert seconds - 1 < milliseconds / 1000 <= seconds

    def test_a_bulk_look_has_the_hint_of_the_job_to_look_at_first(self, start):
        api = start(hints="exact", min_delay=60, max_delay=3600, seed="1")
        ids = [submit(api) for _ in range(5)]
        alone = [int(api.get(f"/status/{job_id}").headers["retry-after-ms"]) for job_id in ids]
        together = api.get("/jobs", params={"job_id": [*ids, "unknown"]}).headers
        assert min(alone) - 10_000 < int(together["retry-after-ms"]) <= min(alone)
        assert int(together["Retry-After"]) <= min(alone) / 1000 + 1
        for job_id in ids:
            api.delete(f"/jobs/{job_id}")
        assert not api.get("/jobs", params={"job_id": ids}).headers.keys() & {"retry-after", "retry-after-ms"}

    def test_there_may_be_no_hints(self, start):
        api = start(hints="none", max_delay=LONG)
        assert not api.post("/start").headers.keys() & {"retry-after", "retry-after-ms"}

    @given(st.lists(st.text(st.characters(max_codepoint=255))))
    def test_no_preference_is_too_odd(self, prefer):
        assert preferred_wait(prefer) is None or preferred_wait(prefer) >= 0


class TestTags:
    def test_what_is_known_is_not_told_again(self, start):
        api = start(max_delay=LONG)
        job_id = submit(api)
        first = api.get(f"/status/{job_id}")
        again = api.get(f"/status/{job_id}", headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert int(again.headers["retry-after-ms"]) > 0
        api.delete(f"/jobs/{job_id}")
        changed = api.get(f"/status/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
        assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")

    def test_a_held_look_that_brings_nothing_new_says_so(self, start):
        api = start(max_delay=LONG)
        job_id = submit(api)
        tag = api.get(f"/status/{job_id}").headers["ETag"]
        held = api.get(f"/status/{job_id}", headers={"If-None-Match": tag, "Prefer": "wait=1"})
        assert (held.status_code, held.headers["Preference-Applied"]) == (304, "wait=1")

    def test_who_does_not_know_is_told_at_once(self, start):
        api = start(max_delay=LONG)
        headers = {"If-None-Match": 'W/"old"', "Prefer": "wait=50"}
        assert api.get(f"/status/{submit(api)}", headers=headers, timeout=20).status_code == 200

    @pytest.mark.parametrize("known", [["*"], ['"a"'], ['W/"a"'], ['"b"', 'W/"a"'], ['"b" , "a"']])
    def test_tags_are_compared_weakly(self, known):
        assert matches(known, 'W/"a"')
        assert not matches(['"b"', 'W/"c"'], 'W/"a"')


class TestEvents:
    def test_a_job_is_followed_to_its_end(self, start):
        api = start(max_delay=LONG)
        job_id = submit(api)
        with api.stream("GET", f"/jobs/{job_id}/events") as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            blocks = events(answer.iter_lines())
            pending, first = next(blocks), next(blocks)
            api.post("/sandbox/clock", json={"advance": LONG})
            [completed] = blocks
        assert int(first["retry"]) > 0
        assert (pending["event"], completed["event"]) == ("pending", "completed")
        assert [json.loads(block["data"])["job_id"] for block in (pending, completed)] == [job_id, job_id]

    def test_an_ended_job_is_told_and_no_more(self, start):
        api = start(max_delay=0)
        with api.stream("GET", f"/jobs/{submit(api)}/events") as answer:
            assert [block.get("event") for block in events(answer.iter_lines())] == ["completed", None]

    def test_all_jobs_are_followed_as_they_come_and_go(self, start):
        api = start(min_delay=0.2, max_delay=0.2)
        with api.stream("GET", "/events") as answer:
            blocks = events(answer.iter_lines())
            assert "id" in next(blocks)
            ids = [submit(api) for _ in range(3)]
            told = [next(blocks) for _ in range(6)]
        for job_id in ids:
            assert [b["event"] for b in told if job_id in b["data"]] == ["pending", "completed"]

    def test_a_broken_stream_is_taken_up_where_it_broke(self, start):
        api = start(min_delay=0.1, max_delay=0.1)
        with api.stream("GET", "/events") as answer:
            cursor = next(events(answer.iter_lines()))["id"]
        ids = {submit(api) for _ in range(5)}
        with api.stream("GET", "/events", headers={"Last-Event-ID": cursor}) as answer:
            blocks, ended = events(answer.iter_lines()), set()
            while ended != ids:
                block = next(blocks)
                if block.get("event") == "completed":
                    ended.add(json.loads(block["data"])["job_id"])

    def test_jobs_of_another_process_are_told_too(self, start):
        here, there = start(min_delay=0.1, max_delay=0.1), start(min_delay=0.1, max_delay=0.1)
        with here.stream("GET", "/events") as answer:
            blocks = events(answer.iter_lines())
            next(blocks)
            job_id = submit(there)
            assert json.loads(next(blocks)["data"])["job_id"] == job_id

    def test_what_makes_no_sense_is_refused(self, start):
        api = start()
        assert api.get("/events", headers={"Last-Event-ID": "first"}).status_code == 422
        assert api.get("/jobs/none/events").status_code == 404

    def test_a_head_request_gets_its_answer(self, start):
        answer = start().head("/events")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}/events"])
def test_nobody_is_held_by_a_server_that_goes_down(path):
    with TranslationServer(completion_time=LONG) as server, ThreadPoolExecutor() as pool:
        job_id = httpx.post(f"{server.url}/start").json()["job_id"]
        ask = {"headers": {"Prefer": "wait=50"}, "timeout": 60}
        with (
            httpx.stream("GET", server.url + path.format(job_id), **ask) if "events" in path else nullcontext() as open_
        ):
            held = pool.submit(httpx.get, server.url + path.format(job_id), **ask)
            time.sleep(0.3)  # the look is on its way; where it is not, it is answered all the same
            server.__exit__(None, None, None)
            assert held.result(45).status_code == 200
            if open_:
                assert "pending" in open_.read().decode()


times = st.floats(0, 100)
jobs = st.lists(
    st.builds(
        lambda created, delay, cancel: (created, delay, cancel),
        times,
        st.floats(0, 50),
        st.none() | st.floats(0.0, 1.0),
    ),
    max_size=20,
).map(
    lambda drawn: [
        Job(
            f"j{ordinal}",
            "admin",
            ordinal,
            created,
            Fate(delay, State.COMPLETED),
            cancelled_at=None if cancel is None else created + delay * cancel,
        )
        for ordinal, (created, delay, cancel) in enumerate(drawn, 1)
    ]
)


def follow(follower: ChangeFeed, jobs: list[Job], now: float) -> Iterator[JobSnapshot]:
    """All that is to be told up to now, with whatever it takes read of these jobs."""
    while True:
        if follower.lacks_new:
            follower.begin([job for job in jobs if job.ordinal > follower.seen][:PAGE])
        if follower.lacks_ends:
            ends = sorted(place for job in jobs if (place := end_of(job)) > follower.horizon and place.at < inf)
            follower.expect([jobs[place.ordinal - 1] for place in ends[:PAGE]])
        yield from (told := follower.tell(now))
        if not told and not follower.lacks_new and not follower.lacks_ends:
            return


@given(jobs, st.lists(times, min_size=1, max_size=10).map(sorted), times, st.sampled_from([1, 2, 200]))
def test_each_change_is_told_once_and_in_order_whatever_a_page_holds(jobs, moments, since, page):
    jobs = [replace(job, ordinal=n) for n, job in enumerate(sorted(jobs, key=lambda job: job.created_at), 1)]
    follower, told = ChangeFeed(since, sum(job.created_at <= since for job in jobs)), []
    with pytest.MonkeyPatch.context() as patch:
        for module in ("translation_server.core.change_feed", __name__):
            patch.setattr(f"{module}.PAGE", page)
        for now in [*(moment for moment in moments if moment >= since), 1000.0]:
            follower.more = True
            told += follow(follower, [job for job in jobs if job.created_at <= now], now)
    expected = [change for job in jobs for change in JobSnapshot(job, 1000.0).changes if change.now > since]
    assert sorted(told, key=str) == sorted(expected, key=str)
    assert told == sorted(told, key=lambda snapshot: snapshot.now)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_the_word_changes_when_the_row_says(dialect):
    job = Job("j1", "admin", 1, 0.0, Fate(100.0, State.ERROR))
    snapshot = JobSnapshot(job, 0.0)
    change_at = dialect.changes_at(snapshot)
    assert (
        dialect.word(JobSnapshot(job, change_at - 0.01))
        == dialect.word(snapshot)
        != dialect.word(JobSnapshot(job, change_at))
    )
