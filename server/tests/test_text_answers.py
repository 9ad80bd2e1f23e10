"""Answers that are no JSON, and requests that a header tells apart, of which one is for all others."""

import pytest

TEXTS = """
output.words = ["so", "it"]
[error]
headers.Content-Type = "text/plain; charset=utf-8"
body = "No: {detail}"
[job.task.result]
request = "GET /tasks/{job_id}/text"
headers.Content-Type = "application/x-own+json"
body = "{output}"
when.pending = {code = 409, body = {title = "Not yet"}}
[job.task.view.plain]
request = "GET /tasks/{job_id}/text"
where.header.Accept = "text/plain"
headers.Content-Type = "text/plain"
body = 'It is "{status}" at {progress | percent} %.'
[job.task.view.subtitles]
request = "GET /tasks/{job_id}/text"
where = {header.Accept = "text/plain", query.form = "srt"}
headers.Content-Type = "application/x-ndjson"
body = "{error_code}"
[fixed.robots]
request = "GET /robots.txt"
headers.Content-Type = "text/plain"
body = "Disallow: /"
"""


@pytest.fixture
def api(start, own_dialect):
    return start(dialects=own_dialect(end=TEXTS))


@pytest.fixture
def job_id(api):
    return api.post("/own/tasks", json={}).json()["id"]


def text(answer):
    return answer.status_code, answer.headers.get_list("content-type"), answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain, */*"])
def test_a_request_that_meets_no_condition_has_the_answer_without_one(api, job_id, accept):
    answer = api.get(f"/own/tasks/{job_id}/text", headers={"Accept": accept})
    assert text(answer) == (409, ["application/x-own+json"], '{"title":"Not yet"}')


def test_an_answer_may_be_a_text(api, job_id):
    answer = api.get(f"/own/tasks/{job_id}/text", headers={"Accept": "text/plain"})
    word = api.get(f"/own/tasks/{job_id}").json()["state"]
    assert text(answer) == (200, ["text/plain"], f'It is "{word}" at 0 %.')
    assert text(api.get("/own/robots.txt")) == (200, ["text/plain"], "Disallow: /")


def test_of_two_conditions_the_narrower_one_counts(api, job_id):
    answer = api.get(f"/own/tasks/{job_id}/text?form=srt", headers={"Accept": "text/plain"})
    assert text(answer) == (200, ["application/x-ndjson"], "")


def test_a_poll_without_a_body_has_no_content_type(start, own_dialect):
    poll = 'poll.when.pending = {code = 202, body = "", headers.Location = "{base_url}/tasks/{job_id}"}'
    api = start(dialects=own_dialect(end=poll))
    place = f"/own/tasks/{api.post('/own/tasks', json={}).json()['id']}"
    for _ in range(2):  # the second answer is from the cache
        answer = api.get(place)
        assert text(answer) == (202, [], "")
        assert answer.headers["location"].endswith(place)


def test_an_error_may_be_a_text(api):
    assert text(api.get("/own/tasks/x")) == (404, ["text/plain; charset=utf-8"], "No: You have no job of this id.")


def test_routes_with_texts_are_documented(api):
    assert api.get("/openapi.json").status_code == 200
