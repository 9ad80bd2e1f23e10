"""The five built-in dialects on one server, and the worked example of a file."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from translation_server.core.dialects.builtin import DIALECTS, STATUS
from translation_server.core.dialects.dialect import DialectError
from translation_server.core.dialects.routes import routes
from translation_server.core.job import State

EXAMPLES = Path(__file__).parents[2] / "examples" / "dialects"


def test_job_can_be_polled_in_every_dialect(api):
    for submit in ("/start", "/jobs", "/translate"):
        job_id = api.post(submit, json={}).json()["job_id"]
        paths = (f"/status/{job_id}", f"/jobs/{job_id}", f"/job/{job_id}", "/status")
        answers = [api.get(path) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"pending"}
        assert {answer.json().get("job_id", job_id) for answer in answers} == {job_id}


def test_current_job_is_the_latest_and_the_first_poll_starts_one(api):
    first = api.get("/status")
    assert first.json().keys() == {"status", "result", "elapsed_time"}
    assert first.headers["Retry-After"]
    assert api.get("/status").json()["status"] == "pending"
    [started] = api.get("/jobs").json()["jobs"]
    api.cancel(started["job_id"])
    assert api.get("/status").json()["status"] == "cancelled"
    api.submit()
    assert api.get("/status").json()["status"] == "pending"
    assert len(api.get("/jobs").json()["jobs"]) == 2


async def test_concurrent_polls_start_one_job(api):
    await asyncio.gather(*(asyncio.to_thread(api.get, "/status") for _ in range(20)))
    assert len(api.get("/jobs").json()["jobs"]) == 1


def test_caller_may_choose_the_id(api):
    body = {"job_id": "mine-1", "source_language": "en", "target_language": "es"}
    first = api.post("/translate", json=body)
    assert (first.status_code, first.json()) == (202, {"message": "Translation started", "job_id": "mine-1"})
    assert first.headers["Location"] == "/job/mine-1"
    assert api.get("/job/mine-1").json()["source_language"] == "en"
    taken = api.post("/translate", json=body)
    assert taken.status_code == 409
    assert taken.headers["Content-Type"] == "application/problem+json"
    assert "mine-1" in taken.json()["detail"]
    keyed = [api.post("/translate", json={"job_id": "mine-2"}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in keyed] == [202, 202]


@pytest.mark.parametrize("job_id", ["", "a/b", "a b", "x" * 201, "ä", "..", 5, ["x"]])
def test_id_that_cannot_be_in_a_path_is_refused(api, job_id):
    answer = api.post("/translate", json={"job_id": job_id})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "job_id"


def test_field_of_another_dialect_is_refused_with_the_known_ones(api):
    answer = api.post("/translate", json={"video_length": 5})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("the fields are job_id, source_language, target_language")


def test_dialects_that_answer_the_same_request_differently_clash():
    other = replace(STATUS, words=dict.fromkeys(State, ("other",)))
    with pytest.raises(DialectError, match="GET /status is taken by the dialect status"):
        routes([*DIALECTS, other])


def test_dialects_that_answer_alike_share_a_route():
    shared = {(route.pattern.method, route.pattern.template): route.names for route in routes(DIALECTS)}
    assert shared["GET", "/status"] == ["status", "result"]
    assert shared["GET", "/status/{job_id}"] == ["start", "jobs"]


def test_worked_example_is_served(start):
    api = start(dialects=str(EXAMPLES / "video-translate.toml"), max_delay=0)
    key = {"X-Api-Key": "secretpassword"}
    body = {"video_url": "https://example.com/a.mp4", "title": "A", "output_language": "Spanish"}
    accepted = api.post("/video-translate/v2/video_translate", json=body, headers=key, auth=None)
    assert accepted.status_code == 200
    job_id = accepted.json()["data"]["video_translate_id"]
    assert accepted.json() == {"data": {"video_translate_id": job_id}}
    path = f"/video-translate/v2/video_translate/{job_id}"
    poll = api.get(path, headers=key, auth=None)
    shown = {"video_translate_id": job_id, "output_language": "Spanish", "status": "success", "message": None}
    assert poll.json()["data"] == shown
    assert api.get(f"/status/{job_id}").json()["status"] == "completed"
    refused = api.get(path)
    assert refused.status_code == 401
    assert "X-Api-Key" in refused.headers["WWW-Authenticate"]
    page = api.get("/openapi.json").json()
    assert page["paths"]["/video-translate/v2/video_translate"]["post"]["tags"] == ["video-translate"]
    assert page["components"]["securitySchemes"]["X-Api-Key: {token}"]["name"] == "X-Api-Key"
    wrong = api.post("/video-translate/v2/video_translate", json={"output_language": 5}, headers=key)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "output_language")
