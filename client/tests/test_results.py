"""Results that a dialect tells by a request of its own, with the client's own server."""

import json

import pytest

from translation_client import Client, State, Status
from translation_client.core.decode import ParsedStatus, read_job, read_result
from translation_client.core.dialects import fetching_result
from translation_client.core.effects import Reply
from translation_client.core.text import quoted
from translation_client.dialect_files import find_dialect
from translation_server import TranslationServer

FILE = """
auth = "Authorization: Bearer {token}"

[job.task]
words = { pending = "queued", completed = "done", error = "failed" }
submit = { request = "POST /tasks", body = { id = "{job_id}" } }
poll = { request = "GET /tasks/{job_id}", body = { id = "{job_id}", state = "{status}" } }
result = { request = "GET /tasks/{job_id}/result", body = BODY }
"""


@pytest.mark.parametrize("outcome", ["completed", "error"])
@pytest.mark.parametrize(
    "body",
    [
        '{ output = "{output}" }',
        '{ output = "{output}", why = "{error_message}" }',
        '{ id = "{job_id}", code = "{error_code}" }',
        '{ state = "{status}", output = "{output}" }',
    ],
)
def test_results_that_do_not_distinguish_states_keep_the_state_of_the_poll(tmp_path, body, outcome):
    path = tmp_path / "mine.toml"
    path.write_text(FILE.replace("BODY", body))
    with (
        TranslationServer(0, 0, dialects=str(path), username="admin", password="secret") as server,
        Client(f"{server.url}/mine", dialect=path, token="secret") as client,
    ):
        for output in ({}, {"output": {"url": "x"}}):
            simulate = {"outcome": outcome} | (output if outcome == "completed" else {})
            final = client.run(simulate=simulate, timeout=30)
            assert final.state is State(outcome)
            expected = output.get("output") if outcome == "completed" and "{output}" in body else None
            assert final.output == expected


@pytest.mark.parametrize(
    ("content_type", "output", "expected"),
    [
        ("text/plain", "so it is", "so it is"),
        ("application/x-subrip", "1\n00:00", "1\n00:00"),
        ("text/plain", "[1]", "[1]"),
        ("application/x+json", ["so", {"it": 1}], ["so", {"it": 1}]),
        ("application/json", "so", "so"),
        ("application/json", {"so": "it"}, {"so": "it"}),
    ],
)
def test_a_result_may_be_a_text_or_any_json(tmp_path, content_type, output, expected):
    path = tmp_path / "mine.toml"
    refused = 'when.error = { code = 409, body = { title = "Failed" } }'
    path.write_text(FILE.replace("BODY", f'"{{output}}", headers.Content-Type = "{content_type}", {refused}'))
    with (
        TranslationServer(0, 0, dialects=str(path), username="admin", password="secret") as server,
        Client(f"{server.url}/mine", dialect=path, token="secret") as client,
    ):
        final = client.run(simulate={"outcome": "completed", "output": output}, timeout=30)
        assert (final.state, final.output) == (State.COMPLETED, expected)
        failed = client.run(simulate={"outcome": "error", "message": "why"}, timeout=30)
        assert (failed.state, failed.output) == (State.ERROR, None)


def polled(state, raw):
    return ParsedStatus(Status("id", state, raw=raw), None, None, states=frozenset({state}))


@pytest.mark.parametrize("file", ["file-real", "a/b c"])
def test_the_result_of_a_batch_is_in_the_file_that_the_poll_names(file):
    dialect = find_dialect("openai#batch")
    body = {"id": "batch_1", "object": "batch", "status": "completed", "output_file_id": file}
    reply = Reply(200, {}, json.dumps(body).encode(), 0.0)
    urls = read_job(dialect, reply, "batch_1").urls
    assert urls == {"result": f"/files/{quoted(file)}/content"}
    assert fetching_result(dialect, "batch_1", {}, urls["result"]).path == urls["result"]


def test_the_lines_of_a_batch_are_its_output():
    lines = '{"id": "a"}\n{"id": "b"}\n'
    read = read_result(find_dialect("openai#batch"), Reply(200, {}, lines.encode(), 0.0), polled(State.COMPLETED, {}))
    assert (read.status.state, read.status.output) == (State.COMPLETED, lines)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ({"code": 1, "message": "The operation was cancelled."}, State.CANCELLED),
        ({"code": 1, "message": "why"}, State.ERROR),
        ({"code": 13, "message": "The operation was cancelled."}, State.ERROR),
        ({"code": 13}, State.ERROR),
    ],
)
def test_a_cancelled_operation_is_known_by_its_code_and_message(error, state):
    document = {"name": "1", "done": True, "error": error}
    status = read_job(find_dialect("google-speech"), Reply(200, {}, json.dumps(document).encode(), 0.0), "1").status
    assert (status.state, status.error_code) == (state, str(error["code"]) if state is State.ERROR else None)
