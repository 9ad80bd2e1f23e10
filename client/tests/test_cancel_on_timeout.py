"""Waits that cancel their jobs when the time is up."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.blocking import open_client
from tests.command_line import QUICK
from tests.flow_player import START, TRIP, FlowPlayer, failing, flow_options, job
from translation_client import AsyncClient, Client, InvalidRequest, JobTimeout, State
from translation_client.core import wait_many, wait_one
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.cancel_on_timeout import CANCEL_TIME, or_cancel
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Reply, Send, WaitFailed
from translation_client.core.schedule import Fixed
from translation_server import TranslationServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Job, Run, Server
    from tests.flow_player import Answer


def watch(*answers: Answer, timeout: float = 0, **options: Any) -> FlowPlayer:
    """Plays a wait that cancels its job; by default it polls once before."""
    chosen, time = flow_options(**options), FlowTime(START, START + timeout)
    return FlowPlayer().run(or_cancel(chosen, time, wait_one.watch(chosen, time, "j1")), answers)


def requests(player: FlowPlayer) -> list[str]:
    return [send.method for send in player.sends]


class TestOneJob:
    def test_job_is_cancelled_when_the_time_is_up(self) -> None:
        player = watch(job(), job("cancelled"))
        assert requests(player) == ["GET", "DELETE"]
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is True
        assert player.error.status
        assert player.error.status.state is State.CANCELLED
        assert player.error.message == "job j1 was still pending when the time was up; the client cancelled it."
        assert player.states == ["pending"]

    def test_job_that_has_ended_meanwhile_is_returned(self) -> None:
        player = watch(job(), job("completed", output={"url": "u"}))
        assert (player.error, player.states) == (None, ["pending", "completed"])
        assert player.statuses[-1].cost
        assert player.statuses[-1].cost.polls == 1

    def test_refused_cancellation_of_an_ended_job_returns_it(self) -> None:
        assert watch(job(), failing(409), job("error")).states == ["pending", "error"]

    def test_refused_cancellation_is_reported(self) -> None:
        player = watch(job(), failing(409), job())
        assert requests(player) == ["GET", "DELETE", "GET"]
        assert isinstance(player.error, JobTimeout)
        assert isinstance(player.error.__cause__, InvalidRequest)
        assert player.error.cancelled is False
        assert "when the time was up, and the client could not cancel it: 409" in player.error.message
        assert player.error.message.endswith("It may go on: cancel it again with its id.")

    def test_accepted_cancellation_is_awaited(self) -> None:
        player = watch(job(), job(), job(), job("cancelled"))
        assert requests(player) == ["GET", "DELETE", "GET", "GET"]
        assert player.sleeps == pytest.approx([0.1, 0.2])
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is True

    @pytest.mark.parametrize("answer", [job(), failing(503), failing(takes=60)])
    def test_accepted_cancellation_that_does_not_end_the_job_is_reported(self, answer: Answer) -> None:
        player = watch(job(), job(), answer)
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is False
        assert "the server accepted its cancellation, but has not ended it yet" in player.error.message
        assert player.now <= START + TRIP + CANCEL_TIME

    @pytest.mark.parametrize("answer", [failing(), failing(503), failing(takes=60), failing(429, retry_after="9")])
    def test_failed_cancellation_takes_five_seconds_more_at_most(self, answer: Answer) -> None:
        player = watch(job(), answer)
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is False
        assert player.error.status
        assert player.error.status.state is State.PENDING
        assert "the client could not cancel it: " in player.error.message
        assert player.now <= START + TRIP + CANCEL_TIME

    def test_cancellation_is_retried(self) -> None:
        player = watch(job(), failing(503), job("cancelled"))
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is True

    def test_job_that_was_never_seen_is_cancelled_too(self) -> None:
        player = watch(failing(), failing(), job("cancelled"), timeout=0.1)
        assert requests(player) == ["GET", "GET", "DELETE"]
        assert isinstance(player.error, JobTimeout)
        assert (
            player.error.message == "job j1 had not been seen when the time was up; the last failure: connection"
            " refused; the client cancelled it."
        )

    def test_ended_schedule_cancels_too(self) -> None:
        player = watch(job(), job("cancelled"), timeout=inf, schedule=ends_at_once)
        assert isinstance(player.error, JobTimeout)
        assert player.error.cancelled is True

    def test_other_errors_cancel_nothing(self) -> None:
        player = watch(failing(401))
        assert requests(player) == ["GET"]
        assert not isinstance(player.error, JobTimeout)


def ends_at_once() -> Any:
    yield 0.0


class TestManyJobs:
    def play(self, ends: Callable[[Send], tuple[int, str]], ids: str = "abc", takes: float = 0.0) -> dict[str, Any]:
        """Plays a wait that times out at once; `ends` gives the code and the state for each cancellation."""
        options = flow_options(schedule=Fixed(10), dialect=DIALECTS["start"])
        flow, now, results = wait_many.as_completed(options, FlowTime(0.0, 0.0), ids, cancel_on_timeout=True), 0.0, {}
        effect = next(flow)
        while True:
            if isinstance(effect, Send) and effect.method == "DELETE":
                now += min(takes, effect.timeout)
                code, state = ends(effect)
                document: Any = {"job_id": effect.path[-1], "status": state}
            elif isinstance(effect, Send):
                code = 200
                document = {
                    "jobs": [{"job_id": one, "status": "pending"} for one in effect.query["job_id"]],
                    "unknown": [],
                }
            elif isinstance(effect, WaitFailed):
                results[effect.id] = effect.error
            elif hasattr(effect, "state") and effect.state.ended:
                results[effect.id] = effect.state
            reply = Reply(code, {}, json.dumps(document).encode(), now, 0.0) if isinstance(effect, Send) else None
            try:
                effect = flow.send(reply or Reply(200, {}, b"", now))
            except StopIteration:
                self.now = now
                return results

    def test_each_pending_job_is_cancelled(self) -> None:
        results = self.play(lambda send: (200, "completed" if send.path.endswith("b") else "cancelled"))
        assert results["b"] is State.COMPLETED
        assert (results["a"].cancelled, results["c"].cancelled) == (True, True)

    def test_slow_cancellations_share_the_time(self) -> None:
        results = self.play(lambda _: (200, "cancelled"), "abcdefghijkl", takes=60)
        assert {error.cancelled for error in results.values()} == {True}
        assert self.now <= CANCEL_TIME + 0.1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_waits_on_the_real_server_cancel_their_jobs(kind: str) -> None:
    with TranslationServer(completion_time=1000) as server, open_client(kind, server.url, timeout=0.3) as client:
        with pytest.raises(JobTimeout) as raised:
            client.run(cancel_on_timeout=True)
        assert raised.value.cancelled is True
        assert client.status(raised.value.job_id).state is State.CANCELLED
        ids = [client.start().id for _ in range(3)]
        token = client.status(ids[1]).token
        for wait, argument in ((client.wait, ids[0]), (client.resume, token)):
            with pytest.raises(JobTimeout) as raised:
                wait(argument, cancel_on_timeout=True)
            assert raised.value.cancelled is True
        ends = client.wait_all(ids, cancel_on_timeout=True)
        assert ends[ids[2]].cancelled is True
        assert {client.status(one).state for one in ids} == {State.CANCELLED}


def test_api_without_a_cancellation_is_refused_before_anything_is_sent() -> None:
    for client in (Client(dialect="status"), AsyncClient(dialect="status")):
        for wait in (client.watch, client.as_completed):
            with pytest.raises(ValueError, match=r"^cancel_on_timeout needs a cancellation, and the dialect status"):
                wait(["current"] if wait == client.as_completed else "current", cancel_on_timeout=True)


class TestCommand:
    def scripted(self, server: Server, job: Job, cancelled: tuple[int, Any]) -> None:
        def script(request: Any) -> tuple[int, Any]:
            if request.method == "DELETE":
                return cancelled
            job_id = f"j{len(server.requests)}" if request.method == "POST" else request.path.rpartition("/")[2]
            return (404, None) if job_id == "jobs" else (200, job(job_id=job_id))

        server.script = script

    def test_line_says_that_the_job_is_cancelled_and_not_how_to_resume(
        self, run: Run, server: Server, job: Job
    ) -> None:
        self.scripted(server, job, (200, job("cancelled", "j1")))
        status, _, err = run("--timeout", "0.5", "--cancel-on-timeout", *QUICK)
        assert status == 4
        assert err[-1].startswith("translation-client: job j1 was still pending when the time was up")
        assert err[-1].endswith("; the client cancelled it.")  # a busy machine may add a poll without an answer
        assert "Resume" not in err[-1]

    def test_line_says_that_jobs_could_not_be_cancelled(self, run: Run, server: Server, job: Job) -> None:
        self.scripted(server, job, (403, {"title": "Forbidden"}))
        status, _, err = run("wait", "--timeout", "0.5", "--cancel-on-timeout", *QUICK, "j1", "j2")
        assert status == 4
        assert "2 jobs were still pending when the time was up, and the client could not cancel them: 403" in err[-1]
        assert " --cancel-on-timeout " in err[-1].split("Resume with: ")[1]

    def test_dialect_without_a_cancellation_is_a_usage_error(self, run: Run) -> None:
        status, _, err = run("wait", "--dialect", "status", "--cancel-on-timeout", "current")
        assert status == 2
        assert err == ["translation-client: --cancel-on-timeout needs a cancellation, and the dialect status has none"]
