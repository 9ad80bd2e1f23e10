"""Hints: their cost for one client and for a crowd. An honest hint does not reveal the fate."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import Empirical, Exponential, LogNormal, Uniform
from translation_server.core.hints import NextPoll, hint, phase, plan
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.core.sandbox import SandboxSettings

JOB = Job("id", "ann", 1, created_at=1000.0, fate=Fate(22.0, State.COMPLETED))
SANDBOX = SandboxSettings(Uniform(6, 22))

KINDS = [Uniform(10, 60), Exponential(30), LogNormal(600, 0.5)]
POLL_COST = 0.25


def seconds_to_next_poll(delays, poll_cost, elapsed, phase):
    return NextPoll(*plan(delays, poll_cost, elapsed, phase)).seconds(elapsed, rate=1)


def poll_times(delays, poll_cost, ordinal, took, rounded=float):
    """Returns the times of the polls of a client that follows every hint, up to the first one after the end."""
    times = [0.0]
    while times[-1] < took or len(times) == 1:
        times.append(times[-1] + rounded(seconds_to_next_poll(delays, poll_cost, times[-1], phase("ann", ordinal))))
    return times[1:]


def crowd(delays, poll_cost, jobs, rounded=float, estimate=None):
    """Returns the delay and the poll times of each of many jobs, whose delays lie evenly in the distribution.

    The hints are computed from ``estimate``, by default from the distribution itself.
    """
    durations = [delays.quantile((ordinal * math.sqrt(2)) % 1) for ordinal in range(jobs)]
    hinted = estimate or delays
    return [(took, poll_times(hinted, poll_cost, ordinal, took, rounded)) for ordinal, took in enumerate(durations)]


def cost(delays, poll_cost, rounded=float, estimate=None, jobs=3000):
    costs = [
        poll_cost * len(polls) + polls[-1] - took for took, polls in crowd(delays, poll_cost, jobs, rounded, estimate)
    ]
    return sum(costs) / jobs


def least_cost(delays, poll_cost, points=1200):
    """Returns the cost of the best possible plan, by dynamic programming over a grid of times."""
    start, end = delays.quantile(0), delays.quantile(1 - 1e-6)
    step = (end - start) / points
    ended = [delays.cdf(start + step * point) for point in range(points)] + [1.0]
    late = [0.0]
    for before, after in pairwise(ended):
        late.append(late[-1] + step * (before + after) / 2)
    costs, best = [0.0] * (points + 1), points
    for now in reversed(range(points)):
        costs[now], best = min(
            (
                poll_cost * (1 - ended[now]) + late[then] - late[now] - ended[now] * step * (then - now) + costs[then],
                then,
            )
            for then in range(now + 1, min(best + 2, points) + 1)
        )
    return costs[0]


@pytest.mark.parametrize(
    ("delays", "poll_cost"),
    [
        *((delays, poll_cost) for delays in KINDS for poll_cost in (0.25, 1, 5)),
        (Uniform(3, 7), 0.25),
        (Uniform(3, 7), 5),
    ],
    ids=str,
)
def test_hints_cost_at_most_3_percent_more_than_the_best_plan(delays, poll_cost):
    assert cost(delays, poll_cost) <= 1.03 * least_cost(delays, poll_cost)


@pytest.mark.parametrize("poll_cost", [0.25, 1, 5])
@pytest.mark.parametrize("delays", KINDS, ids=str)
def test_hints_from_past_durations_cost_little_more_than_those_from_the_distribution(delays, poll_cost):
    past = Empirical(tuple(delays.quantile((number + 0.5) / 200) for number in range(200)))
    assert cost(delays, poll_cost, estimate=past) <= 1.05 * least_cost(delays, poll_cost)


@pytest.mark.parametrize("delays", KINDS, ids=str)
def test_hints_in_whole_seconds_cost_little_more_for_long_jobs(delays):
    assert cost(delays, POLL_COST, math.ceil) <= 1.03 * least_cost(delays, POLL_COST)


@pytest.mark.parametrize("rounded", [float, math.ceil])
@pytest.mark.parametrize("delays", [Uniform(10, 60), Uniform(3, 7), Uniform(0, 30)], ids=str)
def test_crowd_does_not_poll_in_step(delays, rounded):
    polls = [math.floor(time) for _, times in crowd(delays, POLL_COST, 1000, rounded) for time in times]
    assert max(Counter(polls).values()) <= 2 * len(polls) / (max(polls) - min(polls) + 1)


def test_phases_are_spread_evenly_and_differ_between_owners():
    for many in (10, 100, 1000):
        phases = sorted(phase("ann", ordinal) for ordinal in range(1, many + 1))
        assert max(after - before for before, after in pairwise(phases)) < 2 / many
    assert phase("ann", 1) != phase("bob", 1)


@pytest.mark.parametrize("delays", KINDS, ids=str)
def test_late_client_comes_back_to_its_plan(delays):
    for time in poll_times(delays, POLL_COST, 1, took=delays.quantile(0.9)):
        following = time + seconds_to_next_poll(delays, POLL_COST, time, phase("ann", 1))
        late = time + (following - time) / 4
        assert late + seconds_to_next_poll(delays, POLL_COST, late, phase("ann", 1)) == pytest.approx(following)


@pytest.mark.parametrize("elapsed", [0, 3, 9.9])
def test_certain_end_needs_one_poll(elapsed):
    assert seconds_to_next_poll(Uniform(10, 10), POLL_COST, elapsed, 0.5) == pytest.approx(10 - elapsed)
    assert seconds_to_next_poll(Uniform(3, 7), 5, 1, 0.5) == pytest.approx(6)


def test_overdue_job_is_polled_less_and_less_often():
    assert [seconds_to_next_poll(Uniform(3, 7), 1, 7 + late, 0.5) for late in (0, 1, 4, 9)] == [1, 3, 5, 7]
    assert seconds_to_next_poll(Uniform(3, 7), 1e-9, 7, 0.5) == pytest.approx(0.05)


@given(
    st.sampled_from([*KINDS, Uniform(0, 0), Uniform(0, 1e9), Uniform(1e9, 1e9), LogNormal(1, 3)]),
    st.floats(0, 1e6, exclude_min=True),
    st.floats(-1e12, 1e12),
    st.floats(0, 1, exclude_max=True),
)
def test_hint_exists_at_every_time(delays, poll_cost, elapsed, phase):
    assert 0.001 <= seconds_to_next_poll(delays, poll_cost, elapsed, phase) < math.inf


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1000, 1e6))
def test_honest_hint_does_not_reveal_the_fate(one, other, now):
    snapshots = [JobSnapshot(replace(JOB, fate=Fate(delay, State.COMPLETED)), now) for delay in (one, other)]
    if all(snapshot.state is State.PENDING for snapshot in snapshots):
        assert hint(snapshots[0], SANDBOX) == hint(snapshots[1], SANDBOX)


def test_exact_hint_is_the_time_left():
    exact = replace(SANDBOX, hints="exact")
    assert [hint(JobSnapshot(JOB, now), exact) for now in (1000, 1020.5, 1021.9999)] == pytest.approx([22, 1.5, 0.001])


def test_no_hint_where_hints_are_off():
    assert hint(JobSnapshot(JOB, 1001), replace(SANDBOX, hints="none")) is None


@pytest.mark.parametrize("hints", ["honest", "exact", "none"])
def test_ended_job_has_no_hint(hints):
    settings = replace(SANDBOX, hints=hints)
    assert hint(JobSnapshot(JOB, 1022), settings) is None
    assert hint(JobSnapshot(replace(JOB, cancelled_at=1001), 1002), settings) is None
