"""Addresses that answers name for further requests: which ones are followed, and who gets the credentials."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.blocking import open_client
from tests.custom_dialect import custom_dialect
from translation_client import AsyncClient, Client, JobTimeout, ProtocolError, State, TransportError
from translation_client.core.links import is_address, links
from translation_client.dialect_files import find_dialect

QUICK = {"initial_delay": 0.01, "max_delay": 0.01, "backoff_factor": 1, "max_retries": 1}
SEVERAL = {
    "cancel": {"request": "POST /tasks/{job_id}/cancel", "body": {"ok": True}},
    "result": {"request": "GET /tasks/{job_id}/result"},
    "submit": {
        "request": "POST /tasks",
        "headers": {"Operation-Location": "{base_url}/tasks/{job_id}/state?v={query.v}"},
        "body": {"task": {"id": "{job_id}"}, "urls": {"stop": "{base_url}/tasks/{job_id}/cancel"}},
    },
}
AUTHENTICATIONS = ["Authorization: Bearer {token}", "X-Api-Key: {token}", "?key={token}"]

OWN = {
    "auth": ("admin", "secret"),
    "headers": {"X-Key": "secret"},
    "cookies": {"session": "secret"},
    "params": {"key": "secret"},
    "follow_redirects": True,
}
"""Options of a caller's own HTTP client, each of which could take a secret to another server."""


def several(auth="Authorization: Bearer {token}", **changes):
    """Returns a dialect whose submissions name the addresses of polls and of the cancellation."""
    body = {"task": {"id": "{job_id}", "state": "{status}"}, "more": {"result": "{base_url}/tasks/{job_id}/result"}}
    return custom_dialect(auth, **SEVERAL, body=body, **changes)


def task(state="busy", **urls):
    return {"task": {"id": "t1", "state": state}, "more": urls}


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def other(server):
    """Another origin, which the same server answers."""
    return server.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def naming(server):
    """Makes the server answer a submission with addresses at an origin, whose paths only the server knows."""

    def script(origin, *, polls=1):
        left = [*["busy"] * polls, "done"]

        def answer(request):
            match request.path.removeprefix("/api"):
                case "/tasks":
                    more = {"Operation-Location": f"{origin}/x/state?sig=a%2Fb&v=2"}
                    return 200, {"task": {"id": "t1"}, "urls": {"stop": f"{origin}/x/stop"}}, more
                case "/x/state":
                    return 200, task(left.pop(0) if len(left) > 1 else left[0], result=f"{origin}/x/result")
                case "/x/result":
                    return 200, task("done")
                case "/x/stop":
                    return 200, {"ok": True}
            return 404, None

        server.script = answer

    return script


def sent(server):
    """Returns the requests, each with its host's name and whether it had the token."""
    return [
        (
            f"{request.method} {request.path}",
            request.headers["host"].partition(":")[0],
            "secret" in f"{request.headers} {request.query}",
        )
        for request in server.requests
    ]


class TestFollowed:
    def test_requests_go_where_the_answers_say(self, server, naming, kind):
        naming(server.url)
        with open_client(kind, f"{server.url}/api", dialect=several(), token="secret", **QUICK) as client:
            assert client.run().state is State.COMPLETED
        paths = ["POST /api/tasks", "GET /x/state", "GET /x/state", "GET /x/result"]
        assert sent(server) == [(path, "127.0.0.1", True) for path in paths]
        assert {request.query for request in server.requests} == {"", "sig=a%2Fb&v=2"}

    def test_job_is_polled_awaited_and_cancelled_there(self, server, naming, kind):
        naming(server.url, polls=10)
        with open_client(kind, server.url, dialect=several(), token="secret", **QUICK) as client:
            job = client.start()
            assert client.status(job.id).state is State.PENDING
            assert client.cancel(job.id).state is State.PENDING
            assert client.wait_all([job.id])[job.id].state is State.COMPLETED
        assert {request.path for request in server.requests} == {"/tasks", "/x/state", "/x/stop", "/x/result"}
        assert "POST /x/stop" in server.asked

    def test_template_is_used_where_an_answer_names_nothing(self, server):
        server.says((200, {"task": {"id": "t1"}}), (200, task("busy")), (200, task("done")), (200, task("done")))
        with Client(server.url, dialect=several(), **QUICK) as client:
            assert client.run().state is State.COMPLETED
        assert server.asked[1:] == ["GET /tasks/t1/state"] * 2 + ["GET /tasks/t1/result"]

    def test_addresses_of_listed_jobs_are_followed(self, server):
        listed = {"request": "GET /all", "body": {"tasks": "{jobs}"}}
        server.says((200, {"tasks": [task("busy", result=f"{server.url}/x/result")]}), (200, task("done")))
        with Client(server.url, dialect=several(list=listed), **QUICK) as client:
            [job] = client.list()
            assert client.wait(job.id).state is State.COMPLETED
        assert server.asked == ["GET /all", "GET /tasks/t1/state", "GET /x/result"]


