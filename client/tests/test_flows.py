"""Flows for one job."""

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flow_player import SOONEST, START, TRIP, Answer, FlowPlayer, ask, failing, flow_options, job, run, watch
from translation_client.core import deadline, requests, wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Done, Send, Sleep
from translation_client.core.errors import NotFound, ProtocolError, TransportError
from translation_client.core.schedule import LONGEST
from translation_client.core.status import JobTimeout, State, Status


class TestSchedule:
    def test_first_poll_is_immediate_and_later_ones_follow_the_schedule(self):
        player = watch(*[job()] * 7, job("completed"))
        assert player.sleeps == [0.5, 1, 2, 4, 8, 8, 8]
        assert {(send.method, send.path) for send in player.sends} == {("GET", "/status/j1")}

    def test_watch_yields_only_changes(self):
        player = watch(job(progress=0.1), job(progress=0.1), job(progress=0.2), job("completed", progress=1))
        assert [status.progress for status in player.statuses] == [0.1, 0.2, 1]

    @pytest.mark.parametrize("word", ["completed", "error", "cancelled"])
    def test_watch_ends_with_the_job(self, word):
        player = watch(job(word))
        assert player.states == [word]
        assert player.sleeps == []

    @pytest.mark.parametrize(("retry_after", "slept"), [("3", 3.0), ("0", SOONEST), ("-7", SOONEST)])
    def test_server_hint_changes_the_delay(self, retry_after, slept):
        assert watch(job(retry_after=retry_after), job(), job("completed")).sleeps == [slept, 1]

    def test_server_hint_is_limited_by_the_deadline(self):
        player = watch(job(retry_after="3600"), job("completed"), timeout=5)
        assert player.sleeps == [pytest.approx(5 - TRIP)]
        assert player.states == ["pending", "completed"]

    def test_run_follows_the_hint_of_its_start(self):
        player = run(job(retry_after="3"), job("completed"))
        assert [send.path for send in player.sends] == ["/start", "/status/j1"]
        assert player.sleeps == [3]

    def test_wait_follows_the_hint_of_an_earlier_start_once(self):
        """A second wait, or one after the hint has passed, polls at once."""
        options = flow_options()

        def start():
            return FlowPlayer().run(wait_one.submit(options, FlowTime(START), "key", {}), [job(retry_after="3")]).now

        def wait(now):
            player = FlowPlayer(now=now).run(wait_one.watch(options, FlowTime(now), "j1"), [job("completed")])
            return player.sleeps, player.states

        started = start()
        assert wait(started + 1) == ([2], ["pending", "completed"])
        assert wait(started + 1) == ([], ["completed"])
        assert wait(start() + 4) == ([], ["completed"])

    def test_number_of_remembered_starts_is_limited(self):
        options = flow_options()
        for number in range(requests.MAX_REMEMBERED + 5):
            answer = Answer(200, {"job_id": f"j{number}", "status": "pending"})
            FlowPlayer().run(wait_one.submit(options, FlowTime(START), "key", {}), [answer])
        assert len(options.remembered) == requests.MAX_REMEMBERED

    @pytest.mark.parametrize("long_poll", [0, 25])
    def test_404_for_a_known_job_is_retried_three_times(self, long_poll):
        player = run(job(), *[failing(404)] * 3, job("completed"), long_poll=long_poll)
        assert player.states == ["pending", "completed"]
        assert len(player.warnings) == 3
        assert isinstance(run(job(), *[failing(404)] * 4, job("completed"), long_poll=long_poll).error, NotFound)
        assert isinstance(watch(failing(404), job("completed")).error, NotFound)

    def test_time_in_the_caller_counts_towards_the_schedule(self):
        flow = wait_one.watch(flow_options(), FlowTime(START, START + 5), "j1")
        next(flow)
        flow.send(job().result(START, Send("GET", "/")))
        assert flow.send(Done(START + 4)) == Sleep(0.5)
        last = flow.send(Done(START + 4.5))
        assert (last.timeout, last.left) == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize(
    ("yielded", "slept"), [(-3, SOONEST), (0, SOONEST), (0.01, 0.01), (1e300, LONGEST), (inf, LONGEST)]
)
def test_schedule_delays_have_a_minimum_and_a_maximum(yielded, slept):
    assert watch(job(), job("completed"), schedule=lambda: (yielded for _ in range(9))).sleeps == [slept]


@pytest.mark.parametrize("yielded", [nan, None, "1", []])
def test_schedule_that_yields_no_number_is_refused(yielded):
    with pytest.raises(ValueError, match=r"^schedule must yield seconds, not "):
        watch(job(), schedule=lambda: (yielded for _ in range(9)))


@pytest.mark.parametrize("made", [None, 5, [1, 2]])
def test_plan_that_makes_no_generator_is_refused(made):
    with pytest.raises(ValueError, match=r"^schedule must make a generator of delays, as Fixed\(2\) does"):
        watch(job(), schedule=lambda: made)


@pytest.mark.parametrize(
    ("first", "second", "lateness"),
    [
        ("1.0", "1.2", 0.31),
        (None, None, 0.0),
        ("1.0", None, 0.0),
        ("soon", "-1", 0.0),
        ("nan", "9" * 5000, 0.0),
        (", 1.0", ", 1.2", 0.0),
    ],
)
def test_lateness_is_in_wall_time(first, second, lateness):
    """Without a readable age in wall time, the age in the document counts."""

    def aged(status, elapsed, wall):
        headers = {} if wall is None else {"wall-elapsed-time": wall}
        return replace(job(status, elapsed_time=elapsed), headers=headers)

    final = watch(aged("pending", 60.0, first), aged("completed", 72.0, second)).statuses[-1]
    assert final.elapsed == 72
    assert final.cost.lateness == pytest.approx(lateness)


