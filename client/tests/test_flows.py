"""The flows, fed by hand: no network, no clock, no sleeping."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client.core import deadline, requests, wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Done, Failure, Reply, Send, Sleep, Warn
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import LONGEST
from translation_client.core.status import JobTimeout, State, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from translation_client.core.effects import Effect, Flow, Input
    from translation_client.core.schedule import Schedule

START = 1000.0  # when every flow here begins
SOONEST = 0.05  # seconds, for a plan that heeds a hint of none
TRIP = 0.01  # what a request takes unless a test says otherwise


def rules(**chosen: object) -> FlowOptions:
    """The client's defaults, without luck: every pause after a failure is half of the longest."""
    defaults = {"initial_delay": 0.5, "max_delay": 8.0, "backoff_factor": 2.0, "max_retries": 7}
    return FlowOptions(**defaults | {"request_timeout": 10.0, "random": lambda: 0.5, "schedule": doubling} | chosen)


def doubling() -> Schedule:
    """A plan that looks after 0.5, 1, 2, 4, 8, 8, ... seconds, unless the server asks for another delay."""
    delay, seen = 0.5, (yield 0.0)
    while True:
        seen = yield delay if seen.hint is None else max(seen.hint, SOONEST)
        delay = min(delay * 2, 8.0)


@dataclass
class Answer:
    """What a request of a transcript comes to, and how long that takes; no code is no answer."""

    code: int | None = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: float = TRIP

    def event(self, now: float, send: Send) -> Input:
        if self.takes > send.timeout:
            return Failure("timed out", now + send.timeout)
        if self.code is None:
            return Failure("connection refused", now + self.takes)
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Reply(self.code, self.headers, body, now + self.takes, self.takes)


def job(status: str = "pending", *, takes: float = TRIP, retry_after: str | None = None, **facts: object) -> Answer:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Answer(200, {"job_id": "j1", "status": status, **facts}, headers, takes)


def no(code: int | None = None, *, takes: float = TRIP, **headers: str) -> Answer:
    """An answer that says no, or none at all."""
    return Answer(code, None, {name.replace("_", "-"): value for name, value in headers.items()}, takes)


@dataclass
class Play:
    """What became of a flow whose requests met the answers of a transcript, the last of them for ever."""

    commands: list[Effect] = field(default_factory=list)
    now: float = START
    error: TranslationError | None = None

    def of(self, flow: Flow, answers: Iterable[Answer]) -> Play:
        left = list(answers)
        effect = next(flow)
        try:
            while True:
                self.commands.append(effect)
                if isinstance(effect, Send):
                    answer = left.pop(0) if len(left) > 1 else left[0]
                    event = answer.event(self.now, effect)
                    self.now = event.at
                else:
                    self.now += effect.seconds if isinstance(effect, Sleep) else 0
                    event = Done(self.now)
                effect = flow.send(event)
        except StopIteration:
            pass
        except TranslationError as error:
            self.error = error
        return self

    @property
    def sends(self) -> list[Send]:
        return [effect for effect in self.commands if isinstance(effect, Send)]

    @property
    def sleeps(self) -> list[float]:
        return [round(effect.seconds, 6) for effect in self.commands if isinstance(effect, Sleep)]

    @property
    def statuses(self) -> list[Status]:
        return [effect for effect in self.commands if isinstance(effect, Status)]

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.statuses]

    @property
    def notices(self) -> list[str]:
        return [effect.text for effect in self.commands if isinstance(effect, Warn)]


def watch(*answers: Answer, timeout: float = inf, **chosen: object) -> Play:
    return Play().of(wait_one.watch(rules(**chosen), FlowTime(START, START + timeout), "j1"), answers)


def run(*answers: Answer, timeout: float = inf, **chosen: object) -> Play:
    return Play().of(wait_one.run(rules(**chosen), FlowTime(START, START + timeout), "key", {}), answers)


