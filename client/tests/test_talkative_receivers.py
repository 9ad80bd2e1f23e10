"""Whatever a receiver of webhooks says, it causes few polls, and the wait does not run in circles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.blocking import open_client
from tests.flow_player import failing, flow_options, job
from translation_client import Fixed, State
from translation_client.core import wait_many, wait_one
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import AwaitDelivery, Delivery, Done, Reply, Send, Sleep
from translation_server import TranslationServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tests.flow_player import Answer

TALK: dict[str, Callable[[Collection[str]], list[str]]] = {
    "all": lambda ids: [*ids, *ids, "stranger"],
    "nothing": lambda _: [],
}


class Talker:
    """Returns at once, and always says the same."""

    url = "http://127.0.0.1:9/"

    def __init__(self, said: str) -> None:
        self.says, self.calls = TALK[said], 0

    def wait(self, ids: Collection[str], seconds: float) -> Collection[str]:
        assert ids
        assert seconds > 0
        self.calls += 1
        return self.says(ids)

    async def wait_async(self, ids: Collection[str], seconds: float) -> Collection[str]:
        return self.wait(ids, seconds)


def play(
    flow: Any, poll: Callable[[Send, float], Reply], report: Callable[[Collection[str], float], Iterable[str]]
) -> tuple[list[float], int]:
    """Plays a wait until its end; returns when it polled, and how often it listened.

    Args:
        flow: The wait.
        poll: Answers a poll at a time.
        report: Returns what the receiver says at a time, at once; if it says nothing, the wait goes on.
    """
    now, polls, calls, result = 0.0, list[float](), 0, None
    while True:
        try:
            effect = flow.send(result)
        except StopIteration:
            return polls, calls
        result = Done(now)
        match effect:
            case Send():
                polls.append(round(now, 3))
                result = poll(effect, now)
            case AwaitDelivery(ids=ids, seconds=seconds):
                calls += 1
                assert calls < 1000
                assert seconds > 0
                if said := tuple(report(ids, now)):
                    result = Delivery(said, now)
                else:
                    now += seconds
                    result = Done(now)
            case Sleep(seconds=seconds):
                now += seconds
                result = Done(now)


def one(end: float, report: Callable[[Collection[str], float], Iterable[str]], *answers: Answer) -> Any:
    """Plays the wait for a job that ends at this time; the first polls may have other answers."""
    others = list(answers)

    def poll(send: Send, now: float) -> Reply:
        answer = others.pop(0) if others else job("completed" if now >= end else "pending")
        result = answer.result(now, send)
        assert isinstance(result, Reply)
        return Reply(result.code, result.headers, result.body, now)

    return play(wait_one.watch(flow_options(webhook=True, schedule=Fixed(100)), FlowTime(0.0), "j1"), poll, report)


def several(
    end: float, report: Callable[[Collection[str], float], Iterable[str]], *, unreadable: bool = False
) -> tuple[list[float], int]:
    """Plays the wait for a and b, which end at this time; until then, the answers about a may be unreadable."""
    options = flow_options(webhook=True, schedule=Fixed(100), dialect=DIALECTS["start"], max_retries=99)

    def poll(send: Send, now: float) -> Reply:
        status = "completed" if now >= end else "pending"
        jobs: list[dict[str, object]] = [{"job_id": job_id, "status": status} for job_id in send.query["job_id"]]
        if unreadable and 0 < now < end:
            jobs = [each | ({"status": 7} if each["job_id"] == "a" else {}) for each in jobs]
        return Reply(200, {}, json.dumps({"jobs": jobs, "unknown": []}).encode(), now)

    return play(wait_many.as_completed(options, FlowTime(0.0), "ab"), poll, report)


class TestFlows:
    def test_job_that_is_reported_without_end_is_polled_after_1_2_4_seconds(self) -> None:
        polls, calls = one(40, lambda ids, _: ids)
        assert polls == [0, 0, 1, 3, 7, 15, 31, 63]
        assert calls < 10

    def test_jobs_that_are_reported_without_end_are_polled_after_1_2_4_seconds(self) -> None:
        polls, calls = several(40, lambda ids, _: ids)
        assert polls == [0, 0, 1, 3, 7, 15, 31, 63]
        assert calls < 10

    def test_one_job_that_is_reported_without_end_does_not_delay_others(self) -> None:
        polls, _ = several(40, lambda ids, now: [each for each in ids if each == "a" or now >= 7])
        assert polls[:7] == [0, 0, 1, 3, 7, 7, 8]

    @pytest.mark.parametrize("said", [["stranger"], ["stranger"] * 3])
    def test_ids_that_were_not_asked_for_cause_no_poll(self, said: list[str]) -> None:
        for flow in (one, several):
            polls, calls = flow(90, lambda _, __: said)
            assert polls == [0, 100]
            assert calls <= 101

    def test_report_among_others_is_used(self) -> None:
        for flow in (one, several):
            polls, _ = flow(5, lambda ids, now: ["stranger", *([*ids] if now >= 5 else [])])
            assert polls == [0, 5]

    def test_job_in_an_early_report_is_polled_at_once_at_its_end(self) -> None:
        polls, _ = one(60, lambda ids, now: ids if now in {0.0, 3.0} or now >= 60 else ["stranger"])
        assert polls == [0, 0, 1, 3, 7, 60]

    def test_failed_poll_after_a_report_keeps_its_pause(self) -> None:
        polls, _ = one(3, lambda ids, _: ids, job(), failing(503), failing(503))
        assert len(polls) < 9
        polls, _ = several(20, lambda ids, _: ids, unreadable=True)
        assert len(polls) < 30


@pytest.mark.parametrize("said", TALK)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_talkative_receivers_cause_few_polls(kind: str, said: str) -> None:
    with (
        TranslationServer(completion_time=1, error_rate=0) as server,
        open_client(kind, server.url, timeout=60, schedule=Fixed(1.2)) as client,
    ):
        receiver = Talker(said)
        final = client.run(webhook=receiver)
        assert final.state is State.COMPLETED
        assert final.cost.polls < 5
        assert receiver.calls < 6
        ids = [client.start().id for _ in range(3)]
        receiver = Talker(said)
        ends = client.wait_all(ids, webhook=receiver)
        assert [end.state for end in ends.values()] == [State.COMPLETED] * 3
        assert max(end.cost.polls for end in ends.values()) < 5
        assert receiver.calls < 9
