"""What the OpenAPI page says of each request is what comes of it, over HTTP against a real server."""

import re
import socket

import httpx
import pytest

from translation_server import TranslationServer

JSON = {"Content-Type": "application/json"}
FAULT = "Simulate-Fault"

OWN = """
[own]
poll = ["/latest", "/{job_id}"]
submit = "/jobs"
request = {to = "{target_language}", more = {from = "{source_language}"}}
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
"""


def operations(api) -> dict[tuple[str, str], dict]:
    """What there is, by method and path, with the parameters' schemas by name in place of a list."""
    page = api.get("/openapi.json").json()
    return {
        (method.upper(), path): told | {"parameters": {each["name"]: each for each in told.get("parameters", ())}}
        for path, methods in page["paths"].items()
        for method, told in methods.items()
    }


ATTACKS = {
    "a parameter that there is not": {"params": {"nothing": "1"}},
    "another host": {"headers": {"Host": "evil.example"}},
    "a body that is too large": {"content": b"x" * 70_000, "headers": JSON},
    "a body that is none": {"content": b"{", "headers": JSON},
    "a body of another type": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    "a body with a stranger": {"json": {"nothing": 1}},
    "wrong credentials": {"auth": ("admin", "wrong")},
    "a page of another site": {"headers": {"Origin": "https://evil.example"}},
    "a header that is too long": {"headers": {"Prefer": "x" * 9_000}},
    "a head that is too large": {"headers": {"X": "x" * 66_000}},
    "a target that is too long": {"params": {"x": "x" * 60_000}, "headers": {"X": "x" * 6_000}},
    "a fault that there is not": {"headers": {FAULT: "nothing"}},
}


def attack(api) -> None:
    """Sends each operation what may go wrong, and has every answer be one that is told of."""
    for (method, path), told in operations(api).items():
        for name, attack in ATTACKS.items():
            with api.stream(method, path.replace("{job_id}", "x"), **attack) as answer:
                assert str(answer.status_code) in told["responses"], (method, path, name, answer.status_code)
                if answer.status_code >= 400:
                    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_whatever_goes_wrong_is_told_of(start, tmp_path, sandbox):
    (tmp_path / "own.toml").write_text(OWN)
    attack(start(sandbox=sandbox, dialects=tmp_path / "own.toml"))


def test_whatever_goes_wrong_where_nobody_needs_credentials_is_told_of():
    with TranslationServer() as server, httpx.Client(base_url=server.url, timeout=60) as api:
        attack(api)


def test_every_refusal_is_told_of_every_operation(api):
    for (method, path), told in operations(api).items():
        always = {"400", "408", "413", "414", "421", "422", "429", "431", "500", "503"}
        assert always <= set(told["responses"]), (method, path)
        health = path in {"/livez", "/readyz"}
        assert ("401" in told["responses"]) == (not health)
        assert ("403" in told["responses"]) == (method != "GET" or path == "/status")  # which may start a job


def test_where_nobody_needs_credentials_none_are_asked_for():
    with TranslationServer() as server, httpx.Client(base_url=server.url, timeout=60) as api:
        page = api.get("/openapi.json").json()
        assert (page["security"], "securitySchemes" in page["components"]) == ([], False)
        for (_, path), told in operations(api).items():
            assert "401" not in told["responses"], path
            assert not told.get("security"), path


