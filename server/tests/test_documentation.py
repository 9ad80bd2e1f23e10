"""The OpenAPI document agrees with the answers of a real server."""

import re

import httpx
import pytest

from tests.raw_http import exchange, statuses

JSON = {"Content-Type": "application/json"}
FAULT = "Simulate-Fault"

STRICT = """
[job.strict]
send = {to = "{target_language}", more = {from = "{source_language}"}}
unknown_fields = "refuse"
body = {id = "{job_id}", state = "{status}"}
submit.request = "POST /strict"
poll.request = "GET /strict/{job_id}"
"""


def operations(api):
    """Returns the operations by method and path, each with its parameters by name."""
    page = api.get("/openapi.json").json()
    return {
        (method.upper(), path): documented
        | {"parameters": {parameter["name"]: parameter for parameter in documented.get("parameters", ())}}
        for path, methods in page["paths"].items()
        for method, documented in methods.items()
    }


INVALID = {
    "an unknown parameter": {"params": {"nothing": "1"}},
    "another host": {"headers": {"Host": "evil.example"}},
    "a body that is too large": {"content": b"x" * 300_000, "headers": JSON},
    "a malformed body": {"content": b"{", "headers": JSON},
    "a body of another type": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    "a body with an unknown field": {"json": {"nothing": 1}},
    "wrong credentials": {"auth": ("admin", "wrong")},
    "a page of another site": {"headers": {"Origin": "https://evil.example"}},
    "a header that is too long": {"headers": {"Prefer": "x" * 9_000}},
    "a head that is too large": {"headers": {"X": "x" * 66_000}},
    "a target that is too long": {"params": {"x": "x" * 60_000}, "headers": {"X": "x" * 6_000}},
    "an unknown fault": {"headers": {FAULT: "nothing"}},
}


OWN_ERRORS = """
idempotency = "none"

[error]
body = { why = "{detail}" }
when = { 422 = { code = 400 }, 404 = { code = 410, headers = { content-type = "text/plain" }, body = "{detail}" } }
"""

BATCH = 'batch_poll = { request = "GET /many", ids = "ids", body.jobs = "{jobs}" }'


def media_types(page, response):
    """Returns the media types of a response of the document."""
    _, _, name = response.get("$ref", "").rpartition("/")
    return (page["components"]["responses"][name] if name else response)["content"].keys()


def check_errors(api):
    """Sends each operation invalid requests, and checks that every answer is documented."""
    page = api.get("/openapi.json").json()  # wrong credentials lock the address out later
    for (method, path), documented in operations(api).items():
        for name, request in INVALID.items():
            with api.stream(method, path.replace("{job_id}", "x"), **request) as answer:
                assert str(answer.status_code) in documented["responses"], (method, path, name, answer.status_code)
                if answer.status_code >= 400:
                    assert answer.headers["Content-Type"] in media_types(
                        page, documented["responses"][str(answer.status_code)]
                    )


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_all_errors_are_documented(start, own_dialect, sandbox):
    check_errors(start(sandbox=sandbox, dialects=own_dialect(end=STRICT)))


def test_errors_in_the_form_of_an_api_are_documented(start, own_dialect):
    api = start(dialects=own_dialect(top=OWN_ERRORS, end=BATCH))
    found = operations(api)
    assert "Idempotency-Key" not in found["POST", "/own/tasks"]["parameters"]
    assert found["GET", "/own/many"]["parameters"]["ids"]["required"]
    unknown = api.get("/own/tasks/x")
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (410, "text/plain")
    assert "text/plain" in found["GET", "/own/tasks/{job_id}"]["responses"]["410"]["content"]
    check_errors(api)