class TestSchedule:
    def test_looks_at_once_and_then_less_and_less_often(self) -> None:
        play = watch(*[job()] * 7, job("completed"))
        assert play.sleeps == [0.5, 1, 2, 4, 8, 8, 8]
        assert {(send.method, send.path) for send in play.sends} == {("GET", "/status/j1")}

    def test_yields_changes_only(self) -> None:
        play = watch(job(progress=0.1), job(progress=0.1), job(progress=0.2), job("completed", progress=1))
        assert [status.progress for status in play.statuses] == [0.1, 0.2, 1]

    @pytest.mark.parametrize("word", ["completed", "error", "cancelled"])
    def test_ends_with_the_job(self, word: str) -> None:
        play = watch(job(word))
        assert play.states == [word]
        assert play.sleeps == []

    @pytest.mark.parametrize(("asked", "slept"), [("3", 3.0), ("0", SOONEST), ("-7", SOONEST)])
    def test_the_server_may_ask_for_another_delay(self, asked: str, slept: float) -> None:
        assert watch(job(retry_after=asked), job(), job("completed")).sleeps == [slept, 1]

    def test_the_server_cannot_ask_for_more_than_is_left(self) -> None:
        play = watch(job(retry_after="3600"), job("completed"), timeout=5)
        assert play.sleeps == [pytest.approx(5 - TRIP)]
        assert play.states == ["pending", "completed"]

    def test_a_run_obeys_the_answer_to_its_start(self) -> None:
        play = run(job(retry_after="3"), job("completed"))
        assert [send.path for send in play.sends] == ["/start", "/status/j1"]
        assert play.sleeps == [3]

    def test_a_wait_obeys_the_answer_to_a_start_of_just_now(self) -> None:
        """Once: who waits again, or later than the server asked for, looks at once."""
        chosen = rules()
        start = Play().of(wait_one.submit(chosen, FlowTime(START), "key", {}), [job(retry_after="3")])
        first = Play(now=start.now + 1).of(wait_one.watch(chosen, FlowTime(start.now + 1), "j1"), [job("completed")])
        assert (first.sleeps, first.states) == ([2], ["pending", "completed"])
        again = Play(now=start.now + 1).of(wait_one.watch(chosen, FlowTime(start.now + 1), "j1"), [job("completed")])
        assert (again.sleeps, again.states) == ([], ["completed"])
        start = Play().of(wait_one.submit(chosen, FlowTime(START), "key", {}), [job(retry_after="3")])
        late = Play(now=start.now + 4).of(wait_one.watch(chosen, FlowTime(start.now + 4), "j1"), [job("completed")])
        assert (late.sleeps, late.states) == ([], ["completed"])

    def test_no_more_than_so_many_starts_are_remembered(self) -> None:
        chosen = rules()
        for number in range(requests.MAX_REMEMBERED + 5):
            answer = Answer(200, {"job_id": f"j{number}", "status": "pending"})
            Play().of(wait_one.submit(chosen, FlowTime(START), "key", {}), [answer])
        assert len(chosen.remembered) == requests.MAX_REMEMBERED

    @pytest.mark.parametrize("long_poll", [0, 25])
    def test_a_job_that_was_known_is_asked_for_again_where_the_server_has_forgotten_it(self, long_poll: int) -> None:
        play = run(job(), *[no(404)] * 3, job("completed"), long_poll=long_poll)
        assert play.states == ["pending", "completed"]
        assert len(play.notices) == 3
        assert isinstance(run(job(), *[no(404)] * 4, job("completed"), long_poll=long_poll).error, NotFound)
        assert isinstance(watch(no(404), job("completed")).error, NotFound)

    def test_the_time_a_caller_takes_counts(self) -> None:
        flow = wait_one.watch(rules(), FlowTime(START, START + 5), "j1")
        next(flow)
        flow.send(job().event(START, Send("GET", "/")))
        assert flow.send(Done(START + 4)) == Sleep(0.5)
        last = flow.send(Done(START + 4.5))
        assert isinstance(last, Send)
        assert (last.timeout, last.left) == pytest.approx((0.25, 0.5))


