"""What a client that obeys the hints pays, alone and in a crowd; and that hints keep the fate to themselves."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import Exponential, LogNormal, Uniform
from translation_server.core.hints import hint, phase, seconds_to_next_poll
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.core.sandbox import SandboxSettings

JOB = Job("id", "ann", 1, created_at=1000.0, fate=Fate(22.0, State.COMPLETED))
SANDBOX = SandboxSettings(Uniform(6, 22))

KINDS = [Uniform(10, 60), Exponential(30), LogNormal(600, 0.5)]
WORTH = 0.25


def looks_of(delays, worth, ordinal, took, rounded=float):
    """The times at which a client looks that obeys every hint, up to the first one that finds the job ended."""
    times = [0.0]
    while times[-1] < took or len(times) == 1:
        times.append(times[-1] + rounded(seconds_to_next_poll(delays, worth, times[-1], phase("ann", ordinal))))
    return times[1:]


def crowd(delays, worth, jobs, rounded=float):
    """The looks at each of so many jobs, whose delays lie evenly in the distribution."""
    drawn = [delays.quantile((ordinal * math.sqrt(2)) % 1) for ordinal in range(jobs)]
    return [(took, looks_of(delays, worth, ordinal, took, rounded)) for ordinal, took in enumerate(drawn)]


def cost(delays, worth, rounded=float, jobs=3000):
    return sum(worth * len(polls) + polls[-1] - took for took, polls in crowd(delays, worth, jobs, rounded)) / jobs


def least_cost(delays, worth, points=1200):
    """The cost of the best plan of all, by dynamic programming over a grid of moments."""
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
                worth * (1 - ended[now]) + late[then] - late[now] - ended[now] * step * (then - now) + costs[then],
                then,
            )
            for then in range(now + 1, min(best + 2, points) + 1)
        )
    return costs[0]


@pytest.mark.parametrize(
    ("delays", "worth"),
    [*((delays, worth) for delays in KINDS for worth in (0.25, 1, 5)), (Uniform(3, 7), 0.25), (Uniform(3, 7), 5)],
    ids=str,
)
def test_hints_cost_hardly_more_than_the_best_plan_of_all(delays, worth):
    assert cost(delays, worth) <= 1.03 * least_cost(delays, worth)


@pytest.mark.parametrize("delays", KINDS, ids=str)
def test_hints_in_whole_seconds_still_serve_long_jobs(delays):
    assert cost(delays, WORTH, math.ceil) <= 1.03 * least_cost(delays, WORTH)


@pytest.mark.parametrize("rounded", [float, math.ceil])
@pytest.mark.parametrize("delays", [Uniform(10, 60), Uniform(3, 7), Uniform(0, 30)], ids=str)
def test_a_crowd_does_not_march_in_step(delays, rounded):
    polls = [math.floor(snapshot) for _, polls in crowd(delays, WORTH, 1000, rounded) for snapshot in polls]
    assert max(Counter(polls).values()) <= 2 * len(polls) / (max(polls) - min(polls) + 1)


def test_phases_are_spread_evenly_however_many_and_differ_between_owners():
    for many in (10, 100, 1000):
        phases = sorted(phase("ann", ordinal) for ordinal in range(1, many + 1))
        assert max(after - before for before, after in pairwise(phases)) < 2 / many
    assert phase("ann", 1) != phase("bob", 1)


@pytest.mark.parametrize("delays", KINDS, ids=str)
def test_a_client_that_is_late_comes_back_to_its_plan(delays):
    for snapshot in looks_of(delays, WORTH, 1, took=delays.quantile(0.9)):
        following = snapshot + seconds_to_next_poll(delays, WORTH, snapshot, phase("ann", 1))
        late = snapshot + (following - snapshot) / 4
        assert late + seconds_to_next_poll(delays, WORTH, late, phase("ann", 1)) == pytest.approx(following)


@pytest.mark.parametrize("elapsed", [0, 3, 9.9])
def test_where_the_end_is_certain_there_is_one_look(elapsed):
    assert seconds_to_next_poll(Uniform(10, 10), WORTH, elapsed, 0.5) == pytest.approx(10 - elapsed)
    assert seconds_to_next_poll(Uniform(3, 7), 5, 1, 0.5) == pytest.approx(6)


def test_a_job_that_should_have_ended_is_looked_at_ever_more_seldom():
    assert [seconds_to_next_poll(Uniform(3, 7), 1, 7 + late, 0.5) for late in (0, 1, 4, 9)] == [1, 3, 5, 7]
    assert seconds_to_next_poll(Uniform(3, 7), 1e-9, 7, 0.5) == pytest.approx(0.05)


@given(
    st.sampled_from([*KINDS, Uniform(0, 0), Uniform(0, 1e9), Uniform(1e9, 1e9), LogNormal(1, 3)]),
    st.floats(0, 1e6, exclude_min=True),
    st.floats(-1e12, 1e12),
    st.floats(0, 1, exclude_max=True),
)
def test_there_is_a_hint_at_every_moment(delays, worth, elapsed, phase):
    assert 0.001 <= seconds_to_next_poll(delays, worth, elapsed, phase) < math.inf


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1000, 1e6))
def test_an_honest_hint_tells_nothing_of_the_fate(one, other, now):
    polls = [JobSnapshot(replace(JOB, fate=Fate(delay, State.COMPLETED)), now) for delay in (one, other)]
    if all(snapshot.state is State.PENDING for snapshot in polls):
        assert hint(polls[0], SANDBOX) == hint(polls[1], SANDBOX)


def test_an_exact_hint_is_the_time_that_is_left():
    exact = replace(SANDBOX, hints="exact")
    assert [hint(JobSnapshot(JOB, now), exact) for now in (1000, 1020.5, 1021.9999)] == pytest.approx([22, 1.5, 0.001])


def test_without_hints_nothing_is_said():
    assert hint(JobSnapshot(JOB, 1001), replace(SANDBOX, hints="none")) is None


@pytest.mark.parametrize("hints", ["honest", "exact", "none"])
def test_an_ended_job_has_no_hint(hints):
    settings = replace(SANDBOX, hints=hints)
    assert hint(JobSnapshot(JOB, 1022), settings) is None
    assert hint(JobSnapshot(replace(JOB, cancelled_at=1001), 1002), settings) is None