def test_a_body_that_is_needed_is_told_of_and_holds_nothing_else(start, tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    api = start(dialects=tmp_path / "own.toml")
    page = api.get("/openapi.json").json()
    for (method, path), told in operations(api).items():
        if "requestBody" in told:
            target = path.replace("{job_id}", "x")
            assert told["requestBody"]["required"] == (api.request(method, target).status_code == 415), path
            schema = told["requestBody"]["content"]["application/json"]["schema"]
            if "$ref" in schema:
                schema = page["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert schema["additionalProperties"] is False, path
            assert api.request(method, target, json={"nothing": 1}).status_code == 422, path
    own = operations(api)["POST", "/own/jobs"]["requestBody"]["content"]["application/json"]["schema"]
    assert own["properties"]["more"]["additionalProperties"] is False
    assert api.post("/own/jobs", json={"more": {"nothing": 1}}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "schema", "rule"),
    [
        ("POST", "/sandbox/clock", {}, "ClockChange", ("minProperties", 1)),
        ("PATCH", "/sandbox", {"faults": [{"code": 500}]}, "Status", ("required", ["code", "kind"])),
        ("PATCH", "/sandbox", {"faults": [{"seconds": 5}]}, "Hang", ("required", ["kind"])),
        ("PATCH", "/sandbox", {"delay": {"seconds": 5}}, "Fixed", ("required", ["kind", "seconds"])),
    ],
)
def test_what_a_body_has_to_hold_is_told(api, method, path, body, schema, rule):
    assert api.request(method, path, json=body).status_code == 422
    name, value = rule
    assert api.get("/openapi.json").json()["components"]["schemas"][schema][name] == value


def test_faults_are_told_of_where_they_can_be_asked_for(start):
    api = start(max_delay=0)
    submitted = api.post("/start")
    assert submitted.status_code == 202
    told = {key: operation for key, operation in operations(api).items() if FAULT in operation["parameters"]}
    assert len(told) == 11
    for method, path in operations(api):
        if not path.endswith("events"):
            target = path.replace("{job_id}", submitted.json()["job_id"])
            refused = api.request(method, target, headers={FAULT: "nothing"}).status_code == 422 and (
                api.request(method, target).status_code != 422
            )
            assert refused == ((method, path) in told), (method, path)
    kinds, rule = told["GET", "/status/{job_id}"]["parameters"][FAULT]["schema"]["anyOf"]
    assert "status" not in kinds["enum"]
    for kind in {*kinds["enum"]} - {"reset", "empty", "malformed", "truncate", "garbage", "drip", "hang", "latency"}:
        assert api.get(submitted.headers["Location"], headers={FAULT: kind}).status_code in {200, 401, 404}, kind
    assert rule["contentMediaType"] == "application/json"
    off = start(sandbox="off", database_url="memory:")
    assert not [key for key, operation in operations(off).items() if FAULT in operation["parameters"]]


def test_a_fate_of_its_own_is_told_of_where_a_job_can_have_one(start):
    for sandbox in ("on", "off"):
        api = start(sandbox=sandbox, database_url="memory:")
        for path in ("/start", "/jobs"):
            body = operations(api)["POST", path]["requestBody"]["content"]["application/json"]
            there = api.post(path, json={"simulate": {"delay": 1}}).status_code == 202
            assert there == ("simulate" in body["schema"]["properties"]) == ("simulate" in body["example"])
        schemas = api.get("/openapi.json").json()["components"]["schemas"]
        assert ("Simulate" in schemas) == (sandbox == "on")


@pytest.mark.parametrize("hidden", ["\0", "\t", "\n", "\x7f", "\x85", "\u200b", "\u2028", "\u202e", "\u2066", "\ufeff"])
def test_texts_that_would_not_show_are_refused_as_the_pattern_says(api, hidden):
    schema = operations(api)["POST", "/start"]["requestBody"]["content"]["application/json"]["schema"]
    pattern = schema["properties"]["target_language"]["anyOf"][0]["pattern"]
    for text, shows in ((f"e{hidden}s", False), ("es", True), ("日本語 😍", True), ("\ue000\U000eeeee", True)):
        assert (re.search(pattern, text) is not None) == shows
        assert api.post("/start", json={"target_language": text}).status_code == (202 if shows else 422)


def test_the_query_of_a_submission_is_told(api):
    told = operations(api)
    assert told["POST", "/jobs"]["parameters"]["video_length"]["schema"]["exclusiveMinimum"] == 0
    assert "video_length" not in told["POST", "/start"]["parameters"]
    assert not [
        name
        for operation in told.values()
        for name, parameter in operation["parameters"].items()
        if parameter["in"] == "query" and "null" in str(parameter["schema"])
    ]


def test_the_headers_of_an_answer_are_told(api):
    usual = {"date", "server", "content-length", "content-type", "vary", "cache-control", "etag"}
    assert api.post("/sandbox/clock", json={"speed": 60}).status_code == 200
    submitted = api.post("/start", headers={"Idempotency-Key": "one"})
    job_id = submitted.json()["job_id"]
    told = operations(api)
    for method, path, more in (
        ("POST", "/start", {"headers": {"Idempotency-Key": "one"}}),
        ("GET", "/status/{job_id}", {}),
        ("GET", "/status/{job_id}", {"headers": {"If-None-Match": "*"}}),
        ("GET", "/status", {}),
        ("GET", "/jobs", {"params": {"job_id": job_id}}),
        ("DELETE", "/jobs/{job_id}", {}),
    ):
        answer = api.request(method, path.replace("{job_id}", job_id), **more)
        assert answer.status_code < 400
        assert "Wall-Elapsed-Time" in answer.headers, (method, path)
        headers = told[method, path]["responses"][str(answer.status_code)]["headers"]
        assert set(answer.headers) - usual <= {name.lower() for name in headers}, (method, path)


def test_a_request_that_takes_too_long_is_told_of(start):
    api = start(head_timeout=1)
    with socket.create_connection((api.base_url.host, api.base_url.port), timeout=60) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        status = connection.recv(65_536).split()[1].decode()
    assert status in operations(api)["GET", "/livez"]["responses"]
