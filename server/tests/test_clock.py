"""A sandbox's time: whatever is done to it, it never goes back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.clock import LATEST, Clock


def test_a_clock_that_was_never_set_shows_the_real_time():
    assert Clock().at(1767323045.678) == 1767323045.678


def test_a_clock_runs_stands_still_and_jumps():
    clock = Clock().set(1000, speed=60)
    assert clock.at(1010) == 1600
    clock = clock.set(1010, frozen=True)
    assert clock.at(5000) == 1600
    clock = clock.set(5000, advance=100)
    assert clock.at(6000) == 1700
    clock = clock.set(6000, frozen=False)
    assert clock.at(6001) == 1760
    assert (clock.at(1005), clock.at(2000)) == (1300, 1600)


def test_how_long_it_takes_until_a_moment():
    clock = Clock().set(1000, speed=60)
    assert clock.seconds_to(1600, 1000) == 10
    assert clock.seconds_to(900, 1000) == 0
    assert clock.set(1000, frozen=True).seconds_to(1600, 1000) == math.inf
    assert clock.seconds_to(LATEST + 1, 1000) == math.inf


def test_when_it_really_was():
    clock = Clock().set(1000, speed=10).set(1010, advance=500).set(1020, frozen=True)
    assert clock.real(950) == 950
    assert clock.real(1050) == 1005
    assert clock.real(1300) == 1010
    assert clock.real(1650) == 1015
    assert clock.real(1e6) == math.inf


changes = st.tuples(
    st.floats(0, 1e6),
    st.fixed_dictionaries(
        {},
        optional={"speed": st.floats(1e-6, 1e6), "frozen": st.booleans(), "advance": st.floats(0, 1e9)},
    ),
)


@given(st.lists(changes, max_size=120), st.floats(0, 1e9))
def test_it_never_goes_back(changes, more):
    clock, real = Clock(), 1767323045.0
    for later, change in changes:
        before = clock.at(real + later)
        real += later
        clock = clock.set(real, **change)
        assert clock.at(real) >= before
    assert LATEST >= clock.at(real + more) >= clock.at(real)
    assert clock.at(real + clock.seconds_to(clock.at(real) + 1, real)) == pytest.approx(clock.at(real) + 1) or (
        clock.now.frozen or clock.at(real) + 1 > LATEST
    )
