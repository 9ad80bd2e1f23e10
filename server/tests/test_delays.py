"""The distributions of delays: that their functions fit together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import Exponential, LogNormal, Uniform

KINDS = [Uniform(10, 60), Uniform(0, 0.1), Exponential(30), LogNormal(600, 0.5), LogNormal(2, 1.5)]
PARTS = [0.001, 0.1, 0.5, 0.9, 0.999]

kinds = pytest.mark.parametrize("delays", KINDS, ids=str)


@kinds
def test_a_quantile_is_where_the_cdf_reaches_it(delays):
    assert [delays.cdf(delays.quantile(part)) for part in PARTS] == pytest.approx(PARTS)


@kinds
def test_looks_grow_with_the_root_of_the_hazard(delays):
    for part in PARTS:
        time, step = delays.quantile(part), (delays.quantile(0.51) - delays.quantile(0.49)) / 1000
        density = (delays.cdf(time + step) - delays.cdf(time - step)) / (2 * step)
        slope = (delays.polls(time + step) - delays.polls(time - step)) / (2 * step)
        assert slope == pytest.approx(math.sqrt(density / (1 - part)), rel=0.05)


@kinds
def test_when_undoes_looks(delays):
    assert [delays.when(delays.polls(delays.quantile(part))) for part in PARTS] == pytest.approx(
        [delays.quantile(part) for part in PARTS]
    )


@kinds
def test_nothing_has_ended_before_the_start(delays):
    assert [delays.cdf(time) for time in (-1, 0)] == [0, 0]
    assert [delays.polls(time) for time in (-1, 0)] == [0, 0]


@given(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True))
def test_every_random_number_gives_a_delay_there_can_be(delays, drawn):
    assert 0 <= delays.quantile(drawn) <= delays.latest
    assert delays.cdf(delays.latest) == pytest.approx(1)


def test_a_fixed_delay_is_a_distribution_too():
    fixed = Uniform(5, 5)
    assert [fixed.cdf(4.9), fixed.cdf(5), fixed.quantile(0), fixed.quantile(0.9)] == [0, 1, 5, 5]


def test_a_lognormals_middle_is_its_median():
    assert LogNormal(600, 0.5).quantile(0.5) == pytest.approx(600)
    assert LogNormal(600, 0.5).quantile(0.8413447460685429) == pytest.approx(600 * math.exp(0.5))
