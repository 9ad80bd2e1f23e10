"""Long polls, entity tags, hints and event streams, over HTTP against a real server."""

import asyncio
import json
import logging
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import inf

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import wait_until
from tests.raw_http import connect, head
from translation_server import TranslationServer
from translation_server.api.preferences import matches, preferred_wait
from translation_server.core.change_feed import MAX_PAGE_SIZE, ChangeFeed, end_of, is_full
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.job import Fate, Job, JobSnapshot, State

LONG = 1000.0


@contextmanager
def many_files():
    """Raises the limit of open files, which is 1,024 by default on many systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def events(lines):
    """Yields the events of a stream, each as a dict of its fields."""
    block = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            block[name] = value.strip()
        elif block:
            yield block
            block = {}


class TestLongPolls:
    def test_long_poll_is_answered_when_the_job_ends(self, start):
        api = start(min_delay=0.3, max_delay=0.3)
        job_id = api.submit()
        began = time.monotonic()
        answer = api.get(f"/status/{job_id}", headers={"Prefer": "wait=20"})
        assert answer.json()["status"] == "completed"
        assert answer.headers["Preference-Applied"] == "wait=20"
        assert time.monotonic() - began < 19

    @pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}", "/job/{}"])
    def test_long_poll_is_answered_when_its_time_is_up(self, start, path):
        api = start(max_delay=LONG)
        job_id = api.submit()
        began = time.monotonic()
        answer = api.get(path.format(job_id), headers={"Prefer": "respond-async, wait=1;x=y"})
        assert answer.json()["status"] == "pending"
        assert time.monotonic() - began >= 0.8

    def test_latest_job_can_be_long_polled(self, start):
        api = start(min_delay=0.2, max_delay=0.2)
        assert api.get("/status", headers={"Prefer": "wait=20"}).json()["status"] == "completed"

    @pytest.mark.parametrize("prefer", ["wait=0", "WAIT = 0", 'wait="0"', "foo, wait=0", 'a="b", wait=0; c'])
    def test_wait_of_zero_is_applied_and_answered_at_once(self, start, prefer):
        api = start(max_delay=LONG)
        accepted = api.post("/start", headers={"Prefer": prefer})
        assert accepted.headers["Preference-Applied"] == "wait=0"
        polled = api.get(f"/status/{accepted.json()['job_id']}", headers={"Prefer": prefer})
        assert (polled.headers["Preference-Applied"], polled.json()["status"]) == ("wait=0", "pending")

    @pytest.mark.parametrize("prefer", ["", "return=minimal", "wait", "wait=-1", "wait=soon", "waiting=3"])
    def test_other_preferences_are_ignored(self, start, prefer):
        api = start(max_delay=LONG)
        answer = api.get(f"/status/{api.submit()}", headers={"Prefer": prefer})
        assert answer.status_code == 200
        assert "Preference-Applied" not in answer.headers

    def test_long_poll_lasts_a_minute_at_most(self, start):
        api = start(max_delay=0)
        answer = api.get(f"/status/{api.submit()}", headers={"Prefer": "wait=999999999"})
        assert answer.headers["Preference-Applied"] == "wait=60"

    def test_cancel_ends_a_long_poll_in_the_same_and_in_another_process(self, start):
        here = start(max_delay=LONG)
        there = start(max_delay=LONG)
        for api, canceller in ((here, here), (here, there)):
            job_id = api.submit()
            with ThreadPoolExecutor() as pool:
                polling = pool.submit(api.get, f"/status/{job_id}", headers={"Prefer": "wait=30"}, timeout=40)
                assert canceller.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
                assert polling.result(25).json()["status"] == "cancelled"

    def test_long_poll_ends_when_the_client_disconnects(self, start, caplog):
        caplog.set_level(logging.DEBUG, "translation_server")
        api = start(max_delay=LONG)
        job_id = api.submit()
        with connect(api) as connection:
            connection.sendall(head(f"/status/{job_id}", b"Prefer: wait=60"))
            time.sleep(0.2)  # until the long poll has begun
        wait_until(lambda: "the client disconnected" in caplog.text)

    async def test_thousand_long_polls_at_once_are_answered(self, start):
        api = start(max_delay=LONG)
        path = f"/status/{api.submit()}"

        async def poll():
            reader, writer = await asyncio.open_connection("127.0.0.1", api.base_url.port)
            writer.write(head(path, b"Prefer: wait=60", b"Connection: close"))
            return reader, writer

        with many_files():
            connections = await asyncio.gather(*(poll() for _ in range(1000)))
            await asyncio.to_thread(api.post, "/sandbox/clock", json={"advance": LONG})
            answers = await asyncio.gather(*(reader.read() for reader, _ in connections))
            for _, writer in connections:
                writer.close()
        assert all(b'"status":"completed"' in answer for answer in answers)

    def test_hints_are_sent_in_seconds_and_in_milliseconds(self, start):
        api = start(min_delay=3, max_delay=7)
        for answer in (accepted := api.post("/start"), api.get(accepted.headers["Location"])):
            seconds, milliseconds = int(answer.headers["Retry-After"]), int(answer.headers["retry-after-ms"])
            assert seconds - 1 < milliseconds / 1000 <= seconds

    def test_batch_poll_has_the_hint_of_the_job_that_is_due_first(self, start):
        api = start(hints="exact", min_delay=60, max_delay=3600, seed="1")
        ids = [api.submit() for _ in range(5)]
        single = [int(api.get(f"/status/{job_id}").headers["retry-after-ms"]) for job_id in ids]
        batch = api.get("/jobs", params={"job_id": [*ids, "unknown"]}).headers
        assert min(single) - 10_000 < int(batch["retry-after-ms"]) <= min(single)
        assert int(batch["Retry-After"]) <= min(single) / 1000 + 1
        for job_id in ids:
            api.cancel(job_id)
        assert not api.get("/jobs", params={"job_id": ids}).headers.keys() & {"retry-after", "retry-after-ms"}

    def test_hints_can_be_switched_off(self, start):
        api = start(hints="none", max_delay=LONG)
        assert not api.post("/start").headers.keys() & {"retry-after", "retry-after-ms"}

    @given(st.lists(st.text(st.characters(max_codepoint=255))))
    def test_preferences_of_any_text_are_parsed(self, prefer):
        assert preferred_wait(prefer) is None or preferred_wait(prefer) >= 0


class TestEntityTags:
    def test_known_tag_is_answered_with_304_until_the_job_changes(self, start):
        api = start(max_delay=LONG)
        job_id = api.submit()
        first = api.get(f"/status/{job_id}")
        again = api.get(f"/status/{job_id}", headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert int(again.headers["retry-after-ms"]) > 0
        api.cancel(job_id)
        changed = api.get(f"/status/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
        assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")

    def test_long_poll_without_a_change_is_answered_with_304(self, start):
        api = start(max_delay=LONG)
        job_id = api.submit()
        tag = api.get(f"/status/{job_id}").headers["ETag"]
        answer = api.get(f"/status/{job_id}", headers={"If-None-Match": tag, "Prefer": "wait=1"})
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (304, "wait=1")

    def test_long_poll_with_an_outdated_tag_is_answered_at_once(self, start):
        api = start(max_delay=LONG)
        headers = {"If-None-Match": 'W/"old"', "Prefer": "wait=50"}
        assert api.get(f"/status/{api.submit()}", headers=headers, timeout=20).status_code == 200

    @pytest.mark.parametrize("known", [["*"], ['"a"'], ['W/"a"'], ['"b"', 'W/"a"'], ['"b" , "a"']])
    def test_tags_are_compared_weakly(self, known):
        assert matches(known, 'W/"a"')
        assert not matches(['"b"', 'W/"c"'], 'W/"a"')


class TestEventStreams:
    def test_stream_of_a_job_ends_with_the_job(self, start):
        api = start(max_delay=LONG)
        job_id = api.submit()
        with api.stream("GET", f"/jobs/{job_id}/events") as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            blocks = events(answer.iter_lines())
            pending, first = next(blocks), next(blocks)
            api.set_clock(advance=LONG)
            [completed] = blocks
        assert int(first["retry"]) > 0
        assert (pending["event"], completed["event"]) == ("pending", "completed")
        assert [json.loads(block["data"])["job_id"] for block in (pending, completed)] == [job_id, job_id]

    def test_stream_of_an_ended_job_has_one_event(self, start):
        api = start(max_delay=0)
        with api.stream("GET", f"/jobs/{api.submit()}/events") as answer:
            assert [block.get("event") for block in events(answer.iter_lines())] == ["completed", None]

    def test_stream_has_the_beginning_and_the_end_of_every_job(self, start):
        api = start(min_delay=0.2, max_delay=0.2)
        with api.stream("GET", "/events") as answer:
            blocks = events(answer.iter_lines())
            assert "id" in next(blocks)
            ids = [api.submit() for _ in range(3)]
            changes = [next(blocks) for _ in range(6)]
        for job_id in ids:
            assert [change["event"] for change in changes if job_id in change["data"]] == ["pending", "completed"]

    def test_stream_resumes_after_the_last_event_id(self, start):
        api = start(min_delay=0.1, max_delay=0.1)
        with api.stream("GET", "/events") as answer:
            cursor = next(events(answer.iter_lines()))["id"]
        ids = {api.submit() for _ in range(5)}
        with api.stream("GET", "/events", headers={"Last-Event-ID": cursor}) as answer:
            blocks, ended = events(answer.iter_lines()), set()
            while ended != ids:
                block = next(blocks)
                if block.get("event") == "completed":
                    ended.add(json.loads(block["data"])["job_id"])

    def test_stream_has_the_jobs_of_another_process(self, start):
        here, there = start(min_delay=0.1, max_delay=0.1), start(min_delay=0.1, max_delay=0.1)
        with here.stream("GET", "/events") as answer:
            blocks = events(answer.iter_lines())
            next(blocks)
            job_id = there.submit()
            assert json.loads(next(blocks)["data"])["job_id"] == job_id

    def test_malformed_event_ids_and_unknown_jobs_are_refused(self, start):
        api = start()
        assert api.get("/events", headers={"Last-Event-ID": "first"}).status_code == 422
        assert api.get("/jobs/none/events").status_code == 404

    def test_head_request_for_a_stream_is_answered(self, start):
        answer = start().head("/events")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}/events"])
def test_shutdown_ends_long_polls_and_streams(path):
    with TranslationServer(completion_time=LONG) as server, ThreadPoolExecutor() as pool:
        job_id = httpx.post(f"{server.url}/start").json()["job_id"]
        ask = {"headers": {"Prefer": "wait=50"}, "timeout": 60}
        url = server.url + path.format(job_id)
        with httpx.stream("GET", url, **ask) if "events" in path else nullcontext() as open_:
            polling = pool.submit(httpx.get, url, **ask)
            time.sleep(0.3)  # until the long poll has begun; it is answered either way
            server.__exit__(None, None, None)
            assert polling.result(45).status_code == 200
            if open_:
                assert "pending" in open_.read().decode()


times = st.floats(0, 100)


def job(created_at, delay, cancelled):
    """Makes a job that is cancelled at this part of its delay, or never."""
    cancelled_at = None if cancelled is None else created_at + delay * cancelled
    return Job("any", "admin", 1, created_at, Fate(delay, State.COMPLETED), cancelled_at=cancelled_at)


jobs = st.lists(st.builds(job, times, st.floats(0, 50), st.none() | st.floats(0.0, 1.0)), max_size=20)


def page_of(jobs, limit):
    """Returns the first jobs, up to a full page."""
    return next((jobs[:count] for count in range(1, len(jobs)) if is_full(jobs[:count], limit)), jobs)


def follow(feed, jobs, now):
    """Yields all changes up to now; the feed reads what it needs from these jobs."""
    while True:
        if feed.needs_new:
            feed.add_new(page_of([job for job in jobs if job.ordinal > feed.last_ordinal], feed.page_size))
        if feed.needs_ends:
            ends = sorted(place for job in jobs if (place := end_of(job)) > feed.horizon and place.at < inf)
            feed.add_ends(page_of([jobs[place.ordinal - 1] for place in ends], feed.page_size))
        yield from (changes := feed.emit(now))
        if not changes and not feed.needs_new and not feed.needs_ends:
            return


LARGE = "x" * (MAX_PAGE_SIZE // 3 + 1)  # of a job; three such jobs fill a page


def ordinal_and_time(snapshot):
    return snapshot.job.ordinal, snapshot.now


@given(jobs, st.lists(times, min_size=1, max_size=10).map(sorted), times, st.sampled_from([1, 2, 200]), st.booleans())
def test_feed_has_each_change_once_and_in_order_for_any_page_size(jobs, checks, since, page, large):
    text = LARGE if large else ""
    jobs = sorted((replace(job, echo_text=text) for job in jobs), key=lambda job: job.created_at)
    jobs = [replace(job, id=f"j{n}", ordinal=n) for n, job in enumerate(jobs, 1)]
    feed, changes = ChangeFeed(since, sum(job.created_at <= since for job in jobs), page), []
    for now in [*(check for check in checks if check >= since), 1000.0]:
        feed.may_have_new = True
        changes += follow(feed, [job for job in jobs if job.created_at <= now], now)
    expected = [change for job in jobs for change in JobSnapshot(job, 1000.0).changes if change.now > since]
    assert sorted(changes, key=ordinal_and_time) == sorted(expected, key=ordinal_and_time)
    assert changes == sorted(changes, key=lambda snapshot: snapshot.now)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_status_word_changes_at_the_time_that_the_dialect_gives(dialect):
    job = Job("j1", "admin", 1, 0.0, Fate(100.0, State.ERROR))
    snapshot = JobSnapshot(job, 0.0)
    changes_at = dialect.changes_at(snapshot)
    before, after = (dialect.word(JobSnapshot(job, at)) for at in (changes_at - 0.01, changes_at))
    assert before == dialect.word(snapshot) != after
