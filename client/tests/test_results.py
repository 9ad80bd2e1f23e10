"""Results that a dialect tells by a request of its own, with the client's own server."""

import pytest

from translation_client import Client, State
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
