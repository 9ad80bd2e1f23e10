"""APIs that files describe, over HTTP against a real server."""

import json
import time
from datetime import datetime

import httpx
import pytest

from tests.api import is_problem
from tests.examples import CREDENTIALS, TLS
from tests.raw_http import exchange
from translation_server import TranslationServer
from translation_server.config.dialect_format import MAX_DEPTH

TASKS = """
auth = ["X-Api-Key: {token}", "?key={token}"]
hints = { x-poll-after-ms = "{retry_after | ms}" }
idempotency = { body = "token" }

[error]
body = { fault = { code = "{status_code}", type = "{error_type}", message = "{detail}", at = "{field}" } }
headers = { x-fault = "{error_type}: {detail}" }
types = { 404 = "no_such_thing", 422 = "invalid", default = "bad" }

[error.when]
422.code = 400
413.code = 400
413.headers = { x-fault = "large" }
413.body.fault = { type = "too_large", message = "Too much.", at = "{omit}" }
404.body.fault = { path = "{path}", when = "{now}", seconds = "{now | unix}", number = "{error_id}" }
422.body.fault.reason = "{reason}"
429.body = { fault = "{null}", retry = true }

[job.task]
id = "task-{digits:19}"
words = { pending = "busy", completed = "done", error = "failed", cancelled = "stopped" }
send = { to = "{target_language}" }
required = ["to", "more.deep"]
output = { text = "in {target_language}: {input.more.deep}" }

[job.task.body]
id = "{job_id}"
state = "{status}"
self = "{base_url}/tasks/{job_id}"
to = "{target_language}"
deep = "{input.more.deep}"
half = "{input.half | percent}"
number = "{input.number | number}"
zone = "{query.zone}"
team = "{team}"
why = "{omit}"

[job.task.when.completed]
body.output = "{output}"

[job.task.when.error]
code = 424
headers = { x-failed = "{input.note}" }
body.why = "{error_message}"

[job.task.submit]
request = ["POST /tasks", "POST /teams/{team}/tasks"]
accepts = ["json", "form", "multipart"]
code = 201

[job.task.poll]
request = ["GET /tasks/{job_id}", "GET /teams/{team}/tasks/{job_id}"]

[job.task.result]
request = "GET /result"
job_id = { query = "id" }

[job.task.cancel]
request = "POST /call"
where = { header = { X-Target = "Tasks.Stop" } }
job_id = { body = "task.name", text = "tasks/{job_id}" }

[job.task.view.place]
request = "POST /teams/{team}/places"
job_id = { body = "name", text = "teams/{team}/tasks/{job_id}/place" }
body = { place = "{job_id}" }

[job.task.delete]
request = "DELETE /task"
job_id = { header = "X-Task" }
code = 204
body = ""

[job.task.list]
request = "GET /tasks"
page = { size = "limit", cursor = "after", default = 2 }
body = { tasks = "{jobs}", first = "{first_id}", last = "{last_id}", next = "{next}", more = "{has_more}" }

[job.task.batch_poll]
request = "GET /some"
ids = "ids"
body = "{jobs}"

[fixed.me]
request = "GET /me/{name}"
headers = { x-name = "{name}" }
body = { name = "{name}", zone = "{query.zone}", url = "{base_url}" }

[fixed.echo]
request = "POST /call"
where = { header = { X-Target = "Echo" } }
body = { said = "{input.word}" }
"""

KEY = {"X-Api-Key": CREDENTIALS[1]}
TASK = {"to": "es", "more": {"deep": [1, {"a": None}]}}


@pytest.fixture
def write(tmp_path):
    """Writes the file of the API, and returns its path."""

    def write(text=TASKS):
        (tmp_path / "tasks.toml").write_text(text)
        return str(tmp_path / "tasks.toml")

    return write


@pytest.fixture
def native(start, write):
    """Starts a server, whose jobs stay pending; yields a client of the native API."""
    return start(dialects=write())


@pytest.fixture
def api(native):
    """Yields a client of the file's API."""
    with httpx.Client(base_url=native.base_url.join("/tasks"), headers=KEY, timeout=60, verify=TLS) as client:
        yield client


def submit(api, **more):
    answer = api.post("/tasks", json=TASK | more)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def fault(answer, code):
    """Returns an error in the API's own form."""
    assert answer.status_code == code, answer.text
    body = answer.json()["fault"]
    assert body["code"] == code
    assert answer.headers["x-fault"].startswith(f"{body['type']}: ")
    return body


