"""The API in `tasks_api`, as a file describes it, over HTTP against a real server."""

import json
import time
from datetime import datetime

import httpx
import pytest

from tests.api import is_problem
from tests.examples import CREDENTIALS
from tests.raw_http import exchange
from tests.tasks_api import KEY, TASK, TASKS, fault, submit
from translation_server import TranslationServer
from translation_server.config.dialect_format import MAX_DEPTH


def test_answers_repeat_what_was_sent(tasks):
    answer = tasks.post("/teams/a%20b/tasks", params={"zone": "eu"}, json=TASK | {"half": 0.5, "number": "7"})
    job = answer.json()
    assert job == {
        "id": job["id"],
        "state": "busy",
        "self": f"{tasks.base_url}tasks/{job['id']}",
        "to": "es",
        "deep": [1, {"a": None}],
        "half": 50,
        "number": 7,
        "zone": "eu",
        "team": "a b",
    }
    assert tasks.get(f"/tasks/{job['id']}").json() == job
    assert int(answer.headers["x-poll-after-ms"]) > 0
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("value", ["x", "nan", "inf", "9" * 5000, "1e999", [], {}, True, 10**300, None, "-inf"])
def test_values_that_a_filter_does_not_take_are_unknown(tasks, value):
    job = tasks.get(f"/tasks/{submit(tasks, half=value, number=value, note=value)}")
    assert job.status_code == 200
    assert json.loads(job.text)["half"] in (None, 100)


def test_answers_may_have_another_media_type(start, write_tasks):
    text = TASKS.replace("code = 201\n", 'headers = { Content-Type = "application/x+json" }\n')
    text = text.replace(
        "[job.task.result]", '[job.task.poll.headers]\nContent-Type = "application/x+json"\n\n[job.task.result]'
    )
    native = start(dialects=write_tasks(text))
    answer = native.post("/tasks/tasks", json=TASK, headers=KEY)
    polled = native.get(f"/tasks/tasks/{answer.json()['id']}", headers=KEY)
    listed = [one.headers.get_list("content-type") for one in (answer, polled)]
    assert ([one.status_code for one in (answer, polled)], listed) == ([200, 200], [["application/x+json"]] * 2)


def test_errors_have_the_headers_of_the_file_once(start, write_tasks):
    own = 'headers = { Content-Type = "application/problem+json", WWW-Authenticate = "Key", x-fault = "{detail}" }'
    native = start(dialects=write_tasks(TASKS.replace('headers = { x-fault = "{error_type}: {detail}" }', own)))
    refused = native.get("/tasks/tasks/unknown", headers={"X-Api-Key": "wrong"})
    shown = [refused.headers.get_list(name) for name in ("content-type", "www-authenticate")]
    assert (refused.status_code, shown) == (401, [["application/problem+json"], ["Key"]])


@pytest.mark.parametrize("character", ["%00", "%0A", "%2F", "%FF", "%ED%A0%80"])
def test_postgresql_has_no_jobs_with_odd_ids(start, write_tasks, postgres, character):
    native = start(dialects=write_tasks(), database_url=postgres.new())
    path = f"/tasks/tasks/a{character}b"
    assert native.get(path, headers=KEY).status_code == 404
    assert native.get(f"/tasks/result?id=a{character}b", headers=KEY).status_code == 404
    assert native.get(f"/tasks/some?ids=a{character}b", headers=KEY).json() == []
    answer = native.post("/tasks/tasks", json=TASK | {"x\x00": "\x00"}, headers=KEY)
    assert (answer.status_code, answer.json()["state"]) == (201, "busy")


def test_states_have_their_own_codes_headers_and_fields(tasks, native):
    failed, done = submit(tasks, note="a\r\nx-evil: 1\x00\u20ac"), submit(tasks)
    native.finish(failed, "error", message="no space")
    native.finish(done)
    answer = tasks.get(f"/tasks/{failed}")
    assert (answer.status_code, answer.json()["state"], answer.json()["why"]) == (424, "failed", "no space")
    assert (answer.headers["x-failed"], "x-evil" in answer.headers) == ("ax-evil: 1?", False)
    assert tasks.get(f"/tasks/{done}").json()["output"] == {"text": 'in es: [1,{"a":null}]'}


def test_errors_show_the_bare_reason_the_path_the_time_and_an_id(tasks, native):
    refused = fault(tasks.post("/tasks", json={"to": "es"}), 400)
    assert (refused["message"], refused["reason"]) == ("more.deep: is required", "is required")
    before = int(time.time())
    first, second = (fault(tasks.get(path), 404) for path in ("/tasks/unknown", "/nowhere/at/all"))
    assert (first["path"], second["path"]) == ("/tasks/unknown", "/nowhere/at/all")
    assert before <= first["seconds"] <= datetime.fromisoformat(first["when"]).timestamp() <= time.time()
    assert len({first["number"], second["number"]}) == 2
    assert min(len(first["number"]), len(second["number"])) == 16
    native.set_faults({"kind": "status", "code": 404})
    assert fault(tasks.get("/tasks/x", params={"y": 1}), 404)["path"] == "/tasks/x"


