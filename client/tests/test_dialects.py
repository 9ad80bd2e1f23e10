"""Dialects: templates, routes, fields, credentials."""

import copy
import json
import pickle

import pytest

from tests.custom_dialect import MINE, TASK, custom_dialect
from tests.flow_player import Answer, FlowPlayer
from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    InvalidRequest,
    JobTimeout,
    NotFound,
    ProtocolError,
    State,
    Status,
)
from translation_client.core import wait_one
from translation_client.core.builtin_dialects import DIALECTS, START
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import CURRENT, states_of
from translation_client.core.effects import Sleep, Warn
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import SOONEST, Exponential
from translation_client.core.templates import parse


def flow_options(dialect, **options):
    defaults = {"initial_delay": 1, "max_delay": 1, "backoff_factor": 1, "max_retries": 0, "request_timeout": 10}
    return FlowOptions(**{"schedule": Exponential(1, 1, 1)} | defaults | options, random=lambda: 0, dialect=dialect)


def play(flow, *bodies, **headers):
    """Returns the effects of a flow whose requests are answered with these bodies."""
    player = FlowPlayer(now=0.0).run(flow, [Answer(200, body, headers, takes=0.0) for body in bodies])
    if player.error:
        raise player.error
    return player.effects


def task(**fields):
    return {"task": {"id": "t1", **fields}, "more": 1}


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

    def test_what_is_not_given_is_left_out_or_null(self):
        dialect = custom_dialect(
            send={"to": "to {target_language}", "n": ["{video_length | or_null}"], "m": "{simulate}"}
        )
        flow = wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", {})
        assert play(flow, task())[0].json == {"n": [None]}
        dialect = custom_dialect(send={"to": "to {target_language | or_null}", "n": "{video_length | or_null}"})
        flow = wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", {"target_language": "es"})
        assert play(flow, task())[0].json == {"to": "to es", "n": None}

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


class TestCurrent:
    """Dialects that poll without a job id."""

    @pytest.mark.parametrize(("name", "field"), [("status", "status"), ("result", "result")])
    def test_start_is_a_poll(self, server, name, field):
        server.says((200, {field: "pending"}), (200, {field: "pending"}), (200, {field: "completed"}))
        with Client(server.url, dialect=name, initial_delay=0.01, max_delay=0.01) as client:
            assert client.start() == Status(CURRENT, State.PENDING)
            assert client.run().state is State.COMPLETED
            assert client.wait(CURRENT) == client.status(CURRENT) == next(client.watch(CURRENT))
        assert set(server.asked) == {"GET /status"}
        assert "idempotency-key" not in server.requests[0].headers

    def test_other_job_ids_are_refused(self):
        with Client(dialect="status") as client:
            for method in (client.status, client.wait, client.watch, client.cancel):
                with pytest.raises(ValueError, match=r"^job_id must be 'current': the dialect status has no job ids"):
                    method("j1")


