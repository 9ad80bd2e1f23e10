"""Webhooks in the form of a described API: where submissions name them, and what a receiver gets."""

import hashlib
import hmac
import time
from base64 import b64encode

import httpx
import pytest
from standardwebhooks import Webhook

from tests.api import is_problem
from tests.processes import wait_until
from tests.receivers import receiving
from tests.tasks_api import KEY, TASK, TASKS, fault

SECRET, OWN_SECRET = "whsec_c2VjcmV0", "whsec_YW5vdGhlciBzZWNyZXQ="
NOW = {"delay": 0, "outcome": "completed"}

PLAIN = """
[job.task.webhook]
url = { body = "hook.url" }
events = { completed = "task.done", error = "task.failed" }
"""
FULL = f"""
[webhook]
filter = {{ body = "events", default = ["done", "failed"] }}
caller_header = {{ name = "hook.header", value = "hook.value" }}
headers = {{ X-Task = "{{job_id}}/{{delivery_id}}", Content-Type = "application/task+json" }}
body = {{ id = "{{job_id}}", type = "{{event}}", at = "{{event_at | unix}}", delivery = "{{delivery_id}}" }}
when.error.body = {{ why = "{{error_message}}", note = "{{input.note}}" }}
signature = {{ secret = "{SECRET}", prefix = "task-" }}

[job.task.webhook]
url = {{ query = "callback" }}
events = {{ started = "begun", progress = "going", completed = ["done", "result"], error = "failed" }}
when.completed.body.output = "{{output}}"
"""
OF_HMAC = """
[job.task.webhook]
url = { header = "X-Callback" }
events = { completed = "done" }

[job.task.webhook.signature]
secret = "an-api-s-secret"
header = "X-Signature"
text = "{timestamp}.{url}.{body}"
value = "t={timestamp},v1={signature}"
"""


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def server(start, write_tasks):
    """Starts a server whose API has these lines too; returns a client of the native API."""
    return lambda lines: start(dialects=write_tasks(f"{TASKS}\n{lines}"))


def submit(server, expected=201, headers=KEY, params=None, simulate=NOW, **more):
    body = TASK | ({"simulate": simulate} if simulate else {}) | more
    with httpx.Client(base_url=server.base_url, timeout=60) as client:
        answer = client.post("/tasks/tasks", json=body, headers=headers, params=params)
    assert answer.status_code == expected, answer.text
    return answer


def deliveries(server):
    """Returns the deliveries of which an attempt was stored: the receiver has it before."""
    return server.get("/sandbox/webhooks").json()["deliveries"]


def verify(received, secret):
    """Checks a signature of Standard Webhooks in headers of the API's own."""
    headers = {name.replace("task-", "webhook-"): value for name, value in received.headers.items()}
    Webhook(secret).verify(received.text, headers)


def test_body_is_that_of_the_poll(server, receiver):
    server = server(PLAIN)
    job_id = submit(server, hook={"url": receiver.url}).json()["id"]
    [received] = receiver.take()
    assert received.body == httpx.get(server.base_url.join(f"/tasks/tasks/{job_id}"), headers=KEY).json()
    assert received.body["state"] == "done"
    assert not [name for name in received.headers if "signature" in name or name == "webhook-id"]
    submit(server, hook={"url": receiver.url}, simulate={"delay": 0, "outcome": "error"})
    assert receiver.take()[0].body["state"] == "failed"


@pytest.mark.parametrize("hook", [None, {}, {"url": None}, {"url": ""}])
def test_job_without_a_url_is_not_delivered(server, hook):
    server = server(PLAIN)
    submit(server, hook=hook)
    assert deliveries(server) == []


def test_events_that_the_api_lacks_are_not_delivered(server, receiver):
    server = server(PLAIN)
    job_id = submit(server, hook={"url": receiver.url}, simulate={"delay": 1000}).json()["id"]
    server.cancel(job_id)
    assert receiver.is_quiet()