def test_errors_have_the_apis_form_wherever_they_come_from(tasks, native):
    assert fault(tasks.get("/tasks/unknown"), 404)["type"] == "no_such_thing"
    assert fault(tasks.get("/nowhere"), 404)["type"] == "no_such_thing"
    assert fault(tasks.get("/me/x", headers={"X-Api-Key": "wrong"}), 401)["type"] == "bad"
    assert fault(tasks.post("/call", json={}), 404)["type"] == "no_such_thing"
    put = tasks.put("/tasks")
    assert (fault(put, 405)["type"], put.headers["allow"]) == ("bad", "GET, HEAD, POST")
    native.set_faults({"kind": "status", "code": 503, "retry_after": 2})
    assert fault(tasks.get("/me/x"), 503)["type"] == "bad"
    assert is_problem(native.get("/jobs"), 503)


def test_errors_have_the_apis_own_text_and_code_by_status(tasks, native):
    large = tasks.post("/tasks", json=TASK | {"image": "A" * 300_000})
    assert (large.status_code, large.headers["x-fault"]) == (400, "large")
    assert large.json() == {"fault": {"code": 400, "type": "too_large", "message": "Too much."}}
    native.set_faults({"kind": "status", "code": 429, "retry_after": 2})
    busy = tasks.get("/me/x")
    assert (busy.status_code, busy.json(), busy.headers["retry-after"]) == (429, {"fault": None, "retry": True}, "2")


def test_jobs_are_found_by_query_header_and_body(tasks):
    job_id = submit(tasks)
    assert tasks.get("/result", params={"id": job_id}).json()["state"] == "busy"
    stop = {"headers": {"X-Target": "Tasks.Stop"}}
    assert tasks.post("/call", json={"task": {"name": f"tasks/{job_id}"}}, **stop).json()["state"] == "stopped"
    assert tasks.delete("/task", headers={"X-Task": job_id}).status_code == 204
    for name in (job_id, "tasks/", "tasks/../x", 7, 10**4000, True, None, [], {"a": 1}, "tasks/\x00"):
        fault(tasks.post("/call", json={"task": {"name": name}}, **stop), 404)
    fault(tasks.get("/result"), 404)
    fault(tasks.delete("/task"), 404)


def test_the_text_around_an_id_has_values_of_the_path(tasks):
    job_id = submit(tasks)
    name = f"teams/red/tasks/{job_id}/place"
    assert tasks.post("/teams/red/places", json={"name": name}).json() == {"place": job_id}
    for path, other in (("blue", name), ("red", job_id), ("red", name.removesuffix("/place"))):
        fault(tasks.post(f"/teams/{path}/places", json={"name": other}), 404)


def test_a_header_selects_one_of_several_operations_of_a_path(tasks):
    assert tasks.post("/call", json={"word": "%s {x}"}, headers={"X-Target": "Echo"}).json() == {"said": "%s {x}"}


def test_lists_have_pages_by_cursor(tasks):
    ids = [submit(tasks) for _ in range(5)][::-1]
    first = tasks.get("/tasks").json()
    assert [task["id"] for task in first["tasks"]] == ids[:2]
    assert (first["first"], first["last"], first["next"], first["more"]) == (ids[0], ids[1], ids[1], True)
    last = tasks.get("/tasks", params={"limit": 100, "after": ids[2]}).json()
    assert ([task["id"] for task in last["tasks"]], last["next"], last["more"]) == (ids[3:], None, False)
    assert tasks.get("/tasks", params={"after": ids[4]}).json()["first"] is None
    for wrong in ("0", "-1", "x", "1.5", ""):
        assert fault(tasks.get("/tasks", params={"limit": wrong}), 400)["at"] == "limit"
    fault(tasks.get("/tasks", params={"after": "unknown"}), 404)


def test_several_jobs_are_polled_at_once(tasks):
    ids = [submit(tasks) for _ in range(3)]
    polled = tasks.get("/some", params={"ids": [f"{ids[0]},unknown", ids[2]]}).json()
    assert {task["id"] for task in polled} == {ids[0], ids[2]}
    fault(tasks.get("/some"), 400)
    fault(tasks.get("/some", params={"ids": ",".join("x" * 101)}), 400)