class TestDeadline:
    def test_a_last_look_is_taken_at_the_deadline(self) -> None:
        play = watch(job(), job(), job("completed"), timeout=1)
        assert play.sleeps == [0.5, pytest.approx(0.5 - 2 * TRIP)]
        assert play.states == ["pending", "completed"]
        assert play.now == pytest.approx(START + 1 + TRIP)

    def test_then_the_time_is_up(self) -> None:
        play = watch(job(progress=0.3), timeout=1)
        assert isinstance(play.error, JobTimeout)
        assert isinstance(play.error, TimeoutError)
        assert (play.error.job_id, play.error.status) == ("j1", Status("j1", State.PENDING, 0.3))
        assert "j1 was still pending" in str(play.error)
        assert "wait again" in str(play.error)
        assert play.now == pytest.approx(START + 1 + TRIP)

    @pytest.mark.parametrize("takes", [1.02, 60])
    def test_a_look_cut_off_at_the_deadline_is_followed_by_one_more(self, takes: float) -> None:
        play = watch(no(takes=takes), job("completed"), timeout=1, max_retries=0)
        assert play.states == ["completed"]
        assert play.sleeps == []
        assert play.now == pytest.approx(START + 1 + TRIP)

    def test_a_look_that_hangs_leaves_time_for_others(self) -> None:
        play = watch(job(), no(takes=60), no(takes=60), job("completed"), timeout=8)
        assert play.states == ["pending", "completed"]
        assert [send.timeout for send in play.sends[1:3]] == pytest.approx([7.49 / 2, (7.49 / 2 - 0.25) / 2])
        assert play.now < START + 8

    def test_a_server_known_to_be_slow_is_given_its_time(self) -> None:
        assert watch(job(takes=2), job("completed", takes=2), timeout=5).states == ["pending", "completed"]

    def test_the_last_look_is_cut_off_too(self) -> None:
        play = watch(job(), no(takes=60), timeout=1)
        assert isinstance(play.error, JobTimeout)
        assert "timed out" in str(play.error)
        assert isinstance(play.error.__cause__, TransportError)
        assert play.now == pytest.approx(START + 1 + 0.02 + 1.5 * TRIP)

    def test_a_server_that_was_never_heard_is_left_as_soon(self) -> None:
        assert watch(no(takes=60), timeout=3).now == pytest.approx(START + 3 + deadline.LEAST_ALLOWANCE)

    def test_nothing_heard_in_time(self) -> None:
        play = watch(no(), timeout=2)
        assert isinstance(play.error, JobTimeout)
        assert play.error.status is None
        assert "had not been seen" in str(play.error)
        assert sum(play.sleeps) == pytest.approx(2 - (len(play.sends) - 1) * TRIP)

    def test_no_time_at_all_is_time_for_one_look(self) -> None:
        assert watch(job("completed"), timeout=0).states == ["completed"]
        assert len(watch(job(), timeout=0).sends) == 1

    @pytest.mark.parametrize("begin", [watch, run])
    def test_a_slow_link_is_heard_however_short_the_time(self, begin: Callable[..., Play]) -> None:
        assert begin(job("completed", takes=0.6), timeout=0).states == ["completed"]
        assert begin(no(takes=0.6), job("completed", takes=0.6), timeout=0.7).states == ["completed"]

    def test_waiting_for_its_turn_is_bounded_and_makes_no_trip_slow(self) -> None:
        flow = wait_one.watch(rules(request_timeout=2), FlowTime(START, START + 5), "j1")
        first = next(flow)
        assert isinstance(first, Send)
        assert (first.timeout, first.left) == (2, 5)
        flow.send(Reply(200, {}, json.dumps(job().body).encode(), START + 4, took=0.02))
        flow.send(Done(START + 4))
        second = flow.send(Done(START + 4.5))
        assert isinstance(second, Send)
        assert second.left == pytest.approx(0.5)
        last = flow.send(Failure("no connection was free", START + 5))
        while not isinstance(last, Send):
            last = flow.send(Done(START + 5))
        assert last.left == pytest.approx(deadline.NEAR_ALLOWANCE)

    @pytest.mark.parametrize(
        ("trips", "allowance"), [((0.3, 0.01), 0.04), ((0.01, 0.3), 0.47), ((0.3, 0.1), 0.47), ((0.002, 0.002), 0.03)]
    )
    def test_a_server_that_is_near_is_not_given_the_time_of_one_that_is_far(
        self, trips: tuple[float, float], allowance: float
    ) -> None:
        play = watch(*(job(takes=trip) for trip in trips), no(takes=60), timeout=1.5)
        assert play.now == pytest.approx(START + 1.5 + allowance)

    def test_a_look_gets_what_is_left_and_the_last_an_allowance_for_slow_trips(self) -> None:
        play = watch(job(), job(takes=0.1), job(), timeout=1, request_timeout=0.8)
        assert [send.timeout for send in play.sends] == pytest.approx([0.8, (0.5 - TRIP) / 2, 0.17])

    @pytest.mark.parametrize(("late", "left"), [(0.0, 0.03), (0.01, 0.02), (0.2, 0.015)])
    def test_waking_up_late_is_no_reason_to_leave_later(self, late: float, left: float) -> None:
        flow = wait_one.watch(rules(), FlowTime(START, START + 1, slowest=0.002), "j1")
        next(flow)
        flow.send(Reply(200, {}, json.dumps(job().body).encode(), START + 0.9, took=0.002))
        flow.send(Done(START + 0.9))
        last = flow.send(Done(START + 1 + late))
        assert isinstance(last, Send)
        assert last.timeout == pytest.approx(left)

    def test_a_run_has_one_deadline_for_all(self) -> None:
        play = run(job(takes=0.75), job(), job(), timeout=1)
        assert play.sleeps == [pytest.approx(0.25)]
        assert isinstance(play.error, JobTimeout)

    def test_a_start_that_takes_all_the_time_names_the_key_to_repeat(self) -> None:
        play = run(no(takes=60), timeout=1)
        assert isinstance(play.error, TransportError)
        assert "'key'" in str(play.error)
        assert play.now == pytest.approx(START + 1 + deadline.FIRST_ALLOWANCE)