def test_required_fields_of_an_api_are_documented(start, own_dialect):
    required = 'required = ["text", ["video.url", "file"]]'
    api = start(dialects=own_dialect(end=STRICT.replace("body =", f"{required}\nbody =")))
    body = operations(api)["POST", "/own/strict"]["requestBody"]
    content = body["content"]["application/json"]
    given = {"not": {"type": "null"}}
    text = {"required": ["text"], "properties": {"text": given}}
    url = {"required": ["video"], "properties": {"video": {"required": ["url"], "properties": {"url": given}}}}
    file = {"required": ["file"], "properties": {"file": given}}
    assert (body["required"], content["schema"]["allOf"]) == (True, [text, {"anyOf": [url, file]}])
    assert content["schema"]["properties"].keys() == {"to", "more", "text", "video", "file"}
    answer = api.post("/own/strict", json=content["example"])
    assert answer.status_code == 200, answer.text
    for wrong, field in (
        ({"text": None}, "text"),
        ({"video": {"url": "x", "more": 1}}, "video.more"),
        ({"video": 1}, "video.url"),
    ):
        refused = api.post("/own/strict", json={**content["example"], **wrong})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_every_reference_of_the_document_leads_somewhere(start, sandbox):
    page = start(sandbox=sandbox).get("/openapi.json")
    for reference in re.findall(r'"#/components/(\w+)/(\w+)"', page.text):
        section, name = reference
        assert name in page.json()["components"][section], reference


EMPTY = """
[job.other]
body = { id = "{job_id}", state = "{status}" }
submit = { request = "POST /tasks/other", where.header.X-Other = "yes", headers.x-job = "{job_id}", body = "" }
poll.request = "GET /others/{job_id}"
"""


