"""Which hosts the server answers for, and which pages may change something, over HTTP against a real server."""

import socket

import pytest

from tests.raw_http import exchange, head, statuses
from translation_server.api.protocol import HttpProtocol

OWN = [
    *("127.0.0.1", "127.0.0.1:8000", "203.0.113.7:80", "[::1]", "[::1]:8000", "[2001:DB8::7]:443"),
    *("localhost", "localhost:", "LocalHost.:8000", "one.localhost:1"),
    *("server:8000", "any-server", "host.docker.internal", socket.gethostname()),
]
OTHERS = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost"),
    *("evil@localhost", "localhost@evil.example", "localhost/", "localhost, evil.example"),
    *("localhost:port", "localhost:80:80", "::1", "[::1", "[evil.example]", "[::1]x", "..", "x" * 3000),
]


def problem(answer, status):
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize("host", OWN)
def test_own_host_names_and_all_addresses_are_served(api, host):
    path = f"/status/{api.submit()}"
    assert [api.get(path, headers={"Host": host}).status_code for _ in range(3)] == [200] * 3
    assert api.get("/readyz", headers={"Host": host}, auth=None).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
def test_other_host_names_are_misdirected(api, host):
    path = f"/status/{api.submit()}"
    assert api.get(path).status_code == 200
    for method, target in (
        ("GET", path),  # cached
        ("HEAD", path),
        ("GET", "/docs"),
        ("GET", "/livez"),
        ("GET", "/nothing"),
        ("POST", "/start"),
        ("POST", "/sandbox/reset"),
        ("DELETE", path.replace("status", "jobs")),
    ):
        answer = api.request(method, target, headers={"Host": host})
        if method == "HEAD":
            assert answer.status_code == 421
        else:
            assert "ALLOWED_HOSTS" in problem(answer, 421)
    long_poll = api.get(path, headers={"Host": host, "Prefer": "wait=30"})
    assert problem(long_poll, 421)
    assert api.get(path).json()["status"] == "pending"


def test_hosts_are_checked_before_credentials(api):
    for _ in range(20):
        assert problem(api.get("/jobs", auth=("admin", "wrong"), headers={"Host": "evil.example"}), 421)
    assert api.get("/jobs").status_code == 200


def test_forwarded_hosts_are_ignored(api):
    forwarded = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost", "X-Host": "localhost"}
    assert problem(api.get("/jobs", headers={"Host": "evil.example"} | forwarded), 421)
    ours = {"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"}
    assert api.get("/jobs", headers=ours).status_code == 200
    assert problem(api.post("/start", headers=ours), 403)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://evil.example/livez", "localhost", 421),
        ("http://evil.example:99/livez?", "127.0.0.1", 421),
        ("HTTPS://localhost@evil.example/livez", "127.0.0.1", 421),
        ("http://localhost:8000/livez", "localhost:8000", 200),
        ("http://[::1]:8000/livez", "evil.example", 200),  # the Host header is ignored then
        ("/livez", "evil.example", 421),
    ],
)
def test_the_host_of_a_target_in_absolute_form_counts(api, target, host, status):
    assert statuses(exchange(api, head(target, b"Connection: close", host=host.encode()))) == [status]


def test_http_1_0_needs_no_host(api):
    assert statuses(exchange(api, b"GET /readyz HTTP/1.0\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("api.example", "API.example.:8000", 200),
        ("api.example", "127.0.0.1:8000", 200),
        ("api.example", "www.api.example", 421),
        ("api.example", "localhost", 421),
        ("one.example, *.api.example", "a.b.api.example", 200),
        ("*.api.example", "api.example", 421),
        ("*.api.example", "evilapi.example", 421),
        ("*", "evil.example", 200),
    ],
)
def test_allowed_hosts_replaces_the_default_names(start, allowed, host, status):
    api = start(allowed_hosts=allowed)
    assert api.get("/jobs", headers={"Host": host}).status_code == status


