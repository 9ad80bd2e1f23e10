"""Schedules, learned durations, and the history file."""

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client import Exponential, Fixed, Hinted, Learned, Observation, Progressive, State, Status
from translation_client.core.estimator import ENOUGH, MAX_DURATIONS, History, learned_plan
from translation_client.core.schedule import MOST_JITTER, SOONEST, chance, retry_after
from translation_client.history import LARGEST, HistoryFile

PLANS = [Fixed(2), Exponential(), Exponential(jitter=1), Progressive(), Learned(), Hinted(), Hinted(Fixed(3))]


def observation(age, *, hint=None, job_id="j1", state=State.PENDING):
    return Observation(Status(job_id, state), age, hint, "k")


def polls(plan, until, job_id="j1", hint=None):
    schedule, now, times = plan(), 0.0, []
    next(schedule)
    while now < until:
        now += schedule.send(observation(now, job_id=job_id, hint=hint))
        times.append(now)
    return times


@pytest.mark.parametrize("plan", PLANS, ids=str)
@given(ages=st.lists(st.floats(0, 1e8), max_size=20), hint=st.none() | st.floats(0, 86_400))
def test_every_observation_yields_a_delay(plan, ages, hint):
    schedule = plan()
    assert next(schedule) == 0
    for age in sorted(ages):
        assert 0 <= schedule.send(observation(age, hint=hint)) < 1e9


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_two_schedules_of_one_plan_are_the_same(plan):
    assert polls(plan, 100) == polls(plan, 100)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Fixed(-1), "interval"),
        (lambda: Exponential(initial=9), "maximum"),
        (lambda: Exponential(factor=0.5), "factor"),
        (lambda: Exponential(jitter=2), "jitter"),
        (lambda: Progressive(0), "poll_cost"),
        (lambda: Learned(poll_cost=float("nan")), "poll_cost"),
        (lambda: Hinted(jitter=-1), "jitter"),
    ],
)
def test_unusable_plan_arguments_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be a number from "):
        make()


def test_jitter_spreads_delays():
    delays = [polls(Exponential(1, 1, 1, jitter=1), 0.01, f"j{n}")[0] for n in range(200)]
    assert 0 <= min(delays) < 0.1
    assert 0.9 < max(delays) < 1


def test_progressive_delays_grow_with_the_root_of_the_age():
    gaps = {age: polls(Progressive(1), age, "j1")[-1] for age in (100, 400)}
    assert all(age <= at <= age + 4 * age**0.5 for age, at in gaps.items())
    assert len(polls(Progressive(1), 399)) == pytest.approx(19, abs=1)


def test_hinted_plan_never_polls_before_the_hint():
    schedule = Hinted(Fixed(7))()
    next(schedule)
    assert 10 <= schedule.send(observation(0, hint=10)) <= 10.5
    assert schedule.send(observation(1, hint=0)) == pytest.approx(SOONEST)
    assert 9000 <= schedule.send(observation(1, hint=9000)) <= 9000 + MOST_JITTER
    assert schedule.send(observation(2)) == 7


def test_polls_of_many_jobs_are_spread():
    first = sorted(polls(Learned(learned([100.0] * 5)), 50, f"j{n}")[0] for n in range(100))
    assert first[80] - first[20] > 1


def learned(durations):
    history = History()
    for seconds in durations:
        history.add("k", seconds)
    return history


def test_learned_plan_uses_past_durations():
    plan = Learned()
    for number in range(ENOUGH):
        schedule = plan()
        next(schedule)
        assert schedule.send(observation(0)) < 5, "nothing is learned yet"
        with pytest.raises(StopIteration):
            schedule.send(observation(100 + number, state=State.COMPLETED))
    assert 50 < polls(plan, 50)[-1] < 101
    assert len(polls(plan, 99)) < len(polls(Progressive(), 99)) / 2


def test_hinted_plan_learns_too():
    history = History()
    schedule = Hinted(Learned(history))()
    next(schedule)
    schedule.send(observation(0, hint=3))
    with pytest.raises(StopIteration):
        schedule.send(observation(5, state=State.ERROR))
    assert history.durations("k") == (5,)


def test_cancelled_job_is_not_learned():
    history = History()
    schedule = Learned(history)()
    next(schedule)
    schedule.send(observation(0))
    with pytest.raises(StopIteration):
        schedule.send(observation(0.003, state=State.CANCELLED))
    assert history.durations("k") == ()


def test_job_longer_than_any_before_is_polled_ever_less_often():
    times = polls(Learned(learned([10.0] * 20)), 1000)
    late = [b - a for a, b in pairwise(times) if a > 100]
    assert 1 < late[0] < late[-1] < 100


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=100), st.floats(0.001, 100), st.floats(0, 1e7))
def test_learned_plan_is_consistent_with_its_inverse(durations, poll_cost, age):
    plan = learned_plan(tuple(durations), poll_cost)
    due = plan.polls_until(age)
    assert due >= 0
    assert plan.polls_until(plan.age_at(due)) == pytest.approx(due, rel=1e-3, abs=1e-3)
    assert plan.age_at(due + 1) > plan.age_at(due)


