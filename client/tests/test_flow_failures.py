"""Flows and answers that fail: retries, refusals, unreadable answers."""

from math import inf

import pytest

from tests.flow_player import START, TRIP, Answer, FlowPlayer, ask, failing, flow_options, job, run, watch
from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Reply
from translation_client.core.errors import AuthenticationError, InvalidRequest, NotFound, ProtocolError, TransportError
from translation_client.core.status import JobTimeout, State, Status

TRANSIENT_CODES = (408, 425, 429, *range(500, 509), 510, 511, *range(520, 531), 599)


class TestFailures:
    @pytest.mark.parametrize("code", [None, *TRANSIENT_CODES])
    def test_transient_failures_are_retried(self, code):
        player = watch(failing(code), failing(code), job("completed"))
        assert player.states == ["completed"]
        assert player.sleeps == [0.25, 0.5]
        assert len(player.warnings) == 2
        assert "retry 2 of 7" in player.warnings[1]

    def test_retry_limit_counts_failures_in_a_row(self):
        answers = [failing(503), failing(503), job(), failing(), failing(), job()] * 3
        player = watch(*answers, job("completed"), max_retries=2)
        assert player.states == ["pending", "completed"]

    def test_transport_error_after_the_last_retry(self):
        player = watch(job(), failing(503), failing(), failing(502), job("completed"), max_retries=2)
        assert isinstance(player.error, TransportError)
        assert (player.error.last, player.error.attempts) == ("the server answered 502", 3)
        assert "502" in str(player.error)
        assert "wait again for j1" in str(player.error)

    def test_pauses_grow_to_max_delay(self):
        assert watch(failing(), max_delay=2.0).sleeps == [0.25, 0.5, 1, 1, 1, 1, 1]

    @pytest.mark.parametrize(("header", "slept"), [("3", 3), ("0", 0.25), ("soon", 0.25)])
    def test_retry_after_lengthens_a_pause(self, header, slept):
        assert watch(failing(429, retry_after=header), job("completed")).sleeps == [slept]

    @pytest.mark.parametrize("code", [200, 204, 404, 429, 503])
    @pytest.mark.parametrize("header", ["3600", "3600.5", "9" * 400, "Sun, 06 Nov 2094 08:49:37 GMT"])
    def test_retry_after_does_not_pass_the_deadline(self, code, header):
        refusal = failing(code, retry_after=header, date="Sun, 06 Nov 1994 08:49:37 GMT")
        player = watch(job(), refusal, job("completed"), timeout=5)
        assert player.states == ["pending", "completed"]
        assert player.now == pytest.approx(START + 5 + TRIP)

    @pytest.mark.parametrize("flow", [(wait_one.submit, "key", {}), (wait_one.poll, "j1"), (wait_one.list_jobs,)])
    def test_server_that_is_absent_and_never_answered_is_soon_given_up(self, flow):
        player = ask(*flow, answers=[Answer(None, absent=True)])
        assert player.sleeps == [0.25, 0.5, 1]
        assert "retry 3 of 3 in 1.0 s" in player.warnings[-1]
        assert str(player.error).endswith("connection refused. Start the server, or correct its address.")

    def test_server_that_is_absent_after_an_answer_may_be_restarting(self):
        start = ask(wait_one.submit, "key", {}, answers=[failing(503), Answer(None, absent=True)])
        assert len(start.sleeps) == 7
        assert "start again with idempotency_key='key'" in str(start.error)
        assert len(watch(Answer(None, absent=True)).sleeps) == 7  # the job is said to exist

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (
                {"title": "Busy", "detail": "Too many jobs."},
                "the server answered 429: Busy. Too many jobs; retry 1 of 7",
            ),
            (b"<html>", "the server answered 429; retry 1 of 7"),
        ],
    )
    def test_warning_says_what_a_refusal_says(self, body, why):
        (warning,) = watch(Answer(429, body), job("completed")).warnings
        assert warning.startswith(f"GET /status/j1: {why} in ")

    def test_retried_start_is_the_same_request(self):
        player = ask(wait_one.submit, "key", {"video_length": 3}, answers=[failing(), failing(503), job()])
        assert len(player.sends) == 3
        for send in player.sends:
            assert (send.method, send.path, send.headers) == ("POST", "/start", {"Idempotency-Key": "key"})
            assert send.json == {"video_length": 3}
        assert player.states == ["pending"]

    def test_start_without_fields_has_no_body(self):
        assert run(job("completed")).sends[0].json is None

    def test_unknown_status_counts_as_pending_and_is_warned_of_once(self):
        player = watch(job("queued"), job("queued"), job("rendering"), job("completed"))
        assert player.states == ["pending", "completed"]
        assert player.warnings == ["job j1 has the unknown status 'queued', which counts as pending"]