def test_the_base_url_is_as_the_caller_reached_the_server(start, write_tasks):
    native = start(dialects=write_tasks(), forwarded_allow_ips="127.0.0.1", allowed_hosts="api.example")
    url = native.get("/tasks/me/x", headers=KEY | {"Host": "api.example:81"}).json()["url"]
    assert url == "http://api.example:81/tasks"
    behind = {"X-Forwarded-Host": "public.example", "X-Forwarded-Proto": "https"}
    assert native.get("/tasks/me/x", headers=KEY | behind).json()["url"] == "https://public.example/tasks"
    assert native.get("/tasks/me/x", headers=KEY | {"Host": "evil.example"}).status_code == 421


def test_without_credentials_each_token_has_a_sandbox_of_its_own(write_tasks):
    one, other = {"X-Api-Key": "one"}, {"X-Api-Key": "other"}
    with TranslationServer(dialects=write_tasks()) as server, httpx.Client(base_url=f"{server.url}/tasks") as tasks:
        job_id = tasks.post("/tasks", json=TASK, headers=one).json()["id"]
        assert tasks.get(f"/tasks/{job_id}", headers=one).is_success
        assert tasks.get(f"/tasks/{job_id}", params={"key": "one"}).is_success
        for stranger in (other, {}):
            assert tasks.get(f"/tasks/{job_id}", headers=stranger).status_code == 404


def test_a_token_in_the_query_is_accepted_and_not_stored(native):
    answer = native.post("/tasks/tasks", params={"key": CREDENTIALS[1], "zone": ["a", "b"]}, json=TASK, auth=None)
    assert (answer.status_code, answer.json()["zone"]) == (201, ["a", "b"])
    stored = native.get(f"/sandbox/jobs/{answer.json()['id']}")
    assert stored.json()["input"] == TASK | {"zone": ["a", "b"]}
    assert CREDENTIALS[1] not in stored.text + native.get("/sandbox/requests").text
    assert native.post("/tasks/tasks", params={"key": "wrong"}, json=TASK, auth=None).status_code == 401


def test_an_answer_has_a_location_where_the_file_has_one(start, write_tasks, tasks, tmp_path):
    assert "location" not in tasks.post("/tasks", json=TASK).headers
    text = TASKS.replace("code = 201\n", 'code = 201\nheaders = { location = "{base_url}/tasks/{job_id}" }\n')
    other = start(dialects=write_tasks(text), database_url=f"sqlite:///{tmp_path}/other.db")
    answer = other.post("/tasks/tasks", json=TASK, headers=KEY)
    assert answer.headers["location"] == f"{other.base_url}/tasks/tasks/{answer.json()['id']}".replace(
        "//tasks", "/tasks"
    )


def test_bodies_may_be_as_deep_as_a_file_may_be(start, write_tasks):
    levels = MAX_DEPTH - 5  # besides the file, the kinds, the kind, the operation and the body
    deep = f"{'{ a = [' * (levels // 2)}1{'] }' * (levels // 2)}"
    submit = f'[job.task.submit]\nbody = {{ id = "{{job_id}}", deep = {deep} }}\n'
    tasks = start(dialects=write_tasks(TASKS.replace("[job.task.submit]\n", submit)))
    answer = tasks.post("/tasks/tasks", json=TASK, headers=KEY)
    assert (answer.status_code, answer.text.count("[")) == (201, levels // 2)


def test_the_code_of_an_error_has_a_default(start, write_tasks):
    text = TASKS.replace("[job.task]\n", "[job.task]\ndefaults.error_code = 7\n", 1)
    codes = 'body = { why = "{error_code | number}", note = "{error_code}" }'
    tasks = start(dialects=write_tasks(text.replace('body.why = "{error_message}"', codes)))

    def failed(**fate):
        simulate = {"delay": 0, "outcome": "error"} | fate
        job_id = tasks.post("/tasks/tasks", json=TASK | {"simulate": simulate}, headers=KEY).json()["id"]
        answer = tasks.get(f"/tasks/tasks/{job_id}", headers=KEY)
        assert answer.status_code == 424
        return answer.json()["why"], answer.json()["note"]

    assert (failed(), failed(code="8"), failed(code="no")) == ((7, 7), (8, "8"), (None, "no"))


def test_hostile_paths_are_unknown_jobs(native):
    key = f"X-Api-Key: {CREDENTIALS[1]}".encode()
    for path in ("%00", "%0d%0aX-Evil:%201", "a%2Fb", "..", "%ff", "%", "a" * 50_000, ":" * 50_000, "/" * 50_000):
        request = f"GET /tasks/tasks/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + key
        received = exchange(native, request + b"\r\nConnection: close\r\n\r\n")
        assert received.split(b" ")[1] in {b"404", b"400", b"405"}, received[:300]
        assert b"\nx-evil" not in received.lower()
    answer = native.get("/tasks/me/a%0d%0ax-evil:%201", headers=KEY)
    assert (answer.json()["name"], "x-evil" in answer.headers) == ("a\r\nx-evil: 1", False)
