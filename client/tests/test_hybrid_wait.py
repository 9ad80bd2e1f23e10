"""Waits that a webhook ends: the flows, played by hand, and both clients on the real server."""

from __future__ import annotations

import asyncio
import json
import threading
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.blocking import open_client
from tests.flow_player import START, failing, flow_options, job
from translation_client import AsyncClient, Client, Fixed, JobTimeout, Sandbox, State
from translation_client.core import wait_many, wait_one
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import AwaitDelivery, Delivery, Done, Reply, Send, Sleep
from translation_client.core.schedule import Learned, Seldom, next_delay, start_schedule
from translation_client.core.status import Observation, Status
from translation_client.receivers import Inbox, Listener
from translation_server import TranslationServer

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from tests.conftest import Job, Server
    from tests.flow_player import Answer


class Player:
    """Plays a wait whose deliveries come after these seconds; with None, nothing is delivered."""

    def __init__(self, flow: Any, answers: Sequence[Answer], deliveries: Sequence[float | None]) -> None:
        answers, deliveries = list(answers), list(deliveries)
        self.now, self.sleeps, self.statuses = START, [], []
        self.error: Exception | None = None
        result: Any = None
        while True:
            try:
                effect = flow.send(result)
            except StopIteration:
                break
            except JobTimeout as error:
                self.error = error
                break
            result = Done(self.now)
            match effect:
                case Send():
                    result = (answers.pop(0) if len(answers) > 1 else answers[0]).result(self.now, effect)
                    self.now = result.at
                case AwaitDelivery(ids=ids, seconds=seconds):
                    after = deliveries.pop(0) if deliveries else None
                    self.sleeps.append(seconds)
                    self.now += seconds if after is None else after
                    result = Done(self.now) if after is None else Delivery(ids, self.now)
                case Sleep(seconds=seconds):
                    self.sleeps.append(seconds)
                    self.now += seconds
                    result = Done(self.now)
                case Status():
                    self.statuses.append(effect)

    @property
    def cost(self) -> Any:
        return self.statuses[-1].cost


def play(
    *answers: Answer, deliveries: Sequence[float | None] = (), timeout: float = inf, submits: bool = False
) -> Player:
    options, time = flow_options(webhook=True, schedule=Fixed(100)), FlowTime(START, START + timeout)
    flow = wait_one.run(options, time, "key", {}) if submits else wait_one.watch(options, time, "j1")
    return Player(flow, answers, deliveries)


class TestFlow:
    def test_delivery_ends_the_wait_by_a_poll_at_once(self) -> None:
        player = play(job(), job("completed"), deliveries=[7])
        assert [status.state for status in player.statuses] == ["pending", "completed"]
        assert (player.cost.polls, player.cost.asleep, player.cost.ended_by) == (2, 7, "delivery")

    def test_lost_delivery_costs_lateness_only(self) -> None:
        player = play(job(), job("completed"))
        assert player.sleeps == [pytest.approx(100)]
        assert player.cost.ended_by == "poll"

    def test_delivery_may_come_before_the_answer_to_the_submission(self) -> None:
        player = play(job(), job("completed"), deliveries=[0], submits=True)
        assert (player.cost.polls, player.cost.asleep, player.cost.ended_by) == (1, 0, "delivery")

    def test_job_that_has_ended_already_needs_no_delivery(self) -> None:
        assert play(job("completed")).cost.ended_by == "poll"

    def test_delivery_that_no_poll_confirms_is_followed_by_polls_soon(self) -> None:
        player = play(job(), job(), job(), job(), job("completed"), deliveries=[7, 7])
        assert player.sleeps == pytest.approx([100, 1, 2, 98, 4])
        assert player.cost.ended_by == "poll"

    def test_failed_poll_after_a_delivery_is_retried(self) -> None:
        player = play(job(), failing(503), job("completed"), deliveries=[7])
        assert player.cost.ended_by == "delivery"

    def test_deadline_polls_a_last_time(self) -> None:
        assert play(job(), job("completed"), timeout=10).statuses[-1].state is State.COMPLETED
        assert isinstance(play(job(), timeout=10).error, JobTimeout)