@pytest.mark.parametrize("text", ["7", "0", "-7", "1.50", "1E+2", str(2**64), "9" * 900])
def test_numeric_job_id_becomes_its_text(text):
    def raw(status):
        return Answer(200, f'{{"job_id": {text}, "status": "{status}"}}'.encode())

    player = run(raw("pending"), raw("completed"))
    assert [status.id for status in player.statuses] == [text, text]
    assert player.sends[1].path == f"/status/{text.replace('+', '%2B')}"
    cancelled = ask(wait_one.cancel, text, answers=[raw("cancelled")])
    assert cancelled.statuses[0].id == text


@pytest.mark.parametrize("text", ["true", "null", "[7]", '{"a": 7}', "9" * 1001, "9" * 5000])
def test_other_json_values_are_no_job_id(text):
    player = run(Answer(202, f'{{"job_id": {text}, "status": "pending"}}'.encode()))
    assert isinstance(player.error, ProtocolError)


class TestOtherFlows:
    def test_poll_returns_the_status(self):
        fields = {"progress": 0.25, "elapsed_time": 2, "error_message": None, "more": [1]}
        player = ask(wait_one.poll, "j1", answers=[job(**fields)])
        assert player.statuses == [Status("j1", State.PENDING, 0.25, 2.0)]
        assert player.statuses[0].raw == {"job_id": "j1", "status": "pending", **fields}

    @pytest.mark.parametrize(("reported", "progress"), [(0, 0.0), (1, 1.0), (1.5, 1.0), (1e299, 1.0)])
    def test_progress_is_at_most_one(self, reported, progress):
        assert watch(job("completed", progress=reported)).statuses[0].progress == progress

    def test_cancel_is_retried_and_returns_the_status(self):
        player = ask(wait_one.cancel, "j1", answers=[failing(), job("cancelled")])
        assert {(send.method, send.path) for send in player.sends} == {("DELETE", "/jobs/j1")}
        assert player.states == ["cancelled"]

    @pytest.mark.parametrize(
        ("job_id", "path"), [("a b/c?d#e%", "a%20b%2Fc%3Fd%23e%25"), ("ä", "%C3%A4"), ("{id}", "%7Bid%7D")]
    )
    def test_job_id_is_percent_encoded_in_the_path(self, job_id, path):
        send = next(wait_one.poll(flow_options(), FlowTime(START), job_id))
        assert send.path == f"/status/{path}"

    def test_list_is_read_page_by_page(self):
        def page(*ids, after):
            return Answer(200, {"jobs": [{"job_id": i, "status": "pending"} for i in ids], "next": after})

        pages = [page("3", "2", after="c2"), failing(), page("1", after=None)]
        player = ask(wait_one.list_jobs, answers=pages)
        assert [status.id for status in player.statuses] == ["3", "2", "1"]
        assert [dict(send.query) for send in player.sends] == [{}, {"after": "c2"}, {"after": "c2"}]

    @pytest.mark.parametrize(
        ("page", "expected"),
        [
            ({}, "an array as 'jobs'"),
            ({"jobs": [7]}, "a job as a JSON object"),
            ({"jobs": [], "next": 7}, "a text as 'next'"),
            ({"jobs": [], "next": "same"}, "repeats the page at"),
        ],
    )
    def test_unexpected_list_is_a_protocol_error(self, page, expected):
        player = ask(wait_one.list_jobs, answers=[Answer(200, page)])
        assert isinstance(player.error, ProtocolError)
        assert expected in str(player.error)


hints = st.sampled_from(["0", "5", "x"])
answers = st.one_of(
    st.builds(job, st.sampled_from(["pending", "queued"]), takes=st.floats(0, 3), retry_after=st.none() | hints),
    st.builds(failing, st.sampled_from([None, 429, 503]), takes=st.floats(0, 30), retry_after=hints),
)


@given(
    st.lists(answers, max_size=20),
    st.one_of(st.none(), st.floats(0, 20)),
    st.integers(0, 4),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
)
def test_flow_invariants_hold_for_any_transcript(transcript, timeout, max_retries, chance, runs):
    begin = run if runs else watch
    options = {"max_retries": max_retries, "random": lambda: chance}
    player = begin(*transcript, job("completed"), timeout=inf if timeout is None else timeout, **options)

    assert player.error or player.states[-1] == "completed"
    assert all(before != after for before, after in zip(player.statuses, player.statuses[1:], strict=False))
    assert all(effect.seconds > 0 for effect in player.effects if isinstance(effect, Sleep))
    assert len({send.headers["Idempotency-Key"] for send in player.sends if send.method == "POST"}) == runs
    assert len([text for text in player.warnings if "unknown" in text]) <= 1

    if isinstance(player.error, TransportError):
        assert player.error.attempts <= max_retries + 1
    if timeout is None:
        assert not isinstance(player.error, JobTimeout)
    else:
        slowest = max(TRIP, *(answer.takes for answer in [*transcript, job()]))
        assert sum(player.sleeps) <= timeout + 1e-6
        assert player.now <= START + timeout + 2 * max(deadline.FIRST_ALLOWANCE, 0.02 + 1.5 * slowest)
