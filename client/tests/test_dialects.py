"""Rows of every kind: our own, and those of a user's file."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    Dialect,
    JobTimeout,
    ProtocolError,
    State,
    Status,
)
from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import CURRENT, DIALECTS, START, Listing
from translation_client.core.effects import Done, Reply, Send, Sleep, Warn
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import SOONEST, Exponential
from translation_client.dialect_files import find_dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Job, Server
    from translation_client.core.effects import Effect

HEYGEN = Path(__file__).parents[2] / "examples" / "dialects" / "heygen.toml"
WORDS = {"pending": ["queued", "busy"], "completed": "done", "error": "failed"}
MINE = Dialect(
    name="mine",
    submit="/tasks",
    poll="/tasks/{job_id}/state",
    request={"input": {"to": "{target_language}", "url": "any", "tags": ["{x}"]}, "seconds": "{video_length}"},
    accepted={"task": {"id": "{job_id}"}},
    job={"task": {"id": "{job_id}", "state": "{status}", "done": "{progress}", "why": "{error_message}"}},
    words=WORDS,
)


def rules(dialect: Dialect, **chosen: Any) -> FlowOptions:
    defaults = {"initial_delay": 1, "max_delay": 1, "backoff_factor": 1, "max_retries": 0, "request_timeout": 10}
    return FlowOptions(**{"schedule": Exponential(1, 1, 1)} | defaults | chosen, random=lambda: 0, dialect=dialect)


def play(flow: wait_one.Flow, *bodies: object, **headers: str) -> list[Effect]:
    """Returns the commands of a flow whose requests are answered with these bodies."""
    left, commands = list(bodies), [next(flow)]
    try:
        while True:
            event = Done(0.0)
            if isinstance(commands[-1], Send):
                event = Reply(200, headers, json.dumps(left.pop(0)).encode(), 0.0)
            commands.append(flow.send(event))
    except StopIteration:
        return commands


def task(**facts: object) -> dict[str, object]:
    return {"task": {"id": "t1", **facts}, "more": 1}


class TestTemplates:
    def test_what_is_sent_is_the_template_with_what_is_given(self) -> None:
        flow = wait_one.submit(rules(MINE), FlowTime(0.0), "key", {"target_language": "es"})
        send, status = play(flow, task())
        assert isinstance(send, Send)
        assert send.json == {"input": {"to": "es", "url": "any", "tags": ["{x}"]}}
        assert (send.method, send.path, send.headers) == ("POST", "/tasks", {"Idempotency-Key": "key"})
        assert status == Status("t1", State.PENDING)

    def test_what_is_answered_is_read_in_its_place(self) -> None:
        body = task(state="failed", done=1, why="no sound")
        send, status = play(wait_one.poll(rules(MINE), FlowTime(0.0), "t1"), body)
        assert isinstance(send, Send)
        assert send.path == "/tasks/t1/state"
        assert status == Status("t1", State.ERROR, 1.0, None, "no sound")
        assert status.raw == body

    def test_a_run_reads_each_answer_by_its_own_template(self) -> None:
        commands = play(
            wait_one.run(rules(MINE), FlowTime(0.0), "key", {}), task(), task(state="busy"), task(state="done")
        )
        assert [effect.state for effect in commands if isinstance(effect, Status)] == ["pending", "completed"]
        assert not any(isinstance(effect, Warn) for effect in commands)

    def test_an_unknown_word_is_told(self) -> None:
        commands = play(wait_one.watch(rules(MINE), FlowTime(0.0), "t1"), task(state="paused"), task(state="done"))
        assert commands[1] == Warn("job t1 has the unknown status 'paused', which counts as pending")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, "a job with 'task.id' and 'task.state'"),
            ({"task": 7}, "a job with 'task.id' and 'task.state'"),
            (task(), "a job with 'task.id' and 'task.state'"),
            (task(state=5), "a job with 'task.id' and 'task.state'"),
            (task(state="failed", why=5), "a text as 'task.why'"),
            (task(state="busy", done="half"), "a number as 'task.done'"),
        ],
    )
    def test_an_answer_that_does_not_fit_names_the_place(self, body: object, expected: str) -> None:
        with pytest.raises(ProtocolError) as raised:
            play(wait_one.poll(rules(MINE), FlowTime(0.0), "t1"), body)
        assert f"expected {expected}, but" in str(raised.value)

    def test_a_message_is_an_error_only_of_a_job_that_failed(self) -> None:
        _, status = play(wait_one.poll(rules(MINE), FlowTime(0.0), "t1"), task(state="done", why="all is well"))
        assert status == Status("t1", State.COMPLETED)

    def test_of_several_places_the_first_counts(self) -> None:
        assert play(wait_one.poll(rules(START), FlowTime(0.0), "j1"), {"job_id": "j1", "status": "error", "result": 7})[
            1
        ] == Status("j1", State.ERROR)

    def test_a_look_that_does_not_tell_the_id_tells_of_the_job_asked_for(self) -> None:
        dialect = replace(MINE, job={"state": "{status}"})
        assert play(wait_one.poll(rules(dialect), FlowTime(0.0), "t1"), {"state": "done"})[1] == Status(
            "t1", State.COMPLETED
        )

    @pytest.mark.parametrize("state", State)
    def test_words_mean_states(self, state: State) -> None:
        assert START.meanings[state] is state
        assert MINE.meanings == {"queued": "pending", "busy": "pending", "done": "completed", "failed": "error"}
        assert replace(MINE, words=WORDS | {"cancelled": "gone"}).meanings["gone"] is State.CANCELLED

    def test_a_row_can_be_copied_and_sent(self) -> None:
        assert pickle.loads(pickle.dumps(MINE)) == copy.deepcopy(MINE) == MINE  # noqa: S301 - our own bytes


class TestCurrent:
    """Dialects that look at jobs without an id."""

    @pytest.mark.parametrize(("name", "field"), [("status", "status"), ("result", "result")])
    def test_a_start_is_a_look(self, server: Server, name: str, field: str) -> None:
        server.says((200, {field: "pending"}), (200, {field: "pending"}), (200, {field: "completed"}))
        with Client(server.url, dialect=name, initial_delay=0.01, max_delay=0.01) as client:
            assert client.start() == Status(CURRENT, State.PENDING)
            assert client.run().state is State.COMPLETED
            assert client.wait(CURRENT) == client.status(CURRENT) == next(client.watch(CURRENT))
        assert set(server.asked) == {"GET /status"}
        assert "idempotency-key" not in server.requests[0].headers

    def test_there_is_no_other_job(self) -> None:
        with Client(dialect="status") as client:
            for method in (client.status, client.wait, client.watch, client.cancel):
                with pytest.raises(ValueError, match=r"^job_id must be 'current': the dialect status has no job ids"):
                    method("j1")

    def test_a_submission_is_looked_at_without_its_id(self, server: Server) -> None:
        dialect = replace(MINE, poll="/state", job={"state": "{status}"}, request={"id": "{job_id}"})
        server.says((200, {"state": "queued"}), (200, {"state": "done"}))
        with Client(server.url, dialect=dialect, initial_delay=0.01) as client:
            assert client.run(job_id="mine") == Status(CURRENT, State.COMPLETED)
        assert server.asked == ["POST /tasks", "GET /state"]
        assert json.loads(server.requests[0].body) == {"id": "mine"}


class TestRoutes:
    @pytest.mark.parametrize(
        "dialect", [DIALECTS["status"], DIALECTS["result"], MINE], ids=lambda dialect: dialect.name
    )
    def test_what_a_dialect_does_not_have_is_refused_at_once(self, dialect: Dialect) -> None:
        with Client(dialect=dialect) as client:
            with pytest.raises(ValueError, match=rf"^list: the dialect {dialect.name} has no route for this$"):
                client.list()
            with pytest.raises(ValueError, match=rf"^cancel: the dialect {dialect.name} has no route for this$"):
                client.cancel("t1" if dialect.by_id else CURRENT)
        with Client(dialect=replace(MINE, submit=None)) as client, pytest.raises(ValueError, match=r"^start: the dial"):
            client.start()

    @pytest.mark.parametrize("name", ["start", "jobs", "translate"])
    def test_the_native_routes_serve_where_jobs_have_ids(self, server: Server, job: Job, name: str) -> None:
        with Client(server.url, dialect=name) as client:
            server.says((200, job("cancelled")))
            assert client.cancel(str(job()["job_id"])).state is State.CANCELLED
            server.says((200, {"jobs": [job("error")], "next": None}))
            assert [status.error for status in client.list()] == ["the video has no sound"]
        assert server.asked == [f"DELETE /jobs/{job()['job_id']}", "GET /jobs"]

    def test_a_row_of_ones_own_may_have_them_too(self, server: Server) -> None:
        dialect = replace(MINE, cancel="/tasks/{job_id}", list=Listing("/all", "tasks", "more", "from"))
        with Client(server.url, dialect=dialect) as client:
            server.says((200, {"tasks": [task(state="done")], "more": "c"}), (200, {"tasks": []}))
            assert [status.id for status in client.list()] == ["t1"]
            server.says((200, task(state="failed")))
            assert client.cancel("t1").state is State.ERROR
        assert [f"{request.path}?{request.query}" for request in server.requests] == [
            *("/all?", "/all?from=c", "/tasks/t1?"),
        ]


class TestFacts:
    def test_a_caller_may_bring_an_id_where_it_has_a_place(self, server: Server) -> None:
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
        ("dialect", "fact"),
        [
            ("start", {"job_id": "mine"}),
            ("translate", {"video_length": 3}),
            ("status", {"target_language": "es"}),
            (MINE, {"source_language": "en"}),
        ],
    )
    @pytest.mark.parametrize("method", ["start", "run"])
    def test_what_has_no_place_is_refused_and_not_lost(
        self, dialect: str | Dialect, fact: dict[str, Any], method: str
    ) -> None:
        with (
            Client(dialect=dialect) as client,
            pytest.raises(ValueError, match=rf"^{next(iter(fact))} is not a field of"),
        ):
            getattr(client, method)(**fact)

    def test_a_job_whose_id_nobody_would_know_is_not_started(self, server: Server) -> None:
        dialect = replace(MINE, accepted={"ok": True}, request={"id": "{job_id}"})
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
            ("bearer", "authorization", "Bearer pässword"),
            ("Bearer", "authorization", "Bearer pässword"),
            ("X-Api-Key", "x-api-key", "pässword"),
        ],
    )
    def test_a_token_goes_where_the_row_says(self, server: Server, auth: str, header: str, value: str) -> None:
        server.says((401, None))
        with Client(server.url, dialect=replace(MINE, auth=auth), token="pässword") as client:
            with pytest.raises(AuthenticationError, match=r"^401 without a reason\. Check the token\.$") as raised:
                client.start()
            assert "pässword" not in repr(vars(client)) + repr(raised.value)
        assert server.requests[0].headers[header] == value
        assert ("authorization" in server.requests[0].headers) == (header == "authorization")

    @pytest.mark.parametrize("auth", ["bearer", "X-Api-Key"])
    def test_without_one_none_is_sent(self, server: Server, auth: str) -> None:
        server.says((200, task()))
        with Client(server.url, dialect=replace(MINE, auth=auth)) as client:
            client.start()
        assert not {"authorization", "x-api-key"} & server.requests[0].headers.keys()

    @pytest.mark.parametrize(
        ("dialect", "given", "fault"),
        [
            ("start", {"token": "t"}, "token does not fit the dialect start: give username and password"),
            (replace(MINE, auth="bearer"), {"username": "u"}, "username does not fit the dialect mine: give token"),
            (replace(MINE, auth="X-Key"), {"password": "p"}, "password does not fit the dialect mine: give token"),
            *(
                (replace(MINE, auth="X-Key"), {"token": token}, "token must be printable text")
                for token in ("", " t", "t\n", "a\nb", "\ud800", 7)
            ),
        ],
    )
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_what_does_not_fit_is_refused(
        self, kind: Callable[..., object], dialect: str | Dialect, given: dict[str, Any], fault: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^{fault}"):
            kind(dialect=dialect, **given)


class TestSchedules:
    """A schedule of the caller's own."""

    def test_it_is_kept_whatever_the_server_asks_for(self) -> None:
        def schedule() -> Any:
            yield 0.0
            yield 3.0
            yield 0.0
            yield 5.0

        flow = wait_one.watch(rules(MINE, schedule=schedule), FlowTime(0.0), "t1")
        commands = play(flow, *[task(state="busy")] * 3, task(state="done"), retry_after="9")
        sleeps = [effect.seconds for effect in commands if isinstance(effect, Sleep)]
        assert sleeps == [3.0, SOONEST, 5.0]

    def test_where_it_ends_the_wait_ends(self, server: Server) -> None:
        def schedule() -> Any:
            yield 0.0
            yield 0.01

        server.says((200, task(state="busy")))
        with Client(server.url, dialect=MINE, schedule=schedule) as client:
            with pytest.raises(JobTimeout, match="t1 was still pending after the last poll of the schedule") as raised:
                client.wait("t1")
            assert raised.value.status == Status("t1", State.PENDING)
        assert len(server.requests) == 2