class TestCredentials:
    @pytest.mark.parametrize("auth", AUTHENTICATIONS)
    def test_another_origin_gets_no_credentials(self, server, other, naming, kind, auth):
        naming(other)
        with open_client(kind, server.url, dialect=several(auth), token="secret", **QUICK) as client:
            job = client.start()
            client.cancel(job.id)
            assert client.wait(job.id).state is State.COMPLETED
        assert sent(server)[0] == ("POST /tasks", "127.0.0.1", True)
        assert {(host, has_token) for _, host, has_token in sent(server)[1:]} == {("localhost", False)}
        assert {"POST /x/stop", "GET /x/state", "GET /x/result"} <= set(server.asked)

    def test_another_origin_gets_nothing_of_a_given_http_client(self, server, other, naming):
        naming(other)
        with httpx.Client(**OWN) as http, Client(server.url, dialect=several(), http_client=http, **QUICK) as client:
            assert client.run().state is State.COMPLETED
        assert sent(server)[0] == ("POST /tasks", "127.0.0.1", True)
        assert not any(has_token for _, _, has_token in sent(server)[1:])

    async def test_another_origin_gets_nothing_of_a_given_async_http_client(self, server, other, naming):
        naming(other)
        async with httpx.AsyncClient(**OWN) as http:
            client = AsyncClient(server.url, dialect=several(), http_client=http, **QUICK)
            assert (await client.run()).state is State.COMPLETED
        assert sent(server)[0] == ("POST /tasks", "127.0.0.1", True)
        assert not any(has_token for _, _, has_token in sent(server)[1:])

    @pytest.mark.parametrize("at_home", [True, False])
    def test_redirects_are_not_followed(self, server, other, kind, at_home):
        start, target = (server.url, other) if at_home else (other, server.url)
        named = {"Operation-Location": f"{start}/x/state"}
        moved = {"Location": f"{target}/secrets"}
        server.says((200, {"task": {"id": "t1"}}, named), (307, None, moved))
        client = open_client(kind, server.url, dialect=several(), token="secret", **QUICK)
        with client as opened, pytest.raises(ProtocolError, match=rf"redirects \(307\) to {target}/secrets"):
            opened.run()
        assert "/secrets" not in {request.path for request in server.requests}

    def test_messages_show_only_the_origin(self, server, kind):
        named = {"Operation-Location": f"{server.url}/x/state?sig=hidden"}
        server.says((200, {"task": {"id": "t1"}}, named), (500, None))
        client = open_client(kind, server.url, dialect=several(), token="secret", **QUICK)
        with (
            client as opened,
            pytest.raises(TransportError, match=rf"^GET {server.url} failed \(2 in a row\)") as raised,
        ):
            opened.run()
        assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://h/x",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "/x/state",
            "//h/x",
            "http://",
            "http:///x",
            7,
            [""],
        ),
        *(
            "http://a b/",
            "http://user:pw@h/x",
            "http://h\\@evil/x",
            "http://h:99999/x",
            "http://h:x/",
            "http://h/\n",
            "",
        ),
    ],
)
def test_unusable_addresses_are_clear_errors(server, url):
    server.says((200, task("busy", result=url)))
    expected = r"expected an http or https address as 'more\.result', but"
    with Client(server.url, dialect=several(), **QUICK) as client, pytest.raises(ProtocolError, match=expected):
        client.status("t1")


@given(st.text() | st.integers() | st.none())
def test_any_value_is_an_address_or_not(value):
    assert is_address(f"http://{value}/") in {True, False}
    assert not is_address(value)


class TestTokens:
    def test_resume_goes_on_at_the_named_address(self, server, naming, kind):
        naming(server.url, polls=10**6)
        with open_client(kind, server.url, dialect=several(), token="secret", **QUICK) as client:
            started = client.start()
            with pytest.raises(JobTimeout) as raised:
                client.wait(started.id, timeout=0.05)
        naming(server.url)
        server.requests.clear()
        for token in (started.token, raised.value.token, raised.value.status.token):
            with open_client(kind, server.url, dialect=several(), token="secret", **QUICK) as client:
                assert client.resume(token).state is State.COMPLETED
        assert {request.path for request in server.requests} == {"/x/state", "/x/result"}

    def test_token_without_an_address_uses_the_template(self, server):
        server.says((200, task("done")))
        with Client(server.url, dialect=several(), **QUICK) as client:
            token = client.status("t1").token
            assert client.resume(token).state is State.COMPLETED
        assert server.asked == ["GET /tasks/t1/state", "GET /tasks/t1/result"] * 2


@pytest.mark.parametrize(
    ("name", "action", "places"),
    [
        ("fal", "submit", {"poll": "status_url", "result": "response_url", "cancel": "cancel_url"}),
        ("fal", "poll", {"poll": "status_url", "result": "response_url", "cancel": "cancel_url"}),
        ("replicate", "submit", {"poll": "urls.get", "cancel": "urls.cancel"}),
        ("azure", "submit", {"poll": "operation-location"}),
        ("azure-maps", "submit", {"poll": "location"}),
        ("azure-maps", "poll", {"poll": "location"}),
        ("openai#video", "poll", {}),
        ("start", "poll", {}),
    ],
)
def test_shipped_dialects_say_where_the_addresses_are(name, action, places):
    dialect = find_dialect(name)
    answer = dialect.operation(action).answers[State.PENDING]
    body = {"urls": {}} | {place: f"https://h/{place}" for place in places.values()}
    body["urls"] = {key: f"https://h/urls.{key}" for key in ("get", "cancel")}
    found = links(dialect, answer, {name: f"https://h/{name}" for name in ("operation-location", "location")}, body)
    assert found == {action: f"https://h/{place}" for action, place in places.items()}