def test_answers_repeat_what_was_sent(api):
    answer = api.post("/teams/a%20b/tasks", params={"zone": "eu"}, json=TASK | {"half": 0.5, "number": "7"})
    job = answer.json()
    assert job == {
        "id": job["id"],
        "state": "busy",
        "self": f"{api.base_url}tasks/{job['id']}",
        "to": "es",
        "deep": [1, {"a": None}],
        "half": 50,
        "number": 7,
        "zone": "eu",
        "team": "a b",
    }
    assert api.get(f"/tasks/{job['id']}").json() == job
    assert int(answer.headers["x-poll-after-ms"]) > 0
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("value", ["x", "nan", "inf", "9" * 5000, "1e999", [], {}, True, 10**300, None, "-inf"])
def test_values_that_a_filter_does_not_take_are_unknown(api, value):
    job = api.get(f"/tasks/{submit(api, half=value, number=value, note=value)}")
    assert job.status_code == 200
    assert json.loads(job.text)["half"] in (None, 100)


def test_answers_may_have_another_media_type(start, write):
    text = TASKS.replace("code = 201\n", 'headers = { Content-Type = "application/x+json" }\n')
    text = text.replace(
        "[job.task.result]", '[job.task.poll.headers]\nContent-Type = "application/x+json"\n\n[job.task.result]'
    )
    native = start(dialects=write(text))
    answer = native.post("/tasks/tasks", json=TASK, headers=KEY)
    polled = native.get(f"/tasks/tasks/{answer.json()['id']}", headers=KEY)
    listed = [one.headers.get_list("content-type") for one in (answer, polled)]
    assert ([one.status_code for one in (answer, polled)], listed) == ([200, 200], [["application/x+json"]] * 2)


def test_errors_have_the_headers_of_the_file_once(start, write):
    own = 'headers = { Content-Type = "application/problem+json", WWW-Authenticate = "Key", x-fault = "{detail}" }'
    native = start(dialects=write(TASKS.replace('headers = { x-fault = "{error_type}: {detail}" }', own)))
    refused = native.get("/tasks/tasks/unknown", headers={"X-Api-Key": "wrong"})
    shown = [refused.headers.get_list(name) for name in ("content-type", "www-authenticate")]
    assert (refused.status_code, shown) == (401, [["application/problem+json"], ["Key"]])


@pytest.mark.parametrize("character", ["%00", "%0A", "%2F", "%FF", "%ED%A0%80"])
def test_postgresql_has_no_jobs_with_odd_ids(start, write, postgres, character):
    native = start(dialects=write(), database_url=postgres.new())
    path = f"/tasks/tasks/a{character}b"
    assert native.get(path, headers=KEY).status_code == 404
    assert native.get(f"/tasks/result?id=a{character}b", headers=KEY).status_code == 404
    assert native.get(f"/tasks/some?ids=a{character}b", headers=KEY).json() == []
    answer = native.post("/tasks/tasks", json=TASK | {"x\x00": "\x00"}, headers=KEY)
    assert (answer.status_code, answer.json()["state"]) == (201, "busy")


def test_states_have_their_own_codes_headers_and_fields(api, native):
    failed, done = submit(api, note="a\r\nx-evil: 1\x00\u20ac"), submit(api)
    native.finish(failed, "error", message="no space")
    native.finish(done)
    answer = api.get(f"/tasks/{failed}")
    assert (answer.status_code, answer.json()["state"], answer.json()["why"]) == (424, "failed", "no space")
    assert (answer.headers["x-failed"], "x-evil" in answer.headers) == ("ax-evil: 1?", False)
    assert api.get(f"/tasks/{done}").json()["output"] == {"text": 'in es: [1,{"a":null}]'}


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"to": "es"}, "more.deep"), ({"more": {"deep": 1}}, "to"), (TASK | {"to": 5}, "to"), (TASK | {"to": ""}, "to")],
)
def test_missing_and_invalid_fields_are_refused_in_the_apis_form(api, body, fields):
    refused = fault(api.post("/tasks", json=body), 400)
    assert (refused["type"], refused["at"]) == ("invalid", fields)


