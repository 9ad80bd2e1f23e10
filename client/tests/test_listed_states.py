"""The states of jobs in lists and batch polls, whose items have no status codes of their own."""

import pytest

from translation_client import Client, State
from translation_server import TranslationServer

FILE = """
auth = "Authorization: Bearer {token}"
[job.task]
submit = { request = "POST /tasks", body = { id = "{job_id}" } }
"""
BY_FIELDS = """
poll.request = "GET /tasks/{job_id}"
poll.body.task.id = "{job_id}"
poll.when.pending.code = 202
poll.when.completed.body.task.video = "{file_url:mp4}"
poll.when.error = { code = 203, body = { task = { why = "{error_message}" } } }
"""
BY_RESULT = """
words = { pending = "busy", completed = "done", error = "done" }
poll = { request = "GET /tasks/{job_id}", body = { id = "{job_id}", state = "{status}" } }
result.request = "GET /tasks/{job_id}/result"
result.body.video = "{output}"
result.when.error = { code = 422, body.why = "{error_message}" }
"""
OUTCOMES = [State.COMPLETED, State.ERROR]


@pytest.fixture
def client_of(tmp_path):
    """Returns a function that yields a client of a server with these operations."""

    def client_of(operations):
        path = tmp_path / "mine.toml"
        path.write_text(FILE + operations)
        with (
            TranslationServer(0, 0, dialects=str(path), username="admin", password="secret") as server,
            Client(f"{server.url}/mine", dialect=path, token="secret") as client,
        ):
            yield client

    return client_of


@pytest.mark.parametrize("item", ["", 'item = "task", '])
def test_the_items_of_a_list_show_their_states_without_status_codes(client_of, item):
    for client in client_of(f'{BY_FIELDS}list = {{ request = "GET /tasks", {item}body.all = "{{jobs}}" }}'):
        for state in OUTCOMES:
            client.run(simulate={"delay": 0, "outcome": state}, timeout=30)
        client.start(simulate={"delay": 60})
        assert [job.state for job in client.list()] == [State.PENDING, *reversed(OUTCOMES)]


BATCH = 'batch_poll = { request = "GET /tasks", ids = "id", body.all = "{jobs}" }'


@pytest.mark.parametrize("polls", [BY_FIELDS, BY_RESULT])
def test_batch_polls_may_leave_the_end_of_a_job_to_its_result(client_of, polls):
    for client in client_of(polls + BATCH):
        ids = [client.start(simulate={"delay": 0, "outcome": state}).id for state in OUTCOMES]
        finals = client.wait_all(ids, timeout=30)
        assert [finals[job_id].state for job_id in ids] == OUTCOMES