class TestRoutes:
    @pytest.mark.parametrize(
        "dialect", [DIALECTS["status"], DIALECTS["result"], MINE], ids=lambda dialect: dialect.name
    )
    def test_missing_routes_are_refused_at_once(self, dialect):
        with Client(dialect=dialect) as client:
            with pytest.raises(ValueError, match=rf"^list: the dialect {dialect.name} has no route for this$"):
                client.list()
            with pytest.raises(ValueError, match=rf"^cancel: the dialect {dialect.name} has no route for this$"):
                client.cancel("t1" if dialect.by_id else CURRENT)

    @pytest.mark.parametrize("name", ["start", "jobs", "translate"])
    def test_dialects_with_ids_have_the_native_routes(self, server, job, name):
        with Client(server.url, dialect=name) as client:
            server.says((200, job("cancelled")))
            assert client.cancel(job()["job_id"]).state is State.CANCELLED
            server.says((200, {"jobs": [job("error")], "next": None}))
            assert [status.error for status in client.list()] == ["the video has no sound"]
        assert server.asked == [f"DELETE /jobs/{job()['job_id']}", "GET /jobs"]

    def test_own_dialect_may_have_cancel_and_list(self, server):
        listed = {"request": "GET /all", "page": {"cursor": "from"}, "body": {"tasks": "{jobs}", "more": "{next}"}}
        dialect = custom_dialect(cancel={"request": "DELETE /tasks/{job_id}"}, list=listed)
        with Client(server.url, dialect=dialect) as client:
            server.says((200, {"tasks": [task(state="done")], "more": "c"}), (200, {"tasks": []}))
            assert [status.id for status in client.list()] == ["t1"]
            server.says((200, task(state="failed")))
            assert client.cancel("t1").state is State.ERROR
        asked = [f"{request.path}?{request.query}" for request in server.requests]
        assert asked == ["/all?", "/all?from=c", "/tasks/t1?"]

    @pytest.mark.parametrize(
        ("page", "more", "pages", "asked"),
        [
            ({"offset": "skip"}, {}, [{}, {}], ["", "skip=2", "skip=3"]),
            ({"offset": "skip"}, {"total": "{count}"}, [{"total": 3}, {"total": 3}], ["", "skip=2"]),
            ({"offset": "skip"}, {"more": "{has_more}"}, [{"more": True}, {"more": False}], ["", "skip=2"]),
            ({"offset": "skip"}, {"next": "{next}"}, [{"next": 2}, {"next": None}], ["", "skip=2"]),
            ({"number": "page"}, {"pages": "{pages}"}, [{"pages": 2}, {"pages": 2}], ["", "page=2"]),
            ({"number": "page"}, {}, [{}, {}], ["", "page=2", "page=3"]),
            (
                {"cursor": "from"},
                {"next": "{base_url}/all?from={next}"},
                [{"next": "https://x/y?size=2&from=c%2F1&z=1"}, {"next": None}],
                ["", "from=c%2F1"],
            ),
        ],
    )
    def test_lists_are_read_to_their_end(self, server, page, more, pages, asked):
        jobs = [[task(id=job_id, state="busy") for job_id in ids] for ids in ("32", "1", "")]
        listed = {"request": "GET /all", "page": page, "body": {"tasks": "{jobs}"} | more}
        with Client(server.url, dialect=custom_dialect(list=listed)) as client:
            server.says(*[(200, {"tasks": found} | also) for found, also in zip(jobs, [*pages, {}], strict=True)])
            assert [status.id for status in client.list()] == ["3", "2", "1"]
        assert [request.query for request in server.requests] == asked

    @pytest.mark.parametrize(
        ("page", "asked"),
        [({"cursor": "from"}, ["", "from=3", "from=2"]), ({"offset": "skip"}, ["", "skip=2", "skip=3"])],
    )
    def test_a_job_that_cannot_be_read_does_not_hide_the_others(self, server, caplog, page, asked):
        listed = {"request": "GET /all", "page": page, "body": {"tasks": "{jobs}"}}
        with Client(server.url, dialect=custom_dialect(list=listed)) as client:
            pages = [[task(id="9", state=[]), task(id="3", state="busy")], [task(id="2", state="done")], []]
            server.says(*[(200, {"tasks": found}) for found in pages])
            assert [status.id for status in client.list()] == ["3", "2"]
            server.says((200, {"tasks": [task(id="2", state="done"), 7]}), (200, {"tasks": []}))
            assert [status.id for status in client.list()] == ["2"]
        assert [request.query for request in server.requests][:3] == asked
        assert "a job in the answer to GET /all cannot be read and is left out: expected a job with" in caplog.text

    def test_an_item_may_be_a_part_of_the_answer_to_a_poll(self, server):
        listed = {"request": "GET /all", "item": "task", "body": {"tasks": "{jobs}"}}
        batch = {"request": "GET /some", "ids": "id", "item": "task", "body": {"tasks": "{jobs}"}}
        item = task(state="done")["task"]
        server.says((200, {"tasks": [item]}), (200, {"tasks": [item | {"id": "t2"}, item]}))
        with Client(server.url, dialect=custom_dialect(list=listed, batch_poll=batch)) as client:
            assert [(status.id, status.state) for status in client.list()] == [("t1", State.COMPLETED)]
            assert {status.id for status in client.wait_all(["t1", "t2"]).values()} == {"t1", "t2"}

    def test_an_item_may_have_a_template_of_its_own(self, server):
        item = {"task": "{job_id}", "is": "{status}", "why": "{error_message}"}
        listed = {"request": "GET /all", "item": item, "body": {"tasks": "{jobs}"}}
        batch = {"request": "GET /some", "ids": "id", "item": item, "body": {"tasks": "{jobs}"}}
        done, failed = {"task": "t1", "is": "done"}, {"task": "t2", "is": "failed", "why": "no sound"}
        server.says(*[(200, {"tasks": [done, failed]})] * 2)
        with Client(server.url, dialect=custom_dialect(list=listed, batch_poll=batch)) as client:
            found = [(status.id, status.state, status.error) for status in client.list()]
            assert found == [("t1", State.COMPLETED, None), ("t2", State.ERROR, "no sound")]
            assert client.wait_all(["t1", "t2"])["t2"].error == "no sound"

    def test_an_item_may_have_other_words_and_say_that_there_is_no_job(self, server):
        batch = {
            "request": "GET /some",
            "ids": "id",
            "item": {"task": "{job_id}", "is": "{status}"},
            "when": {"pending": {"item": {"is": "waiting"}}},
            "missing": {"task": "{job_id}", "is": "unknown"},
            "body": {"tasks": "{jobs}"},
        }
        unknown = {"task": "t2", "is": "unknown"}
        server.says(*[(200, {"tasks": [{"task": "t1", "is": word}, unknown]}) for word in ("waiting", "done")])
        with Client(server.url, dialect=custom_dialect(batch_poll=batch), initial_delay=0.01) as client:
            found = client.wait_all(["t1", "t2"], timeout=60)
        assert found["t1"].state is State.COMPLETED
        assert isinstance(found["t2"], NotFound)

    @pytest.mark.parametrize(("page", "following"), [("cursor", "c1"), ("offset", 1)])
    def test_a_list_by_post_has_the_page_in_its_body(self, server, page, following):
        where = {"body": {"Action": "List"}}
        listed = {"request": "POST /all", "where": where, "page": {page: "at"}, "body": {"t": "{jobs}", "n": "{next}"}}
        with Client(server.url, dialect=custom_dialect(list=listed)) as client:
            server.says((200, {"t": [task(state="busy")], "n": following}), (200, {"t": [], "n": None}))
            assert [status.id for status in client.list()] == ["t1"]
        assert [json.loads(request.body) for request in server.requests] == [
            {"Action": "List"},
            {"Action": "List", "at": following},
        ]

    def test_a_cancellation_that_shows_no_job_is_followed_by_a_poll(self, server):
        dialect = custom_dialect(cancel={"request": "POST /tasks/{job_id}/cancel", "body": {"ok": True}})
        server.says((200, {"ok": True}), (200, task(state="failed")))
        with Client(server.url, dialect=dialect) as client:
            assert client.cancel("t1").state is State.ERROR
        assert server.asked == ["POST /tasks/t1/cancel", "GET /tasks/t1/state"]

    @pytest.mark.parametrize(
        ("operation", "answer", "asked"),
        [
            ({"request": "DELETE /tasks/{job_id}", "code": 204}, (204, None), "DELETE /tasks/t1"),
            ({"request": "POST /delete", "job_id": {"body": "id"}}, (200, ["gone"]), "POST /delete"),
        ],
    )
    def test_a_deletion_returns_nothing_whatever_the_answer_is(self, server, operation, answer, asked):
        server.says(answer)
        with Client(server.url, dialect=custom_dialect(delete=operation)) as client:
            assert client.delete("t1") is None
        assert server.asked == [asked]

    def test_a_deletion_of_an_unknown_job_is_an_error_unless_an_earlier_try_may_have_deleted_it(self, server):
        server.says((404, {"detail": "No such task."}), (503, None), (404, None))
        dialect = custom_dialect(delete={"request": "DELETE /tasks/{job_id}"})
        with Client(server.url, dialect=dialect, initial_delay=0.01) as client:
            with pytest.raises(NotFound, match=r"^404 No such task\."):
                client.delete("t1")
            client.delete("t1")
        assert server.asked == ["DELETE /tasks/t1"] * 3

    def test_a_dialect_without_a_deletion_refuses_it(self):
        with Client() as client, pytest.raises(ValueError, match=r"^delete: the dialect start has no route for this$"):
            client.delete("t1")