def test_errors_show_the_bare_reason_the_path_the_time_and_an_id(api, native):
    refused = fault(api.post("/tasks", json={"to": "es"}), 400)
    assert (refused["message"], refused["reason"]) == ("more.deep: is required", "is required")
    before = int(time.time())
    first, second = (fault(api.get(path), 404) for path in ("/tasks/unknown", "/nowhere/at/all"))
    assert (first["path"], second["path"]) == ("/tasks/unknown", "/nowhere/at/all")
    assert before <= first["seconds"] <= datetime.fromisoformat(first["when"]).timestamp() <= time.time()
    assert len({first["number"], second["number"]}) == 2
    assert min(len(first["number"]), len(second["number"])) == 16
    native.set_faults({"kind": "status", "code": 404})
    assert fault(api.get("/tasks/x", params={"y": 1}), 404)["path"] == "/tasks/x"


def test_unknown_fields_are_stored_unless_the_file_refuses_them(api, native, start, write, tmp_path):
    job_id = submit(api, unknown={"x": 1})
    assert native.get(f"/sandbox/jobs/{job_id}").json()["input"]["unknown"] == {"x": 1}
    strict = write(TASKS.replace("[job.task]\n", '[job.task]\nunknown_fields = "refuse"\n', 1))
    other = start(dialects=strict, database_url=f"sqlite:///{tmp_path}/other.db")
    refused = other.post("/tasks/tasks", json=TASK, headers=KEY)
    assert fault(refused, 400)["at"] == "more"
    assert "more: there is no such field; the fields are to" in refused.text


def test_errors_have_the_apis_form_wherever_they_come_from(api, native):
    assert fault(api.get("/tasks/unknown"), 404)["type"] == "no_such_thing"
    assert fault(api.get("/nowhere"), 404)["type"] == "no_such_thing"
    assert fault(api.get("/me/x", headers={"X-Api-Key": "wrong"}), 401)["type"] == "bad"
    assert fault(api.post("/call", json={}), 404)["type"] == "no_such_thing"
    put = api.put("/tasks")
    assert (fault(put, 405)["type"], put.headers["allow"]) == ("bad", "GET, HEAD, POST")
    native.set_faults({"kind": "status", "code": 503, "retry_after": 2})
    assert fault(api.get("/me/x"), 503)["type"] == "bad"
    assert is_problem(native.get("/jobs"), 503)


def test_errors_have_the_apis_own_text_and_code_by_status(api, native):
    large = api.post("/tasks", json=TASK | {"image": "A" * 300_000})
    assert (large.status_code, large.headers["x-fault"]) == (400, "large")
    assert large.json() == {"fault": {"code": 400, "type": "too_large", "message": "Too much."}}
    native.set_faults({"kind": "status", "code": 429, "retry_after": 2})
    busy = api.get("/me/x")
    assert (busy.status_code, busy.json(), busy.headers["retry-after"]) == (429, {"fault": None, "retry": True}, "2")


def test_jobs_are_found_by_query_header_and_body(api):
    job_id = submit(api)
    assert api.get("/result", params={"id": job_id}).json()["state"] == "busy"
    stop = {"headers": {"X-Target": "Tasks.Stop"}}
    assert api.post("/call", json={"task": {"name": f"tasks/{job_id}"}}, **stop).json()["state"] == "stopped"
    assert api.delete("/task", headers={"X-Task": job_id}).status_code == 204
    for name in (job_id, "tasks/", "tasks/../x", 7, 10**4000, True, None, [], {"a": 1}, "tasks/\x00"):
        fault(api.post("/call", json={"task": {"name": name}}, **stop), 404)
    fault(api.get("/result"), 404)
    fault(api.delete("/task"), 404)


def test_the_text_around_an_id_has_values_of_the_path(api):
    job_id = submit(api)
    name = f"teams/red/tasks/{job_id}/place"
    assert api.post("/teams/red/places", json={"name": name}).json() == {"place": job_id}
    for path, other in (("blue", name), ("red", job_id), ("red", name.removesuffix("/place"))):
        fault(api.post(f"/teams/{path}/places", json={"name": other}), 404)


def test_a_header_selects_one_of_several_operations_of_a_path(api):
    assert api.post("/call", json={"word": "%s {x}"}, headers={"X-Target": "Echo"}).json() == {"said": "%s {x}"}


def test_lists_have_pages_by_cursor(api):
    ids = [submit(api) for _ in range(5)][::-1]
    first = api.get("/tasks").json()
    assert [task["id"] for task in first["tasks"]] == ids[:2]
    assert (first["first"], first["last"], first["next"], first["more"]) == (ids[0], ids[1], ids[1], True)
    last = api.get("/tasks", params={"limit": 100, "after": ids[2]}).json()
    assert ([task["id"] for task in last["tasks"]], last["next"], last["more"]) == (ids[3:], None, False)
    assert api.get("/tasks", params={"after": ids[4]}).json()["first"] is None
    for wrong in ("0", "-1", "x", "1.5", ""):
        assert fault(api.get("/tasks", params={"limit": wrong}), 400)["at"] == "limit"
    fault(api.get("/tasks", params={"after": "unknown"}), 404)


