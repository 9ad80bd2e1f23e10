"""Parameters and bodies that a route does not use are refused, on every route, over HTTP against a real server."""

import json

import pytest


def errors(answer):
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json"), answer.text
    return [(error["field"], error["message"]) for error in answer.json()["errors"]]


@pytest.fixture
def all_routes(start):
    """A server, and the methods and paths of all its native routes, for a job that exists."""
    api = start()
    job_id, paths = api.submit(), api.get("/openapi.json").json()["paths"]
    routes = [(method.upper(), path.replace("{job_id}", job_id)) for path in paths for method in paths[path]]
    routes = [route for route in routes if "{token}" not in route[1]]  # a URL that is not signed is refused first
    assert len(routes) > 20
    return api, [*routes, ("GET", "/docs"), ("GET", "/openapi.json")]


def test_unknown_parameters_are_refused_with_a_list_of_the_known_ones(all_routes):
    api, routes = all_routes
    for method, path in routes:
        taken = {
            ("POST", "/jobs"): "video_length",
            ("GET", "/jobs"): "status, job_id, limit, after",
            ("GET", "/sandbox/requests"): "limit, after",
            ("GET", "/sandbox/webhooks"): "limit, after",
        }.get((method, path))
        allowed = f"the fields are {taken}" if taken else "there are none"
        for query in ("target_language=es", "target_language", "target_language=", "TARGET_LANGUAGE=x&limit=1"):
            found = dict(errors(api.request(method, f"{path}?{query}")))
            name = query.split("=")[0]
            assert found[name] == f"there is no such field; {allowed}", (method, path, query)
        if method == "GET":
            assert api.head(f"{path}?target_language=es").status_code == 422
    assert api.get("/jobs?x=1", auth=("admin", "wrong")).status_code == 401
    assert len(api.get("/jobs").json()["jobs"]) == 1


def test_an_empty_query_is_accepted(api):
    for path in ("/jobs?", "/livez?", "/docs?", "/sandbox?&", "/jobs?&&"):
        assert api.get(path).status_code == 200, path
    assert api.post("/start?").status_code == 202


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=0"}, {"Prefer": "wait=30"}])
def test_polls_of_cached_jobs_with_parameters_are_refused(api, prefer):
    path = f"/status/{api.submit()}"
    assert [api.get(path).status_code for _ in range(2)] == [200, 200]
    assert [name for name, _ in errors(api.get(f"{path}?verbose=1", headers=prefer))] == ["verbose"]
    assert errors(api.request("GET", path, content=b'{"verbose": 1}', headers=prefer))[0][0] == "body"


@pytest.mark.parametrize(
    ("method", "target", "field"),
    [
        ("GET", "/jobs?limit=1&limit=2", "limit"),
        ("GET", "/jobs?limit=1&limit=1", "limit"),
        ("GET", "/jobs?status=pending&status=error&job_id=x", "status"),
        ("GET", "/sandbox/requests?after=1&limit=2&after=1", "after"),
        ("POST", "/jobs?video_length=5&video_length=6", "video_length"),
    ],
)
def test_repeated_parameters_are_refused(api, method, target, field):
    assert errors(api.request(method, target)) == [(field, "comes more than once; send it once")]
    assert api.get("/jobs").json()["jobs"] == []


def test_video_length_may_come_in_the_query_of_jobs(api):
    answer = api.post("/jobs?video_length=5", headers={"Idempotency-Key": "one"})
    assert (answer.status_code, answer.json()["video_length"]) == (202, 5.0)
    assert api.get(answer.headers["Location"]).json()["video_length"] == 5.0
    again = api.post("/jobs?video_length=5", headers={"Idempotency-Key": "one"})
    assert again.json()["job_id"] == answer.json()["job_id"]
    other = api.post("/jobs?video_length=6", headers={"Idempotency-Key": "one"})
    assert other.status_code == 422
    both = api.post("/jobs?video_length=7.5", json={"target_language": "es"})
    assert (both.json()["video_length"], both.json()["target_language"]) == (7.5, "es")


