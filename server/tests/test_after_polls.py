"""Jobs that end after a number of polls, whatever the clock says."""

import asyncio
import json
from collections import Counter

import httpx
import pytest

from tests.api import Api
from translation_server.core.clock import VirtualTime
from translation_server.core.delays import Fixed
from translation_server.core.dialects.builtin import START
from translation_server.core.job import Fate, FateOverride, Job, JobSnapshot, State, Submission
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import Service
from translation_server.storage import open_store

YEARS = 1e9

PHASES = """
[job.task]
submit.request = "POST /jobs"
poll.request = "GET /jobs/{job_id}"
body = {id = "{job_id}", state = "{status}"}
words = {pending = ["queued", "starting", "running"], completed = "done", error = "failed"}
"""


def submit(api: Api, after_polls: int = 3, **simulate) -> str:
    return api.submit({"simulate": {"after_polls": after_polls, "outcome": "completed", **simulate}})


def listed(api: Api) -> list[str]:
    """Returns the states of all jobs, newest first; a list is no poll."""
    return [job["status"] for job in api.get("/jobs").json()["jobs"]]


def polls(api: Api, job_id: str) -> int:
    """Returns how many polls of a job have counted; a list is no poll."""
    [job] = [job for job in api.get("/jobs").json()["jobs"] if job["job_id"] == job_id]
    return int(job["progress"] * 1000)


@pytest.mark.parametrize("after_polls", [1, 2, 5])
def test_job_ends_at_that_poll(api: Api, after_polls):
    job_id = submit(api, after_polls, outcome="error", message="no speech found")
    jobs = [api.job(job_id) for _ in range(after_polls + 2)]
    pending = after_polls - 1
    assert [job["status"] for job in jobs] == ["pending"] * pending + ["error"] * 3
    assert jobs[-1]["error_message"] == "no speech found"
    assert jobs[-1] == jobs[pending]
    assert jobs[-1]["completed_at"] is not None


def test_clock_does_not_end_it(api: Api):
    job_id = submit(api)
    api.set_clock(advance=YEARS)
    assert (api.job(job_id)["status"], api.job(job_id)["status"]) == ("pending", "pending")
    api.set_clock(frozen=True)
    ended = api.job(job_id)
    assert (ended["status"], round(ended["elapsed_time"])) == ("completed", YEARS)


def test_progress_and_phases_follow_the_polls(start, tmp_path):
    (tmp_path / "phases.toml").write_text(PHASES)
    api = start(dialects=str(tmp_path / "phases.toml"))
    job = api.post("/phases/jobs", json={"simulate": {"after_polls": 3}}).json()
    states = [api.get(f"/phases/jobs/{job['id']}").json()["state"] for _ in range(3)]
    assert [job["state"], *states] == ["queued", "starting", "running", "done"]
    job_id = submit(api, 4)
    assert [api.job(job_id)["progress"] for _ in range(4)] == [0.25, 0.5, 0.75, 1]


def test_each_poll_that_shows_the_job_counts_once(api: Api):
    job_id = submit(api, 1000)
    known = api.get(f"/status/{job_id}").headers["ETag"]
    assert api.get(f"/status/{job_id}", headers={"If-None-Match": known}).status_code == 304
    assert api.get(f"/job/{job_id}").status_code == 200
    assert polls(api, job_id) == 3
    other = submit(api, 1000)
    for ids in ([job_id], [job_id, other, job_id, "unknown"]):
        jobs = api.get("/jobs", params={"job_id": ids}).json()["jobs"]
        assert [job["status"] for job in jobs] == ["pending"] * len(jobs)
    assert (polls(api, job_id), polls(api, other)) == (5, 1)
    assert api.get("/status").json()["status"] == "pending"  # a poll of the latest job
    assert (polls(api, job_id), polls(api, other)) == (5, 2)


