"""The five built-in dialects on one server, and dialects from a file."""

import asyncio
import json
from pathlib import Path

import pytest

from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import read_dialects
from translation_server.core.dialects.builtin import DIALECTS, START
from translation_server.core.dialects.dialect import Dialect, DialectError, routes
from translation_server.core.dialects.template import placeholders, read_fields
from translation_server.core.job import Fate, Job, JobSnapshot, State

EXAMPLES = Path(__file__).parents[2] / "examples" / "dialects"

DIALECT = """
[mine]
submit = "/tasks"
poll = "/tasks/{job_id}"
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
"""


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
    api.delete(f"/jobs/{started['job_id']}")
    assert api.get("/status").json()["status"] == "cancelled"
    api.post("/start")
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


@pytest.mark.parametrize("job_id", ["", "a/b", "a b", "x" * 101, "ä", "..", 5, ["x"]])
def test_id_that_cannot_be_in_a_path_is_refused(api, job_id):
    answer = api.post("/translate", json={"job_id": job_id})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "job_id"


def test_field_of_another_dialect_is_refused_with_the_known_ones(api):
    answer = api.post("/translate", json={"video_length": 5})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("the fields are job_id, source_language, target_language")


def test_dialects_that_answer_the_same_request_differently_clash():
    dialect = Dialect(name="mine", poll=("/status/{id}",), job={"s": "{status}"}, words=START.words)
    with pytest.raises(DialectError, match=r"GET /status/\{id\} is taken by the dialect start"):
        routes([*DIALECTS, dialect])


def test_dialects_that_answer_alike_share_a_route():
    shared = {route.path: [dialect.name for dialect in route.dialects] for route in routes(DIALECTS)}
    assert shared["/status"] == ["status", "result"]
    assert shared["/status/{job_id}"] == ["start", "jobs"]


def test_nested_request_is_read_field_by_field():
    template = {"input": {"to": "{target_language}", "url": "any"}, "length": "{video_length}"}
    assert placeholders(template) == {"target_language": "input.to", "video_length": "length"}
    document = {"input": {"to": "es", "url": 5, "extra": 1}, "length": 3, "more": None}
    assert read_fields(template, document) == ({"target_language": "es", "video_length": 3}, ["input.extra", "more"])
    assert read_fields(template, {"input": "es"}) == ({}, ["input"])


def test_pending_job_goes_through_several_words():
    [dialect] = read_dialects(EXAMPLES / "heygen.toml", OWN_NAMES)
    job = Job("id", "ann", 1, 0.0, Fate(10.0, State.ERROR))
    words = [json.loads(dialect.body(JobSnapshot(job, now)))["data"]["status"] for now in (0, 4.9, 5.1, 9.9999999, 10)]
    assert words == ["pending", "pending", "running", "running", "failed"]


def test_worked_example_is_served(start):
    api = start(dialects=EXAMPLES / "heygen.toml", max_delay=0)
    key = {"X-Api-Key": "secretpassword"}
    body = {"video_url": "https://example.com/a.mp4", "title": "A", "output_language": "Spanish"}
    accepted = api.post("/heygen/v2/video_translate", json=body, headers=key, auth=None)
    assert accepted.status_code == 200
    job_id = accepted.json()["data"]["video_translate_id"]
    assert accepted.json() == {"data": {"video_translate_id": job_id}}
    poll = api.get(accepted.headers["Location"], headers=key, auth=None)
    shown = {"video_translate_id": job_id, "output_language": "Spanish", "status": "success", "message": None}
    assert poll.json()["data"] == shown
    assert api.get(f"/status/{job_id}").json()["status"] == "completed"
    refused = api.get(accepted.headers["Location"])
    assert refused.status_code == 401
    assert "x-api-key" in refused.headers["WWW-Authenticate"]
    page = api.get("/openapi.json").json()
    assert page["paths"]["/heygen/v2/video_translate"]["post"]["tags"] == ["heygen"]
    assert page["components"]["securitySchemes"]["x-api-key"] == {"type": "apiKey", "in": "header", "name": "x-api-key"}
    wrong = api.post("/heygen/v2/video_translate", json={"output_language": 5}, headers=key)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "output_language")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[mine]", "[Mine]"), "[Mine] must have a name of its own"),
        (("[mine]", "[status]"), "[status] must have a name of its own"),
        (("[mine]", "[docs]"), "[docs] must have a name of its own"),
        (("poll =", "pol ="), "[mine] poll: field required"),
        (("submit =", "submitt ="), "[mine] submitt: there is no such field; the fields are poll, job,"),
        (('"/tasks/{job_id}"', '"tasks/{job_id}"'), "[mine] poll[0]: string should match pattern"),
        (('"/tasks/{job_id}"', '"/tasks/{id}"'), "[mine] poll[0]: string should match pattern"),
        (('"/tasks/{job_id}"', "5"), "[mine] poll: input should be a valid list"),
        (('"{job_id}"', '"{job}"'), "[mine] job: there is no field job; the fields are job_id, status,"),
        (('"{status}"', '"status"'), '[mine] job: must hold "{status}"'),
        (('pending = "busy", ', ""), "[mine] words.pending: field required"),
        (("words =", "words = 5 #"), "[mine] words: input should be"),
        (("[mine]", "[mine]\nrequest = {to = '{status}'}"), "[mine] request: there is no field status; the fields are"),
        (("[mine]", "[mine]\nauth = 'two words'"), "[mine] auth: string should match pattern"),
        (("[mine]", "[mine]\naccepted_code = 404"), "[mine] accepted_code: input should be less than or equal to 299"),
        (('"/tasks/{job_id}"', '"/{job_id}/{job_id}"'), "[mine] poll[0]: must hold {job_id} once"),
        (('"/tasks/{job_id}"', '"/tåsks/{job_id}"'), "[mine] poll[0]: string should match pattern"),
        (('"{job_id}"', "2026-01-01"), "[mine] job: must hold only what JSON can"),
        (('"{job_id}"', "nan"), "[mine] job: must hold only what JSON can"),
        (('"done"', '"busy"'), "[mine] words: 'busy' stands for two states"),
        (('"done"', '["done", "failed"]'), "[mine] words: 'failed' stands for two states"),
        (("[mine]", "[mine"), "cannot be read as TOML"),
        (('poll = "/tasks/{job_id}"', 'poll = ["/tasks/{job_id}", "/tasks/{job_id}/x"]'), None),
    ],
)
def test_unusable_dialect_is_refused_in_one_line_with_file_and_name(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(DIALECT.replace(*change))
    if message is None:
        assert [dialect.name for dialect in read_dialects(path, OWN_NAMES)] == ["mine"]
        return
    with pytest.raises(DialectError) as refused:
        read_dialects(path, OWN_NAMES)
    assert str(refused.value).startswith(f"DIALECTS={path}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DialectError, match="No such file"):
        read_dialects(tmp_path / "none.toml", OWN_NAMES)