@pytest.mark.parametrize(
    ("yielded", "slept"), [(-3, SOONEST), (0, SOONEST), (0.01, 0.01), (1e300, LONGEST), (inf, LONGEST)]
)
def test_a_schedule_asks_for_no_spin_and_for_no_more_than_a_clock_can_tell(yielded: float, slept: float) -> None:
    assert watch(job(), job("completed"), schedule=lambda: (yielded for _ in range(9))).sleeps == [slept]


@pytest.mark.parametrize("yielded", [nan, None, "1", []])
def test_a_schedule_yields_seconds_and_nothing_else(yielded: object) -> None:
    with pytest.raises(ValueError, match=r"^schedule must yield seconds, not "):
        watch(job(), schedule=lambda: (yielded for _ in range(9)))


@pytest.mark.parametrize("made", [None, 5, [1, 2]])
def test_a_schedule_is_a_generator(made: object) -> None:
    with pytest.raises(ValueError, match=r"^schedule must make a generator of delays, as Fixed\(2\) does"):
        watch(job(), schedule=lambda: made)


MAY_PASS = (408, 425, 429, *range(500, 509), 510, 511, *range(520, 531), 599)


class TestFailures:
    @pytest.mark.parametrize("code", [None, *MAY_PASS])
    def test_what_may_pass_is_asked_again(self, code: int | None) -> None:
        play = watch(no(code), no(code), job("completed"))
        assert play.states == ["completed"]
        assert play.sleeps == [0.25, 0.5]
        assert len(play.notices) == 2
        assert "retry 2 of 7" in play.notices[1]

    def test_the_budget_is_of_failures_in_a_row(self) -> None:
        play = watch(*[no(503), no(503), job(), no(), no(), job()] * 3, job("completed"), max_retries=2)
        assert play.states == ["pending", "completed"]

    def test_then_it_is_spent(self) -> None:
        play = watch(job(), no(503), no(), no(502), job("completed"), max_retries=2)
        assert isinstance(play.error, TransportError)
        assert (play.error.last, play.error.attempts) == ("the server answered 502", 3)
        assert "502" in str(play.error)
        assert "wait again for j1" in str(play.error)

    def test_pauses_grow_to_the_longest_delay(self) -> None:
        assert watch(no(), max_delay=2.0).sleeps == [0.25, 0.5, 1, 1, 1, 1, 1]

    @pytest.mark.parametrize(("asked", "slept"), [("3", 3), ("0", 0.25), ("soon", 0.25)])
    def test_the_server_may_ask_for_a_longer_pause(self, asked: str, slept: float) -> None:
        assert watch(no(429, retry_after=asked), job("completed")).sleeps == [slept]

    @pytest.mark.parametrize("code", [200, 204, 404, 429, 503])
    @pytest.mark.parametrize("asked", ["3600", "3600.5", "9" * 400, "Sun, 06 Nov 2094 08:49:37 GMT"])
    def test_but_not_for_one_beyond_what_is_left(self, code: int, asked: str) -> None:
        play = watch(
            job(), no(code, retry_after=asked, date="Sun, 06 Nov 1994 08:49:37 GMT"), job("completed"), timeout=5
        )
        assert play.states == ["pending", "completed"]
        assert play.now == pytest.approx(START + 5 + TRIP)

    def test_a_retried_start_is_the_same_request(self) -> None:
        play = Play().of(wait_one.submit(rules(), FlowTime(START), "key", {"video_length": 3}), [no(), no(503), job()])
        assert len(play.sends) == 3
        assert {json.dumps([send.method, send.path, dict(send.headers), send.json]) for send in play.sends} == {
            json.dumps(["POST", "/start", {"Idempotency-Key": "key"}, {"video_length": 3}])
        }
        assert play.states == ["pending"]

    def test_a_job_without_facts_needs_no_body(self) -> None:
        assert run(job("completed")).sends[0].json is None

    def test_an_unknown_word_counts_as_pending_and_is_told_once(self) -> None:
        play = watch(job("queued"), job("queued"), job("rendering"), job("completed"))
        assert play.states == ["pending", "completed"]
        assert play.notices == ["job j1 has the unknown status 'queued', which counts as pending"]


