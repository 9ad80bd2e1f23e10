"""The built-in dialects: those of the five earlier systems. The first, `start`, is the native one."""

from collections.abc import Mapping, Sequence
from typing import Any

from translation_server.core.dialects.dialect import JOB_NAMES, Api, Dialect
from translation_server.core.dialects.operations import Action, Answer, Operation, RequestPattern
from translation_server.core.dialects.template import Node, parse
from translation_server.core.job import NATIVE, State

NATIVE_API = Api(name=NATIVE)
WORDS = {state: (state.value,) for state in State}
INPUT_NAMES = dict.fromkeys(("job_id", "source_language", "target_language", "video_length", "simulate"))
"""The names that a dialect file may use in the template of a submission's body."""

NATIVE_NAMES = INPUT_NAMES | {"webhook": None}
"""The names that the native dialects may use there."""


def _operation(action: Action, requests: Sequence[str], body: Mapping[str, Any], code: int = 200) -> Operation:
    answer = Answer(code, body=parse(body, JOB_NAMES))
    patterns = [RequestPattern(*request.split()) for request in requests]
    return Operation(action=action, requests=patterns, answers=dict.fromkeys(State, answer))


def _send(*names: str) -> Node:
    return parse({name: f"{{{name}}}" for name in names}, NATIVE_NAMES)


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
CURRENT_JOB = {"status": "{status}", "result": "{status}", "elapsed_time": "{elapsed_time}"}
# The ids of some APIs have slashes, and native routes show the jobs of all APIs.
OUTPUT = parse({"video_url": "{file_url:mp4}"}, JOB_NAMES)
NATIVE_INPUT = ("source_language", "target_language", "video_length", "simulate", "webhook")

START = Dialect(
    name="start",
    api=NATIVE_API,
    words=WORDS,
    send=_send(*NATIVE_INPUT),
    output=OUTPUT,
    operations=(
        _operation("submit", ["POST /start"], JOB, 202),
        _operation("poll", ["GET /status/{job_id:path}"], JOB),
    ),
)
JOBS = Dialect(
    name="jobs",
    api=NATIVE_API,
    words=WORDS,
    send=_send(*NATIVE_INPUT),
    output=OUTPUT,
    query=("video_length",),
    operations=(
        _operation("submit", ["POST /jobs"], JOB, 202),
        _operation("poll", ["GET /status/{job_id:path}", "GET /jobs/{job_id:path}"], JOB),
    ),
)
STATUS = Dialect(
    name="status", api=NATIVE_API, words=WORDS, operations=(_operation("current", ["GET /status"], CURRENT_JOB),)
)
TRANSLATE = Dialect(
    name="translate",
    api=NATIVE_API,
    words=WORDS,
    send=_send("job_id", "source_language", "target_language"),
    operations=(
        _operation("submit", ["POST /translate"], {"message": "Translation started", "job_id": "{job_id}"}, 202),
        _operation("poll", ["GET /job/{job_id:path}"], TRANSLATED),
    ),
)
RESULT = Dialect(
    name="result", api=NATIVE_API, words=WORDS, operations=(_operation("current", ["GET /status"], CURRENT_JOB),)
)

DIALECTS = (START, JOBS, STATUS, TRANSLATE, RESULT)
"""All of them; the first is the native one."""
