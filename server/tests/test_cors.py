"""What pages of other origins may read, over HTTP against a real server."""

import httpx
import pytest

from tests.examples import CREDENTIALS

OWN = "http://localhost:3000"
OTHER = "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
ALLOWED = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")


@pytest.fixture
def cors(start):
    return start(cors_origins=f"{OWN}, https://app.example:443", dialects="openai,replicate,fal")


def allowed(answer):
    """Returns the origin that may read an answer, and whether credentials may be used."""
    assert "Origin" in answer.headers.get("Vary", "")
    return tuple(answer.headers.get(name) for name in ALLOWED)


def preflight(api, path, origin, **more):
    return api.options(path, headers={"Origin": origin} | PREFLIGHT | more, auth=None)


@pytest.mark.parametrize("path", ["/start", "/jobs/1", "/sandbox", "/openai/v1/videos", "/fal/any/model", "/nothing"])
def test_preflight_needs_no_credentials(cors, path):
    answer = preflight(cors, path, OWN)
    assert (answer.status_code, answer.content, allowed(answer)) == (204, b"", (OWN, "true"))
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))


def test_preflight_of_another_origin_allows_nothing(cors):
    answer = preflight(cors, "/start", OTHER)
    assert (answer.status_code, allowed(answer)) == (401, (None, None))


def test_every_answer_may_be_read(cors):
    cors.headers["Origin"] = OWN
    accepted = cors.post("/start", json={})
    path = f"/status/{accepted.json()['job_id']}"
    answers = {
        202: [accepted],
        200: [cors.get(path), cors.head(path), cors.get("/jobs"), cors.get("/dashboard"), cors.get("/docs")],
        304: [cors.get(path, headers={"If-None-Match": cors.get(path).headers["ETag"]})],
        401: [cors.get("/jobs", auth=None), cors.get("/openai/v1/videos/video_1")],
        404: [cors.get("/status/unknown"), cors.get("/nothing")],
        405: [cors.put("/start"), cors.options("/start")],
        421: [cors.get("/jobs", headers={"Host": "evil.example"})],
        422: [cors.post("/start", json={"nonsense": 1})],
    }
    for status, listed in answers.items():
        for answer in listed:
            assert (answer.status_code, allowed(answer)) == (status, (OWN, "true")), answer.request
    with cors.stream("GET", "/events") as stream:
        assert allowed(stream) == (OWN, "true")


def test_all_headers_are_exposed(cors):
    answer = cors.post("/start", json={}, headers={"Origin": OWN})
    assert {"location", "retry-after"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    poll = cors.get(answer.headers["Location"], headers={"Origin": OWN})
    assert {"etag", "retry-after"} <= set(poll.headers["Access-Control-Expose-Headers"].split(", "))


def test_ports_are_normalized(cors):
    answer = cors.get("/jobs", headers={"Origin": "https://app.example"})
    assert allowed(answer) == ("https://app.example", "true")


@pytest.mark.parametrize("origin", [OTHER, "null", "http://localhost:3001", "http://localhost:3000.evil.example", ""])
def test_other_origins_read_nothing_and_change_nothing(cors, origin):
    page = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    for answer, status in ((cors.get("/jobs", headers=page), 200), (cors.post("/start", headers=page), 403)):
        assert (answer.status_code, allowed(answer)) == (status, (None, None))


def test_named_origins_are_trusted(cors):
    page = {"Origin": OWN, "Sec-Fetch-Site": "cross-site"}
    assert cors.post("/sandbox/reset", headers=page).status_code == 200


def test_any_origin_may_read_without_the_credentials_of_the_browser(start):
    api = start(cors_origins=f"*,{OWN}", dialects="openai")
    page = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
    assert allowed(preflight(api, "/jobs", OTHER)) == allowed(api.get("/jobs", headers=page)) == ("*", None)
    assert allowed(api.get("/jobs", headers={"Origin": OWN})) == (OWN, "true")
    assert api.post("/start", headers=page).status_code == 403
    bearer = page | {"Authorization": f"Bearer {':'.join(CREDENTIALS)}"}
    assert api.post("/openai/v1/videos", headers=bearer, auth=None, json={"prompt": "a cat"}).status_code != 403


def test_without_origins_nothing_is_added(api):
    page = {"Origin": OWN}
    for answer, status in ((api.get("/jobs", headers=page), 200), (preflight(api, "/jobs", OWN), 401)):
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" not in answer.headers.get("Vary", "")


def test_clients_that_are_no_browsers_are_not_affected(cors):
    answer = cors.get(f"/status/{cors.submit()}")
    assert isinstance(answer, httpx.Response)
    assert (answer.status_code, allowed(answer)) == (200, (None, None))
