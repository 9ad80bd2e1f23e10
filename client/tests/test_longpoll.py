"""Long polls: when flows use them, when they stop, and what a wait costs. No network, no clock."""

import json
from dataclasses import dataclass
from math import inf

import pytest

from tests.flow_player import TRIP, FlowPlayer, flow_options
from translation_client.core import deadline, wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Done, Failure, Reply
from translation_client.core.status import JobTimeout


def every(seconds):
    def schedule():
        while True:
            yield seconds

    return schedule


def options(**more):
    return flow_options(**{"max_retries": 2, "schedule": every(3), "long_poll": 25.0, "kind": "films"} | more)


@dataclass
class Host(FlowPlayer):
    """A server with one job, behind a proxy, and the flow that it answers."""

    now: float = 0.0
    ends: float = 0.0  # when the job ends, in seconds after the first request
    applies: bool = True  # whether the server holds polls, and says so in `Preference-Applied`
    says: str = ""  # a false `Preference-Applied`
    cut: float = inf  # seconds after which the proxy cuts a request off
    elapsed: bool = True  # whether the server reports the job's age
    longest: int = 60  # for how many seconds at most the server holds a poll
    sent_bytes: int = 0  # the size of the answers to polls

    def answer(self, send):
        prefer = send.headers.get("Prefer")
        wait = min(int(prefer.removeprefix("wait=")), self.longest) if prefer else 0
        hold = min(max(0.0, self.ends - self.now), wait) if self.applies and send.method == "GET" else 0.0
        takes = hold + TRIP
        if takes > min(send.timeout, self.cut):
            return Failure("cut off", self.now + min(send.timeout, self.cut))
        answered_at = self.now + hold + TRIP / 2
        job = {"job_id": "j1", "status": "completed" if answered_at >= self.ends else "pending"}
        if self.elapsed:
            job["elapsed_time"] = min(self.ends, answered_at)
        body = json.dumps(job).encode()
        self.sent_bytes += len(body) if send.method == "GET" else 0
        says = self.says or (f"wait={wait}" if prefer and self.applies else "")
        headers = {"preference-applied": says} if says else {}
        return Reply(200, headers, body, self.now + takes, takes)

    def watch(self, timeout=inf, **more):
        return self.play(wait_one.watch(options(**more), FlowTime(self.now, self.now + timeout), "j1"))

    def run(self, timeout=inf, **more):
        return self.play(wait_one.run(options(**more), FlowTime(self.now, self.now + timeout), "key", {}))

    @property
    def preferences(self):
        return [send.headers.get("Prefer", "") for send in self.sends]

    @property
    def final(self):
        return self.statuses[-1]


def test_server_with_long_polls_gets_one_request_per_long_poll():
    host = Host(ends=60).watch()
    assert host.preferences == ["wait=1", "wait=25", "wait=25", "wait=25"]
    assert host.sleeps == []
    assert host.now == pytest.approx(60 + TRIP)


def test_run_asks_for_long_polls_with_its_start():
    host = Host(ends=30).run()
    assert host.preferences == ["wait=0", "wait=25", "wait=25"]
    assert host.sleeps == []


def test_request_timeout_includes_the_long_poll():
    flow = wait_one.watch(options(request_timeout=4), FlowTime(0.0), "j1")
    next(flow)
    body = json.dumps({"job_id": "j1", "status": "pending"}).encode()
    flow.send(Reply(200, {"preference-applied": "wait=0"}, body, 0.1, 0.1))
    long_poll = flow.send(Done(0.1))
    assert (long_poll.headers["Prefer"], long_poll.timeout) == ("wait=25", 29)


def test_server_without_long_polls_is_polled_by_the_schedule():
    host = Host(ends=8, applies=False).watch()
    assert host.preferences == ["wait=1", "wait=5", "wait=5", "wait=5"]
    assert host.sleeps == [3, 3, 3]


@pytest.mark.parametrize("long_poll", [0, 0.9])
def test_long_polls_can_be_turned_off(long_poll):
    assert set(Host(ends=8).run(long_poll=long_poll).preferences) == {""}