ROW = """
[mine]
submit = "/tasks"
poll = "/tasks/{job_id}"
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
"""

FAULTS = [
    (("[mine]", "[Mine]"), "[Mine] must have an unused name in lower case"),
    (("[mine]", "[status]"), "[status] must have an unused name in lower case"),
    (("[mine]", "[job]"), "[job] must have an unused name in lower case"),
    (("[mine]", "[docs]"), "[docs] must have an unused name in lower case"),
    (("[mine]", "other = 5\n[mine]"), "[other] must be a table"),
    (("poll =", "pol ="), "[mine] pol: there is no such field; the fields are poll, job, words,"),
    (("poll =", "#"), "[mine] poll: is required"),
    (('submit = "/tasks"', 'submitt = "/tasks"'), "[mine] submitt: there is no such field"),
    (('submit = "/tasks"', 'submit = "/tasks/{job_id}"'), "[mine] submit: must be a path"),
    (('submit = "/tasks"', "cancel = '/tasks'"), "[mine] cancel: there is no such field"),
    (('"/tasks/{job_id}"', '"tasks/{job_id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '"/tasks/{id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '"/{job_id}/{job_id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '""'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', "[]"), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', "5"), "[mine] poll: must be a path"),
    (("job =", "job = 5 #"), "[mine] job: must be a table"),
    (('"{job_id}"', '"{job}"'), "[mine] job: there is no field job; the fields are job_id, status,"),
    (('"{status}"', '"status"'), '[mine] job: must contain "{status}"'),
    (('"{status}"', '"{status}", at = 1979-05-27'), "[mine] job: must be valid JSON"),
    (('"{status}"', '"{status}", more = [{x = nan}]'), "[mine] job: must be valid JSON"),
    (('pending = "busy", ', ""), "[mine] words.pending: must be a word"),
    (('"busy"', '""'), "[mine] words.pending: must be a word"),
    (('"busy"', '["busy", 5]'), "[mine] words.pending: must be a word"),
    (('"failed"', '"failed", cancelled = []'), "[mine] words.cancelled: must be a word"),
    (('"failed"', '"failed", gone = "gone"'), "[mine] words.gone: there is no such state"),
    (('"done"', '["ready", "busy"]'), "[mine] words: 'busy' cannot mean both pending and completed"),
    (('"failed"', '"failed", cancelled = "done"'), "[mine] words: 'done' cannot mean both completed and cancelled"),
    (("words =", "words = 5 #"), "[mine] words: must be a table"),
    (
        ("[mine]", "[mine]\nrequest = {to = '{status}'}"),
        "[mine] request: there is no field status; the fields are job_id",
    ),
    (
        ("[mine]", "[mine]\naccepted = {to = '{state}'}"),
        "[mine] accepted: there is no field state; the fields are job_id",
    ),
    (("[mine]", "[mine]\nauth = 'two words'"), "[mine] auth: must be basic, bearer or the name of a header"),
    (("[mine]", "[mine]\nauth = 5"), "[mine] auth: must be basic, bearer or the name of a header"),
    (("[mine]", "[mine]\naccepted_code = 404"), "[mine] accepted_code: must be a whole number from 200 to 299"),
    (("[mine]", "[mine]\naccepted_code = true"), "[mine] accepted_code: must be a whole number from 200 to 299"),
    (("[mine]", "[mine"), "cannot be read as TOML"),
    ((ROW, ""), "must define a dialect, such as [mine]"),
]


class TestFiles:
    @pytest.mark.parametrize(("change", "told"), FAULTS)
    def test_a_bad_row_is_told_in_one_line_with_file_and_row(self, change: tuple[str, str], told: str) -> None:
        Path("mine.toml").write_text(ROW.replace(*change))
        with pytest.raises(ValueError, match=r"^dialect mine\.toml: ") as raised:
            Client(dialect="mine.toml")
        assert told in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is None

    @pytest.mark.parametrize(
        "change",
        [
            ("", ""),
            ('"/tasks/{job_id}"', '["/tasks/{job_id}", "/tasks/{job_id}/x"]'),
            ('"/tasks/{job_id}"', '"/{job_id}"'),
            ('"busy"', '["busy", "queued"]'),
            ('"failed"', '"failed", cancelled = "failed"'),
            ("[mine]", "[mine]\naccepted = {ok = true, more = [1.5, 'x']}\naccepted_code = 200\nauth = 'BEARER'"),
        ],
    )
    def test_a_good_row_is_taken(self, change: tuple[str, str]) -> None:
        Path("mine.toml").write_text(ROW.replace(*change))
        dialect = find_dialect(Path("mine.toml"))
        assert dialect.name == "mine"
        assert dialect.request_fields == {"source_language", "target_language", "video_length"}

    def test_a_file_of_several_rows_needs_to_be_told_which(self) -> None:
        Path("two#1.toml").write_text(ROW + ROW.replace("mine", "other").replace("/tasks/{", "/others/{"))
        assert find_dialect("two#1.toml#other").path == "/others/{job_id}"
        assert find_dialect("two#1.toml#mine").path == "/tasks/{job_id}"
        for given in ("two#1.toml", "two#1.toml#third"):
            with pytest.raises(
                ValueError, match=rf"^dialect {given}: choose one of two#1.toml#mine, two#1.toml#other$"
            ):
                find_dialect(given)
        Path("two#1.toml").write_text(ROW + ROW.replace("mine", "other").replace("status", "state"))
        with pytest.raises(ValueError, match=r"\[other\] job: there is no field state"):
            find_dialect("two#1.toml#mine")

    def test_what_is_neither_a_name_nor_a_file(self) -> None:
        with pytest.raises(ValueError, match=r"^dialect translat: is neither one of start, jobs, .* nor a file$"):
            Client(dialect="translat")
        for folder in (".", "a\0b"):
            with pytest.raises(ValueError, match="cannot be read as TOML"):
                AsyncClient(dialect=folder)
        Path("latin.toml").write_bytes(b"\xe4")
        with pytest.raises(ValueError, match="cannot be read as TOML"):
            Client(dialect=Path("latin.toml"))

    def test_the_worked_example_is_read(self) -> None:
        dialect = find_dialect(HEYGEN)
        assert (dialect.name, dialect.submit, dialect.path) == (
            "heygen",
            "/v2/video_translate",
            "/v2/video_translate/{job_id}",
        )
        assert dialect.auth == "X-Api-Key"
        assert dialect.request_fields == {"target_language"}
        assert dialect.meanings == {
            "pending": "pending",
            "running": "pending",
            "success": "completed",
            "failed": "error",
        }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"poll": "nowhere"}, "poll: must be a path"),
        ({"cancel": "nowhere"}, "cancel: must be a path"),
        ({"poll": "/state", "list": Listing("/jobs")}, 'list: needs "{job_id}" in poll and in job'),
        ({"job": {"state": "{status}"}, "list": Listing("/jobs")}, 'list: needs "{job_id}" in poll and in job'),
        ({"words": {}}, "words.pending: must be a word"),
    ],
)
def test_a_row_made_by_hand_is_held_to_the_same(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^dialect \[mine\] ") as raised:
        replace(MINE, **change)
    assert told in str(raised.value)


def test_a_dialect_is_found_by_its_name_or_is_itself() -> None:
    assert [find_dialect(name).name for name in DIALECTS] == list(DIALECTS) == [*DIALECTS]
    assert find_dialect(MINE) is MINE
