"""Cancellations and deletions that an API refuses, with the client's own server."""

import pytest

from translation_client import Client, InvalidRequest, State
from translation_server import TranslationServer

FILE = """
auth = "Authorization: Bearer {token}"
error.body = { title = "{title}", detail = "{detail}" }

[job.task]
words = { pending = "queued", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}" }
submit.request = "POST /tasks"
poll.request = "GET /tasks/{job_id}"

[job.task.cancel]
request = "POST /tasks/{job_id}/cancel"
when.pending = { code = 409, body = { title = "Too early", detail = "It has begun" } }
when.completed = { code = 400, body = { title = "Too late" } }

[job.task.delete]
request = "DELETE /tasks/{job_id}"
code = 204
body = ""
when.pending = { code = 409, body = { title = "Too early", detail = "It runs" } }
"""


@pytest.fixture
def client(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    with (
        TranslationServer(1000, 0, dialects=str(path), username="admin", password="secret") as server,
        Client(f"{server.url}/mine", dialect=path, token="secret") as client,
    ):
        yield client


def test_a_refusal_of_a_pending_job_is_an_exception(client):
    job = client.start()
    with pytest.raises(InvalidRequest, match=r"^409 Too early. It has begun. Correct"):
        client.cancel(job.id)
    with pytest.raises(InvalidRequest, match=r"^409 Too early. It runs. Correct"):
        client.delete(job.id)
    assert client.status(job.id).state is State.PENDING


def test_a_job_that_has_ended_is_shown_by_a_poll_and_can_be_deleted(client):
    job = client.run(simulate={"delay": 0, "outcome": "completed"}, timeout=30)
    assert client.cancel(job.id).state is State.COMPLETED
    client.delete(job.id)
