"""Answers that grow with a user's jobs: they come in pages, take bounded memory and do not delay other requests."""

import asyncio
import json
import sqlite3
import time
import tracemalloc
from contextlib import aclosing, closing
from itertools import count

import pytest
import uvloop
from starlette.responses import StreamingResponse

from tests.raw_http import connect, head
from translation_server.api.report_grading import SHORT, Grading, grading_process
from translation_server.api.request_record import RecordBuilder
from translation_server.core.change_feed import MAX_PAGE_SIZE, PAGE, size_of
from translation_server.core.delays import Uniform
from translation_server.core.job import Fate, Job, JobSnapshot, State, json_text
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import Service
from translation_server.service.request_log import MAX_WAITING_JOBS, RequestLog
from translation_server.storage import open_store

pytestmark = pytest.mark.takes(60)

LONG = 1e6
PIECE = 256 * 1024  # how many bytes of an answer may be sent before other requests are served


def fill(url, many, *, created_at, delay):
    """Adds jobs of the admin to a SQLite file, one accepted each millisecond."""
    asyncio.run(open_store(url).close())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("INSERT INTO owners (name, jobs) VALUES ('admin', ?)", (many,))
        connection.executemany(
            "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, changed_at)"
            " VALUES ('admin', :n, 'job-' || :n, :at, :delay, 'completed', :at)",
            ({"n": n, "at": created_at + n / 1000, "delay": delay} for n in range(1, many + 1)),
        )


def pieces(api, path, *headers):
    """Yields the chunks of an answer as the server has sent them."""
    with connect(api) as connection, connection.makefile("rb") as answer:
        connection.sendall(head(path, b"Connection: close", *headers))
        assert b" 200 " in answer.readline()
        while answer.readline().strip():
            pass
        while size := int(answer.readline(), 16):
            yield answer.read(size + 2)[:-2]