@pytest.mark.parametrize("length", ["", "x", "0", "-1", "nan", "1e9", "inf", "[5]", "5;6"])
def test_invalid_lengths_are_refused(api, length):
    assert [name for name, _ in errors(api.post("/jobs", params={"video_length": length}))] == ["video_length"]
    assert api.get("/jobs").json()["jobs"] == []


def test_errors_within_a_field_have_its_path(api):
    found = errors(api.post("/start", json={"simulate": {"seconds": 5, "paused": "x"}}))
    assert found == [
        ("simulate.paused", "input should be a valid boolean"),
        ("simulate.seconds", "there is no such field"),
    ]


def test_fields_in_both_the_query_and_the_body_are_refused(api):
    found = errors(api.post("/jobs?video_length=5", json={"video_length": 5}))
    assert found == [("video_length", "comes in the query and in the body")]


@pytest.mark.parametrize("path", ["/start", "/translate"])
def test_other_submissions_take_no_query(all_routes, path):
    api, _ = all_routes
    assert errors(api.post(f"{path}?video_length=5")) == [("video_length", "there is no such field; there are none")]


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("POST", "/start", '{"video_length": 5, "video_length": 6}', ["video_length"]),
        ("POST", "/start", '{"simulate": {"delay": 1, "delay": 2}}', ["delay"]),
        ("POST", "/start", '{"target_language": "e", "target_l\\u0061nguage": "s"}', ["target_language"]),
        ("PATCH", "/sandbox", '{"seed": "1", "paused": true, "seed": "2", "paused": false}', ["seed", "paused"]),
        ("POST", "/sandbox/clock", '{"advance": 1, "advance": 2}', ["advance"]),
    ],
)
def test_repeated_fields_are_refused(api, method, path, body, fields):
    answer = api.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert errors(answer) == [(field, "comes more than once; send it once") for field in fields]


def test_bodies_are_refused_by_routes_that_take_none(all_routes):
    api, routes = all_routes
    takes = {"/start", "/jobs", "/translate", "/sandbox", "/sandbox/clock", "/sandbox/webhooks/ping"}
    for method, path in routes:
        if (path in takes or "/sandbox/jobs/" in path) and method != "GET":
            continue
        for sent in (b'{"limit": 1}', iter([b'{"limit"', b": 1}"]), b"limit=1", b"[]"):
            answer = api.request(method, path, content=sent, headers={"Content-Type": "application/json"})
            assert errors(answer) == [("body", "this route takes no body")], (method, path)
        if not path.endswith("events"):
            expected = 404 if path.endswith("/redeliver") else 200  # there is no such delivery
            assert api.request(method, path, content=b" {}\n").status_code == expected, (method, path)


@pytest.mark.parametrize("more", [{"outcome": "error"}, {"message": "no speech"}, {"code": "E1"}, {"output": 1}])
def test_outcome_and_message_are_only_for_finish(api, more):
    path = f"/sandbox/jobs/{api.submit()}"
    for do, status in (("pause", 422), ("unpause", 422), ("finish", 200)):
        assert api.post(path, json={"do": do} | more).status_code == status


def test_long_lists_of_errors_are_cut_and_counted(api):
    answer = api.get("/jobs?" + "&".join(f"x{number}" for number in range(1000)))
    assert len(errors(answer)) == 20
    assert answer.json()["detail"].endswith("; and 980 more")
    body = json.dumps({f"x{number}": 1 for number in range(1000)})
    answer = api.post("/start", content=body, headers={"Content-Type": "application/json"})
    assert len(errors(answer)) == 20


def test_unknown_parameters_are_refused_with_auth_off_too(open_api):
    for method, path in (("GET", "/status"), ("POST", "/start"), ("GET", "/livez"), ("POST", "/sandbox/reset")):
        assert errors(open_api.request(method, f"{path}?seed=1"))[0][0] == "seed"
