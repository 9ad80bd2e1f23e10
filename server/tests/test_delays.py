"""The distributions of delays: their functions agree with each other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import Exponential, LogNormal, Uniform

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
