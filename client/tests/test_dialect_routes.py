"""The routes of dialects: cancel, delete, lists and batch polls."""

import json

import pytest

from tests.custom_dialect import MINE, custom_dialect, task
from translation_client import (
    Client,
    NotFound,
    State,
)
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.dialects import CURRENT


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
