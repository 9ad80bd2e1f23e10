"""Dialects: polls without an id, fields, credentials, and a caller's own schedules."""

import json

import pytest

from tests.custom_dialect import MINE, custom_dialect, flow_options, play, task
from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    JobTimeout,
    ProtocolError,
    State,
    Status,
)
from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import CURRENT
from translation_client.core.effects import Sleep
from translation_client.core.schedule import SOONEST


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