def test_several_jobs_are_polled_at_once(api):
    ids = [submit(api) for _ in range(3)]
    polled = api.get("/some", params={"ids": [f"{ids[0]},unknown", ids[2]]}).json()
    assert {task["id"] for task in polled} == {ids[0], ids[2]}
    fault(api.get("/some"), 400)
    fault(api.get("/some", params={"ids": ",".join("x" * 101)}), 400)


def test_the_base_url_is_as_the_caller_reached_the_server(start, write):
    native = start(dialects=write(), forwarded_allow_ips="127.0.0.1", allowed_hosts="api.example")
    url = native.get("/tasks/me/x", headers=KEY | {"Host": "api.example:81"}).json()["url"]
    assert url == "http://api.example:81/tasks"
    behind = {"X-Forwarded-Host": "public.example", "X-Forwarded-Proto": "https"}
    assert native.get("/tasks/me/x", headers=KEY | behind).json()["url"] == "https://public.example/tasks"
    assert native.get("/tasks/me/x", headers=KEY | {"Host": "evil.example"}).status_code == 421


def test_without_credentials_each_token_has_a_sandbox_of_its_own(write):
    one, other = {"X-Api-Key": "one"}, {"X-Api-Key": "other"}
    with TranslationServer(dialects=write()) as server, httpx.Client(base_url=f"{server.url}/tasks") as api:
        job_id = api.post("/tasks", json=TASK, headers=one).json()["id"]
        assert api.get(f"/tasks/{job_id}", headers=one).is_success
        assert api.get(f"/tasks/{job_id}", params={"key": "one"}).is_success
        for stranger in (other, {}):
            assert api.get(f"/tasks/{job_id}", headers=stranger).status_code == 404


def test_a_token_in_the_query_is_accepted_and_not_stored(native):
    answer = native.post("/tasks/tasks", params={"key": CREDENTIALS[1], "zone": ["a", "b"]}, json=TASK, auth=None)
    assert (answer.status_code, answer.json()["zone"]) == (201, ["a", "b"])
    stored = native.get(f"/sandbox/jobs/{answer.json()['id']}")
    assert stored.json()["input"] == TASK | {"zone": ["a", "b"]}
    assert CREDENTIALS[1] not in stored.text + native.get("/sandbox/requests").text
    assert native.post("/tasks/tasks", params={"key": "wrong"}, json=TASK, auth=None).status_code == 401


def test_an_answer_has_a_location_where_the_file_has_one(start, write, api, tmp_path):
    assert "location" not in api.post("/tasks", json=TASK).headers
    text = TASKS.replace("code = 201\n", 'code = 201\nheaders = { location = "{base_url}/tasks/{job_id}" }\n')
    other = start(dialects=write(text), database_url=f"sqlite:///{tmp_path}/other.db")
    answer = other.post("/tasks/tasks", json=TASK, headers=KEY)
    assert answer.headers["location"] == f"{other.base_url}/tasks/tasks/{answer.json()['id']}".replace(
        "//tasks", "/tasks"
    )


def test_a_field_may_not_come_in_the_query_and_in_the_body(api):
    assert fault(api.post("/tasks", params={"to": "fr"}, json=TASK), 400)["at"] == "to"


def test_the_idempotency_key_may_be_in_the_body(api):
    assert submit(api, token="a") == submit(api, token="a") != submit(api, token="b")
    fault(api.post("/tasks", json=TASK | {"token": "a", "other": 1}), 400)
    for key in (7, "", "x" * 256, "\x00", "\u20ac", ["a"]):
        assert fault(api.post("/tasks", json=TASK | {"token": key}), 400)["at"] == "token"