REFUSALS: list[tuple[int, type[TranslationError], str]] = [
    (401, AuthenticationError, "password"),
    (403, AuthenticationError, "user"),
    (404, NotFound, "id"),
    *((code, InvalidRequest, "Correct") for code in (400, 405, 406, 409, 410, 413, 414, 415, 422, 431)),
]


@pytest.mark.parametrize(("code", "kind", "advice"), REFUSALS)
@pytest.mark.parametrize("timeout", [inf, 60])
def test_what_cannot_pass_ends_at_once(code: int, kind: type[TranslationError], advice: str, timeout: float) -> None:
    for play in (watch(no(code), timeout=timeout), run(no(code), timeout=timeout)):
        assert type(play.error) is kind
        assert advice in str(play.error)
        assert len(play.commands) == 1
        if code != 404:
            assert type(watch(job(), no(code), timeout=timeout).error) is kind


UNREADABLE: list[tuple[int, object, str]] = [
    *((code, None, "address") for code in (101, 203, 204, 205, 206, 226, 300, 304, 305, 306, 399)),
    *((code, None, "redirects") for code in (301, 302, 303, 307, 308)),
    *((code, None, "address") for code in (402, 407, 412, 418, 421, 426, 428, 451, 499, 600, 999)),
    (200, b"", "''"),
    (200, b"<html>Just a moment...", "Just a moment"),
    (200, b'{"job_id": "j1", "status": "comp', "comp"),
    (200, '{"job_id": "j1", "status": "completed"}', "JSON object"),
    (200, b'{"job_id": "j1", "status": "completed", "progress": NaN}', "NaN"),
    (200, b'{"job_id": "j1", "status": "completed", "error": "\xfc"}', "JSON object"),
    (200, b'{"job_id": "j1", "status": ' + b"[" * 100_000, "JSON object"),
    (200, {"job_id": "j1", "status": 7}, "'status'"),
    (200, {"job_id": "j1", "status": "\ud800"}, "'status'"),
    (200, {"job_id": "j1"}, "'status'"),
    (200, {"status": "completed"}, "'job_id'"),
    (200, {"job_id": True, "status": "completed"}, "'job_id'"),
    (200, {"job_id": "j2", "status": "completed"}, "expected job j1"),
    (200, {"job_id": "j1", "status": "completed", "progress": "all"}, "'progress'"),
]

unreadable = pytest.mark.parametrize(("code", "body", "shown"), UNREADABLE)