class TestFields:
    @pytest.mark.parametrize(
        ("submit", "asked"),
        [
            ({"request": "PUT /tasks/{job_id}"}, "PUT /tasks/mine?"),
            ({"request": "POST /tasks", "job_id": {"query": "id", "text": "t/{job_id}"}}, "POST /tasks?id=t%2Fmine"),
            (
                {"request": "POST /{team}", "job_id": {"query": "id", "text": "{team}/{job_id}"}},
                "POST /red?id=red%2Fmine",
            ),
        ],
    )
    def test_own_job_id_is_sent_where_the_api_has_it(self, server, submit, asked):
        dialect = custom_dialect(submit=submit | {"body": {"id": "{job_id}"}})
        server.says((200, {"id": "mine"}))
        with Client(server.url, dialect=dialect, parameters={"team": "red"}) as client:
            assert client.start(job_id="mine").id == "mine"
            [request] = server.requests
            assert f"{request.method} {request.path}?{request.query}" == asked
            if submit["request"].startswith("PUT"):
                with pytest.raises(ValueError, match=r"^job_id must be given: it is a part of the path /tasks/"):
                    client.start()

    def test_own_job_id_is_sent_if_the_dialect_has_it(self, server):
        server.says((202, {"message": "Translation started", "job_id": "mine"}))
        with Client(server.url, dialect="translate") as client:
            assert client.start(job_id="mine", target_language="es").id == "mine"
            assert json.loads(server.requests[0].body) == {"job_id": "mine", "target_language": "es"}
            server.says((202, {"message": "Translation started", "job_id": "another"}))
            with pytest.raises(ProtocolError, match="expected job mine"):
                client.start(job_id="mine")
            with pytest.raises(ValueError, match=r"^job_id must be the id of a job"):
                client.run(job_id="..")

    @pytest.mark.parametrize(
        ("dialect", "field"),
        [
            ("start", {"job_id": "mine"}),
            ("translate", {"video_length": 3}),
            ("status", {"target_language": "es"}),
            (MINE, {"source_language": "en"}),
        ],
    )
    @pytest.mark.parametrize("method", ["start", "run"])
    def test_field_without_a_placeholder_is_refused(self, dialect, field, method):
        [name] = field
        with Client(dialect=dialect) as client, pytest.raises(ValueError, match=rf"^{name} is not a field of"):
            getattr(client, method)(**field)

    def test_job_whose_id_is_not_returned_needs_an_own_id(self, server):
        submit = {"request": "POST /tasks", "body": {"ok": True}}
        dialect = custom_dialect(submit=submit, send={"id": "{job_id}"})
        server.says((200, {"ok": True}))
        with Client(server.url, dialect=dialect) as client:
            with pytest.raises(ValueError, match=r"^job_id must be given: the dialect mine does not return"):
                client.start()
            assert server.requests == []
            assert client.start(job_id="t1") == Status("t1", State.PENDING)


