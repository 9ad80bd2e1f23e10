"""A dialect that no table of the project has."""

from translation_client import Dialect

WORDS = {"pending": ["queued", "busy"], "completed": "done", "error": "failed"}
MINE = Dialect(
    name="mine",
    submit="/tasks",
    poll="/tasks/{job_id}/state",
    request={"input": {"to": "{target_language}", "url": "any", "tags": ["{x}"]}, "seconds": "{video_length}"},
    accepted={"task": {"id": "{job_id}"}},
    job={"task": {"id": "{job_id}", "state": "{status}", "done": "{progress}", "why": "{error_message}"}},
    words=WORDS,
)