class TestSeldom:
    def test_polls_are_ten_times_as_seldom_and_never_sooner_than_five_seconds(self) -> None:
        schedule = start_schedule(Seldom(_delays))
        pending = Observation(Status("j1", State.PENDING), 1.0, None, "kind")
        assert [next_delay(schedule, pending) for _ in range(3)] == [5.0, 70.0, None]

    def test_durations_are_learned_as_without_it(self) -> None:
        plan = Learned()
        schedule = start_schedule(Seldom(plan))
        next_delay(schedule, Observation(Status("j1", State.PENDING), 1.0, None, "kind"))
        assert next_delay(schedule, Observation(Status("j1", State.COMPLETED), 9.0, None, "kind")) is None
        assert [*plan.history.durations("kind")] == [9.0]


def _delays() -> Generator[float, Observation, None]:
    yield 0.0
    yield 0.1
    yield 7.0


class TestManyJobs:
    def play(self, deliveries: Sequence[Sequence[str]], ended: set[str]) -> tuple[list[Any], dict[str, Status]]:
        """Plays a wait for a, b and c; each delivery comes after a second."""
        options = flow_options(webhook=True, schedule=Fixed(100), dialect=DIALECTS["start"])
        flow, now, steps, ends = wait_many.as_completed(options, FlowTime(0.0), "abc"), 0.0, [], {}
        left, result = list(deliveries), None
        while True:
            try:
                effect = flow.send(result)
            except StopIteration:
                return steps, ends
            result = Done(now)
            match effect:
                case Send(query=query):
                    steps.append([*query["job_id"]])
                    jobs = [
                        {"job_id": one, "status": "completed" if (one in ended and now) or now > 50 else "pending"}
                        for one in query["job_id"]
                    ]
                    result = Reply(200, {}, json.dumps({"jobs": jobs, "unknown": []}).encode(), now, 0.0)
                case AwaitDelivery(seconds=seconds):
                    now += 1 if left else seconds
                    steps.append(round(seconds))
                    result = Delivery(left.pop(0), now) if left else Done(now)
                case Status(state=state) if state.ended:
                    ends[effect.id] = effect

    def test_each_delivery_ends_its_job_and_the_others_are_polled_when_they_are_due(self) -> None:
        steps, ends = self.play([["b"], ["stranger", "c"]], {"b", "c"})
        assert steps == [["a", "b", "c"], 100, ["b"], 99, ["c"], 98, ["a"]]
        assert [ends[one].cost.ended_by for one in "abc"] == ["poll", "delivery", "delivery"]

    def test_unconfirmed_delivery_is_followed_by_a_poll_soon_and_no_job_is_polled_twice(self) -> None:
        steps, ends = self.play([["b"]], set())
        assert steps == [["a", "b", "c"], 100, ["b"], 1, ["b"], 2, 96, ["a", "c"], 2, ["b"]]
        assert ends["b"].cost.polls == 4
        assert set(ends) == set("abc")


@pytest.mark.parametrize("kind", ["sync", "async"])
class TestRealServer:
    def test_run_and_wait_all_end_by_deliveries(self, kind: str) -> None:
        with (
            TranslationServer(completion_time=0.5, error_rate=0) as server,
            Listener() as receiver,
            open_client(kind, server.url, timeout=60) as client,
        ):
            final = client.run(webhook=receiver)
            assert (final.state, final.cost.ended_by, final.cost.polls) == (State.COMPLETED, "delivery", 1)
            ids = [client.start(webhook=receiver).id for _ in range(5)]
            ends = client.wait_all(ids, webhook=receiver)
            assert {end.cost.ended_by for end in ends.values()} == {"delivery"}

    def test_wait_for_a_job_whose_delivery_is_lost_ends_too(self, kind: str) -> None:
        with (
            TranslationServer(completion_time=0.3, error_rate=0) as server,
            open_client(kind, server.url, timeout=60, schedule=Fixed(0.1)) as client,
        ):
            final = client.run(webhook=Inbox("http://127.0.0.1:9/"))
            assert (final.state, final.cost.ended_by) == (State.COMPLETED, "poll")