class TestAnswersThatCannotBeRead:
    @unreadable
    @pytest.mark.parametrize("long_poll", [0, 25])
    def test_one_is_a_failure_as_any(self, code: int, body: object, shown: str, long_poll: int) -> None:
        bad = Answer(code, body)
        for play in (
            watch(job(), bad, bad, job(), *[bad] * 7, job("completed"), long_poll=long_poll),
            run(job(), *[bad] * 7, job("completed"), long_poll=long_poll),
        ):
            assert play.states == ["pending", "completed"]
            assert shown in play.notices[-1]
            assert "retry 7 of 7" in play.notices[-1]

    @unreadable
    def test_only_one_that_comes_again_and_again_ends_the_wait(self, code: int, body: object, shown: str) -> None:
        play = watch(job(), Answer(code, body))
        assert isinstance(play.error, ProtocolError)
        assert len(play.sends) == 9
        assert "GET /status/j1 failed (8 in a row): " in str(play.error)
        assert shown in str(play.error)
        assert "wait again for j1" in str(play.error)

    @unreadable
    def test_where_nothing_was_read_before_three_are_borne(self, code: int, body: object, shown: str) -> None:
        bad = Answer(code, body)
        assert watch(*[bad] * 3, job("completed")).states == ["completed"]
        play = watch(*[bad] * 4, job("completed"))
        assert isinstance(play.error, ProtocolError)
        assert shown in str(play.error)

    @unreadable
    def test_a_job_that_is_resumed_was_told_of_before(self, code: int, body: object, shown: str) -> None:
        flow = wait_one.watch(rules(), FlowTime(START), "j1", known=True)
        play = Play().of(flow, [*[Answer(code, body)] * 7, job("completed")])
        assert play.states == ["completed"]
        assert shown in play.notices[0]

    def test_so_it_was_where_it_was_started_here_whatever_the_server_asked_for(self) -> None:
        for wait in (no(204), no(404)):
            chosen = rules()
            started = Play().of(wait_one.submit(chosen, FlowTime(START), "key", {}), [job()])
            play = Play(now=started.now).of(
                wait_one.watch(chosen, FlowTime(started.now), "j1"), [*[wait] * 3, no(503), job("completed")]
            )
            assert play.states == ["completed"]

    @unreadable
    def test_the_deadline_says_what_it_was(self, code: int, body: object, shown: str) -> None:
        play = watch(job(), Answer(code, body), timeout=1)
        assert isinstance(play.error, JobTimeout)
        assert "j1 was still pending when the time was up; the last failure: " in str(play.error)
        assert shown in str(play.error)
        assert play.error.status == Status("j1", State.PENDING)

    def test_they_count_together_with_other_failures(self) -> None:
        mixed = [no(503), no(204), no(), no(404), no(520)]
        assert watch(job(), *mixed, job("completed"), max_retries=5).states == ["pending", "completed"]
        assert isinstance(watch(job(), *mixed, max_retries=4).error, TransportError)
        assert isinstance(watch(job(), *mixed[:2], max_retries=1).error, ProtocolError)

    @unreadable
    def test_one_to_a_submission_ends_it_for_it_may_have_started_a_job(
        self, code: int, body: object, shown: str
    ) -> None:
        play = Play().of(wait_one.submit(rules(), FlowTime(START), "key", {"job_id": "j1"}), [Answer(code, body)])
        assert isinstance(play.error, ProtocolError)
        assert len(play.sends) == 1
        assert shown in str(play.error)
        assert "with the idempotency key 'key': it stays one job" in str(play.error)

    @pytest.mark.parametrize("asked", ["3", "3.0", "1, 3", "2.999"])
    def test_one_may_ask_for_a_longer_pause(self, asked: str) -> None:
        play = watch(job(), no(204, retry_after=asked), job("completed"))
        assert play.sleeps[1] == max(float(text) for text in asked.split(","))

    @unreadable
    def test_so_it_is_with_a_cancellation_and_a_list(self, code: int, body: object, shown: str) -> None:
        bad = Answer(code, body)
        play = Play().of(wait_one.cancel(rules(), FlowTime(START), "j1"), [bad, bad, job("cancelled")])
        assert play.states == ["cancelled"]
        assert shown in play.notices[0]
        pages = [Answer(200, {"jobs": [], "next": str(number)}) for number in range(2)]
        bad = Answer(code, body) if code != 200 or isinstance(body, bytes) else Answer(200, b"{")
        last = Answer(200, {"jobs": [{"job_id": 5, "status": "pending"}], "next": None})
        play = Play().of(wait_one.listing(rules(), FlowTime(START)), [bad, pages[0], *[bad] * 7, pages[1], bad, last])
        assert [status.id for status in play.statuses] == ["5"]


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
def test_the_lateness_is_that_of_the_wall_clock(first: str | None, second: str | None, lateness: float) -> None:
    """What cannot be read of the age in wall time leaves the age that the document tells."""

    def told(status: str, elapsed: float, wall: str | None) -> Answer:
        headers = {} if wall is None else {"wall-elapsed-time": wall}
        return replace(job(status, elapsed_time=elapsed), headers=headers)

    final = watch(told("pending", 60.0, first), told("completed", 72.0, second)).statuses[-1]
    assert final.elapsed == 72
    assert final.cost is not None
    assert final.cost.lateness == pytest.approx(lateness)


