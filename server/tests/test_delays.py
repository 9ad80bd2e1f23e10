"""The distributions of delays: their functions agree with each other."""

import math
from fractions import Fraction
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import MAX_DURATIONS, Empirical, Exponential, LogNormal, Uniform

KINDS = [Uniform(10, 60), Uniform(0, 0.1), Exponential(30), LogNormal(600, 0.5), LogNormal(2, 1.5)]
SHARES = [0.001, 0.1, 0.5, 0.9, 0.999]

kinds = pytest.mark.parametrize("delays", KINDS, ids=str)


@kinds
def test_cdf_is_the_inverse_of_quantile(delays):
    assert [delays.cdf(delays.quantile(share)) for share in SHARES] == pytest.approx(SHARES)


@kinds
def test_slope_of_polls_is_the_root_of_the_hazard(delays):
    for share in SHARES:
        time, step = delays.quantile(share), (delays.quantile(0.51) - delays.quantile(0.49)) / 1000
        density = (delays.cdf(time + step) - delays.cdf(time - step)) / (2 * step)
        slope = (delays.poll_integral(time + step) - delays.poll_integral(time - step)) / (2 * step)
        assert slope == pytest.approx(math.sqrt(density / (1 - share)), rel=0.05)


@kinds
def test_when_is_the_inverse_of_polls(delays):
    assert [
        delays.inverse_poll_integral(delays.poll_integral(delays.quantile(share))) for share in SHARES
    ] == pytest.approx([delays.quantile(share) for share in SHARES])


@kinds
def test_no_job_has_ended_before_the_start(delays):
    assert [delays.cdf(time) for time in (-1, 0)] == [0, 0]
    assert [delays.poll_integral(time) for time in (-1, 0)] == [0, 0]


@given(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True))
def test_every_random_number_gives_a_possible_delay(delays, drawn):
    assert 0 <= delays.quantile(drawn) <= delays.latest
    assert delays.cdf(delays.latest) == pytest.approx(1)


def test_uniform_delay_may_be_a_single_number():
    fixed = Uniform(5, 5)
    assert [fixed.cdf(4.9), fixed.cdf(5), fixed.quantile(0), fixed.quantile(0.9)] == [0, 1, 5, 5]


def test_lognormal_has_its_median_and_its_sigma():
    assert LogNormal(600, 0.5).quantile(0.5) == pytest.approx(600)
    assert LogNormal(600, 0.5).quantile(0.8413447460685429) == pytest.approx(600 * math.exp(0.5))


samples = st.lists(st.floats(0, 1e9), min_size=1, max_size=50)
probabilities = st.floats(0, 1)


@given(samples, probabilities, probabilities)
def test_empirical_quantile_is_monotone_and_one_of_the_durations(durations, one, other):
    delays = Empirical(tuple(durations))
    least, most = delays.quantile(min(one, other)), delays.quantile(max(one, other))
    assert least <= most
    assert {least, most} <= set(durations)
    assert (delays.quantile(0), delays.quantile(1)) == (min(durations), max(durations))


@given(samples, st.integers(0, 10**6))
def test_empirical_quantile_is_the_least_duration_whose_cdf_reaches_the_probability(durations, millionths):
    delays, ordered = Empirical(tuple(durations)), sorted(durations)
    probability = millionths / 10**6
    count = next(count for count in range(1, 51) if Fraction(count, len(ordered)) >= Fraction(probability))
    assert delays.quantile(probability) == ordered[count - 1]
    assert delays.cdf(ordered[count - 1]) >= count / len(ordered)


@given(samples)
def test_every_duration_is_drawn_equally_often(durations):
    delays, count = Empirical(tuple(durations)), len(durations)
    drawn = [delays.quantile((number + 0.5) / count) for number in range(count)]
    assert drawn == sorted(durations)
    assert fmean(drawn) == pytest.approx(fmean(durations))


@given(samples, st.floats(-1e9, 2e9), st.floats(-1e9, 2e9))
def test_empirical_poll_integral_grows_from_the_first_duration_to_the_last(durations, one, other):
    delays = Empirical(tuple(durations))
    least, most = delays.poll_integral(min(one, other)), delays.poll_integral(max(one, other))
    assert 0 <= least <= most <= delays.poll_integral(delays.latest)
    assert delays.poll_integral(min(durations)) == pytest.approx(0) or durations.count(min(durations)) > 1
    assert min(durations) <= delays.inverse_poll_integral(least) <= delays.latest


def test_empirical_poll_integral_approaches_that_of_the_distribution_behind_the_durations():
    behind = Uniform(10, 60)
    delays = Empirical(tuple(behind.quantile(number / (MAX_DURATIONS - 1)) for number in range(MAX_DURATIONS)))
    for time in (5, 10, 20, 35, 55):
        assert delays.poll_integral(time) == pytest.approx(behind.poll_integral(time), abs=0.01)
        assert delays.inverse_poll_integral(delays.poll_integral(time)) == pytest.approx(max(10, time))