def test_answers_without_a_body_and_required_headers_are_documented(start, own_dialect):
    api = start(dialects=own_dialect(end=EMPTY))
    found = operations(api)["POST", "/own/tasks/other"]
    assert "content" not in found["responses"]["200"]
    assert (found["parameters"]["x-other"]["required"], found["parameters"]["x-other"]["schema"]) == (
        True,
        {"const": "yes"},
    )
    answer = api.post("/own/tasks/other", headers={"X-Other": "yes"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.post("/own/tasks/other").status_code == 404


def test_the_pattern_of_webhook_urls_is_documented(api):
    url = api.get("/openapi.json").json()["components"]["schemas"]["WebhookBody"]["properties"]["url"]
    for text, is_url in (
        ("http://127.0.0.1:9/a", True),
        ("HTTPS://127.0.0.1", True),
        ("ftp://127.0.0.1", False),
        ("", False),
    ):
        answer = api.post("/start", json={"webhook": {"url": text}})
        assert (answer.status_code == 202) == is_url == bool(re.search(url["pattern"], text)), text


@pytest.mark.parametrize(
    "key", ["", "A", "AA", "AAA", "AAAA", "A=", "AA=", "AA==", "AA===", "AAA=", "AAA==", "AAAAA", "AA==AA", "A-A="]
)
def test_the_pattern_of_secrets_is_what_is_accepted(api, key):
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    one, several, _ = schemas["Receiver"]["properties"]["secret"]["anyOf"]
    assert (several["minItems"], several["maxItems"]) == (1, 5)
    secret = f"whsec_{key}"
    ping = {"url": "http://127.0.0.1:9/", "secret": secret}
    answer = api.post("/sandbox/webhooks/ping", json=ping)
    assert (answer.status_code == 200) == bool(re.search(one["pattern"], secret)), answer.text


def test_examples_of_submissions_are_accepted_as_forms_too(start):
    api, tried = start(dialects="openai,deepl"), set()
    for (method, path), documented in operations(api).items():
        content = documented.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        if content:
            form = {name: (None, str(value)) for name, value in content["example"].items()}
            token = {"Authorization": f"{'Bearer' if 'openai' in path else 'DeepL-Auth-Key'} admin:secretpassword"}
            with httpx.Client(base_url=api.base_url) as client:
                answer = client.request(method, path.replace("{original}", "video_1"), files=form, headers=token)
            assert answer.is_success, (path, answer.text)
            tried.add(path)
    assert tried >= {"/openai/v1/files", "/deepl/v2/document"}


def test_an_id_that_several_jobs_have_is_documented(api):
    for (method, path), documented in operations(api).items():
        if "{job_id}" in path and not path.startswith("/sandbox"):
            assert {"404", "409"} <= documented["responses"].keys(), (method, path)


def test_all_errors_are_documented_with_auth_off(open_api):
    check_errors(open_api)


def test_every_operation_has_the_common_errors(api):
    for (method, path), documented in operations(api).items():
        always = {"400", "408", "413", "414", "421", "422", "429", "431", "500", "503"}
        assert always <= set(documented["responses"]), (method, path)
        public, signed = path in {"/livez", "/readyz"}, path.startswith("/files/")
        assert ("401" in documented["responses"]) == (not public and not signed)
        starts_a_job = path == "/status"
        assert ("403" in documented["responses"]) == (method != "GET" or starts_a_job or signed)


def test_no_credentials_are_documented_with_auth_off(open_api):
    page = open_api.get("/openapi.json").json()
    assert (page["security"], "securitySchemes" in page["components"]) == ([], False)
    for (_, path), documented in operations(open_api).items():
        assert "401" not in documented["responses"], path
        assert not documented.get("security"), path


def test_bodies_are_documented_and_allow_no_other_fields(start, own_dialect):
    api = start(dialects=own_dialect(end=STRICT))
    page = api.get("/openapi.json").json()
    for (method, path), documented in operations(api).items():
        if "requestBody" in documented and path != "/own/tasks":  # which accepts any field
            target = path.replace("{job_id}", "x")
            assert documented["requestBody"]["required"] == (api.request(method, target).status_code == 415), path
            schema = documented["requestBody"]["content"]["application/json"]["schema"]
            if "$ref" in schema:
                schema = page["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert schema["additionalProperties"] is False, path
            assert api.request(method, target, json={"nothing": 1}).status_code == 422, path
    own = operations(api)["POST", "/own/strict"]["requestBody"]["content"]["application/json"]["schema"]
    assert own["properties"]["more"]["additionalProperties"] is False
    assert api.post("/own/strict", json={"more": {"nothing": 1}}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "schema", "rule"),
    [
        ("POST", "/sandbox/clock", {}, "ClockChange", ("minProperties", 1)),
        ("PATCH", "/sandbox", {"faults": [{"code": 500}]}, "Status", ("required", ["code", "kind"])),
        ("PATCH", "/sandbox", {"faults": [{"seconds": 5}]}, "Hang", ("required", ["kind"])),
        ("PATCH", "/sandbox", {"delay": {"seconds": 5}}, "Fixed", ("required", ["kind", "seconds"])),
    ],
)
def test_required_fields_are_documented(api, method, path, body, schema, rule):
    assert api.request(method, path, json=body).status_code == 422
    name, value = rule
    assert api.get("/openapi.json").json()["components"]["schemas"][schema][name] == value


def test_simulate_fault_is_documented_where_it_is_accepted(start):
    api = start(max_delay=0)
    job_id = api.submit()
    documented = {key: operation for key, operation in operations(api).items() if FAULT in operation["parameters"]}
    assert len(documented) == 12
    for method, path in operations(api):
        if not path.endswith("events") and not path.startswith("/files/"):
            target = path.replace("{job_id}", job_id)
            refused = api.request(method, target, headers={FAULT: "nothing"}).status_code == 422
            usable = api.request(method, target).status_code != 422
            assert (refused and usable) == ((method, path) in documented), (method, path)
    kinds, rule = documented["GET", "/status/{job_id}"]["parameters"][FAULT]["schema"]["anyOf"]
    assert "status" not in kinds["enum"]
    for kind in {*kinds["enum"]} - {"reset", "empty", "malformed", "truncate", "garbage", "drip", "hang", "latency"}:
        assert api.get(f"/status/{job_id}", headers={FAULT: kind}).status_code in {200, 401, 404}, kind
    assert rule["contentMediaType"] == "application/json"
    off = start(sandbox="off", database_url="memory:")
    assert not [key for key, operation in operations(off).items() if FAULT in operation["parameters"]]


def test_simulate_is_documented_where_it_is_accepted(start):
    for sandbox in ("on", "off"):
        api = start(sandbox=sandbox, database_url="memory:")
        for path in ("/start", "/jobs"):
            body = operations(api)["POST", path]["requestBody"]["content"]["application/json"]
            there = api.post(path, json={"simulate": {"delay": 1}}).status_code == 202
            assert there == ("simulate" in body["schema"]["properties"]) == ("simulate" in body["example"])
        schemas = api.get("/openapi.json").json()["components"]["schemas"]
        assert ("Simulate" in schemas) == (sandbox == "on")


@pytest.mark.parametrize("hidden", ["\0", "\t", "\n", "\x7f", "\x85", "\u200b", "\u2028", "\u202e", "\u2066", "\ufeff"])
def test_unprintable_texts_are_refused_as_the_pattern_says(api, hidden):
    schema = operations(api)["POST", "/start"]["requestBody"]["content"]["application/json"]["schema"]
    pattern = schema["properties"]["target_language"]["anyOf"][0]["pattern"]
    for text, shows in ((f"e{hidden}s", False), ("es", True), ("日本語 😍", True), ("\ue000\U000eeeee", True)):
        assert (re.search(pattern, text) is not None) == shows
        assert api.post("/start", json={"target_language": text}).status_code == (202 if shows else 422)


def test_the_query_of_a_submission_is_documented(api):
    documented = operations(api)
    assert documented["POST", "/jobs"]["parameters"]["video_length"]["schema"]["exclusiveMinimum"] == 0
    assert "video_length" not in documented["POST", "/start"]["parameters"]
    assert not [
        name
        for operation in documented.values()
        for name, parameter in operation["parameters"].items()
        if parameter["in"] == "query" and "null" in str(parameter["schema"])
    ]


def test_the_headers_of_answers_are_documented(api):
    usual = {"date", "server", "content-length", "content-type", "vary", "cache-control", "etag"}
    assert api.post("/sandbox/clock", json={"speed": 60}).status_code == 200
    submitted = api.post("/start", headers={"Idempotency-Key": "one"})
    job_id = submitted.json()["job_id"]
    documented = operations(api)
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
        headers = documented[method, path]["responses"][str(answer.status_code)]["headers"]
        assert set(answer.headers) - usual <= {name.lower() for name in headers}, (method, path)


def test_request_timeouts_are_documented(start):
    api = start(head_timeout=1)
    [status] = statuses(exchange(api, b"GET /livez HTTP/1.1\r\n"))
    assert str(status) in operations(api)["GET", "/livez"]["responses"]


@pytest.mark.parametrize("dialects", ["", "all"])
def test_every_operation_has_a_summary_a_name_and_examples_of_its_errors(start, dialects):
    api = start(dialects=dialects)
    page = api.get("/openapi.json").json()
    documented = operations(api)
    names = [operation["operationId"] for operation in documented.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    for key, operation in documented.items():
        assert 3 < len(operation["summary"]) < 100, key
        assert not operation["summary"].endswith("."), key
        assert operation.get("description") != f"{operation['summary']}.", key
        for status, response in operation["responses"].items():
            if status[0] in "45":
                _, _, name = response.get("$ref", "").rpartition("/")
                content = (page["components"]["responses"][name] if name else response)["content"]
                assert all("example" in kind for kind in content.values()), (key, status)


def test_errors_of_an_api_have_examples_in_its_form(start):
    page = start(dialects="openai").get("/openapi.json").json()
    [answer, *_] = page["paths"]["/openai/v1/videos/{job_id}"]["get"]["responses"]["404"]["content"].values()
    assert answer["example"]["error"]["message"] == "You have no job of this id."
