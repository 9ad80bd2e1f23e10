"""A dialect that the project does not ship, and flows that use it."""

from tests.flow_player import Answer, FlowPlayer
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import Exponential
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


def flow_options(dialect, **options):
    """Returns the options of a flow that does not retry."""
    defaults = {"initial_delay": 1, "max_delay": 1, "backoff_factor": 1, "max_retries": 0, "request_timeout": 10}
    return FlowOptions(**{"schedule": Exponential(1, 1, 1)} | defaults | options, random=lambda: 0, dialect=dialect)


def play(flow, *bodies, **headers):
    """Returns the effects of a flow whose requests are answered with these bodies."""
    player = FlowPlayer(now=0.0).run(flow, [Answer(200, body, headers, takes=0.0) for body in bodies])
    if player.error:
        raise player.error
    return player.effects


def task(**fields):
    """Returns the body of an answer about a job of the dialect."""
    return {"task": {"id": "t1", **fields}, "more": 1}