def test_bodies_may_be_as_deep_as_a_file_may_be(start, write):
    levels = MAX_DEPTH - 5  # besides the file, the kinds, the kind, the operation and the body
    deep = f"{'{ a = [' * (levels // 2)}1{'] }' * (levels // 2)}"
    submit = f'[job.task.submit]\nbody = {{ id = "{{job_id}}", deep = {deep} }}\n'
    api = start(dialects=write(TASKS.replace("[job.task.submit]\n", submit)))
    answer = api.post("/tasks/tasks", json=TASK, headers=KEY)
    assert (answer.status_code, answer.text.count("[")) == (201, levels // 2)


def test_the_code_of_an_error_has_a_default(start, write):
    text = TASKS.replace("[job.task]\n", "[job.task]\ndefaults.error_code = 7\n", 1)
    codes = 'body = { why = "{error_code | number}", note = "{error_code}" }'
    api = start(dialects=write(text.replace('body.why = "{error_message}"', codes)))

    def failed(**fate):
        simulate = {"delay": 0, "outcome": "error"} | fate
        job_id = api.post("/tasks/tasks", json=TASK | {"simulate": simulate}, headers=KEY).json()["id"]
        answer = api.get(f"/tasks/tasks/{job_id}", headers=KEY)
        assert answer.status_code == 424
        return answer.json()["why"], answer.json()["note"]

    assert (failed(), failed(code="8"), failed(code="no")) == ((7, 7), (8, "8"), (None, "no"))


def test_forms_are_accepted(api):
    answer = api.post("/tasks", data={"to": "es", "more": "", "x": ["1", "2"]})
    assert fault(answer, 400)["at"] == "more.deep"
    many = "&".join(f"f{n}=1" for n in range(1001))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = api.post("/tasks", content=many, headers=form)
    assert (answer.status_code, answer.json()["fault"]["message"]) == (400, "Too much.")
    fault(api.post("/tasks", content=b"a=%ff%00&&&=&%", headers=form), 400)


def test_data_uris_up_to_max_body_are_stored(api, native):
    image = "data:image/png;base64," + "A" * 250_000
    job_id = submit(api, image=image)
    assert native.get(f"/sandbox/jobs/{job_id}").json()["input"]["image"] == image
    assert api.post("/tasks", json=TASK | {"image": "A" * 300_000}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        '{"to": "es", "more": {"deep": NaN}}',
        '{"to": "es", "more": {"deep": [2, [-1e999]]}}',
        '{"to": "es", "more": {"deep": 1' + "0" * 5000 + "}}",
        '{"to": "es", "more": {"deep": ' + "[" * 50_000 + "]" * 50_000 + "}}",
        '{"to": "es", "more": {"deep": "\\ud800"}}',
        '{"to": "es", "to": "fr", "more": {"deep": 1}}',
        "[]",
    ],
    ids=lambda text: text[:40],
)
def test_bodies_that_are_no_json_object_are_refused(api, body):
    fault(api.post("/tasks", content=body, headers={"Content-Type": "application/json"}), 400)


def test_deep_json_is_stored_and_repeated(api):
    deep = json.loads("[" * 150 + "]" * 150)
    assert api.get(f"/tasks/{submit(api, more={'deep': deep})}").json()["deep"] == deep


def test_hostile_paths_are_unknown_jobs(native):
    key = f"X-Api-Key: {CREDENTIALS[1]}".encode()
    for path in ("%00", "%0d%0aX-Evil:%201", "a%2Fb", "..", "%ff", "%", "a" * 50_000, ":" * 50_000, "/" * 50_000):
        request = f"GET /tasks/tasks/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + key
        received = exchange(native, request + b"\r\nConnection: close\r\n\r\n")
        assert received.split(b" ")[1] in {b"404", b"400", b"405"}, received[:300]
        assert b"\nx-evil" not in received.lower()
    answer = native.get("/tasks/me/a%0d%0ax-evil:%201", headers=KEY)
    assert (answer.json()["name"], "x-evil" in answer.headers) == ("a\r\nx-evil: 1", False)


SLOW, BUSY = '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 0}}', '{"kind": "status", "code": 503}'


def test_fixed_answers_have_the_body_of_a_late_request(api):
    assert api.get("/me/x", headers={"Simulate-Fault": SLOW}).json()["name"] == "x"
    late = {"Simulate-Fault": SLOW, "X-Target": "Echo"}
    assert api.post("/call", json={"word": "yes"}, headers=late).json() == {"said": "yes"}


@pytest.mark.parametrize(("rule", "code"), [(SLOW, 400), (BUSY, 503)])
def test_a_malformed_form_is_an_error_under_faults_too(api, rule, code):
    form = {"Content-Type": "multipart/form-data; boundary=x", "Simulate-Fault": rule}
    assert api.post("/tasks", content=b"--x\r\nbroken", headers=form).status_code == code
