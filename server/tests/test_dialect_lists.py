"""Lists of APIs that files describe: pages by offset and by number, totals, and the order."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS
from translation_server.service import positioned_lists

FILE = """
auth = "X-Api-Key: {token}"

[job.task]
words = { pending = "busy", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}", output = "{output}", zone = "{query.zone}" }

[job.task.submit]
request = "POST /tasks"

[job.task.poll]
request = "GET /tasks/{job_id}"

[job.task.delete]
request = "DELETE /tasks/{job_id}"

[job.task.list]
request = "GET /tasks"
page = PAGE
headers = { link = '<{base_url}/tasks?at={next}&limit={limit}>; rel="next"' }

[job.task.list.body]
tasks = "{jobs}"
total = "{count}"
limit = "{limit}"
offset = "{offset}"
page = "{page}"
pages = "{pages}"
more = "{has_more}"
next = "{base_url}/tasks?at={next}&limit={limit}"
"""

KEY = {"X-Api-Key": CREDENTIALS[1]}


@pytest.fixture
def api(start, tmp_path):
    """Starts a server whose lists have these parameters; returns a client of its API."""
    clients = []

    def api(page, text=FILE):
        (tmp_path / "tasks.toml").write_text(text.replace("PAGE", page))
        native = start(dialects=str(tmp_path / "tasks.toml"))
        clients.append(httpx.Client(base_url=native.base_url.join("/tasks"), headers=KEY, timeout=60, verify=TLS))
        return clients[-1]

    yield api
    for client in clients:
        client.close()


def submit(api, number, **more):
    return [api.post("/tasks", json=more).json()["id"] for _ in range(number)][::-1]


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()["tasks"]]


def detail(answer):
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


def test_pages_by_offset_have_totals_and_the_next_url(api):
    tasks = api('{ size = "limit", offset = "at", default = 2 }')
    newest_first = submit(tasks, 5)
    first = tasks.get("/tasks")
    assert ids(first) == newest_first[:2]
    page = first.json()
    assert [page[name] for name in ("total", "limit", "offset", "page", "pages", "more")] == [5, 2, 0, 1, 3, True]
    assert page["next"] == f"{tasks.base_url}tasks?at=2&limit=2"
    assert first.headers["link"] == f'<{page["next"]}>; rel="next"'
    last = tasks.get("/tasks", params={"limit": 100, "at": 3})
    assert ids(last) == newest_first[3:]
    assert (last.json()["more"], "next" in last.json(), "link" in last.headers) == (False, False, False)
    beyond = tasks.get("/tasks?at=99")
    assert (ids(beyond), beyond.json()["total"], beyond.json()["more"]) == ([], 5, False)


def test_following_next_urls_finds_every_job_once(api):
    tasks = api('{ size = "limit", offset = "at" }')
    newest_first, url, found = submit(tasks, 7), "/tasks?limit=3", []
    while url:
        answer = tasks.get(url)
        found += ids(answer)
        url = answer.json().get("next")
    assert found == newest_first


def test_the_next_url_may_have_the_parameters_of_the_path(api):
    text = FILE.replace('GET /tasks"\npage', 'GET /{zone}/tasks"\npage').replace("/tasks?at", "/{zone}/tasks?at")
    tasks = api('{ size = "limit", offset = "at", default = 1 }', text)
    submit(tasks, 2)
    assert tasks.get("/north/tasks").json()["next"] == f"{tasks.base_url}north/tasks?at=1&limit=1"


def test_pages_by_number_begin_with_one(api):
    tasks = api('{ size = "limit", number = "at", default = 2 }')
    newest_first = submit(tasks, 5)
    second = tasks.get("/tasks?at=2")
    assert ids(second) == newest_first[2:4]
    page = second.json()
    assert [page[name] for name in ("total", "offset", "page", "pages")] == [5, 2, 2, 3]
    assert page["next"] == f"{tasks.base_url}tasks?at=3&limit=2"
    assert ids(tasks.get("/tasks?at=1")) == newest_first[:2]
    assert detail(tasks.get("/tasks?at=0")) == "at: must be a whole number from 1 to 1000000000"


WORDS = FILE.replace('pending = "busy"', 'pending = ["queued", "busy"]').replace('error = "failed"', "error = 5")


@pytest.mark.parametrize("page", ['cursor = "at"', 'offset = "at"', 'number = "at"'])
def test_lists_by_words_for_states(api, page):
    tasks = api(f'{{ size = "limit", {page}, order = "order", status = "state" }}', WORDS)
    done = submit(tasks, 3, simulate={"delay": 0, "outcome": "completed"})
    failed = submit(tasks, 2, simulate={"delay": 0, "outcome": "error"})
    queued = submit(tasks, 1, simulate={"delay": 1e6})
    submit(tasks, 1, simulate={"delay": 0, "outcome": "completed"})
    [deleted] = submit(tasks, 1, simulate={"delay": 0, "outcome": "error"})
    tasks.delete(f"/tasks/{deleted}")

    def listed(**params):
        return ids(tasks.get("/tasks", params=params))

    assert listed(state="queued") == queued
    assert listed(state="busy") == []
    assert listed(state="5") == failed
    assert listed(state=["5", "queued"]) == listed(state="5,queued") == queued + failed
    assert listed(state="5", order="asc") == failed[::-1]
    assert listed(state="done")[1:] == done
    first = tasks.get("/tasks", params={"state": "done", "limit": 3})
    assert [first.json()[name] for name in ("total", "pages", "more")] == [4, 2, True]
    at = {"cursor": ids(first)[-1], "offset": 3, "number": 2}[page.partition(" ")[0]]
    last = tasks.get("/tasks", params={"state": "done", "limit": 3, "at": at})
    assert (ids(last), last.json()["more"]) == (done[-1:], False)
    assert len(listed()) == 7
    allowed = "must be one of queued, busy, done, 5"
    assert detail(tasks.get("/tasks?state=gone")) == f"state: {allowed}"
    assert detail(tasks.get("/tasks?state=")) == f"state: {allowed}"


def test_lists_by_a_word_find_it_among_many_jobs(api, monkeypatch):
    monkeypatch.setattr(positioned_lists, "READ_JOBS", 2)
    tasks = api('{ size = "limit", cursor = "at", status = "state" }', WORDS)
    wanted = submit(tasks, 5, simulate={"delay": 0, "outcome": "completed"})
    submit(tasks, 3, simulate={"delay": 0, "outcome": "error"})
    assert ids(tasks.get("/tasks?state=done")) == wanted


def test_lists_of_all_kinds_find_the_words_of_each(api):
    kinds = (
        FILE.replace("page = PAGE", 'page = PAGE\nkinds = "all"')
        + """
