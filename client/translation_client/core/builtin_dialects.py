"""The built-in dialects: those of the five earlier systems. The first, `start`, is the native one."""

from collections.abc import Mapping, Sequence
from typing import Any

from translation_client.core.dialects import (
    ANSWER_NAMES,
    LIST_NAMES,
    REQUEST_FIELDS,
    Action,
    Answer,
    Dialect,
    Operation,
)
from translation_client.core.status import State
from translation_client.core.templates import Node, parse


def _operation(
    action: Action,
    requests: Sequence[str],
    body: Mapping[str, Any],
    cursor: str | None = None,
    ids: str | None = None,
) -> Operation:
    answer = Answer(body=parse(body, (*ANSWER_NAMES, *LIST_NAMES)))
    patterns = [(method, path) for method, _, path in (request.partition(" ") for request in requests)]
    return Operation(action=action, requests=patterns, answers=dict.fromkeys(State, answer), cursor=cursor, ids=ids)


WORDS = {state: (state.value,) for state in State}
JOB = {
    "job_id": "{job_id}",
    "status": "{status}",
    "result": "{status}",
    "progress": "{progress}",
    "created_at": "{created_at}",
    "completed_at": "{completed_at}",
    "elapsed_time": "{elapsed_time}",
    "error_message": "{error_message}",
    "error_code": "{error_code}",
    "output": "{output}",
    "source_language": "{source_language}",
    "target_language": "{target_language}",
    "video_length": "{video_length}",
}
TRANSLATED = {
    "job_id": "{job_id}",
    "status": "{status}",
    "source_language": "{source_language}",
    "target_language": "{target_language}",
    "created_at": "{created_at}",
    "error_message": "{error_message}",
}


def _send(*names: str) -> Node:
    return parse({name: f"{{{name}}}" for name in names}, (*REQUEST_FIELDS, "webhook"))


def _of_several(job: Mapping[str, Any]) -> tuple[Operation, ...]:
    """Returns the native operations on several jobs, and the cancellation of one, which is answered like a poll."""
    page = {"jobs": "{jobs}", "next": "{next}"}
    return (
        _operation("cancel", ["DELETE /jobs/{job_id}"], job),
        _operation("list", ["GET /jobs"], page, cursor="after"),
        _operation("batch_poll", ["GET /jobs"], page, ids="job_id"),
    )


START = Dialect(
    name="start",
    words=WORDS,
    send=_send("source_language", "target_language", "video_length", "simulate", "webhook"),
    operations=(
        _operation("submit", ["POST /start"], JOB),
        _operation("poll", ["GET /status/{job_id}"], JOB),
        *_of_several(JOB),
    ),
    events="/events",
    unknown="unknown",
)
JOBS = Dialect(
    name="jobs",
    words=WORDS,
    send=START.send,
    operations=(_operation("submit", ["POST /jobs"], JOB), *START.operations[1:]),
    events="/events",
    unknown="unknown",
)
STATUS = Dialect(
    name="status",
    words=WORDS,
    operations=(_operation("current", ["GET /status"], {"status": "{status}", "elapsed_time": "{elapsed_time}"}),),
)
TRANSLATE = Dialect(
    name="translate",
    words=WORDS,
    send=_send("job_id", "source_language", "target_language"),
    operations=(
        _operation("submit", ["POST /translate"], {"message": "Translation started", "job_id": "{job_id}"}),
        _operation("poll", ["GET /job/{job_id}"], TRANSLATED),
        *_of_several(TRANSLATED),
    ),
    events="/events",
    unknown="unknown",
)
RESULT = Dialect(
    name="result",
    words=WORDS,
    operations=(_operation("current", ["GET /status"], {"result": "{status}"}),),
)

DIALECTS = {dialect.name: dialect for dialect in (START, JOBS, STATUS, TRANSLATE, RESULT)}
"""All of them, by their names."""