@pytest.mark.parametrize("text", ["7", "0", "-7", "1.50", "1E+2", str(2**64), "9" * 900])
def test_an_id_that_is_a_number_is_its_text(text: str) -> None:
    """On every way that an id comes."""

    def raw(status: str) -> Answer:
        return Answer(200, f'{{"job_id": {text}, "status": "{status}"}}'.encode())

    play = run(raw("pending"), raw("completed"))
    assert [status.id for status in play.statuses] == [text, text]
    assert play.sends[1].path == f"/status/{text.replace('+', '%2B')}"
    cancelled = Play().of(wait_one.cancel(rules(), FlowTime(START), text), [raw("cancelled")])
    assert cancelled.statuses[0].id == text


@pytest.mark.parametrize("text", ["true", "null", "[7]", '{"a": 7}', "9" * 1001, "9" * 5000])
def test_nothing_else_is_one(text: str) -> None:
    play = run(Answer(202, f'{{"job_id": {text}, "status": "pending"}}'.encode()))
    assert isinstance(play.error, ProtocolError)


def test_a_refusal_tells_what_the_problem_document_says() -> None:
    problem = {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "One field is wrong.",
        "errors": [{"field": "video_length", "message": "must be\npositive"}, "and more"],
    }
    error = run(Answer(422, problem)).error
    assert isinstance(error, InvalidRequest)
    assert error.status_code == 422
    assert error.errors == (problem["errors"][0],)
    assert str(error).startswith(
        "422 Unprocessable Content. One field is wrong. video_length: must be positive. Correct the request"
    )


@pytest.mark.parametrize("body", [None, [], "no", {"title": 3, "errors": {}}, {"errors": [1, None]}])
def test_a_refusal_without_a_problem_document_is_one_all_the_same(body: object) -> None:
    assert str(watch(Answer(403, body)).error).startswith("403 without a reason. ")


def test_a_redirect_names_its_target() -> None:
    error = watch(no(307, location="https://elsewhere.example/status/j1")).error
    assert "https://elsewhere.example/status/j1" in str(error)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>", "a JSON object"),
        (b"", "a JSON object"),
        (b"[]", "a JSON object"),
        (b'{"progress": NaN}', "a JSON object"),
        (b"[" * 100_000, "a JSON object"),
        (b"\xff\xfe\xfd", "a JSON object"),
        (b"{}", "a job with 'job_id' and 'status'"),
        (b'{"job_id": false, "status": "pending"}', "a job with"),
        (b'{"job_id": "j1", "status": null}', "a job with"),
        (b'{"job_id": "", "status": "pending"}', "a job with"),
        (b'{"job_id": "\\ud800", "status": "pending"}', "a job with"),
        (b'{"job_id": "\\u001b[2J", "status": "pending"}', "a job with"),
        (b'{"job_id": "j2", "status": "pending"}', "job j1"),
        (b'{"job_id": "j1", "status": "pending", "progress": "half"}', "a number as 'progress'"),
        (b'{"job_id": "j1", "status": "pending", "progress": true}', "a number as 'progress'"),
        (b'{"job_id": "j1", "status": "pending", "elapsed_time": -1}', "a number as 'elapsed_time'"),
        (b'{"job_id": "j1", "status": "pending", "elapsed_time": 1e999}', "a number as 'elapsed_time'"),
        (b'{"job_id": "j1", "status": "error", "error_message": {}}', "a text as 'error_message'"),
    ],
)
def test_an_answer_of_another_kind_is_shown(body: bytes, expected: str) -> None:
    flow = wait_one.poll(rules(max_retries=0), FlowTime(START), "j1")
    next(flow)
    with pytest.raises(ProtocolError, match="Check that the server's address") as raised:
        flow.send(Reply(200, {}, body, START))
    assert f"expected {expected}" in str(raised.value)
    assert len(str(raised.value)) < 500