LOGIN = {"username": "admin", "password": "secretpassword"}
VIDEO = {"type": "url", "url": "https://example.com/a.mp4"}
OWN_PLACE: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "assemblyai": ("/assemblyai", {}, {"audio_url": "https://example.com/a.mp3"}),
    "fal": ("/fal", {"owner": "fal-ai", "app": "any"}, {"prompt": "A cat"}),
    "heygen": ("/heygen", {}, {"video": VIDEO, "output_languages": ["French"]}),
    "luma#video": ("/luma/dream-machine/v1", {}, {"prompt": "A cat"}),
    "replicate": ("/replicate", {}, {"version": "v", "input": {}}),
    "runpod": ("/runpod/v2", {"endpoint": "any"}, {"input": {}}),
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("dialect", OWN_PLACE)
def test_webhook_of_another_api_ends_the_wait(kind: str, dialect: str) -> None:
    path, parameters, own = OWN_PLACE[dialect]
    with (
        TranslationServer(completion_time=0.5, error_rate=0, dialects=dialect.partition("#")[0]) as server,
        Listener(dialect=dialect) as receiver,
        open_client(
            kind, f"{server.url}{path}", dialect=dialect, parameters=parameters, token="x", timeout=60
        ) as client,
    ):
        before = json.dumps(own)
        final = client.run(input=own, webhook=receiver)
        assert (final.state, final.cost.ended_by) == (State.COMPLETED, "delivery")
        job_id = client.start(input=own, webhook=receiver).id
        assert client.wait(job_id, webhook=receiver).cost.ended_by == "delivery"
        assert json.dumps(own) == before


@pytest.mark.parametrize(
    ("dialect", "path", "own"),
    [
        ("openai#response", "/openai/v1", {"model": "gpt-5"}),
        ("twelvelabs", "/twelvelabs/v1.3", {"index_id": "i", "video_url": "https://example.com/a.mp4"}),
    ],
)
def test_webhook_of_an_account_ends_the_wait(dialect: str, path: str, own: dict[str, Any]) -> None:
    with (
        TranslationServer(completion_time=0.5, error_rate=0, dialects=dialect.partition("#")[0], **LOGIN) as server,
        Sandbox(server.url, **LOGIN) as sandbox,
        Listener(dialect=dialect) as receiver,
        Client(f"{server.url}{path}", dialect=dialect, token=LOGIN["password"], timeout=60) as client,
    ):
        sandbox.set(webhook={"url": receiver.url})
        final = client.wait(client.start(input=own).id, webhook=receiver)
        assert (final.state, final.cost.ended_by) == (State.COMPLETED, "delivery")


def test_url_is_put_into_a_field_and_a_header_of_an_api(server: Server, tmp_path: Path) -> None:
    lines = """
[job.render]
words = { pending = "busy", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}" }
submit.request = "POST /renders"
poll.request = "GET /renders/{job_id}"
webhook.events = { completed = "done" }
"""
    own = {"callback": {"note": 1}}
    for number, place in enumerate(('body = "callback.url"', 'header = "X-Callback"')):
        path = tmp_path / "renders.toml"
        path.write_text(f"{lines}webhook.url = {{ {place} }}\n")
        server.says((202, {"id": "j1", "state": "busy"}))
        with Client(server.url, dialect=path) as client:
            client.start(input=own, webhook=Inbox("http://a/", "ignored"))
        request = server.requests[number]
        url = {} if number else {"url": "http://a/"}
        assert json.loads(request.body) == {"callback": {"note": 1} | url}
        assert request.headers.get("x-callback") == ("http://a/" if number else None)
    assert own == {"callback": {"note": 1}}