def read_events(pieces, count):
    """Reads so many events of a stream; returns them and the size of the largest chunk."""
    events, largest = [], 0
    for piece in pieces:
        largest = max(largest, len(piece))
        blocks = (block for block in piece.decode().split("\n\n") if block and not block.startswith(":"))
        events += [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
        if len(events) >= count:
            break
    return events, largest


def test_stream_of_many_ended_jobs_comes_in_pieces_in_order_and_without_duplicates(start, tmp_path):
    many, url = 5000, f"sqlite:///{tmp_path}/many.db"
    fill(url, many, created_at=1000.0, delay=2.0)
    api = start(database_url=url)
    with closing(pieces(api, "/events", b"Last-Event-ID: 1000000000")) as stream:
        events, largest = read_events(stream, 2 * many + 1)
    assert largest < PIECE
    assert [event.get("event") for event in events[-2:]] == ["completed", None]
    assert events[-1]["retry"] == "1000"
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(ids)
    changes = [(json.loads(event["data"])["job_id"], event["event"]) for event in events[:-1]]
    jobs = [f"job-{n}" for n in range(1, many + 1)]
    assert [job_id for job_id, word in changes if word == "pending"] == jobs
    assert [job_id for job_id, word in changes if word == "completed"] == jobs
    assert len(changes) == 2 * many


def test_stream_resumes_after_the_last_event_id_among_many_jobs(start, tmp_path):
    url = f"sqlite:///{tmp_path}/many.db"
    fill(url, 5000, created_at=1000.0, delay=0.0)
    api = start(database_url=url)
    with closing(pieces(api, "/events", b"Last-Event-ID: 1005900000")) as stream:
        events, _ = read_events(stream, 101)
    assert [json.loads(event["data"])["job_id"] for event in events[:-1]] == [f"job-{n}" for n in range(4901, 5001)]


def test_events_of_many_jobs_that_end_at_once_come_in_pieces(start, tmp_path):
    many, url = 5000, f"sqlite:///{tmp_path}/many.db"
    fill(url, many, created_at=time.time() - 100, delay=LONG)
    api = start(database_url=url)
    with closing(pieces(api, "/events")) as stream:
        assert "retry" in read_events(stream, 1)[0][0]
        job_id = api.submit()
        assert api.post("/sandbox/clock", json={"advance": 1e9}).status_code == 200
        events, largest = read_events(stream, many + 2)
    assert largest < PIECE
    words = [event["event"] for event in events]
    assert (words.count("pending"), words.count("completed")) == (1, many + 1)
    ids = {json.loads(event["data"])["job_id"] for event in events}
    assert ids == {job_id, *(f"job-{n}" for n in range(1, many + 1))}


@pytest.fixture
def service(store):
    clock = count(10_000)
    sandbox = SandboxSettings(delay=Uniform(0, 0))
    return Service(store, lambda: sandbox, clock=lambda: float(next(clock)), entropy=lambda: bytes(64))


async def add_many(store, many):
    def accept(n):
        return Job(f"job-{n}", "ann", n, 1000.0 + n / 1000, Fate(5.0, State.COMPLETED), changed_at=1000.0 + n / 1000)

    await asyncio.gather(*(store.add("ann", accept) for _ in range(many)))


async def test_other_tasks_run_between_the_pages_of_a_change_stream(store, service):
    many, turns = 10 * PAGE, 0
    await add_many(store, many)

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    sizes, seen = [], []
    async with aclosing(service.change_stream.all("ann", 0.0)) as changes:
        async for page in changes:
            sizes.append(len(page.snapshots))
            seen.append(turns)
            if not page.more:
                break
    counting.cancel()
    assert (sum(sizes), max(sizes) <= PAGE + 1) == (2 * many, True)
    assert len(set(seen)) == len(seen) >= 2 * many / PAGE


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("url", ["memory"], indirect=True)
async def test_change_stream_of_many_jobs_takes_memory_for_a_few_pages(store, service):
    await add_many(store, 20_000)
    tracemalloc.start()
    try:
        before, most = tracemalloc.get_traced_memory()[0], 0
        async with aclosing(service.change_stream.all("ann", 0.0)) as changes:
            async for page in changes:
                most = max(most, tracemalloc.get_traced_memory()[0] - before)
                if not page.more:
                    break
    finally:
        tracemalloc.stop()
    assert most < 4 * 2**20


async def test_change_stream_of_large_jobs_takes_memory_for_a_few_pages(store, service):
    large = json_text("x" * (MAX_PAGE_SIZE // 8))
    for ordinal in range(1, 81):
        fate = Fate(5.0, State.COMPLETED, output=large)
        at = 1000.0 + ordinal
        await store.add("ann", lambda n, at=at, fate=fate: Job(f"job-{n}", "ann", n, at, fate, changed_at=at + n % 2))
    sizes, changed = [], 0
    async with aclosing(service.change_stream.all("ann", 0.0)) as changes:
        async for page in changes:
            sizes.append(size_of({snapshot.job.ordinal: snapshot.job for snapshot in page.snapshots}.values()))
            changed += len(page.snapshots)
            if not page.more:
                break
    assert changed == 160
    assert max(sizes) <= 3 * MAX_PAGE_SIZE


def records(count):
    """Yields records as JSON: each job is submitted, polled twice too early, and then after its end."""
    for number in range(count):
        at, job_id = 1e9 + number, f"job-{number // 4}"
        jobs = [{"job_id": job_id, "state": "completed" if number % 4 == 3 else "pending"}]
        fields = {"at": at, "virtual_at": at, "took": 0.1, "path": f"/status/{job_id}", "status": 200, "jobs": jobs}
        submit = {"method": "POST", "action": "submit", "key": f"key-{number}", "digest": f"{number:064}"}
        yield json.dumps(fields | (submit if number % 4 == 0 else {"method": "GET", "action": "poll", "hint": 1.5}))


@pytest.fixture
def logged(tmp_path):
    """Returns the URL of a database with many requests of the admin, and the size of their records."""
    url, log = f"sqlite:///{tmp_path}/many.db", list(records(20_000))

    async def write():
        store = open_store(url)
        await store.add_requests([("admin", record) for record in log], len(log))
        await store.close()

    asyncio.run(write())
    return url, sum(map(len, log))


@pytest.fixture
async def make_grading(logged):
    """Returns a function that makes a `Grading` of that log, which grades logs of at most this size itself."""
    store, sandbox = open_store(logged[0]), SandboxSettings(delay=Uniform(0, 0))
    service = Service(store, lambda: sandbox, clock=time.time, entropy=lambda: bytes(64))
    yield lambda short: Grading(RequestLog(store, service.sandboxes, 20_000), service, short)
    await store.close()


async def card_of(answer):
    """Returns the body of an answer."""
    if isinstance(answer, StreamingResponse):
        return b"".join([piece async for piece in answer.body_iterator]).decode()
    return answer.body.decode()


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "application/xml"])
async def test_report_of_a_long_log_is_the_same_from_both_ways_of_grading(make_grading, media_type):
    answers = [await make_grading(short).answer("admin", media_type) for short in (1, 2**30)]
    assert [isinstance(answer, StreamingResponse) for answer in answers] == [True, False]
    cards = [(answer.status_code, answer.media_type, await card_of(answer)) for answer in answers]
    assert cards[0] == cards[1]
    assert cards[0][:2] == (200, media_type)
    assert "early-polls" in cards[0][2]


async def test_long_log_is_graded_outside_of_the_memory_of_the_server(make_grading, logged):
    assert logged[1] > 4 * 2**20
    grading, size = make_grading(2**16), 0
    tracemalloc.start()
    try:
        answer = await grading.answer("admin", "application/json")
        async for piece in answer.body_iterator:
            size += len(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 2**19
    assert most < 2 * 2**20


def test_failed_report_is_refused_and_the_next_one_is_made(logged, start, monkeypatch):
    url, size = logged
    assert size > SHORT
    api = start(database_url=url, request_log=20_000)
    with monkeypatch.context() as broken:
        broken.setenv("PYTHONIOENCODING", "unknown")  # the grading process cannot start
        refused = api.get("/sandbox/report")
    assert (refused.status_code, "too long" in refused.json()["detail"]) == (503, True)
    assert api.get("/sandbox/report").json()["overall"]["requests"] == 20_000


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_grading_process_that_has_ended_reads_no_more_lines(loop):
    async def send_until_it_fails() -> None:
        async with grading_process() as grader:
            grader.process.kill()
            while True:
                await grader.send("a line")

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(OSError, match=r"ended|lost|closed|pipe"):
        runner.run(send_until_it_fails())


async def test_page_of_records_that_show_very_many_jobs_is_shorter_than_its_limit(start, tmp_path):
    url = f"sqlite:///{tmp_path}/many.db"
    jobs = [{"job_id": f"job-{number}", "state": "pending"} for number in range(15_000)]
    record = json.dumps({"at": 1e9, "virtual_at": 1e9, "took": 0, "method": "GET", "path": "/events", "jobs": jobs})
    store = open_store(url)
    await store.add_requests([("admin", record)] * 5, 9)
    await store.close()
    api = start(database_url=url)
    pages = [page["requests"] for page in api.pages("/sandbox/requests", limit=1000)]
    assert max(len(json.dumps(page)) for page in pages) < 4 * 2**20
    assert [[shown["number"] for shown in page] for page in pages] == [[1, 2], [3, 4], [5]]


async def test_waiting_records_that_show_very_many_jobs_displace_the_oldest(store, service):
    request_log = RequestLog(store, service.sandboxes, 10_000)
    snapshots = [JobSnapshot(Job("job", "ann", 1, 0.0, Fate(1.0, State.COMPLETED)), 0.5)] * PAGE
    many = MAX_WAITING_JOBS // PAGE
    for number in range(many + 10):
        request_log.add("ann", RecordBuilder(1e9 + number, "GET", "/events", None, tagged=False, snapshots=snapshots))
    written = [record async for page in request_log.pages("ann") for record in page]
    assert (len(written), request_log.dropped("ann", 1)) == (many, 10)
    await request_log.close()


def test_stream_that_is_not_read_sends_no_more_than_the_buffers_hold(start, tmp_path):
    many, url = 30_000, f"sqlite:///{tmp_path}/many.db"
    fill(url, many, created_at=1000.0, delay=2.0)
    api = start(database_url=url, request_log=10_000)

    def number_sent():
        for _ in range(50):
            assert api.get("/livez").status_code == 200
        pages = api.pages("/sandbox/requests", limit=1000)
        return sum(len(record["jobs"]) for page in pages for record in page["requests"])

    with closing(pieces(api, "/events", b"Last-Event-ID: 1000000000")) as stream:
        next(stream)
        before = 0
        while (now := number_sent()) > before:
            before = now
    assert PAGE <= now < 2 * many
