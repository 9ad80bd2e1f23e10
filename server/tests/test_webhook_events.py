"""The events of a job that its webhook delivers, and the schedule of their attempts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.config.settings import Settings
from translation_server.core.job import Fate, Job, State
from translation_server.core.webhook_events import END, delivery_id, due_event, next_event_at, snapshot_at
from translation_server.core.webhooks import (
    JITTER,
    MAX_ATTEMPTS,
    RETRY_DELAYS,
    Attempt,
    Delivery,
    DeliveryState,
    Webhook,
)

ALL = ("started", "progress", "completed", "error", "cancelled")


def job_with(*events, **fields):
    made = Job(
        "job", "ann", 1, 1000.0, Fate(100.0, State.COMPLETED), webhook=Webhook("http://receiver/", events or ALL)
    )
    return replace(made, **fields)


def delivered(job, times):
    """Returns the events that are delivered if someone looks at these times, each until nothing is due."""
    events = []
    for now in times:
        while event := due_event(job, now):
            events.append((event.name, event.at))
            job = replace(job, notified=event.stage)
    return events


def test_job_without_a_webhook_has_no_events():
    job = replace(job_with(), webhook=None)
    assert (next_event_at(job), due_event(job, 1e9)) == (None, None)


def test_every_tenth_of_progress_is_an_event():
    progress = [("progress", 1000.0 + 10 * tenth) for tenth in range(1, 10)]
    times = range(1000, 1101)
    assert delivered(job_with(), times) == [("started", 1000.0), *progress, ("completed", 1100.0)]


def test_of_tenths_that_are_due_together_the_last_one_is_delivered():
    assert delivered(job_with(), [1055.0]) == [("started", 1000.0), ("progress", 1050.0)]


@pytest.mark.parametrize("delay", [1.0, 3.7, 1800.0, 1e6])
@pytest.mark.parametrize("created_at", [1_790_000_000.123, 1_790_000_000.987_654])
def test_every_event_of_progress_shows_its_tenth(created_at, delay):
    job, shown = job_with("progress", created_at=created_at, fate=Fate(delay, State.COMPLETED)), []
    while at := next_event_at(job):
        event = due_event(job, at)
        shown.append(snapshot_at(job, event).progress)
        job = replace(job, notified=event.stage)
    assert shown == [tenth / 10 for tenth in range(1, 10)]


def test_after_the_end_no_progress_is_delivered():
    assert delivered(job_with(), [2000.0]) == [("started", 1000.0), ("completed", 1100.0)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (("completed",), [("completed", 1100.0)]),
        (("error", "cancelled"), []),
        (("started",), [("started", 1000.0)]),
        (("progress",), [("progress", 1090.0)]),
    ],
)
def test_only_the_named_events_are_delivered(events, expected):
    assert delivered(job_with(*events), [2000.0]) == expected


def test_cancelled_job_has_no_other_end():
    job = job_with("completed", "cancelled").cancel(1042.0)
    assert delivered(job, [2000.0]) == [("cancelled", 1042.0)]
    assert delivered(job_with("completed").cancel(1042.0), [2000.0]) == []


def test_paused_job_has_no_next_event():
    paused = job_with().pause(1025.0)
    assert delivered(paused, [2000.0]) == [("started", 1000.0), ("progress", 1020.0)]
    assert next_event_at(replace(paused, notified=3)) is None
    assert next_event_at(replace(paused, notified=3).unpause(1125.0)) == 1130.0


def test_tenths_of_a_job_that_ends_after_polls_follow_its_polls():
    job = replace(job_with("progress", "completed"), fate=Fate(float("inf"), State.COMPLETED, after_polls=2))
    assert delivered(job, [2000.0]) == []
    polled = job.poll(1001.0)
    assert delivered(polled, [2000.0]) == [("progress", 1000.0)]
    assert delivered(replace(polled.poll(1002.0), notified=6), [2000.0]) == [("completed", 1002.0)]


def test_event_shows_the_job_at_its_time():
    job = job_with()
    shown = [snapshot_at(job, due_event(replace(job, notified=stage), 1000.0 + 10 * stage)) for stage in range(11)]
    assert [round(snapshot.progress, 1) for snapshot in shown] == [tenth / 10 for tenth in range(11)]
    assert shown[-1].state is State.COMPLETED


@given(st.lists(st.sampled_from(ALL), unique=True), st.floats(0, 300), st.integers(0, END), st.booleans())
def test_next_event_is_due_at_its_time_and_not_before(events, cancelled_after, notified, is_cancelled):
    job = replace(job_with(*events or ["error"]), notified=notified)
    job = job.cancel(1000.0 + cancelled_after) if is_cancelled else job
    at = next_event_at(job)
    assert (due_event(job, 1e9) is None) == (at is None)
    if at is not None:
        assert due_event(job, at)
        assert due_event(job, at - 0.001) is None


def test_delivery_ids_differ():
    jobs = [job_with(), job_with(owner="bob"), job_with(api="other"), job_with(created_at=1001.0)]
    ids = {delivery_id(job, stage) for job in jobs for stage in range(1, END + 1)}
    assert len(ids) == len(jobs) * END


def attempted(*statuses, **fields):
    delivery = Delivery("msg_1", 1, END, "completed", "job", "http://receiver/", 1000.0, "{}")
    for status in statuses:
        at = delivery.at if delivery.next_at is None else delivery.next_at
        delivery = delivery.after(Attempt(at, 5.0, 0.1, status, **fields))
    return delivery


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (410, "gone"),
        *((status, "pending") for status in (None, 199, 301, 307, 400, 404, 429, 500, 503)),
    ],
)
def test_an_answer_decides_the_state_of_its_delivery(status, state):
    delivery = attempted(status)
    assert (delivery.state, delivery.next_at is None) == (state, state != "pending")


def test_attempts_follow_the_schedule_with_jitter():
    times = []
    delivery = attempted()
    for _ in RETRY_DELAYS:
        delivery = delivery.after(Attempt(delivery.next_at or 1000.0, 5.0, 0.1, 500))
        times.append(delivery.next_at)
    pauses = [later - earlier for earlier, later in zip([1000.0, *times], times, strict=False)]
    assert all(abs(pause - delay) <= JITTER * delay for delay, pause in zip(RETRY_DELAYS, pauses, strict=True))
    assert any(pause < delay for delay, pause in zip(RETRY_DELAYS, pauses, strict=True))
    assert any(pause > delay for delay, pause in zip(RETRY_DELAYS, pauses, strict=True))
    failed = delivery.after(Attempt(delivery.next_at, 5.0, 0.1, 500))
    assert (failed.state, failed.next_at, len(failed.attempts)) == (DeliveryState.FAILED, None, 7)


def test_newest_attempts_of_a_delivery_are_stored():
    delivery = attempted(*[500] * (MAX_ATTEMPTS + 1), 200)
    assert [one.status for one in delivery.attempts] == [500] * (MAX_ATTEMPTS - 1) + [200]
    assert delivery.state == "delivered"


@pytest.mark.parametrize("extras", [0, 19])
def test_attempts_that_were_dropped_count_in_the_schedule(extras):
    delays = (1.0,) * (7 if extras else MAX_ATTEMPTS + 20)
    delivery, made = attempted(), 0
    while delivery.state == "pending" and made <= len(delays):
        before, made = delivery, made + 1
        attempt = Attempt(delivery.next_at or delivery.at, 5.0, 0.1, 500)
        others = [replace(attempt, status=400 + number, extra=True) for number in range(extras)]
        delivery = delivery.after(attempt, delays).with_attempts(*others)
        assert delivery.attempts_since(before) == (attempt, *others)
    assert (made, delivery.state) == (1 + len(delays), "failed")
    assert (delivery.made, len(delivery.attempts)) == (made * (1 + extras), MAX_ATTEMPTS)


@pytest.mark.parametrize(
    ("attempt", "result"),
    [
        (Attempt(1.0, 1.0, 0.0, 204), "accepted"),
        (Attempt(1.0, 1.0, 0.0, 500), "refused"),
        (Attempt(1.0, 1.0, 0.0, error="Connection refused"), "failed"),
        (Attempt(1.0, 1.0, 0.0, error="lost by a fault rule of the sandbox", fault="lost"), "not_sent"),
    ],
)
def test_result_of_an_attempt(attempt, result):
    assert attempt.result == result


def test_default_schedule_is_that_of_standard_webhooks():
    assert Settings(_env_file=None, api_username="a", api_password="b").webhook_retries == RETRY_DELAYS


def test_receiver_may_ask_to_wait_longer_but_not_less():
    assert attempted(503, retry_after=60.0).next_at == 1060.0
    assert 1004.5 <= attempted(503, retry_after=1.0).next_at <= 1005.5
    assert attempted(503, retry_after=1e9).next_at == 1000.0 + 86_400


def test_delivery_that_was_accepted_can_be_due_again():
    assert attempted(200).due_again(2000.0).after(Attempt(2000.0, 5.0, 0.1, 200)).state == "delivered"
