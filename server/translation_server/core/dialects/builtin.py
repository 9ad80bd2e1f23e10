"""The built-in dialects: the native one, and those of the five systems from which this one descends."""

from types import MappingProxyType

from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.template import BodyTemplate
from translation_server.core.job import State


def _body(*names: str, **others: str) -> BodyTemplate:
    """Returns a body of fields with their own names; ``others`` are constants and fields with another name."""
    return MappingProxyType({name: f"{{{name}}}" for name in names} | others)


WORDS = MappingProxyType({state: (state.value,) for state in State})
LANGUAGES = ("source_language", "target_language")
REQUEST = _body(*LANGUAGES, "video_length", "simulate")
JOB = MappingProxyType(
    {
        **_body("job_id", "status", result="{status}"),
        **_body("progress", "created_at", "completed_at", "elapsed_time", "error_message", "error_code", "output"),
        **_body(*LANGUAGES, "video_length"),
    }
)
CURRENT_JOB = MappingProxyType({**_body("status", result="{status}"), **_body("elapsed_time")})

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
    request=_body("job_id", *LANGUAGES),
    accepted=MappingProxyType({"message": "Translation started", "job_id": "{job_id}"}),
    job=_body("job_id", "status", *LANGUAGES, "created_at", "error_message"),
    words=WORDS,
)
RESULT = Dialect(name="result", poll=("/status",), job=CURRENT_JOB, words=WORDS)
DIALECTS = (START, JOBS, STATUS, TRANSLATE, RESULT)  # all of them; the first is the native one
