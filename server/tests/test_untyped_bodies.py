"""JSON bodies with any content type, for the APIs that take them."""

import pytest

UNTYPED = """
fixed.echo = {request = "POST /echo", accepts = ["untyped", "multipart"], body.said = "{input.word}"}
fixed.strict = {request = "POST /strict", body.said = "{input.word}"}
"""


SUBMIT = """
[job.note]
words = {pending = "busy", completed = "done", error = "failed"}
body = {id = "{job_id}", state = "{status}"}
submit = {request = "POST /notes", accepts = "untyped"}
poll = {request = "GET /notes/{job_id}"}
"""


@pytest.fixture
def api(start, own_dialect):
    return start(dialects=own_dialect(UNTYPED, SUBMIT))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", None])
def test_json_of_any_type_is_read_where_the_file_says_so(api, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = api.post("/own/echo", content=b'{"word": "hello"}', headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"said": "hello"})
    strict = api.post("/own/strict", content=b'{"word": "hello"}', headers=headers)
    assert strict.status_code == (200 if kind == "application/json" else 415)


def test_forms_with_files_and_mistakes_are_read_as_ever(api):
    assert api.post("/own/echo", files={"a": b"x"}, data={"word": "hello"}).json() == {"said": "hello"}
    assert api.post("/own/echo", data={"word": "hello"}).status_code == 400


def test_such_requests_are_documented(api):
    assert "*/*" in api.get("/openapi.json").json()["paths"]["/own/notes"]["post"]["requestBody"]["content"]
