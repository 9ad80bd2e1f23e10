"""Templates of dialects: what a submission sends, and how answers are read."""

import copy
import pickle

import pytest

from tests.custom_dialect import MINE, TASK, custom_dialect, flow_options, play, task
from translation_client import (
    Client,
    InvalidRequest,
    NotFound,
    ProtocolError,
    State,
    Status,
)
from translation_client.core import wait_one
from translation_client.core.builtin_dialects import START
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import states_of
from translation_client.core.effects import Warn
from translation_client.core.templates import parse, read


class TestTemplates:
    def test_submission_fills_the_template(self):
        flow = wait_one.submit(flow_options(MINE), FlowTime(0.0), "key", {"target_language": "es"})
        send, status = play(flow, task())
        assert send.json == {"input": {"to": "es", "url": "any", "tags": ["x"]}}
        assert (send.method, send.path, send.headers) == ("POST", "/tasks", {"Idempotency-Key": "key"})
        assert status == Status("t1", State.PENDING)

    def test_fate_is_sent_to_any_api(self):
        flow = wait_one.submit(flow_options(MINE), FlowTime(0.0), "key", {"simulate": {"delay": 0}})
        send, _ = play(flow, task())
        assert send.json == {"input": {"url": "any", "tags": ["x"]}, "simulate": {"delay": 0}}

    def test_missing_values_are_left_out_or_null(self):
        dialect = custom_dialect(
            send={"to": "to {target_language}", "n": ["{video_length | or_null}"], "m": "{simulate}"}
        )
        flow = wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", {})
        assert play(flow, task())[0].json == {"n": [None]}
        dialect = custom_dialect(send={"to": "to {target_language | or_null}", "n": "{video_length | or_null}"})
        flow = wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", {"target_language": "es"})
        assert play(flow, task())[0].json == {"to": "to es", "n": None}

    @pytest.mark.parametrize(
        ("template", "text", "values"),
        [
            ("/x?a={next}{&query.state}", "/x?a=5&state=b%20c", {"next": "5"}),
            ("/x?a={next}{&query.state}", "/x?a=5", {"next": "5"}),
            ("/x{?query.state}", "/x", {}),
            ("/{next}{?query.state,query.b}#{job_id}", "/5?state=1#t1", {"next": "5", "job_id": "t1"}),
            ("/{next}{?query.a}{&query.b}", "/5&b=1", {"next": "5"}),
            ("/{next}{?query.state}#{job_id}", "/5#t1", {"next": "5", "job_id": "t1"}),
        ],
    )
    def test_parameters_of_a_query_end_what_is_before_them(self, template, text, values):
        known = ("next", "job_id", "query.")
        assert read(parse({"url": template}, known), {"url": text}) == values

    def test_parameters_of_a_query_without_a_value_are_not_sent(self):
        dialect = custom_dialect(send={"to": "/x{?target_language,video_length}{&source_language}"})
        flow = wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", {"target_language": "é&s"})
        assert play(flow, task())[0].json == {"to": "/x?target_language=%C3%A9%26s"}

    def test_answer_is_read_by_the_template(self):
        body = task(state="failed", done=1, why="no sound")
        send, status = play(wait_one.poll(flow_options(MINE), FlowTime(0.0), "t1"), body)
        assert send.path == "/tasks/t1/state"
        assert status == Status("t1", State.ERROR, 1.0, None, "no sound")
        assert status.raw == body

    def test_run_reads_each_answer_by_its_own_template(self):
        flow = wait_one.run(flow_options(MINE), FlowTime(0.0), "key", {})
        effects = play(flow, task(), task(state="busy"), task(state="done"))
        assert [effect.state for effect in effects if isinstance(effect, Status)] == ["pending", "completed"]
        assert not any(isinstance(effect, Warn) for effect in effects)

    def test_unknown_word_is_warned_of(self):
        flow = wait_one.watch(flow_options(MINE), FlowTime(0.0), "t1")
        effects = play(flow, task(state="paused"), task(state="done"))
        assert effects[1] == Warn("job t1 has the unknown status 'paused', which counts as pending")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, "a job with 'task.id' and 'task.state'"),
            ({"task": 7}, "a job with 'task.id' and 'task.state'"),
            (task(), "a job with 'task.id' and 'task.state'"),
            (task(state=5), "a job with 'task.id' and 'task.state'"),
            (task(state="busy", done="half"), "a number as 'task.done'"),
        ],
    )
    def test_mismatching_answer_names_the_path(self, body, expected):
        with pytest.raises(ProtocolError) as raised:
            play(wait_one.poll(flow_options(MINE), FlowTime(0.0), "t1"), body)
        assert f"expected {expected}, but" in str(raised.value)

    def test_error_message_counts_only_for_failed_jobs(self):
        _, status = play(wait_one.poll(flow_options(MINE), FlowTime(0.0), "t1"), task(state="done", why="all is well"))
        assert status == Status("t1", State.COMPLETED)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (5, "5"),
            (1.5, "1.5"),
            (10**400, str(10**400)),
            (True, "true"),
            ("\ud800", "?"),
            ({"reason": ["no sound"]}, '{"reason": ["no sound"]}'),
            (None, None),
        ],
    )
    def test_why_a_job_failed_is_text_whatever_the_answer_has(self, value, text):
        options = flow_options(custom_dialect(body={"is": "{status}", "why": "{error_message}", "n": "{error_code}"}))
        body = {"is": "failed", "why": value, "n": value}
        _, status = play(wait_one.poll(options, FlowTime(0.0), "t1"), body)
        assert status == Status("t1", State.ERROR, error=text, error_code=text)

    @pytest.mark.parametrize(
        ("template", "value", "progress"),
        [
            ("{progress}", "0.5", 0.5),
            ("{progress}", "50%", 0.5),
            ("{progress | text}", "0.5", 0.5),
            ("{progress | percent}", "50", 0.5),
            ("{progress | percent}", "50 %", 0.5),
            ("{progress | percent}%", "50%", 0.5),
            ("{progress | percent} of 100", "50 of 100", 0.5),
            ("{progress}", "9" * 9999, None),
        ],
    )
    def test_progress_may_be_text(self, template, value, progress):
        options = flow_options(custom_dialect(body={"is": "{status}", "done": template}))
        flow = wait_one.poll(options, FlowTime(0.0), "t1")
        if progress is None:
            with pytest.raises(ProtocolError, match="expected a number as 'done'"):
                play(flow, {"is": "busy", "done": value})
        else:
            assert play(flow, {"is": "busy", "done": value})[1].progress == progress

    def test_elapsed_time_may_be_within_a_text(self):
        options = flow_options(custom_dialect(body={"is": "{status}", "took": "{elapsed_time}s"}))
        assert play(wait_one.poll(options, FlowTime(0.0), "t1"), {"is": "done", "took": "1.5s"})[1].elapsed == 1.5

    def test_first_of_several_placeholders_counts(self):
        flow = wait_one.poll(flow_options(START), FlowTime(0.0), "j1")
        assert play(flow, {"job_id": "j1", "status": "error", "result": 7})[1] == Status("j1", State.ERROR)

    @pytest.mark.parametrize(
        ("body", "state", "progress"),
        [
            ({"state": "queued", "place": 3}, State.PENDING, None),
            ({"state": "busy", "percent": 50}, State.PENDING, 0.5),
            ({"state": "done", "percent": 50}, State.COMPLETED, None),
        ],
    )
    def test_a_pending_job_is_read_by_the_template_of_its_word(self, body, state, progress):
        when = {"busy": {"body": {"percent": "{progress | percent}"}}, "queued": {"body": {"place": 1}}}
        options = flow_options(custom_dialect(body={"state": "{status}", "sent": "{input}"}, when=when))
        _, status = play(wait_one.poll(options, FlowTime(0.0), "t1"), body)
        assert (status.state, status.progress) == (state, progress)

    @pytest.mark.parametrize(
        ("body", "state"),
        [
            ({}, State.PENDING),
            ({"eta": 3}, State.PENDING),
            ({"video": "x"}, State.COMPLETED),
            ({"why": "x"}, State.ERROR),
        ],
    )
    def test_without_words_any_template_of_a_pending_job_may_fit(self, body, state):
        when = {
            "busy": {"body": {"eta": "{queue_position}"}},
            "completed": {"body": {"video": "{output}"}},
            "error": {"body": {"why": "{error_message}"}},
        }
        options = flow_options(custom_dialect(body={}, when=when, output="x"))
        _, status = play(wait_one.poll(options, FlowTime(0.0), "t1"), body)
        assert status.state is state

    def test_answer_without_id_is_that_of_the_polled_job(self):
        options = flow_options(custom_dialect(body={"state": "{status}"}))
        _, status = play(wait_one.poll(options, FlowTime(0.0), "t1"), {"state": "done"})
        assert status == Status("t1", State.COMPLETED)

    @pytest.mark.parametrize("state", State)
    def test_words_mean_states(self, state):
        assert states_of(START, state.value) == (state,)
        assert states_of(MINE, "busy") == states_of(MINE, "queued") == (State.PENDING,)
        assert states_of(MINE, "failed") == (State.ERROR, State.CANCELLED)
        assert states_of(custom_dialect(words=TASK["words"] | {"cancelled": "gone"}), "gone") == (State.CANCELLED,)
        assert states_of(MINE, "unknown") == states_of(MINE, None) == ()

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"error": {"message": "No such task."}}, "404 No such task"),
            ({"reason": "Gone."}, "404 Gone"),
            ({"other": 1}, "404 without a reason"),
        ],
    )
    def test_an_error_is_read_where_any_of_its_templates_has_the_detail(self, server, body, text):
        error = {"body": {"error": {"message": "{detail}"}}, "when": {"404": {"body": {"reason": "{detail}"}}}}
        server.says((404, body))
        with (
            Client(server.url, dialect=custom_dialect(api={"error": error})) as client,
            pytest.raises(NotFound, match=f"^{text}"),
        ):
            client.status("t1")

    @pytest.mark.parametrize(
        ("body", "text", "errors"),
        [
            ({"why": "must be a number", "at": "size"}, "size: must be a number", ["size", "must be a number"]),
            ({"why": "must be a number"}, "must be a number", []),
            (
                {"why": "must be a number", "at": "size", "what": "No."},
                r"No\. size: must be a number",
                ["size", "must be a number"],
            ),
            (
                {"why": "must be", "at": "size", "what": "size: must be, and more"},
                "size: must be, and more",
                ["size", "must be"],
            ),
            ({"why": 5, "at": "size"}, "without a reason", ["size", 5]),
        ],
    )
    def test_an_error_may_have_the_field_and_the_bare_reason(self, server, body, text, errors):
        error = {"body": {"why": "{reason}", "at": "{field}", "time": "{now}", "path": "{path}", "what": "{detail}"}}
        server.says((422, body | {"time": "now", "path": "/x"}))
        with (
            Client(server.url, dialect=custom_dialect(api={"error": error})) as client,
            pytest.raises(InvalidRequest, match=rf"^422 {text}\. Correct") as raised,
        ):
            client.start()
        assert [one for each in raised.value.errors for one in each.values()] == errors

    def test_dialect_can_be_copied_and_pickled(self):
        assert pickle.loads(pickle.dumps(MINE)) == copy.deepcopy(MINE) == MINE  # noqa: S301 - bytes of this test


@pytest.mark.parametrize(
    ("template", "text", "values"),
    [
        ("operations/{job_id}", "operations/7", {"job_id": "7"}),
        ("operations/{job_id}", "jobs/7", {}),
        ("a{job_id}z", "abcz", {"job_id": "bc"}),
        ("a{job_id}z", "a", {}),
        ("{base_url}/tasks/{job_id}?v=1", "http://h/tasks/7?v=1", {"base_url": "http://h", "job_id": "7"}),
        ("{base_url}/tasks/{job_id}?v=1", "http://h/tasks/7?v=1&more", {}),
        ("operations/{job_id}", 7, {}),
    ],
)
def test_values_within_a_text_are_read(template, text, values):
    assert parse(template, ("job_id", "base_url")).read(text) == values


def test_texts_are_read_in_linear_time():
    """With backtracking, this would take hours."""
    template = parse("{base_url}/a/{job_id}/b/{input.x}/c", ("job_id", "base_url", "input."))
    assert template.read("/a//b/" * 200_000) == {}