def test_long_poll_counts_once_and_is_answered_at_once(api: Api):
    job_id = submit(api, 1000)
    for _ in range(3):
        answer = api.get(f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=20)
        assert (answer.json()["status"], answer.headers["Preference-Applied"]) == ("pending", "wait=50")
    assert polls(api, job_id) == 3


def test_heads_lists_and_events_do_not_count(api: Api):
    job_id = submit(api, 1)
    assert api.head(f"/status/{job_id}").status_code == 200
    assert api.head("/jobs", params={"job_id": job_id}).status_code == 200
    assert api.get("/jobs", params={"status": "pending"}).json()["jobs"][0]["job_id"] == job_id
    with api.stream("GET", f"/jobs/{job_id}/events") as stream:
        assert "event: pending" in stream.iter_lines()
    assert listed(api) == ["pending"]
    assert api.job(job_id)["status"] == "completed"


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("reset", False),
        ("empty", False),
        ("garbage", False),
        ("malformed", False),
        ("truncate", False),
        ("not-found", False),
        ("unauthorized", False),
        ("unknown-status", False),
        ("wrong-type", False),
        ('{"kind": "status", "code": 503}', False),
        ('{"kind": "hang", "seconds": 0.001}', False),
        ('{"kind": "latency", "delay": {"kind": "fixed", "seconds": 0}}', True),
        ("huge-retry-after", True),
        ('{"kind": "drip", "rate": 1000000}', True),
        ("back-to-pending", True),
        ("no-details", True),
    ],
)
@pytest.mark.parametrize("batch", [False, True], ids=["poll", "batch poll"])
def test_poll_whose_answer_a_fault_makes_unusable_does_not_count(api: Api, fault, counts, batch):
    job_id = submit(api, 1000)
    path = f"/jobs?job_id={job_id}" if batch else f"/status/{job_id}"
    try:
        assert api.get(path, headers={"Simulate-Fault": fault}).status_code
    except httpx.TransportError:
        assert not counts
    assert polls(api, job_id) == counts


def test_hint_is_to_poll_at_once(api: Api):
    submitted = api.post("/start", json={"simulate": {"after_polls": 2, "outcome": "completed"}})
    job_id = submitted.json()["job_id"]
    for hints in ("honest", "exact"):
        api.change_sandbox(hints=hints)
        assert api.head(f"/status/{job_id}").headers["retry-after-ms"] == "1"
    assert submitted.headers["retry-after-ms"] == "1"
    api.change_sandbox(hints="none")
    assert "retry-after" not in api.get(f"/status/{job_id}").headers
    assert api.job(job_id)["status"] == "completed"


def test_paused_job_counts_no_polls(api: Api):
    job_id = submit(api, 1, paused=True)
    assert [api.job(job_id)["status"] for _ in range(3)] == ["pending"] * 3
    assert int(api.head(f"/status/{job_id}").headers["retry-after"]) > 1
    api.change_job(job_id, do="unpause")
    assert api.job(job_id)["status"] == "completed"


def test_a_job_that_ends_after_polls_can_be_cancelled_and_finished(api: Api):
    cancelled, finished = submit(api, 2), submit(api, 2)
    api.job(cancelled)
    assert api.delete(f"/jobs/{cancelled}").json()["progress"] == 0.5
    assert [api.job(cancelled)["status"] for _ in range(2)] == ["cancelled"] * 2
    api.finish(finished, "error")
    assert [api.job(finished)["status"] for _ in range(2)] == ["error"] * 2


def test_setting_of_the_sandbox_holds_for_new_jobs(api: Api):
    before = api.submit()
    assert api.change_sandbox(after_polls=1, error_probability=0)["after_polls"] == 1
    after, timed, chosen = api.submit(), api.submit({"simulate": {"delay": 1000}}), submit(api, 2)
    assert [api.job(job_id)["status"] for job_id in (before, after, timed, chosen)] == [
        "pending",
        "completed",
        "pending",
        "pending",
    ]
    assert (api.job(timed)["status"], api.job(chosen)["status"]) == ("pending", "completed")
    assert api.change_sandbox(after_polls=None)["after_polls"] is None
    assert api.job(api.submit())["status"] == "pending"


