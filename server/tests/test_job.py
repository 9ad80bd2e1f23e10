"""A job: its state, progress and bodies follow from its fate, at every time."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.delays import Uniform
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.filters import timestamp
from translation_server.core.dialects.template import names
from translation_server.core.entropy import ENTROPY_BYTES, seeded_entropy
from translation_server.core.job import MAX_PAUSES, Fate, Job, JobSnapshot, State, Submission
from translation_server.core.sandbox import SandboxSettings

JOB = Job("id", "ann", 1, created_at=1000.0, fate=Fate(10.0, State.COMPLETED), submission=Submission("en", "es", 90.0))
FAILING = replace(JOB, fate=Fate(10.0, State.ERROR))
CANCELLED = replace(JOB, cancelled_at=1004.0)
AT_ONCE = replace(JOB, fate=Fate(0.0, State.COMPLETED))

times = st.floats(0, 4e9)


@st.composite
def drawn_jobs(draw):
    """Draws any job that can exist: its owner can cancel it only before its end."""
    fate = Fate(draw(st.floats(0, 1e6)), draw(st.sampled_from([State.COMPLETED, State.ERROR])))
    job = Job("id", "ann", 1, draw(times), fate)
    cancelled_at = draw(st.none() | st.floats(job.created_at, job.due_at, exclude_max=job.due_at > job.created_at))
    return job if cancelled_at == job.due_at else replace(job, cancelled_at=cancelled_at)


jobs = drawn_jobs()


@pytest.mark.parametrize(
    ("job", "now", "state", "progress", "elapsed", "completed_at"),
    [
        (JOB, 1000.0, State.PENDING, 0.0, 0.0, None),
        (JOB, 1004.2, State.PENDING, 0.42, 4.2, None),
        (JOB, 1009.9999999, State.PENDING, 0.9999, 10.0, None),
        (JOB, 1010.0, State.COMPLETED, 1.0, 10.0, 1010.0),
        (JOB, 9999.0, State.COMPLETED, 1.0, 10.0, 1010.0),
        (JOB, 900.0, State.PENDING, 0.0, 0.0, None),
        (FAILING, 1009.0, State.PENDING, 0.9, 9.0, None),
        (FAILING, 1010.0, State.ERROR, 1.0, 10.0, 1010.0),
        (CANCELLED, 1003.0, State.PENDING, 0.3, 3.0, None),
        (CANCELLED, 1004.0, State.CANCELLED, 0.4, 4.0, 1004.0),
        (CANCELLED, 9999.0, State.CANCELLED, 0.4, 4.0, 1004.0),
        (AT_ONCE, 1000.0, State.COMPLETED, 1.0, 0.0, 1000.0),
    ],
)
def test_snapshot_derives_state_progress_and_times(job, now, state, progress, elapsed, completed_at):
    snapshot = JobSnapshot(job, now)
    assert (snapshot.state, snapshot.progress, snapshot.completed_at) == (state, progress, completed_at)
    assert snapshot.elapsed == pytest.approx(elapsed)
    assert snapshot.error_message == (
        "simulated failure, by ERROR_PROBABILITY or on request" if state is State.ERROR else None
    )


@given(jobs, times, times)
def test_state_and_progress_never_go_back(job, one, other):
    earlier, later = JobSnapshot(job, min(one, other)), JobSnapshot(job, max(one, other))
    assert earlier.progress <= later.progress
    assert earlier.elapsed <= later.elapsed
    if earlier.state is not State.PENDING:
        assert (later.state, later.completed_at) == (earlier.state, earlier.completed_at)


@given(jobs, times)
def test_progress_is_1_only_at_the_jobs_own_end(job, now):
    snapshot = JobSnapshot(job, now)
    assert 0 <= snapshot.progress <= 1
    assert (snapshot.progress == 1) == (snapshot.state in {State.COMPLETED, State.ERROR})


@given(jobs, times)
def test_every_snapshot_can_be_shown_in_every_dialect(job, now):
    native, *others = [json.loads(dialect.body(JobSnapshot(job, now))) for dialect in DIALECTS]
    assert {body["status"] for body in (native, *others)} == {JobSnapshot(job, now).state.value}
    assert native["status"] == native["result"]
    assert (native["completed_at"] is None) == (native["status"] == "pending")


def test_bodies_have_only_known_fields():
    bodies = [answer.body for dialect in DIALECTS for one in dialect.operations for answer in one.answers.values()]
    assert set().union(*map(names, bodies)) <= FIELDS.keys()


def test_timestamps_are_utc_with_milliseconds():
    assert timestamp(1767323045.6789) == "2026-01-02T03:04:05.678Z"


sandboxes = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1)).map(
    lambda drawn: SandboxSettings(Uniform(min(drawn[:2]), max(drawn[:2])), error_probability=drawn[2])
)
entropies = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


@given(sandboxes, entropies)
def test_fate_stays_within_the_sandboxs_settings(sandbox, entropy):
    fate = sandbox.fate(entropy)
    assert sandbox.delay.min <= fate.delay <= sandbox.delay.max
    assert fate == sandbox.fate(entropy)
    if sandbox.error_probability in {0, 1}:
        assert fate.outcome is (State.ERROR if sandbox.error_probability else State.COMPLETED)


def test_fates_are_distributed_as_the_settings_say():
    sandbox = SandboxSettings(Uniform(10, 20), error_probability=0.3)
    fates = [sandbox.fate(seeded_entropy("a seed", ordinal)) for ordinal in range(4000)]
    assert sum(fate.delay for fate in fates) / len(fates) == pytest.approx(15, abs=0.2)
    assert sum(fate.outcome is State.ERROR for fate in fates) / len(fates) == pytest.approx(0.3, abs=0.03)


def test_seed_gives_the_same_fates_in_every_version():
    fate = SandboxSettings(Uniform(0, 100), error_probability=0.5).fate(seeded_entropy("42", 1))
    assert fate == Fate(83.33516026954798, State.COMPLETED)
    assert len({seeded_entropy(*of) for of in [("42", 1), ("42", 2), ("43", 1), ("42", "fault", "poll", 1, 1, 0)]}) == 4


def test_each_pause_is_stored_with_its_times():
    job = JOB.pause(1001.0).pause(1002.0).unpause(1004.0).unpause(1005.0).pause(1006.0)
    assert (job.pauses, job.paused_for, job.due_at) == ([(1001.0, 1004.0)], 3.0, float("inf"))
    assert JobSnapshot(job, 1007.0).pauses == [(1001.0, 1004.0), (1006.0, None)]
    assert JobSnapshot(job.cancel(1009.0), 1010.0).pauses == [(1001.0, 1004.0), (1006.0, 1009.0)]
    finished = job.finish(1008.0, State.ERROR)
    assert JobSnapshot(finished, 1010.0).pauses == [(1001.0, 1004.0), (1006.0, 1008.0)]
    assert (finished.due_at, finished.paused_for) == (1008.0, 5.0)
    assert finished.pause(1011.0).pauses == finished.pauses


def test_pause_does_not_end_before_it_began_when_the_clock_was_set_back():
    job = JOB.pause(1004.0).unpause(1003.0)
    assert (job.pauses, job.paused_for, job.due_at) == ([(1004.0, 1004.0)], 0.0, 1010.0)


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=20))
def test_job_is_later_by_the_sum_of_its_pauses(durations):
    job, now = replace(JOB, fate=Fate(1e9, State.COMPLETED)), 1000.0
    for number, seconds in enumerate(durations):
        now += seconds
        job = job.unpause(now) if number % 2 else job.pause(now)
    assert job.paused_for == pytest.approx(sum(ended - began for began, ended in job.pauses))
    assert len(job.pauses) == len(durations) // 2


def test_job_that_is_paused_very_often_keeps_its_last_pauses_and_the_sum_of_all():
    job, size = replace(JOB, fate=Fate(1e9, State.COMPLETED)), 0
    for began in range(2000, 22000, 2):
        job = job.pause(float(began)).unpause(began + 1.0)
        size = max(size, job.size)
    assert (job.paused_for, job.due_at) == (10_000.0, 1000.0 + 1e9 + 10_000.0)
    assert job.pauses == [(float(began), began + 1.0) for began in range(22000 - 2 * MAX_PAUSES, 22000, 2)]
    assert size < 2000 + 2000  # bytes
    assert JobSnapshot(job, 30000.0).lean.job.size == 0