def test_file_says_body_headers_and_signature(server, receiver):
    server = server(FULL)
    hook = {"header": "X-Token", "value": "{braces} stay"}
    job_id = submit(server, params={"callback": receiver.url}, hook=hook).json()["id"]
    [received] = receiver.take()
    delivery_id = received.headers["task-id"]
    shown = {"id": job_id, "type": "done", "delivery": delivery_id, "output": received.body["output"]}
    assert received.body == shown | {"at": received.body["at"]}
    assert received.headers["x-task"] == f"{job_id}/{delivery_id}"
    assert received.headers["content-type"] == "application/task+json"
    assert received.headers["x-token"] == "{braces} stay"
    verify(received, SECRET)
    wait_until(lambda: deliveries(server))
    [delivery] = deliveries(server)
    assert (delivery["id"], delivery["event"], delivery["body"]) == (delivery_id, "completed", received.text)


def test_state_has_a_body_of_its_own(server, receiver):
    submit(server(FULL), params={"callback": receiver.url}, simulate={"delay": 0, "outcome": "error"}, note=7)
    body = receiver.take()[0].body
    assert (body["type"], body["note"], "output" in body) == ("failed", 7, False)
    assert body["why"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (None, ["done"]),
        ([], ["done"]),
        (["begun", "result"], ["begun", "done"]),
        ("begun, failed", ["begun"]),
        (["begun", "done", "going"], ["begun", *["going"] * 9, "done"]),
    ],
)
def test_caller_chooses_events(server, receiver, events, expected):
    server = server(FULL)
    simulate = {"delay": 1000, "outcome": "completed"}
    submit(server, params={"callback": receiver.url}, events=events, simulate=simulate)
    if "begun" in expected:
        assert receiver.take()[0].body["type"] == "begun"
    for _ in range(10):
        server.set_clock(advance=100)
        if "going" in expected:
            receiver.take()
    if expected[-1] == "done" and "going" not in expected:
        receiver.take()
    assert receiver.is_quiet()
    assert [received.body["type"] for received in receiver.received] == expected


def test_api_signs_with_an_hmac_of_its_own(server, receiver):
    server = server(OF_HMAC)
    submit(server, headers=KEY | {"X-Callback": receiver.url})
    server.change_sandbox(webhook={"url": receiver.url, "secret": [OWN_SECRET, SECRET]})
    first, second = receiver.take()[0], submit(server) and receiver.take()[0]
    for received, secret in ((first, "an-api-s-secret"), (second, OWN_SECRET)):
        at, signature = (part.partition("=")[2] for part in received.headers["x-signature"].split(","))
        signed = f"{at}.{receiver.url}.{received.text}"
        assert signature == hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        assert abs(int(at) - time.time()) < 60
        assert "webhook-id" not in received.headers


def test_hmac_may_be_base64_of_the_body_alone(server, receiver):
    lines = OF_HMAC.replace("text = ", "# ").replace("value = ", 'encoding = "base64" # ')
    submit(server(lines), headers=KEY | {"X-Callback": receiver.url})
    [received] = receiver.take()
    digest = hmac.digest(b"an-api-s-secret", received.text.encode(), "sha256")
    assert received.headers["x-signature"] == b64encode(digest).decode()


def test_retry_is_signed_anew_and_has_the_same_headers(server, receiver):
    server = server(FULL)
    receiver.codes = [500]
    submit(server, params={"callback": receiver.url}, hook={"header": "X-Token", "value": "t"})
    [first] = receiver.take()
    wait_until(lambda: deliveries(server))
    assert server.post(f"/sandbox/webhooks/{first.headers['task-id']}/redeliver").status_code == 200
    [second] = receiver.take()
    assert (first.text, first.headers["x-token"]) == (second.text, second.headers["x-token"])
    verify(second, SECRET)