SITES = {
    "a form of another site": ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
    "another port of the same site": ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"}, 403),
    "an unknown word": ({"Sec-Fetch-Site": "Same-Origin"}, 403),
    "an own page": ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8000"}, 202),
    "an address that the user typed": ({"Sec-Fetch-Site": "none"}, 202),
    "an old browser's form": ({"Origin": "http://evil.example"}, 403),
    "an old browser's hidden form": ({"Origin": "null"}, 403),
    "an old browser on another port": ({"Origin": "http://localhost:8001"}, 403),
    "an old browser on no port": ({"Origin": "http://localhost"}, 403),
    "a malformed origin": ({"Origin": "localhost:8000"}, 403),
    "an empty origin": ({"Origin": ""}, 403),
    "an old browser on an own page": ({"Origin": "http://LOCALHOST:8000"}, 202),
    "an old browser behind TLS": ({"Host": "localhost", "Origin": "https://localhost:443"}, 202),
    "an old browser at port 80": ({"Host": "[::1]", "Origin": "http://[::1]:80"}, 202),
    "curl and libraries": ({}, 202),
    "a trusted page": ({"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, 202),
    "an old browser on a trusted page": ({"Origin": "https://app.example:443"}, 202),
    "a page with a similar name as a trusted one": ({"Origin": "https://app.example.evil.example"}, 403),
    "a trusted host by another scheme": ({"Origin": "http://app.example"}, 403),
}


def check_sites(api, trusted):
    """Sends unsafe requests as each of the sites does, to a server with trusted origins or without."""
    for site, (own, status) in SITES.items():
        expected = status if trusted or "trusted" not in site else 403
        sent = {"Host": "localhost:8000"} | own
        changes = [api.post(path, headers=sent) for path in ("/start", "/jobs", "/translate", "/sandbox/reset")]
        changes.append(api.get("/status", headers=sent))  # starts a job where there is none
        assert {answer.is_success for answer in changes} == {expected != 403}, site
        assert expected != 403 or all("TRUSTED_ORIGINS" in problem(answer, 403) for answer in changes)
        assert api.get("/jobs", headers=sent).status_code == 200, site  # safe requests are always served


def test_unsafe_requests_need_an_own_or_a_trusted_origin(start):
    check_sites(start(trusted_origins="https://app.example, http://[::1]:3000"), trusted=True)


def test_unsafe_requests_need_an_own_origin_with_auth_off_too(open_api):
    check_sites(open_api, trusted=False)


def test_repeated_origin_headers_are_refused(api):
    own = f"http://{api.base_url.host}:{api.base_url.port}"
    assert problem(api.post("/start", headers=[("Origin", own), ("Origin", own)]), 403)
    assert problem(api.post("/start", headers=[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "none")]), 403)


def test_the_documentation_page_may_call_the_api(api):
    own = f"http://{api.base_url.host}:{api.base_url.port}"
    for headers in ({"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Origin": own}):
        assert api.post("/start", headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        ("X-Api-Key: {token}", {"X-Api-Key": "secretpassword"}, 202),
        ("Authorization: Bearer {token}", {"Authorization": "Bearer secretpassword"}, 202),
        ("Cookie: {token}", {"Cookie": "secretpassword"}, 403),  # browsers send it by themselves
    ],
)
def test_requests_with_an_api_key_may_come_from_any_origin(start, own_dialect, auth, headers, status):
    api = start(None, dialects=own_dialect(f'auth = "{auth}"'))
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert api.post("/own/tasks", headers=headers | elsewhere).status_code == status


def test_the_embedded_server_checks_hosts_and_origins(open_api):
    assert problem(open_api.get("/jobs", headers={"Host": "evil.example"}), 421)
    assert problem(open_api.post("/sandbox/reset", headers={"Origin": "https://evil.example"}), 403)
    assert open_api.post("/sandbox/reset").status_code == 200


@pytest.mark.parametrize("http", ["h11", "httptools", HttpProtocol])
def test_hosts_are_checked_on_every_http_implementation(start, http):
    api = start(http=http)
    assert problem(api.get("/jobs", headers={"Host": "evil.example"}), 421)
    assert api.get("/jobs").status_code == 200


CHANGING_GETS = """
[job.task.cancel]
request = "GET /tasks/{job_id}/cancel"

[job.task.delete]
request = "GET /tasks/{job_id}/delete"

[job.other.submit]
request = "GET /start/{kind}"
body.id = "{job_id}"

[job.other.poll]
request = "GET /others/{job_id}"
body.status = "{status}"
"""


def test_get_requests_that_change_something_need_an_own_origin(start, own_dialect):
    api = start(dialects=own_dialect('auth = "basic"', CHANGING_GETS))
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    job_id = api.post("/own/tasks").raise_for_status().json()["id"]
    for path in (f"/own/tasks/{job_id}/cancel", f"/own/tasks/{job_id}/delete", "/own/start/any"):
        assert problem(api.get(path, headers=elsewhere), 403), path
        assert api.head(path, headers=elsewhere).status_code == 403
    described = api.get("/openapi.json").json()["paths"]
    for path in ("/own/tasks/{job_id}/cancel", "/own/tasks/{job_id}/delete", "/own/start/{kind}"):
        assert "403" in described[path]["get"]["responses"], path
    assert "403" not in described["/own/tasks/{job_id}"]["get"]["responses"]
    assert api.get(f"/own/tasks/{job_id}", headers=elsewhere).status_code == 200
    assert len(api.get("/jobs").json()["jobs"]) == 1
    assert api.get(f"/own/tasks/{job_id}/delete").status_code == 200


def test_own_pages_are_read_only_if_so_set(start):
    api = start(read_only_dashboard="on")
    own = f"http://{api.base_url.host}:{api.base_url.port}"
    for page in ({"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Origin": own}, {"Sec-Fetch-Site": "same-origin"}):
        for method, path in (
            ("POST", "/start"),
            ("POST", "/dashboard/submissions?target=/openai/v1/videos"),
            ("PATCH", "/sandbox"),
            ("DELETE", "/jobs/1"),
            ("GET", "/status"),
        ):
            assert "READ_ONLY_DASHBOARD" in problem(api.request(method, path, headers=page), 403)
        assert api.get("/jobs", headers=page).json()["jobs"] == []
    assert api.submit()
    assert " data-read-only" in api.get("/dashboard").text


def test_controls_are_there_unless_the_dashboard_is_read_only(api):
    assert "data-read-only" not in api.get("/dashboard").text