REFUSALS = [
    (401, AuthenticationError, "password"),
    (403, AuthenticationError, "user"),
    (404, NotFound, "id"),
    *((code, InvalidRequest, "Correct") for code in (400, 405, 406, 409, 410, 413, 414, 415, 422, 431)),
]


@pytest.mark.parametrize(("code", "kind", "next_step"), REFUSALS)
@pytest.mark.parametrize("timeout", [inf, 60])
def test_permanent_refusals_end_the_wait_at_once(code, kind, next_step, timeout):
    for player in (watch(failing(code), timeout=timeout), run(failing(code), timeout=timeout)):
        assert type(player.error) is kind
        assert next_step in str(player.error)
        assert len(player.effects) == 1
        if code != 404:
            assert type(watch(job(), failing(code), timeout=timeout).error) is kind


UNREADABLE = [
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


class TestUnreadableAnswers:
    @unreadable
    @pytest.mark.parametrize("long_poll", [0, 25])
    def test_unreadable_answers_are_retried(self, code, body, shown, long_poll):
        bad = Answer(code, body)
        answers = [*[bad] * 7, job("completed")]
        watched = watch(job(), bad, bad, job(), *answers, long_poll=long_poll)
        for player in (watched, run(job(), *answers, long_poll=long_poll)):
            assert player.states == ["pending", "completed"]
            assert shown in player.warnings[-1]
            assert "retry 7 of 7" in player.warnings[-1]

    @unreadable
    def test_persistent_unreadable_answers_end_the_wait(self, code, body, shown):
        player = watch(job(), Answer(code, body))
        assert isinstance(player.error, ProtocolError)
        assert len(player.sends) == 9
        assert "GET /status/j1 failed (8 in a row): " in str(player.error)
        assert shown in str(player.error)
        assert "wait again for j1" in str(player.error)

    @unreadable
    def test_unreadable_first_answers_are_retried_three_times(self, code, body, shown):
        bad = Answer(code, body)
        assert watch(*[bad] * 3, job("completed")).states == ["completed"]
        player = watch(*[bad] * 4, job("completed"))
        assert isinstance(player.error, ProtocolError)
        assert shown in str(player.error)

    @unreadable
    def test_resumed_job_counts_as_known(self, code, body, shown):
        flow = wait_one.watch(flow_options(), FlowTime(START), "j1", confirmed=True)
        player = FlowPlayer().run(flow, [*[Answer(code, body)] * 7, job("completed")])
        assert player.states == ["completed"]
        assert shown in player.warnings[0]

    def test_started_job_counts_as_known(self):
        for failure in (failing(204), failing(404)):
            options = flow_options()
            started = FlowPlayer().run(wait_one.submit(options, FlowTime(START), "key", {}), [job()])
            player = FlowPlayer(now=started.now).run(
                wait_one.watch(options, FlowTime(started.now), "j1"), [*[failure] * 3, failing(503), job("completed")]
            )
            assert player.states == ["completed"]

    @unreadable
    def test_job_timeout_reports_the_last_unreadable_answer(self, code, body, shown):
        player = watch(job(), Answer(code, body), timeout=1)
        assert isinstance(player.error, JobTimeout)
        assert "j1 was still pending when the time was up; the last failure: " in str(player.error)
        assert shown in str(player.error)
        assert player.error.status == Status("j1", State.PENDING)

    def test_unreadable_answers_share_the_retry_limit(self):
        mixed = [failing(503), failing(204), failing(), failing(404), failing(520)]
        assert watch(job(), *mixed, job("completed"), max_retries=5).states == ["pending", "completed"]
        assert isinstance(watch(job(), *mixed, max_retries=4).error, TransportError)
        assert isinstance(watch(job(), *mixed[:2], max_retries=1).error, ProtocolError)

    @unreadable
    def test_unreadable_answer_to_a_submission_is_not_retried(self, code, body, shown):
        player = ask(wait_one.submit, "key", {"job_id": "j1"}, answers=[Answer(code, body)])
        assert isinstance(player.error, ProtocolError)
        assert len(player.sends) == 1
        assert shown in str(player.error)
        assert "with idempotency_key='key': it stays one job" in str(player.error)

    @pytest.mark.parametrize("header", ["3", "3.0", "1, 3", "2.999"])
    def test_unreadable_answer_with_retry_after_lengthens_the_pause(self, header):
        player = watch(job(), failing(204, retry_after=header), job("completed"))
        assert player.sleeps[1] == max(float(text) for text in header.split(","))

    @unreadable
    def test_unreadable_answers_to_cancel_and_list_are_retried(self, code, body, shown):
        bad = Answer(code, body)
        player = ask(wait_one.cancel, "j1", answers=[bad, bad, job("cancelled")])
        assert player.states == ["cancelled"]
        assert shown in player.warnings[0]
        pages = [Answer(200, {"jobs": [], "next": str(number)}) for number in range(2)]
        bad = Answer(code, body) if code != 200 or isinstance(body, bytes) else Answer(200, b"{")
        last = Answer(200, {"jobs": [{"job_id": 5, "status": "pending"}], "next": None})
        player = ask(wait_one.list_jobs, answers=[bad, pages[0], *[bad] * 7, pages[1], bad, last])
        assert [status.id for status in player.statuses] == ["5"]


def test_refusal_reports_the_problem_document():
    errors = [{"field": "video_length", "message": "must be\npositive"}, "and more"]
    problem = {"title": "Unprocessable Content", "status": 422, "detail": "One field is wrong.", "errors": errors}
    error = run(Answer(422, problem)).error
    assert isinstance(error, InvalidRequest)
    assert error.status_code == 422
    assert error.errors == (errors[0],)
    assert str(error).startswith(
        "422 Unprocessable Content. One field is wrong. video_length: must be positive. Correct the request"
    )


def test_refusal_with_many_errors_has_a_short_message():
    errors = [{"field": f"f{number}", "message": "no"} for number in range(1000)]
    error = run(Answer(422, {"errors": errors})).error
    assert isinstance(error, InvalidRequest)
    assert error.errors == tuple(errors)
    assert "f19: no" in str(error)
    assert "f20: no" not in str(error)


@pytest.mark.parametrize("body", [None, [], "no", {"title": 3, "errors": {}}, {"errors": [1, None]}])
def test_refusal_without_a_problem_document(body):
    assert str(watch(Answer(403, body)).error).startswith("403 without a reason. ")


def test_redirect_error_names_the_target():
    error = watch(failing(307, location="https://elsewhere.example/status/j1")).error
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
    ],
)
def test_unexpected_answer_is_quoted_in_the_error(body, expected):
    flow = wait_one.poll(flow_options(max_retries=0), FlowTime(START), "j1")
    next(flow)
    with pytest.raises(ProtocolError, match="Check that the server's address") as raised:
        flow.send(Reply(200, {}, body, START))
    assert f"expected {expected}" in str(raised.value)
    assert len(str(raised.value)) < 500