@pytest.mark.parametrize("after_polls", [0, -1, 1001, 1.5, True, "3"])
def test_unusable_number_of_polls_is_refused(api: Api, after_polls):
    submitted = api.post("/start", json={"simulate": {"after_polls": after_polls}})
    changed = api.patch("/sandbox", json={"after_polls": after_polls})
    assert (submitted.status_code, changed.status_code) == (422, 422)
    assert submitted.json()["errors"][0]["field"] == "simulate.after_polls"
    assert changed.json()["errors"][0]["field"] == "after_polls"


def test_polls_and_a_delay_exclude_each_other(api: Api):
    refused = api.post("/start", json={"simulate": {"after_polls": 3, "delay": 5}})
    reason = "must not hold both delay and after_polls: a job ends after a time or after some polls"
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "simulate", "message": reason}]
    assert api.post("/start", json={"simulate": {"after_polls": 3, "delay": None}}).status_code == 202


def test_repeated_submission_gets_the_same_answer(api: Api):
    first, again = (
        api.post("/start", json={"simulate": {"after_polls": 3}}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    job_id = first.json()["job_id"]
    assert api.job(job_id)["progress"] > 0
    later = api.post("/start", json={"simulate": {"after_polls": 3}}, headers={"Idempotency-Key": "k"})
    assert first.json() == again.json() == later.json()
    assert (first.status_code, again.status_code, later.status_code) == (202, 202, 202)


def test_event_stream_shows_the_end_when_it_happens(api: Api):
    with api.stream("GET", "/events") as stream:
        events = (line for line in stream.iter_lines() if line.startswith(("event:", "data:")))
        job_id = submit(api, 2)
        pending = next(events), json.loads(next(events).removeprefix("data:"))
        assert (pending[0], pending[1]["progress"]) == ("event: pending", 0)
        assert [api.job(job_id)["status"] for _ in range(2)] == ["pending", "completed"]
        assert (next(events), json.loads(next(events).removeprefix("data:"))["job_id"]) == ("event: completed", job_id)
    submit(api, 2)
    with api.stream("GET", "/events", headers={"Last-Event-ID": "0"}) as stream:
        names = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert [next(names) for _ in range(3)] == ["event: pending", "event: completed", "event: pending"]


def test_count_survives_a_restart(start, tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    before = start(database_url=url)
    job_id = submit(before, 3)
    before.job(job_id)
    before.job(job_id)
    assert start(database_url=url).job(job_id)["status"] == "completed"


def test_lateness_counts_from_the_poll_that_ended_it(api: Api):
    api.set_clock(frozen=True)
    job_id = submit(api, 2)
    api.job(job_id)
    accepted = next(record["at"] for record in api.requests() if record["action"] == "submit")
    assert api.job(job_id)["status"] == "completed"
    last = api.requests()[-1]
    assert last["jobs"][0]["ended_at"] >= last["at"] >= accepted
    [row] = api.get("/sandbox/report").json()["jobs"]
    assert row["lateness"] <= last["took"]


@pytest.mark.anyio
class TestConcurrentPolls:
    """Two processes over each database."""

    @pytest.fixture
    async def services(self, url):
        """Makes the services of two processes over one database."""
        one = open_store(url)
        other = one if url == "memory:" else open_store(url)
        sandbox = SandboxSettings(delay=Fixed(0), error_probability=0)
        yield [
            Service(store, lambda: sandbox, clock=lambda: 5000.0, entropy=lambda: bytes(64)) for store in (one, other)
        ]
        await one.close()
        if other is not one:
            await other.close()

    async def test_exactly_the_last_poll_ends_the_job(self, services):
        one, other = services
        job = (await one.submit("ann", Submission(), fate_override=FateOverride(after_polls=20))).snapshot.job

        async def poll(service: Service) -> JobSnapshot:
            return await service.count_poll(await service.snapshot("ann", job.id))

        early = await asyncio.gather(*(poll(service) for service in (one, other) for _ in range(9)))
        assert {snapshot.state for snapshot in early} == {State.PENDING}
        assert sorted(snapshot.job.polls for snapshot in early) == list(range(1, 19))
        late = await asyncio.gather(*(poll(service) for service in (one, other) for _ in range(6)))
        assert Counter(snapshot.state for snapshot in late) == {State.PENDING: 1, State.COMPLETED: 11}
        assert len({snapshot.job for snapshot in late if snapshot.state is State.COMPLETED}) == 1

    async def test_only_the_ended_job_is_answered_from_memory(self, services):
        one, other = services
        job = (await one.submit("ann", Submission(), fate_override=FateOverride(after_polls=2))).snapshot.job
        for service in (one, other):
            snapshot = await service.snapshot("ann", job.id)
            assert service.render_cached("ann", job.id, START) is None
            await service.count_poll(snapshot)
        assert (await other.snapshot("ann", job.id)).state is State.COMPLETED
        rendered, _ = other.render_cached("ann", job.id, START)
        assert '"completed"' in rendered.body.text

    async def test_end_is_one_event_on_every_server(self, services):
        one, other = services
        job = (await one.submit("ann", Submission(), fate_override=FateOverride(after_polls=3))).snapshot.job
        streams = [service.change_stream.all("ann", VirtualTime(0)) for service in services]
        seen: list[list[State]] = [[], []]
        began = [asyncio.Event(), asyncio.Event()]

        async def follow(number: int) -> None:
            async for page in streams[number]:
                seen[number] += [snapshot.state for snapshot in page.snapshots]
                began[number].set()
                if State.COMPLETED in seen[number]:
                    return

        following = [asyncio.create_task(follow(number)) for number in range(2)]
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in began)), 30)
        for service in (one, other, one, other):
            await service.count_poll(await service.snapshot("ann", job.id))
        await asyncio.wait_for(asyncio.gather(*following), 30)
        assert seen == [[State.PENDING, State.COMPLETED]] * 2

    async def test_long_poll_of_a_paused_job_ends_when_it_is_unpaused(self, services):
        one, other = services
        override = FateOverride(after_polls=1, paused=True)
        job = (await one.submit("ann", Submission(), fate_override=override)).snapshot.job
        waiting = asyncio.create_task(
            one.hold(await one.snapshot("ann", job.id), 50, lambda snapshot: snapshot.job.due_at)
        )
        await asyncio.sleep(0)
        assert (await other.count_poll(await other.snapshot("ann", job.id))).job.polls == 0
        assert not waiting.done()
        await other.amend("ann", job.id, Job.unpause)
        snapshot = await asyncio.wait_for(waiting, 30)
        assert (snapshot.state, snapshot.job.counts_polls) == (State.PENDING, True)
        assert (await one.count_poll(snapshot)).state is State.COMPLETED


def test_polls_of_a_job_are_counted_until_its_end():
    job = Job("id", "ann", 1, VirtualTime(1000), Fate(float("inf"), State.ERROR, "no", after_polls=3))
    for polls in (1, 2):
        job = job.poll(VirtualTime(1000 + polls))
        assert (job.polls, JobSnapshot(job, VirtualTime(YEARS)).state) == (polls, State.PENDING)
    ended = job.poll(VirtualTime(1005))
    assert (ended.due_at, ended.fate.message, JobSnapshot(ended, VirtualTime(1005)).state) == (1005, "no", State.ERROR)
    assert ended.poll(VirtualTime(1006)) == ended
    assert job.cancel(VirtualTime(1003)).poll(VirtualTime(1004)).polls == 2
    assert job.beginning.progress == 0
