"""The client reads answers that are not JSON objects: single values, arrays and texts."""

import pytest

from tests.custom_dialect import custom_dialect
from translation_client import Client, ProtocolError, State
from translation_client.core.decode import read_accepted, read_job
from translation_client.core.effects import Reply
from translation_server import TranslationServer

FILE = """
auth = "Authorization: Bearer {token}"
[job.task]
id = "{digits:15}"
words = { pending = "queued", completed = "done", error = "failed", cancelled = "stopped" }
submit = { request = "POST /tasks", SUBMIT }
poll = { request = "GET /tasks/{job_id}", POLL }
cancel = { request = "DELETE /tasks/{job_id}", CANCEL }
"""
TEXT = 'headers.Content-Type = "text/plain"'
CODES = 'when.pending.code = 202, when.error = { code = 409, body.why = "{error_message}" }'


@pytest.fixture
def client_of(tmp_path):
    """Returns a function that yields a client of a server with these answers."""

    def client_of(submit='body = "{job_id}"', poll='body.is = "{status}"', cancel="body = true"):
        path = tmp_path / "mine.toml"
        path.write_text(FILE.replace("SUBMIT", submit).replace("POLL", poll).replace("CANCEL", cancel))
        with (
            TranslationServer(0, 0, dialects=str(path), username="admin", password="secret") as server,
            Client(f"{server.url}/mine", dialect=path, token="secret") as client,
        ):
            yield client

    return client_of


@pytest.mark.parametrize(
    "body",
    ['"{job_id}"', '"{job_id | number}"', '["{job_id}"]', '"tasks/{job_id}"', f'"{{job_id}}", {TEXT}'],
)
def test_a_submission_may_be_answered_by_the_id_alone(client_of, body):
    for client in client_of(submit=f"body = {body}"):
        job = client.start(simulate={"delay": 0, "outcome": "completed"})
        assert job.id.isdecimal()
        assert client.wait(job.id, timeout=30).state is State.COMPLETED


@pytest.mark.parametrize("more", ["", f", {TEXT}"])
def test_a_poll_may_be_answered_by_the_word_alone(client_of, more):
    for client in client_of(poll=f'body = "{{status}}"{more}'):
        assert client.start(simulate={"delay": 60}).state is State.PENDING
        for outcome in (State.COMPLETED, State.ERROR):
            final = client.run(simulate={"delay": 0, "outcome": outcome}, timeout=30)
            assert (final.state, final.raw) == (outcome, "done" if outcome is State.COMPLETED else "failed")


@pytest.mark.parametrize("output", [None, 5, "so", ["so", {"it": 1}], {"so": "it"}])
def test_a_poll_may_be_answered_by_the_output_alone(client_of, output):
    for client in client_of(poll=f'body = "{{output}}", {CODES}'):
        final = client.run(simulate={"delay": 0, "outcome": "completed", "output": output}, timeout=30)
        assert (final.state, final.output) == (State.COMPLETED, output)


@pytest.mark.parametrize("body", ["true", '"OK"', "[]", f'"OK", {TEXT}'])
def test_a_cancellation_may_be_answered_by_a_constant(client_of, body):
    for client in client_of(cancel=f"body = {body}"):
        job = client.start(simulate={"delay": 60})
        assert client.cancel(job.id).state is State.CANCELLED


PLAIN = custom_dialect(
    submit={"request": "POST /tasks", "body": "{job_id}"}, poll={"request": "GET /tasks/{job_id}", "body": "{status}"}
)


@pytest.mark.parametrize("body", [b"", b'"t', b"t1", b"null", b'{"id": "t1"}', b"[1]", b"<html>\n</html>"])
def test_no_other_json_counts_as_an_id(body):
    with pytest.raises(ProtocolError, match="expected"):
        read_accepted(PLAIN, Reply(200, {"content-type": "application/json"}, body, 0.0))


@pytest.mark.parametrize("body", [b"", b'"do', b"null", b'{"state": "done"}', b"[1]", b"5"])
def test_no_other_json_counts_as_a_word(body):
    with pytest.raises(ProtocolError, match="expected"):
        read_job(PLAIN, Reply(200, {"content-type": "application/json"}, body, 0.0), "t1")
