"""The sandbox's clock: virtual time never goes back, whatever is set."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.clock import LATEST, Clock


def test_clock_that_was_never_set_shows_wall_time():
    assert Clock().virtual(1767323045.678) == 1767323045.678


def test_clock_runs_freezes_and_jumps():
    clock = Clock().set(1000, speed=60)
    assert clock.virtual(1010) == 1600
    clock = clock.set(1010, frozen=True)
    assert clock.virtual(5000) == 1600
    clock = clock.set(5000, advance=100)
    assert clock.virtual(6000) == 1700
    clock = clock.set(6000, frozen=False)
    assert clock.virtual(6001) == 1760
    assert (clock.virtual(1005), clock.virtual(2000)) == (1300, 1600)


def test_wall_seconds_to_a_virtual_time():
    clock = Clock().set(1000, speed=60)
    assert clock.seconds_to(1600, 1000) == 10
    assert clock.seconds_to(900, 1000) == 0
    assert clock.set(1000, frozen=True).seconds_to(1600, 1000) == math.inf
    assert clock.seconds_to(LATEST + 1, 1000) == math.inf


def test_wall_time_of_a_virtual_time():
    clock = Clock().set(1000, speed=10).set(1010, advance=500).set(1020, frozen=True)
    assert clock.wall(950) == 950
    assert clock.wall(1050) == 1005
    assert clock.wall(1300) == 1010
    assert clock.wall(1650) == 1015
    assert clock.wall(1e6) == math.inf


changes = st.tuples(
    st.floats(0, 1e6),
    st.fixed_dictionaries(
        {}, optional={"speed": st.floats(1e-6, 1e6), "frozen": st.booleans(), "advance": st.floats(0, 1e9)}
    ),
)


@given(st.lists(changes, max_size=120), st.floats(0, 1e9))
def test_virtual_time_never_goes_back(changes, more):
    clock, wall = Clock(), 1767323045.0
    for later, change in changes:
        wall += later
        before = clock.virtual(wall)
        clock = clock.set(wall, **change)
        assert clock.virtual(wall) >= before
    now = clock.virtual(wall)
    assert LATEST >= clock.virtual(wall + more) >= now
    reached = clock.virtual(wall + clock.seconds_to(now + 1, wall))
    assert reached == pytest.approx(now + 1) or clock.current.frozen or now + 1 > LATEST