@pytest.mark.parametrize(
    ("draw", "optimum"),
    [
        (lambda random: random.uniform(10, 60), 3.46),
        (lambda random: random.expovariate(1 / 30), 4.04),
        (lambda random: 600 * random.lognormvariate(0, 0.5), 15.85),
    ],
    ids=["uniform", "exponential", "lognormal"],
)
def test_twenty_durations_give_a_nearly_optimal_plan(draw, optimum):
    """The cost at 0.25 s per poll against the computed optimum; `benchmarks/waiting.py` measures it exactly."""
    drawn, cost, waits = random.Random(1), 0.0, 0  # noqa: S311 - the same at each run
    for job_id in map(str, range(60)):
        plan = Learned(learned(draw(drawn) for _ in range(20)))
        durations = [draw(drawn) for _ in range(20)]
        times = polls(plan, max(durations), job_id)
        for duration in durations:
            number_of_polls = next(number for number, at in enumerate(times) if at >= duration)
            cost += 0.25 * (number_of_polls + 1) + times[number_of_polls] - duration
            waits += 1
    assert cost / waits < 1.15 * optimum


def test_chance_is_uniform():
    drawn = sorted(chance(f"j{n}", 3) for n in range(1000))
    assert all(abs(value - n / 1000) < 0.06 for n, value in enumerate(drawn))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "-3"}, 0.0),
        ({"retry-after-ms": "1e99"}, 86_400.0),
    ],
)
def test_valid_retry_after_ms_is_preferred(headers, seconds):
    assert retry_after(headers) == seconds


class TestHistoryFile:
    def test_durations_survive_the_program(self, tmp_path):
        HistoryFile(tmp_path / "waits").add("k", 5)
        HistoryFile(tmp_path / "waits").add("k", 6.5)
        assert HistoryFile(tmp_path / "waits").durations("k") == (5, 6.5)
        assert HistoryFile(tmp_path / "waits").durations("other") == ()

    def test_unreadable_lines_are_skipped(self, tmp_path):
        odd = [b"\xff", b"{}", b"[]", b'{"kind": 1, "seconds": 2}', b'{"kind": "k", "seconds": "x"}', b"[" * 10_000]
        odd += [b'{"kind": "k", "seconds": Infinity}', b'{"kind": "k", "seconds": -1}', b'{"kind": "k", "sec']
        good = json.dumps({"kind": "k", "seconds": 3}).encode()
        (tmp_path / "waits").write_bytes(b"\n".join([*odd[:5], good, *odd[5:]]))
        assert HistoryFile(tmp_path / "waits").durations("k") == (3,)

    def test_history_file_size_is_limited(self, tmp_path):
        line = json.dumps({"kind": "k", "seconds": 3}).encode() + b"\n"
        (tmp_path / "waits").write_bytes(line * 10_000)
        history = HistoryFile(tmp_path / "waits")
        assert len(history.durations("k")) == MAX_DURATIONS
        assert (tmp_path / "waits").stat().st_size <= MAX_DURATIONS * len(line) * 2

    def test_durations_of_another_program_survive_a_rewrite(self, tmp_path):
        ours, theirs = HistoryFile(tmp_path / "waits"), HistoryFile(tmp_path / "waits")
        theirs.add("theirs", 5)
        with (tmp_path / "waits").open("ab") as file:
            file.write(b" " * LARGEST + b"\n")
        ours.add("ours", 6)
        assert (tmp_path / "waits").stat().st_size < 100
        assert HistoryFile(tmp_path / "waits").durations("theirs") == ours.durations("theirs") == (5,)

    def test_large_history_file_is_not_rewritten_for_each_job(self, tmp_path):
        for kind in range(100):
            line = json.dumps({"kind": f"{kind:0>60}", "seconds": 3}).encode() + b"\n"
            with (tmp_path / "waits").open("ab") as file:
                file.write(line * MAX_DURATIONS)
        history = HistoryFile(tmp_path / "waits")
        before = (tmp_path / "waits").stat()
        assert before.st_size > LARGEST
        history.add("k", 3)
        assert (tmp_path / "waits").stat().st_ino == before.st_ino

    @pytest.mark.parametrize("mode", [0o600, 0o640])
    def test_rewrite_keeps_the_file_mode(self, tmp_path, mode):
        HistoryFile(tmp_path / "waits").add("k", 3)
        assert (tmp_path / "waits").stat().st_mode & 0o777 == 0o600
        (tmp_path / "waits").chmod(mode)
        (tmp_path / "waits").write_bytes(b"\n" * LARGEST + b"\n")
        HistoryFile(tmp_path / "waits")
        assert (tmp_path / "waits").stat().st_size == 0
        assert (tmp_path / "waits").stat().st_mode & 0o777 == mode

    def test_cut_off_line_does_not_lose_others(self, tmp_path):
        (tmp_path / "waits").write_bytes(b'{"kind": "k", "seconds": 3}\n{"kind": "k", "sec')
        HistoryFile(tmp_path / "waits").add("k", 4)
        HistoryFile(tmp_path / "waits").add("k", 5)
        assert HistoryFile(tmp_path / "waits").durations("k") == (3, 4, 5)

    @pytest.mark.parametrize("path", [".", "a\0b", 5])
    def test_unusable_history_path_is_refused(self, path):
        with pytest.raises(ValueError, match=r"^history must be a file that can be read and written, not "):
            HistoryFile(path)

    def test_failing_disk_is_a_warning(self, tmp_path, caplog):
        folder = tmp_path / "gone"
        folder.mkdir()
        history = HistoryFile(folder / "waits")
        (folder / "waits").unlink()
        folder.rmdir()
        history.add("k", 3)
        assert history.durations("k") == (3,)
        assert "cannot be written" in caplog.text