class TestOtherFlows:
    def test_a_look(self) -> None:
        facts = {"progress": 0.25, "elapsed_time": 2, "error_message": None, "more": [1]}
        play = Play().of(wait_one.poll(rules(), FlowTime(START), "j1"), [job(**facts)])
        assert play.statuses == [Status("j1", State.PENDING, 0.25, 2.0)]
        assert play.statuses[0].raw == {"job_id": "j1", "status": "pending", **facts}

    @pytest.mark.parametrize(("told", "progress"), [(0, 0.0), (1, 1.0), (1.5, 1.0), (1e299, 1.0)])
    def test_there_is_no_more_progress_than_all(self, told: float, progress: float) -> None:
        assert watch(job("completed", progress=told)).statuses[0].progress == progress

    def test_a_job_is_cancelled(self) -> None:
        play = Play().of(wait_one.cancel(rules(), FlowTime(START), "j1"), [no(), job("cancelled")])
        assert {(send.method, send.path) for send in play.sends} == {("DELETE", "/jobs/j1")}
        assert play.states == ["cancelled"]

    @pytest.mark.parametrize(
        ("job_id", "path"), [("a b/c?d#e%", "a%20b%2Fc%3Fd%23e%25"), ("ä", "%C3%A4"), ("{id}", "%7Bid%7D")]
    )
    def test_an_id_stays_in_its_segment_of_the_path(self, job_id: str, path: str) -> None:
        send = next(wait_one.poll(rules(), FlowTime(START), job_id))
        assert isinstance(send, Send)
        assert send.path == f"/status/{path}"

    def test_a_list_is_read_page_by_page(self) -> None:
        def page(*ids: str, after: str | None) -> Answer:
            return Answer(200, {"jobs": [{"job_id": i, "status": "pending"} for i in ids], "next": after})

        play = Play().of(
            wait_one.listing(rules(), FlowTime(START)), [page("3", "2", after="c2"), no(), page("1", after=None)]
        )
        assert [status.id for status in play.statuses] == ["3", "2", "1"]
        assert [dict(send.query) for send in play.sends] == [{}, {"after": "c2"}, {"after": "c2"}]

    @pytest.mark.parametrize(
        ("page", "expected"),
        [
            ({}, "an array as 'jobs'"),
            ({"jobs": [7]}, "a job as a JSON object"),
            ({"jobs": [], "next": 7}, "a text as 'next'"),
            ({"jobs": [], "next": "same"}, "repeats the page at"),
        ],
    )
    def test_a_list_of_another_kind(self, page: object, expected: str) -> None:
        play = Play().of(wait_one.listing(rules(), FlowTime(START)), [Answer(200, page)])
        assert isinstance(play.error, ProtocolError)
        assert expected in str(play.error)


answers = st.one_of(
    st.builds(
        job,
        st.sampled_from(["pending", "queued"]),
        takes=st.floats(0, 3),
        retry_after=st.sampled_from([None, "0", "9"]),
    ),
    st.builds(
        no, st.sampled_from([None, 429, 503]), takes=st.floats(0, 30), retry_after=st.sampled_from(["0", "5", "x"])
    ),
)


@given(
    st.lists(answers, max_size=20),
    st.one_of(st.none(), st.floats(0, 20)),
    st.integers(0, 4),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
)
def test_whatever_happens_the_rules_hold(
    transcript: list[Answer], timeout: float | None, max_retries: int, luck: float, runs: bool
) -> None:
    begin = run if runs else watch
    play = begin(
        *transcript,
        job("completed"),
        timeout=inf if timeout is None else timeout,
        max_retries=max_retries,
        random=lambda: luck,
    )

    assert play.error or play.states[-1] == "completed"
    assert all(before != after for before, after in zip(play.statuses, play.statuses[1:], strict=False))
    assert all(effect.seconds > 0 for effect in play.commands if isinstance(effect, Sleep))
    assert len({send.headers["Idempotency-Key"] for send in play.sends if send.method == "POST"}) == runs
    assert len([text for text in play.notices if "unknown" in text]) <= 1

    if isinstance(play.error, TransportError):
        assert play.error.attempts <= max_retries + 1
    if timeout is None:
        assert not isinstance(play.error, JobTimeout)
    else:
        slowest = max(TRIP, *(answer.takes for answer in [*transcript, job()]))
        assert sum(play.sleeps) <= timeout + 1e-6
        assert play.now <= START + timeout + 2 * max(deadline.FIRST_ALLOWANCE, 0.02 + 1.5 * slowest)
