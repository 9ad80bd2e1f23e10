"""Submissions: bodies, fields and idempotency keys."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api import is_problem


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ('{"video_length": "90"}', "video_length", "valid number"),
        ('{"video_length": true}', "video_length", "valid number"),
        ('{"video_length": 0}', "video_length", "greater than 0"),
        ('{"video_length": -1}', "video_length", "greater than 0"),
        ('{"video_length": 1e999}', "video_length", "number"),
        (f'{{"video_length": 1{"0" * 400}}}', "video_length", "number"),
        ('{"source_language": 5}', "source_language", "valid string"),
        ('{"source_language": ""}', "source_language", "at least 1 character"),
        (f'{{"source_language": "{"x" * 101}"}}', "source_language", "at most 100 characters"),
        ('{"target_language": "e\\u0000s"}', "target_language", "control characters"),
        ('{"target_language": "e\\u200bs"}', "target_language", "control characters"),
        ('{"target_langauge": "es"}', "target_langauge", "source_language, target_language, video_length"),
        ("[]", "body", "object"),
        ("null", "body", "object"),
        ('"text"', "body", "object"),
    ],
)
def test_an_invalid_submission_is_refused_field_by_field(api, body, field, message):
    answer = api.post("/start", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 422)
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert message in answer.json()["errors"][0]["message"]
    assert api.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b"\xff\xfe",
        b'{"source_language": "\\ud800"}',
        b'{"video_length": NaN}',
        b'{"video_length": 1' + b"0" * 9000 + b"}",
        b"[" * 60_000,
        b'{"video_length": 1' + b"0" * 9000,
    ],
)
def test_a_body_that_is_not_json_is_refused(api, body):
    answer = api.post("/start", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 400)
    assert "not JSON" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 202),
        ({"Content-Type": "application/json; charset=utf-8"}, 202),
        ({"Content-Type": "Application/Merge-Patch+JSON"}, 202),
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_body_needs_the_content_type_of_json(api, headers, status):
    answer = api.post("/start", content=b'{"source_language": "en"}', headers=headers)
    assert answer.status_code == status
    assert status == 202 or is_problem(answer, 415)
    assert ("with Content-Encoding: gzip." in answer.text) == ("Content-Encoding" in headers)


@pytest.mark.parametrize(
    ("accepts", "types"),
    [
        ("json", "application/json"),
        ("form", "application/x-www-form-urlencoded"),
        (["multipart", "json"], "multipart/form-data or application/json"),
        (["json", "form", "multipart"], "application/json or application/x-www-form-urlencoded or multipart/form-data"),
    ],
)
def test_a_body_of_another_type_is_refused_with_the_types_of_the_route(start, own_dialect, accepts, types):
    fixed = f'fixed.echo = {{request = "POST /echo", accepts = {json.dumps(accepts)}, body = "{{input}}"}}'
    refused = start(dialects=own_dialect(fixed)).post("/own/echo", content=b"a", headers={"Content-Type": "text/plain"})
    assert is_problem(refused, 415)
    assert refused.json()["detail"] == f"The body must be {types}, without a Content-Encoding; this one is text/plain."
    assert refused.headers["accept"] == types.replace(" or ", ", ")


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_an_empty_body_needs_no_content_type(api, headers):
    assert api.post("/start", content=b"", headers=headers).status_code == 202


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(api, chunked):
    body = b" " * (256 * 1024) + b"{}"
    content = iter([body[:40_000], body[40_000:]]) if chunked else body
    answer = api.post("/start", content=content, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 413)
    fits = api.post("/start", content=body[2:], headers={"Content-Type": "application/json"})
    assert fits.status_code == 202


def test_a_setting_limits_the_size_of_a_body(start):
    api = start(max_body=2000)
    bodies = [b" " * spaces + b"{}" for spaces in (1998, 1999)]
    fits, refused = (api.post("/start", content=body, headers={"Content-Type": "application/json"}) for body in bodies)
    assert fits.status_code == 202
    assert is_problem(refused, 413)
    assert "2000 bytes (MAX_BODY)" in refused.json()["detail"]


def test_a_language_may_hold_any_space(api):
    language = "Español\u00a0(España)"
    assert api.job(api.submit({"source_language": language}))["source_language"] == language


def test_several_idempotency_keys_are_refused(api):
    headers = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    assert is_problem(api.post("/start", headers=headers), 400)


def test_the_same_idempotency_key_and_body_get_the_first_answer_again(api):
    def send(body=None, key='"one"'):
        return api.post("/start", json=body or {"video_length": 5}, headers={"Idempotency-Key": key})

    first = send()
    api.cancel(first.json()["job_id"])
    again = send()
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Retry-After"] == first.headers["Retry-After"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert send(key="one").json() == first.json()
    assert send(key='"two"').json() != first.json()
    assert is_problem(send(body={"video_length": 6}), 422)
    assert len(api.get("/jobs").json()["jobs"]) == 2


def test_an_idempotency_key_holds_after_a_restart_and_on_the_other_route(start):
    headers = {"Idempotency-Key": "one"}
    first = start().post("/start", headers=headers).json()
    assert start().post("/jobs", json={}, headers=headers).json() == first


def test_one_idempotency_key_sent_many_times_at_once_makes_one_job(api):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: api.post("/start", headers={"Idempotency-Key": "one"}), range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(api.get("/jobs").json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, 'a"b', "käse".encode()])
def test_a_malformed_idempotency_key_is_refused(api, key):
    answer = api.post("/start", headers={"Idempotency-Key": key})
    assert is_problem(answer, 400)
    assert "Idempotency-Key" in answer.json()["detail"]
