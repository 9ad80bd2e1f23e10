"""The built-in dialects: the native one, and those of the five systems from which this one descends."""

from types import MappingProxyType

from translation_server.core.dialects.dialect import Dialect
from translation_server.core.job import State

WORDS = MappingProxyType({state: (state.value,) for state in State})
REQUEST = MappingProxyType(
    {
        "source_language": "{source_language}",
        "target_language": "{target_language}",
        "video_length": "{video_length}",
        "simulate": "{simulate}",
    },
)
JOB = MappingProxyType(
    {
        "job_id": "{job_id}",
        "status": "{status}",
        "result": "{status}",
        "progress": "{progress}",
        "created_at": "{created_at}",
        "completed_at": "{completed_at}",
        "elapsed_time": "{elapsed_time}",
        "error_message": "{error_message}",
        "source_language": "{source_language}",
        "target_language": "{target_language}",
        "video_length": "{video_length}",
    },
)
CURRENT_JOB = MappingProxyType({"status": "{status}", "result": "{status}", "elapsed_time": "{elapsed_time}"})

START = Dialect(name="start", submit="/start", poll=("/status/{job_id}",), request=REQUEST, job=JOB, words=WORDS)
JOBS = Dialect(
    name="jobs",
    submit="/jobs",
    poll=("/status/{job_id}", "/jobs/{job_id}"),
    request=REQUEST,
    query=("video_length",),
    job=JOB,
    words=WORDS,
)
STATUS = Dialect(name="status", poll=("/status",), job=CURRENT_JOB, words=WORDS)
TRANSLATE = Dialect(
    name="translate",
    submit="/translate",
    poll=("/job/{job_id}",),
    request=MappingProxyType(
        {"job_id": "{job_id}", "source_language": "{source_language}", "target_language": "{target_language}"},
    ),
    accepted=MappingProxyType({"message": "Translation started", "job_id": "{job_id}"}),
    job=MappingProxyType(
        {
            "job_id": "{job_id}",
            "status": "{status}",
            "source_language": "{source_language}",
            "target_language": "{target_language}",
            "created_at": "{created_at}",
            "error_message": "{error_message}",
        },
    ),
    words=WORDS,
)
RESULT = Dialect(name="result", poll=("/status",), job=CURRENT_JOB, words=WORDS)
DIALECTS = (START, JOBS, STATUS, TRANSLATE, RESULT)  # all of them; the first is the native one
