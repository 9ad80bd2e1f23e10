"""Flows and their deadline."""

import json

import pytest

from tests.flow_player import START, TRIP, failing, flow_options, job, run, watch
from translation_client.core import deadline, wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Done, Failure, Reply, Send
from translation_client.core.errors import TransportError
from translation_client.core.status import JobTimeout, State, Status


class TestDeadline:
    def test_last_poll_is_sent_at_the_deadline(self):
        player = watch(job(), job(), job("completed"), timeout=1)
        assert player.sleeps == [0.5, pytest.approx(0.5 - 2 * TRIP)]
        assert player.states == ["pending", "completed"]
        assert player.now == pytest.approx(START + 1 + TRIP)

    def test_job_timeout_carries_the_last_status(self):
        player = watch(job(progress=0.3), timeout=1)
        assert isinstance(player.error, JobTimeout)
        assert isinstance(player.error, TimeoutError)
        assert (player.error.job_id, player.error.status) == ("j1", Status("j1", State.PENDING, 0.3))
        assert "j1 was still pending" in str(player.error)
        assert "wait again" in str(player.error)
        assert player.now == pytest.approx(START + 1 + TRIP)

    @pytest.mark.parametrize("takes", [1.02, 60])
    def test_poll_cut_off_at_the_deadline_is_followed_by_a_last_one(self, takes):
        player = watch(failing(takes=takes), job("completed"), timeout=1, max_retries=0)
        assert player.states == ["completed"]
        assert player.sleeps == []
        assert player.now == pytest.approx(START + 1 + TRIP)

    def test_hanging_poll_leaves_time_for_others(self):
        player = watch(job(), failing(takes=60), failing(takes=60), job("completed"), timeout=8)
        assert player.states == ["pending", "completed"]
        assert [send.timeout for send in player.sends[1:3]] == pytest.approx([7.49 / 2, (7.49 / 2 - 0.25) / 2])
        assert player.now < START + 8

    def test_slow_server_gets_the_time_that_it_needs(self):
        assert watch(job(takes=2), job("completed", takes=2), timeout=5).states == ["pending", "completed"]

    def test_last_poll_is_cut_off_after_its_allowance(self):
        player = watch(job(), failing(takes=60), timeout=1)
        assert isinstance(player.error, JobTimeout)
        assert "timed out" in str(player.error)
        assert isinstance(player.error.__cause__, TransportError)
        assert player.now == pytest.approx(START + 1 + 0.02 + 1.5 * TRIP)

    def test_silent_server_gets_the_least_allowance(self):
        assert watch(failing(takes=60), timeout=3).now == pytest.approx(START + 3 + deadline.LEAST_ALLOWANCE)

    def test_job_timeout_without_any_answer_has_no_status(self):
        player = watch(failing(), timeout=2)
        assert isinstance(player.error, JobTimeout)
        assert player.error.status is None
        assert "had not been seen" in str(player.error)
        assert sum(player.sleeps) == pytest.approx(2 - (len(player.sends) - 1) * TRIP)

    def test_timeout_of_zero_allows_one_poll(self):
        assert watch(job("completed"), timeout=0).states == ["completed"]
        assert len(watch(job(), timeout=0).sends) == 1

    @pytest.mark.parametrize("begin", [watch, run])
    def test_short_timeout_works_over_a_slow_link(self, begin):
        assert begin(job("completed", takes=0.6), timeout=0).states == ["completed"]
        assert begin(failing(takes=0.6), job("completed", takes=0.6), timeout=0.7).states == ["completed"]

    def test_queueing_is_bounded_and_does_not_count_as_round_trip(self):
        flow = wait_one.watch(flow_options(request_timeout=2), FlowTime(START, START + 5), "j1")
        first = next(flow)
        assert (first.timeout, first.left) == (2, 5)
        flow.send(Reply(200, {}, json.dumps(job().body).encode(), START + 4, took=0.02))
        flow.send(Done(START + 4))
        second = flow.send(Done(START + 4.5))
        assert second.left == pytest.approx(0.5)
        last = flow.send(Failure("no connection was free", START + 5))
        while not isinstance(last, Send):
            last = flow.send(Done(START + 5))
        assert last.left == pytest.approx(deadline.NEAR_ALLOWANCE)

    @pytest.mark.parametrize(
        ("trips", "allowance"), [((0.3, 0.01), 0.04), ((0.01, 0.3), 0.47), ((0.3, 0.1), 0.47), ((0.002, 0.002), 0.03)]
    )
    def test_near_server_gets_a_small_allowance(self, trips, allowance):
        player = watch(*(job(takes=trip) for trip in trips), failing(takes=60), timeout=1.5)
        assert player.now == pytest.approx(START + 1.5 + allowance)

    def test_request_timeouts_follow_the_time_left_and_the_slowest_trip(self):
        player = watch(job(), job(takes=0.1), job(), timeout=1, request_timeout=0.8)
        assert [send.timeout for send in player.sends] == pytest.approx([0.8, (0.5 - TRIP) / 2, 0.17])

    @pytest.mark.parametrize(("late", "left"), [(0.0, 0.03), (0.01, 0.02), (0.2, 0.015)])
    def test_late_wake_up_does_not_extend_the_allowance(self, late, left):
        flow = wait_one.watch(flow_options(), FlowTime(START, START + 1, slowest=0.002), "j1")
        next(flow)
        flow.send(Reply(200, {}, json.dumps(job().body).encode(), START + 0.9, took=0.002))
        flow.send(Done(START + 0.9))
        last = flow.send(Done(START + 1 + late))
        assert last.timeout == pytest.approx(left)

    def test_run_has_one_deadline_for_start_and_wait(self):
        player = run(job(takes=0.75), job(), job(), timeout=1)
        assert player.sleeps == [pytest.approx(0.25)]
        assert isinstance(player.error, JobTimeout)

    def test_start_that_times_out_reports_the_idempotency_key(self):
        player = run(failing(takes=60), timeout=1)
        assert isinstance(player.error, TransportError)
        assert "'key'" in str(player.error)
        assert player.now == pytest.approx(START + 1 + deadline.FIRST_ALLOWANCE)
