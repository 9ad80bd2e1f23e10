"""The simulator in the shipped APIs: hints, false answers and chosen fates, as the APIs have them."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS, rule

TOKEN = {"Authorization": f"Bearer {CREDENTIALS[1]}"}
CLIP = {"model": "m"}


@pytest.fixture
def native(start):
    return start(dialects="runway,openai,twelvelabs")


@pytest.fixture
def at(native):
    """Opens a client of an API."""
    with httpx.Client(headers=TOKEN | {"x-api-key": CREDENTIALS[1]}, timeout=60, verify=TLS) as client:

        def at(mount):
            client.base_url = native.base_url.join(mount)
            return client

        yield at


def test_request_log_has_no_hint_that_the_api_does_not_send(native, at):
    job = at("/runway").post("/v1/text_to_video", json=CLIP).json()["id"]
    for headers in ({}, {"Prefer": "wait=0"}):
        assert at("/runway").get(f"/v1/tasks/{job}", headers=headers).status_code == 200
    assert {record["hint"] for record in native.requests() if record["dialect"] == "runway"} == {None}
    warnings = [one for one in native.get("/sandbox/report").json()["findings"] if one["severity"] == "warning"]
    assert warnings == []


def test_huge_retry_after_is_in_the_header_of_the_api(native, at):
    native.set_faults(rule("huge-retry-after", seconds=7))
    assert at("/openai/v1").post("/responses", json=CLIP).headers["openai-poll-after-ms"] == "7000"
    at("/runway").post("/v1/text_to_video", json=CLIP).raise_for_status()
    assert native.get("/sandbox").json()["faults"][0]["fired"] == 1


@pytest.mark.parametrize("settings", [{"after_polls": 9}, {"delay": {"kind": "fixed", "seconds": 600}}])
def test_cancelled_job_may_be_pending_again(native, at, settings):
    native.change_sandbox(**settings)
    path = f"/responses/{at('/openai/v1').post('/responses', json=CLIP).json()['id']}"
    assert at("/openai/v1").post(f"{path}/cancel").json()["status"] == "cancelled"
    native.set_faults(rule("back-to-pending"))
    assert at("/openai/v1").get(path).json()["status"] == "in_progress"


@pytest.mark.parametrize(("fate", "code"), [('{"delay": 0, "outcome": "error"}', 201), ("{", 400), ('{"x": 1}', 400)])
def test_form_may_have_the_fate_of_a_job(at, fate, code):
    form = {"index_id": (None, "1"), "video_url": (None, "https://x"), "simulate": (None, fate)}
    made = at("/twelvelabs/v1.3").post("/tasks", files=form)
    assert made.status_code == code
    if code == 201:
        assert at("/twelvelabs/v1.3").get(f"/tasks/{made.json()['_id']}").json()["status"] == "failed"
