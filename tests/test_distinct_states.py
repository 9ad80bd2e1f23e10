"""The client finds the state of each job that the server answers about by a file that both take."""

import re
from itertools import product

import pytest

from translation_client.core.decode import read_job
from translation_client.core.effects import Reply
from translation_client.dialect_files import read_api
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import dialects_of
from translation_server.core.dialects.dialect import DialectError
from translation_server.core.job import Fate, Job, JobSnapshot, State

WORDS = (
    {"pending": ["busy", "queued"], "completed": "done", "error": "failed"},
    {"pending": "busy", "completed": "ended", "error": "ended"},
    {"pending": False, "completed": True, "error": True},
    {"pending": 0, "completed": 1, "error": True},
    {"pending": ["busy", "queued"], "completed": "done", "error": "queued"},
)
BODIES = (
    {"id": "{job_id}", "state": "{status}", "why": "{error_message}"},
    {"id": "{job_id}", "state": "tasks/{status}"},
    {"id": "{job_id}", "code": "{error_code}", "video": "{output}", "to": "{target_language}"},
    {"id": "{job_id}", "left": "{queue_position}", "why": "{error_message}"},
    {"id": "{job_id}"},
)
WHEN = (
    {},
    {"completed": {"body": {"video": "{file_url:mp4}"}}, "error": {"body": {"why": "Failed: {error_message}"}}},
    {"pending": {"code": 202}, "error": {"body": {"error": {}}}},
    {"completed": {"body": "{output}"}, "pending": {"code": 202}, "error": {"code": 422, "body": ["{error_message}"]}},
    {"busy": {"body": {"eta": 5}}, "completed": {"body": {"is": "done"}}, "error": {"body": {"is": "failed"}}},
)
OUTPUTS = ({}, {"output": {"url": "x"}}, {"defaults": {"error_code": 5}})


def api(words, body, when, more):
    submit = {"request": "POST /tasks", "body": {"id": "{job_id}"}}
    poll = {"request": "GET /tasks/{job_id}"}
    return {"job": {"task": {"words": words, "body": body, "when": when, "submit": submit, "poll": poll, **more}}}


def answers(dialect):
    """Yields the state of a job, and the answer about it, at several times."""
    for state in (State.COMPLETED, State.ERROR):
        job = Job("id", "ann", 1, 0.0, Fate(10.0, state))
        for now in (0.0, 6.0, 11.0):
            snapshot = JobSnapshot(job, now)
            partial = dialect.partial_body(snapshot)
            yield snapshot.state, Reply(partial.code, {}, partial.complete(snapshot).encode(), 0.0)


def test_clients_find_the_state_that_every_file_shows():
    taken = 0
    for words, body, when, more in product(WORDS, BODIES, WHEN, OUTPUTS):
        table = api(words, body, when, more)
        try:
            [dialect] = dialects_of("mine", table, OWN_NAMES)
        except DialectError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                read_api("mine", table)
            continue
        taken += 1
        for state, reply in answers(dialect):
            assert (read_job(read_api("mine", table)["task"], reply, "id").status.state, table) == (state, table)
    assert taken > 50
