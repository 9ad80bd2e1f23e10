"""A dialect that the project does not ship."""

from translation_client.dialect_files import read_api

TASK = {
    "words": {"pending": ["queued", "busy"], "completed": "done", "error": "failed"},
    "send": {"input": {"to": "{target_language}", "url": "any", "tags": ["x"]}, "seconds": "{video_length}"},
    "body": {"task": {"id": "{job_id}", "state": "{status}", "done": "{progress}", "why": "{error_message}"}},
    "submit": {"request": "POST /tasks", "body": {"task": {"id": "{job_id}"}}},
    "poll": {"request": "GET /tasks/{job_id}/state"},
}


def custom_dialect(auth="basic", *, api=None, **changes):
    """Returns the dialect with other keys of its kind of job, of its authentication, or of its `api`."""
    task = {key: value for key, value in (TASK | changes).items() if value is not None}
    return read_api("mine", {"auth": auth, "job": {"task": task}} | (api or {}))["task"]


MINE = custom_dialect()