class TestSandbox:
    def test_its_webhook_has_the_form_of_the_api(self, server, receiver):
        server = server(FULL)
        server.change_sandbox(webhook={"url": receiver.url, "events": ["started"], "secret": OWN_SECRET})
        submit(server)
        [received] = receiver.take()
        assert received.body["type"] == "begun"
        verify(received, OWN_SECRET)
        submit(server, params={"callback": receiver.url})
        assert receiver.take()[0].body["type"] == "done"  # a job's own webhook comes first

    def test_secret_of_the_file_signs_without_its_own(self, server, receiver):
        server = server(FULL)
        server.change_sandbox(webhook={"url": receiver.url})
        submit(server)
        [received] = receiver.take()
        verify(received, SECRET)

    def test_events_that_the_api_lacks_are_not_delivered(self, server, receiver):
        server = server(PLAIN)
        server.change_sandbox(webhook={"url": receiver.url, "events": ["started", "cancelled"]})
        submit(server)
        assert deliveries(server) == []

    def test_kind_without_events_has_no_webhooks(self, server, receiver):
        other = TASKS[TASKS.index("[job.task]") : TASKS.index("[job.task.result]")]
        other = other.replace("job.task", "job.other").replace("/tasks", "/others")
        server = server(f"{FULL}\n{other.replace('GET /teams/{team}/others/{job_id}', 'GET /teams/{team}/o/{job_id}')}")
        server.change_sandbox(webhook={"url": receiver.url})
        answer = httpx.post(server.base_url.join("/tasks/others"), json=TASK | {"simulate": NOW}, headers=KEY)
        assert answer.status_code == 201
        submit(server)
        assert receiver.take()[0].body["type"] == "done"
        assert receiver.is_quiet()

    def test_native_jobs_keep_their_form(self, server, receiver):
        server = server(FULL)
        server.change_sandbox(webhook={"url": receiver.url})
        server.submit({"simulate": NOW})
        assert receiver.take()[0].type == "job.completed"


class TestRefused:
    @pytest.mark.parametrize(
        "url", ["http://10.1.2.3/", "ftp://127.0.0.1/", "here", 7, ["x"], "http://127.0.0.1/" + 2000 * "a"]
    )
    def test_unusable_url_is_refused_in_the_apis_form(self, server, url):
        server = server(PLAIN)
        assert fault(submit(server, 400, hook={"url": url}), 400)["at"] == "hook.url"
        assert server.get("/jobs").json()["jobs"] == []

    @pytest.mark.parametrize(
        ("more", "field"),
        [
            ({"events": ["done", "other"]}, "events"),
            ({"events": [["done"]]}, "events"),
            ({"events": 7}, "events"),
            ({"hook": {"header": "X Token", "value": "t"}}, "hook.header"),
            ({"hook": {"header": "Content-Length", "value": "t"}}, "hook.header"),
            ({"hook": {"header": "Host", "value": "t"}}, "hook.header"),
            ({"hook": {"header": 7, "value": "t"}}, "hook.header"),
            ({"hook": {"header": "X-Token"}}, "hook.value"),
            ({"hook": {"header": "X-Token", "value": "a\r\nX-B: b"}}, "hook.value"),
        ],
    )
    def test_unusable_choice_is_refused(self, server, receiver, more, field):
        server = server(FULL)
        refused = submit(server, 400, params={"callback": receiver.url}, **more)
        assert fault(refused, 400)["at"] == field

    def test_loop_is_cut(self, server, receiver):
        server = server(PLAIN)
        headers = KEY
        for depth in ("1", "2", "3"):
            submit(server, headers=headers, hook={"url": receiver.url})
            [received] = receiver.take()
            assert received.headers["webhook-depth"] == depth
            headers = KEY | {"webhook-depth": depth}
        assert fault(submit(server, 400, headers=headers, hook={"url": receiver.url}), 400)["at"] == "hook"

    def test_fields_of_a_webhook_are_known(self, start, write_tasks, receiver):
        strict = TASKS.replace("[job.task]\n", '[job.task]\nunknown_fields = "refuse"\n', 1)
        server = start(dialects=write_tasks(f"{strict}\n{PLAIN}"), max_delay=0)
        submit(server, hook={"url": receiver.url}, simulate=None)
        receiver.take()
        assert (
            fault(submit(server, 400, hook={"url": receiver.url, "other": 1}, simulate=None), 400)["at"] == "hook.other"
        )

    def test_native_field_is_not_one_of_the_api(self, server, receiver):
        server = server(FULL)
        submit(server, webhook={"url": receiver.url})
        assert receiver.is_quiet()
        assert is_problem(server.post("/start", json={"webhook": {"url": "http://10.1.2.3/"}}), 422)