[job.other]
words = { pending = "new", completed = "ready", error = "failed" }
body = { id = "{job_id}", state = "{status}" }
submit.request = "POST /others"
poll.request = "GET /others/{job_id}"
"""
    )
    tasks = api('{ size = "limit", cursor = "at", status = "state" }', kinds)
    done = {"simulate": {"delay": 0, "outcome": "completed"}}
    task, other = (tasks.post(path, json=done).json()["id"] for path in ("/tasks", "/others"))
    assert ids(tasks.get("/tasks?state=done")) == [task]
    assert ids(tasks.get("/tasks?state=ready")) == [other]
    assert ids(tasks.get("/tasks?state=ready,done")) == [other, task]


FILTERS = 'filter = { for = "input.for", label = "input.labels", team = "team", key = "query.key" }'
FILTERED = FILE.replace('"POST /tasks"', '["POST /tasks", "POST /teams/{team}/tasks"]').replace(
    'next = "{base_url}/tasks?at={next}', 'next = "{base_url}/tasks?at={next}{&query.label,query.for}'
)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("for=a", [2, 0]),
        ("for=5", [1]),
        ("for=none", []),
        ("label=env=prod", [1, 0]),
        ("label=env=prod&label=size=5", [1]),
        ("label=env", []),
        ("label=x", [2]),
        ("team=blue&for=a", [2]),
        ("key=k", [2]),
        ("state=done", [1]),
        ("state=done&label=env=prod&for=5", [1]),
        ("state=busy&for=5", []),
    ],
)
def test_lists_are_filtered_by_what_was_submitted(api, asked, wanted):
    tasks = api(f'{{ size = "limit", cursor = "at", status = "state", {FILTERS} }}', FILTERED)
    done = {"delay": 0, "outcome": "completed"}
    submitted = [
        ("/tasks", {"for": "a", "labels": {"env": "prod"}}),
        ("/tasks", {"for": 5, "labels": {"env": "prod", "size": 5}, "simulate": done}),
        ("/teams/blue/tasks?key=k", {"for": "a", "labels": ["x", "y"]}),
    ]
    made = [tasks.post(path, json=body).json()["id"] for path, body in submitted]
    assert ids(tasks.get(f"/tasks?{asked}")) == [made[number] for number in wanted]


def test_the_next_page_of_a_filtered_list_has_its_parameters(api):
    tasks = api(f'{{ size = "limit", cursor = "at", {FILTERS} }}', FILTERED)
    made = submit(tasks, 3, **{"for": "a b", "labels": ["x", "y"]})
    submit(tasks, 1)
    page = tasks.get("/tasks?limit=2&label=x&label=y&for=a b")
    assert (ids(page), page.json()["next"].partition("?")[2]) == (
        made[:2],
        f"at={made[1]}&label=x&label=y&for=a%20b&limit=2",
    )
    assert ids(tasks.get(page.json()["next"])) == made[2:]


def test_totals_are_without_deleted_jobs(api):
    tasks = api('{ cursor = "at" }')
    first, second = submit(tasks, 2)
    tasks.delete(f"/tasks/{first}")
    listed = tasks.get("/tasks")
    assert (ids(listed), listed.json()["total"]) == ([second], 1)


def test_lists_may_begin_with_the_oldest_job(api):
    tasks = api('{ size = "limit", cursor = "at", order = "order" }')
    newest_first = submit(tasks, 5)
    assert ids(tasks.get("/tasks?order=desc&limit=2")) == newest_first[:2]
    first = tasks.get("/tasks?order=asc&limit=2")
    assert (ids(first), first.json()["next"]) == (
        newest_first[:2:-1],
        f"{tasks.base_url}tasks?at={newest_first[3]}&limit=2",
    )
    last = tasks.get(f"/tasks?order=asc&at={newest_first[2]}")
    assert (ids(last), last.json()["more"]) == (newest_first[1::-1], False)
    assert ids(tasks.get(f"/tasks?order=desc&at={newest_first[2]}")) == newest_first[3:]
    assert ids(tasks.get("/tasks?order=ASCENDING&limit=1")) == newest_first[-1:]
    assert detail(tasks.get("/tasks?order=up")) == "order: must be asc or desc, or ascending or descending"


def test_a_post_has_the_parameters_in_its_body(api):
    where = 'request = "POST /tasks"\nwhere = { body = { Action = "List" } }'
    text = FILE.replace('request = "GET /tasks"', where).replace('"POST /tasks"\n\n', '"POST /tasks/new"\n\n')
    tasks = api('{ size = "limit", offset = "at", ignore = "Status" }', text)
    newest_first = [tasks.post("/tasks/new", json={}).json()["id"] for _ in range(3)][::-1]
    listed = tasks.post("/tasks", json={"Action": "List", "limit": 2, "at": 1, "Status": None})
    assert (ids(listed), listed.json()["total"]) == (newest_first[1:], 3)
    assert ids(tasks.post("/tasks?at=2", json={"Action": "List", "Status": "x"})) == newest_first[2:]
    for wrong in ({"limit": True}, {"limit": [1]}, {"other": 1}):
        answer = tasks.post("/tasks", json={"Action": "List"} | wrong)
        assert detail(answer).startswith(f"{next(iter(wrong))}: ")


@pytest.mark.parametrize("value", ["", "-1", "x", "1.5", "1" * 5000, "\u0661"])
@pytest.mark.parametrize("name", ["limit", "at"])
def test_a_number_that_is_none_is_refused(api, name, value):
    answer = api('{ size = "limit", offset = "at" }').get("/tasks", params={name: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)


def test_a_page_that_is_too_long_is_refused(api):
    answer = api('{ size = "limit", cursor = "at" }').get("/tasks?limit=101")
    assert detail(answer) == "limit: must be a whole number from 1 to 100"


def test_parameters_without_an_effect_are_refused_unless_the_file_ignores_them(api):
    tasks = api('{ size = "limit", cursor = "at", ignore = ["sort"] }')
    refused = "offset: is not a parameter of this list; its parameters are limit, at, sort"
    assert detail(tasks.get("/tasks?offset=5")) == refused
    assert tasks.get("/tasks?sort=name&zone=eu&limit=3").status_code == 200  # answers repeat zone
    some = api('{ cursor = "at" }').get("/tasks?limit=1")
    assert detail(some) == "limit: is not a parameter of this list; its parameters are at"


def test_an_item_may_be_a_part_of_the_body_of_a_poll(api):
    text = FILE.replace("body = { id", "body.job = { id").replace("page = PAGE", 'page.cursor = "at"\nitem = "job"')
    tasks = api("", text)
    job_id = tasks.post("/tasks", json={}).json()["job"]["id"]
    [item] = tasks.get("/tasks").json()["tasks"]
    assert item == tasks.get(f"/tasks/{job_id}").json()["job"]
    assert item["id"] == job_id


@pytest.mark.parametrize("page", ['{ size = "limit", cursor = "at" }', '{ size = "limit", offset = "at" }'])
def test_a_list_may_have_the_jobs_of_all_kinds_as_their_polls_show_them(api, page):
    more = """
        [job.song]
        words = { pending = "queued", completed = "done", error = "failed" }
        body = { song = "{job_id}", is = "{status}" }
        submit = { request = "POST /songs" }
        poll = { request = "GET /tasks/{job_id}" }
    """
    listed = FILE[: FILE.index("headers =")] + 'kinds = "all"\nbody = { tasks = "{jobs}", next = "{next}" }\n' + more
    client = api(page, listed)
    task, song = client.post("/tasks").json()["id"], client.post("/songs").json()["song"]
    first = client.get("/tasks", params={"limit": 1}).json()
    assert first["tasks"] == [{"song": song, "is": "queued"}]
    second = client.get("/tasks", params={"limit": 1, "at": first["next"]}).json()
    assert ([job["id"] for job in second["tasks"]], second["next"]) == ([task], None)


def test_pages_by_offset_of_large_jobs_are_refused_not_cut(api):
    tasks = api('{ size = "limit", offset = "at" }')
    submit(tasks, 20, simulate={"delay": 0, "output": "x" * 250_000})
    assert "too large" in detail(tasks.get("/tasks?limit=20"))
    assert len(ids(tasks.get("/tasks?limit=10"))) == 10


def test_headers_may_show_the_total(api):
    text = FILE.partition("headers = { link")[0]
    tasks = api('{ size = "size" }', text + 'headers = { X-Total = "{count}" }\nbody.tasks = "{jobs}"\n')
    submit(tasks, 3)
    answer = tasks.get("/tasks", params={"size": 1})
    assert (len(answer.json()["tasks"]), answer.headers["X-Total"]) == (1, "3")
