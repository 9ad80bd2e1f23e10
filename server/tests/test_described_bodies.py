"""Bodies and fields of requests to the API in `tasks_api`, over HTTP against a real server."""

import json

import pytest

from tests.examples import CREDENTIALS
from tests.tasks_api import KEY, TASK, TASKS, fault, submit


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"to": "es"}, "more.deep"), ({"more": {"deep": 1}}, "to"), (TASK | {"to": 5}, "to"), (TASK | {"to": ""}, "to")],
)
def test_missing_and_invalid_fields_are_refused_in_the_apis_form(tasks, body, fields):
    refused = fault(tasks.post("/tasks", json=body), 400)
    assert (refused["type"], refused["at"]) == ("invalid", fields)


def test_unknown_fields_are_stored_unless_the_file_refuses_them(tasks, native, start, write_tasks, tmp_path):
    job_id = submit(tasks, unknown={"x": 1})
    assert native.get(f"/sandbox/jobs/{job_id}").json()["input"]["unknown"] == {"x": 1}
    strict = write_tasks(TASKS.replace("[job.task]\n", '[job.task]\nunknown_fields = "refuse"\n', 1))
    other = start(dialects=strict, database_url=f"sqlite:///{tmp_path}/other.db")
    assert other.post("/tasks/tasks", json=TASK, headers=KEY).status_code == 201
    keyed = [other.post("/tasks/tasks", json=TASK | {"token": "a"}, headers=KEY) for _ in range(2)]
    assert keyed[0].json()["id"] == keyed[1].json()["id"]
    for unknown, field in (({"unknown": {"x": 1}}, "unknown"), ({"more": {"deep": 1, "x": 1}}, "more.x")):
        refused = other.post("/tasks/tasks", json=TASK | unknown, headers=KEY)
        assert fault(refused, 400)["at"] == field
        assert f"{field}: there is no such field; the fields are to, more.deep" in refused.text


def test_a_field_may_not_come_in_the_query_and_in_the_body(tasks):
    assert fault(tasks.post("/tasks", params={"to": "fr"}, json=TASK), 400)["at"] == "to"


def test_the_idempotency_key_may_be_in_the_body(tasks):
    assert submit(tasks, token="a") == submit(tasks, token="a") != submit(tasks, token="b")
    fault(tasks.post("/tasks", json=TASK | {"token": "a", "other": 1}), 400)
    for key in (7, "", "x" * 256, "\x00", "\u20ac", ["a"]):
        assert fault(tasks.post("/tasks", json=TASK | {"token": key}), 400)["at"] == "token"


def test_forms_are_accepted(tasks):
    answer = tasks.post("/tasks", data={"to": "es", "more": "", "x": ["1", "2"]})
    assert fault(answer, 400)["at"] == "more.deep"
    many = "&".join(f"f{n}=1" for n in range(1001))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = tasks.post("/tasks", content=many, headers=form)
    assert (answer.status_code, answer.json()["fault"]["message"]) == (400, "Too much.")
    fault(tasks.post("/tasks", content=b"a=%ff%00&&&=&%", headers=form), 400)


def test_json_in_a_field_of_a_form_is_read(tasks):
    form = {"to": "es", "more": '{"deep": {"a": 5}}', "half": "0.5"}
    for answer in (tasks.post("/tasks", data=form), tasks.post("/tasks", data=form, files={"f": b"x"})):
        assert (answer.status_code, answer.json()["deep"]) == (201, {"a": 5})


def test_number_in_a_field_of_a_form_is_read(write_tasks, start, tmp_path):
    file = write_tasks(
        TASKS.replace('to = "{target_language}" }', 'to = "{target_language}", length = "{video_length}" }', 1)
    )
    server = start(dialects=file, database_url=f"sqlite:///{tmp_path}/numbers.db")
    form = {"to": "es", "more": '{"deep": 1}'}
    for length in ("7", "7.5", "7e0"):
        for files in (None, {"f": b"x"}):
            accepted = server.post("/tasks/tasks", data=form | {"length": length}, files=files, headers=KEY)
            assert accepted.status_code == 201, accepted.text
            job = server.get(f"/status/{accepted.json()['id']}", auth=CREDENTIALS).json()
            assert job["video_length"] == float(length)
    for length in ("", "seven", "NaN", "1e999", "true", "-1", "1000001"):
        refused = server.post("/tasks/tasks", data=form | {"length": length}, headers=KEY)
        assert fault(refused, 400)["at"] == "length"
    refused = server.post("/tasks/tasks", json=TASK | {"length": "7"}, headers=KEY)
    assert fault(refused, 400)["at"] == "length"


def test_data_uris_up_to_max_body_are_stored(tasks, native):
    image = "data:image/png;base64," + "A" * 250_000
    job_id = submit(tasks, image=image)
    assert native.get(f"/sandbox/jobs/{job_id}").json()["input"]["image"] == image
    assert tasks.post("/tasks", json=TASK | {"image": "A" * 300_000}).status_code == 400


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
def test_bodies_that_are_no_json_object_are_refused(tasks, body):
    fault(tasks.post("/tasks", content=body, headers={"Content-Type": "application/json"}), 400)


def test_deep_json_is_stored_and_repeated(tasks):
    deep = json.loads("[" * 150 + "]" * 150)
    assert tasks.get(f"/tasks/{submit(tasks, more={'deep': deep})}").json()["deep"] == deep


SLOW, BUSY = '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 0}}', '{"kind": "status", "code": 503}'


def test_fixed_answers_have_the_body_of_a_late_request(tasks):
    assert tasks.get("/me/x", headers={"Simulate-Fault": SLOW}).json()["name"] == "x"
    late = {"Simulate-Fault": SLOW, "X-Target": "Echo"}
    assert tasks.post("/call", json={"word": "yes"}, headers=late).json() == {"said": "yes"}


@pytest.mark.parametrize(("rule", "code"), [(SLOW, 400), (BUSY, 503)])
def test_a_malformed_form_is_an_error_under_faults_too(tasks, rule, code):
    form = {"Content-Type": "multipart/form-data; boundary=x", "Simulate-Fault": rule}
    assert tasks.post("/tasks", content=b"--x\r\nbroken", headers=form).status_code == code
