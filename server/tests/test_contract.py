"""The golden transcripts, replayed against a live server."""

import json
import re
from pathlib import Path

import pytest

from tests.api import Api
from translation_server import TranslationServer

CONTRACT = Path(__file__).parents[2] / "tests" / "contract"
TRANSCRIPTS = [json.loads(path.read_text()) for path in sorted(CONTRACT.glob("*.json"))]

KINDS = {
    "<time>": lambda value: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value),
    "<number>": lambda value: type(value) in {int, float},
    "<text>": lambda value: isinstance(value, str) and value,
}


def matches(expected, actual):
    """Returns whether a value is as the transcript says; ``<time>`` and the like stand for any value of their kind."""
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and expected.keys() == actual.keys()
            and all(matches(value, actual[name]) for name, value in expected.items())
        )
    if isinstance(expected, str) and expected in KINDS:
        return bool(KINDS[expected](actual))
    return type(expected) is type(actual) and expected == actual


@pytest.fixture(scope="module")
def server():
    with TranslationServer(username="admin", password="secretpassword") as server:
        yield server


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript["dialect"])
@pytest.mark.parametrize(
    "when", ["submit", "simulate", "pending", "completed", "error", "cancelled", "unknown", "unauthorized"]
)
def test_server_answers_as_the_transcript_says(server, transcript, when):
    exchanges = {exchange["when"]: exchange for exchange in transcript["exchanges"]}
    if when not in exchanges:
        by_id = any("<job_id>" in exchange["request"]["path"] for exchange in exchanges.values())
        assert (not by_id) if when != "simulate" else transcript["dialect"] not in {"start", "jobs"}
        return
    server.completion_time = 0 if when in {"completed", "error"} else 1000
    server.error_rate = 1 if when == "error" else 0
    with Api(base_url=server.url, auth=("admin", "secretpassword"), timeout=60) as api:
        api.reset()

        def ask(when):
            request = (
                exchanges[when]["request"] | {"auth": ("admin", "wrong")}
                if when == "unauthorized"
                else exchanges[when]["request"]
            )
            path = request["path"].replace("<job_id>", job_id)
            return api.request(
                request["method"], path, **{name: request[name] for name in request.keys() & {"json", "auth"}}
            )

        job_id = ""
        answer = ask(when if when == "simulate" else "submit")
        [job] = api.get("/jobs").json()["jobs"]
        job_id = job["job_id"]
        if when == "cancelled":
            api.cancel(job_id)
        if when not in {"submit", "simulate"}:
            answer = ask(when)
        expected = json.loads(json.dumps(exchanges[when]["reply"]).replace("<job_id>", job_id))
        assert answer.status_code == expected["code"]
        assert {name: answer.headers.get(name) for name in expected["headers"]}.keys() <= answer.headers.keys()
        for name, value in expected["headers"].items():
            assert matches(value, answer.headers[name])
        assert matches(expected["json"], answer.json()), answer.json()