class TestCredentials:
    @pytest.mark.parametrize(
        ("auth", "header", "value"),
        [
            ("Authorization: Bearer {token}", "authorization", "Bearer pässword"),
            ("Authorization: Key {token}", "authorization", "Key pässword"),
            ("X-Api-Key: {token}", "x-api-key", "pässword"),
        ],
    )
    def test_token_is_sent_as_the_dialect_says(self, server, auth, header, value):
        server.says((401, None))
        with Client(server.url, dialect=custom_dialect(auth), token="pässword") as client:
            with pytest.raises(AuthenticationError, match=r"^401 without a reason\. Check the token\.$") as raised:
                client.start()
            assert "pässword" not in repr(vars(client)) + repr(raised.value)
        assert server.requests[0].headers[header] == value
        assert ("authorization" in server.requests[0].headers) == (header == "authorization")

    @pytest.mark.parametrize("auth", ["Authorization: Bearer {token}", "X-Api-Key: {token}", "?key={token}"])
    def test_client_without_token_sends_none(self, server, auth):
        server.says((200, task()))
        with Client(server.url, dialect=custom_dialect(auth)) as client:
            client.start()
        assert not {"authorization", "x-api-key"} & server.requests[0].headers.keys()

    @pytest.mark.parametrize(
        ("dialect", "options", "message"),
        [
            ("start", {"token": "t"}, "token does not fit the dialect start: give username and password"),
            (
                custom_dialect("Authorization: Bearer {token}"),
                {"username": "u"},
                "username does not fit the dialect mine: give token",
            ),
            (custom_dialect("X-Key: {token}"), {"password": "p"}, "password does not fit the dialect mine: give token"),
            *(
                (custom_dialect("X-Key: {token}"), {"token": token}, "token must be printable text")
                for token in ("", " t", "t\n", "a\nb", "\ud800", 7)
            ),
        ],
    )
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_credentials_of_another_kind_are_refused(self, kind, dialect, options, message):
        with pytest.raises(ValueError, match=f"^{message}"):
            kind(dialect=dialect, **options)


class TestSchedules:
    """Schedules of the caller's."""

    def test_own_schedule_ignores_the_servers_hints(self):
        def schedule():
            yield 0.0
            yield 3.0
            yield 0.0
            yield 5.0

        flow = wait_one.watch(flow_options(MINE, schedule=schedule), FlowTime(0.0), "t1")
        effects = play(flow, *[task(state="busy")] * 3, task(state="done"), retry_after="9")
        sleeps = [effect.seconds for effect in effects if isinstance(effect, Sleep)]
        assert sleeps == [3.0, SOONEST, 5.0]

    def test_wait_ends_with_the_schedule(self, server):
        def schedule():
            yield 0.0
            yield 0.01

        server.says((200, task(state="busy")))
        with Client(server.url, dialect=MINE, schedule=schedule) as client:
            with pytest.raises(JobTimeout, match="t1 was still pending after the last poll of the schedule") as raised:
                client.wait("t1")
            assert raised.value.status == Status("t1", State.PENDING)
        assert len(server.requests) == 2


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
