"""Pages of other origins that call the server, in a browser."""

import pytest

from tests.browser.serving import serving

CALL = """async ([server, path, options]) => {
  try {
    const answer = await fetch(server + path, options);
    return {status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text()};
  } catch (error) { return {refused: error.name}; }
}"""
JSON = {"Content-Type": "application/json"}
KNOWN = {"credentials": "include"}  # the credentials that the browser knows
BASIC = {"Authorization": "Basic YWRtaW46c2VjcmV0cGFzc3dvcmQ="}
BEARER = {"Authorization": "Bearer admin:secretpassword"}


@pytest.fixture
def called(context):
    """Returns a function that makes the page of an origin call a server, and what the page may read of the answer."""
    page = context.new_page()

    def call(url, server, path, **options):
        if page.url != url:
            page.goto(f"{server.client.base_url}/jobs")  # the browser knows the password from now on
            page.goto(url)
        return page.evaluate(CALL, [str(server.client.base_url).rstrip("/"), path, options])

    return call


def test_page_of_a_named_origin_calls_every_kind_of_route(run, called):
    with serving("<!doctype html>", "127.0.0.1") as url:  # browsers use no passwords of one site on pages of another
        server = run(CORS_ORIGINS=url.rstrip("/"), DIALECTS="openai", MIN_DELAY="100", MAX_DELAY="100")
        accepted = called(url, server, "/start", method="POST", headers=JSON, body="{}", **KNOWN)
        assert accepted["status"] == 202
        assert accepted["headers"].keys() >= {"location", "retry-after"}
        poll = called(url, server, accepted["headers"]["location"], headers={"Prefer": "wait=0"}, **KNOWN)
        assert poll["status"] == 200
        assert poll["headers"].keys() >= {"etag", "retry-after"}
        assert called(url, server, "/status/unknown", **KNOWN)["status"] == 404
        assert called(url, server, "/jobs", headers=BASIC, credentials="omit")["status"] == 200
        assert (
            called(url, server, "/sandbox", method="PATCH", headers=JSON, body='{"seed": 7}', **KNOWN)["status"] == 200
        )
        video = {"headers": JSON | BEARER, "body": '{"prompt": "a cat"}', "credentials": "omit"}
        assert called(url, server, "/openai/v1/videos", method="POST", **video)["status"] == 200
        assert "error" in called(url, server, "/openai/v1/videos/video_0", headers=BEARER, credentials="omit")["text"]


@pytest.mark.parametrize("setting", ["", "http://localhost:1"])
def test_page_of_another_origin_reads_nothing(run, called, setting):
    server = run(**{"CORS_ORIGINS": setting} if setting else {})
    with serving("<!doctype html>") as url:
        for path, options in {"/jobs": KNOWN, "/sandbox": KNOWN, "/livez": {}, "/start": {"method": "POST"}}.items():
            assert called(url, server, path, **options) == {"refused": "TypeError"}
    assert server.client.get("/jobs").json()["jobs"] == []


def test_page_of_any_origin_reads_with_credentials_of_its_own(run, called):
    server = run(CORS_ORIGINS="*", MIN_DELAY="100", MAX_DELAY="100")
    with serving("<!doctype html>") as url:
        assert called(url, server, "/jobs", headers=BASIC, credentials="omit")["status"] == 200
        assert called(url, server, "/jobs", **KNOWN) == {"refused": "TypeError"}
        assert called(url, server, "/start", method="POST", headers=BASIC, credentials="omit")["status"] == 403