def test_every_job_ends_although_webhooks_are_lossy() -> None:
    with (
        TranslationServer(completion_time=10, error_rate=0) as server,
        Sandbox(server.url) as sandbox,
        Listener() as receiver,
        Client(server.url, timeout=60) as client,
    ):
        sandbox.scenario("lossy-webhooks")
        sandbox.speed(20)
        ends = client.wait_all([client.start(webhook=receiver).id for _ in range(10)], webhook=receiver)
        assert [end.state for end in ends.values()] == [State.COMPLETED] * 10
        assert sandbox.report().warnings == ()
        assert "delivery" in {end.cost.ended_by for end in ends.values()}


def test_submission_names_the_receiver_and_polls_do_not_wait(server: Server, job: Job) -> None:
    server.says((202, job(), {"preference-applied": "wait=0"}), (200, job("completed")))
    inbox = Inbox("https://example.com/hook", "whsec_c2VjcmV0")
    inbox.put(job()["job_id"])
    with Client(server.url) as client:
        assert client.run(webhook=inbox, source_language="en").cost.ended_by == "delivery"
    body = {"source_language": "en", "webhook": {"url": "https://example.com/hook", "secret": "whsec_c2VjcmV0"}}
    assert json.loads(server.requests[0].body) == body
    assert [request.headers.get("prefer") for request in server.requests] == [None, None]


@pytest.mark.parametrize("receiver", [7, "http://127.0.0.1/", Inbox("nowhere"), Inbox("http://a/", 7)])  # type: ignore[arg-type]  # on purpose
def test_unusable_receiver_is_a_value_error(receiver: Any) -> None:
    with Client() as client, pytest.raises(ValueError, match=r"^webhook must"):
        client.start(webhook=receiver)


@pytest.mark.parametrize("dialect", ["translate", "runway#video"])
def test_submission_to_an_api_without_a_place_for_the_url_says_where_it_goes(dialect: str) -> None:
    with Client(dialect=dialect) as client, pytest.raises(ValueError, match="give its url to the sandbox"):
        client.run(job_id="a" if dialect == "translate" else None, webhook=Inbox("http://a/"))


class TestInbox:
    def test_one_wait_gets_what_came_before_and_no_wait_gets_it_again(self) -> None:
        inbox = Inbox("http://a/")
        inbox.put("a")
        inbox.put("b")
        assert sorted(inbox.wait({"a": 1, "b": 2, "c": 3}, 60)) == ["a", "b"]
        assert inbox.wait(["a"], 0) == []

    def test_waits_in_threads_and_tasks_get_their_own_jobs(self) -> None:
        inbox, found = Inbox("http://a/"), {}

        async def wait() -> None:
            results = await asyncio.gather(*(inbox.wait_async([one], 60) for one in "abc"))
            found.update(zip("abc", results, strict=True))

        def wait_here(one: str) -> None:
            found[one] = inbox.wait([one], 60)

        threads = [threading.Thread(target=wait_here, args=(one,)) for one in "de"]
        threads.append(threading.Thread(target=asyncio.run, args=(wait(),)))
        for thread in threads:
            thread.start()
        for one in "edcba":
            inbox.put(one)
        for thread in threads:
            thread.join()
        assert found == {one: [one] for one in "abcde"}

    def test_wait_gives_up_after_its_time(self) -> None:
        inbox = Inbox("http://a/")
        assert asyncio.run(inbox.wait_async(["a"], 0.01)) == []

    def test_old_deliveries_make_room(self) -> None:
        inbox = Inbox("http://a/")
        for number in range(10_001):
            inbox.put(str(number))
        assert inbox.wait(["0", "1"], 0) == ["1"]


async def test_cancelled_wait_leaves_nothing_behind(server: Server, job: Job) -> None:
    server.says((202, job()))
    before = asyncio.all_tasks()
    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.run(webhook=Inbox("http://127.0.0.1:9/")))
        await asyncio.wait({task}, timeout=0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before