def test_shorter_long_polls_than_asked_are_accepted():
    host = Host(ends=100, longest=20).watch(long_poll=600)
    assert len(host.sends) == 6
    assert host.sleeps == []


def test_false_preference_applied_makes_no_busy_loop():
    host = Host(ends=60, applies=False, says="wait=25").watch()
    assert host.sleeps[:4] == [1, 2, 3, 3]
    assert len(host.sends) < 60 / 3 + 5


@pytest.mark.parametrize("says", ["wait=0", "wait", 'respond-async, wait="x"', "x-wait=25"])
def test_odd_preference_applied_makes_no_busy_loop(says):
    host = Host(ends=60, applies=False, says=says).watch()
    assert len(host.sends) < 60 / 3 + 5


@pytest.mark.parametrize(("cut", "most"), [(15, 12), (2, 1), (0.5, 0)])
def test_long_polls_cut_off_by_a_proxy_are_halved_and_given_up(cut, most):
    host = Host(ends=200, cut=cut).watch()
    assert host.preferences[-1] in {f"wait={most}", ""}
    assert len(host.sends) <= 15 + 200 / (most or 3)
    assert (3 in host.sleeps) == (most == 0)


def test_failed_long_polls_do_not_count_as_retries():
    assert Host(ends=500, cut=1.5).watch(max_retries=0).final.state.ended


def test_long_poll_ends_before_the_deadline_and_a_last_poll_follows():
    host = Host(ends=100).watch(timeout=40.5)
    assert isinstance(host.error, JobTimeout)
    assert host.preferences == ["wait=1", "wait=25", "wait=13", "wait=0"]
    assert host.now == pytest.approx(40.5 + TRIP)
    assert Host(ends=40.2).watch(timeout=40.5).final.state.ended


@pytest.mark.parametrize("timeout", [0, 0.5, 1.01, 1.045, 1.5, 2.04, 7.999])
def test_short_timeout_makes_no_busy_loop(timeout):
    host = Host(ends=100).watch(timeout)
    assert isinstance(host.error, JobTimeout)
    assert len(host.sends) <= 5
    assert host.now <= timeout + deadline.LEAST_ALLOWANCE


def test_long_poll_does_not_count_as_slow_round_trip():
    flow = wait_one.watch(options(), time := FlowTime(0.0, 1000.0), "j1")
    Host(ends=305).play(flow)
    assert (time.slowest, time.trip) == pytest.approx((TRIP, TRIP))


class TestCost:
    def test_final_status_has_the_cost(self):
        host = Host(ends=8, applies=False).run()
        cost = host.final.cost
        assert (cost.polls, cost.asleep) == (3, 9)
        assert cost.lateness == pytest.approx(host.now - TRIP / 2 - 8, abs=TRIP)
        assert cost.bytes == host.sent_bytes

    def test_cost_of_a_long_poll(self):
        final = Host(ends=8).run().final
        assert (final.cost.polls, final.cost.asleep) == (1, 0)
        assert final.cost.lateness == pytest.approx(0, abs=TRIP)

    def test_lateness_is_none_without_an_age(self):
        for final in (Host(ends=8, elapsed=False).run().final, Host(ends=0).watch().final):
            assert final.cost.lateness is None


def test_schedule_receives_every_observation_and_the_final_one():
    observations = []

    def schedule():
        delay = 0.0
        while True:
            observations.append((yield delay))
            delay = 3.0

    for elapsed in (True, False):
        Host(ends=8, elapsed=elapsed, applies=False).run(schedule=schedule)
        assert [observation.status.state for observation in observations] == ["pending"] * 3 + ["completed"]
        assert [observation.age for observation in observations] == pytest.approx(
            [0, 3, 6, 8 if elapsed else 9], abs=0.1
        )
        assert {observation.kind for observation in observations} == {"films"}
        observations.clear()


def test_schedule_does_not_receive_a_job_that_was_never_pending():
    """Its duration was learned when it ended; another wait must not add it again."""
    observations = []

    def schedule():
        observations.append((yield 0.0))

    Host(ends=0).watch(schedule=schedule)
    assert observations == []
