"""Point it at the server: `FAL_KEY=secretpassword FAL_QUEUE_RUN_HOST=localhost:8443/fal`, and a server with HTTPS.

Covered: the queue (subscribe, submit, handles, status with logs, result, cancel); sync and async.
Version: fal-client 1.0.3.
"""

import importlib

import httpx
import pytest

from tests.sdks.conftest import KEY

APP, ARGUMENTS = "fal-ai/wan/v2/text-to-video", {"prompt": "A cat"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def url(secure_url):
    return secure_url


@pytest.fixture(scope="module")
def fal(secure_url):
    """The module of fal, which reads its address when it is imported."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FAL_QUEUE_RUN_HOST", f"{secure_url.removeprefix('https://')}/fal")
        return importlib.import_module("fal_client")


@pytest.fixture
def client(fal):
    return fal.SyncClient(key=KEY)


@pytest.fixture
def async_client(fal):
    return fal.AsyncClient(key=KEY)


def test_subscribe_returns_the_output(client):
    output = client.subscribe(APP, ARGUMENTS, interval=0.02)
    assert output["video"]["content_type"] == "video/mp4"
    assert httpx.get(output["video"]["url"]).raise_for_status().content[4:8] == b"ftyp"


async def test_subscribe_returns_the_output_async(async_client):
    assert (await async_client.subscribe(APP, ARGUMENTS, interval=0.02))["video"]


def test_updates_show_the_queue_then_the_logs(fal, client, sandbox):
    sandbox.change_sandbox(after_polls=4)
    updates = []
    client.subscribe(APP, ARGUMENTS, with_logs=True, on_queue_update=updates.append, interval=0.02)
    kinds = [type(update) for update in updates]
    assert kinds == [fal.Queued, fal.InProgress, fal.InProgress, fal.Completed]
    assert updates[0].position > 0
    assert updates[-2].logs[0]["message"]
    assert len(updates[-1].logs) > len(updates[-2].logs)
    assert updates[-1].metrics["inference_time"] > 0
    assert updates[-1].error is None


def test_handle_finds_a_request_again(fal, client):
    request_id = client.submit(APP, ARGUMENTS).request_id
    handle = client.get_handle(APP, request_id)
    for _ in handle.iter_events(interval=0.02):
        pass
    assert isinstance(client.status(APP, request_id), fal.Completed)
    assert client.result(APP, request_id) == handle.get()


def test_failed_request_says_why(fal, client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    handle = client.submit(APP, ARGUMENTS)
    with pytest.raises(fal.FalClientHTTPError) as caught:
        handle.get(interval=0.02)
    message = sandbox.job(handle.request_id)["error_message"]
    assert (caught.value.status_code, caught.value.message[0]["msg"]) == (422, message)
    assert caught.value.error_type
    assert handle.status().error == message


async def test_failed_request_says_why_async(fal, async_client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    with pytest.raises(fal.FalClientHTTPError):
        await async_client.subscribe(APP, ARGUMENTS, interval=0.02)


def test_request_is_cancelled(fal, client, sandbox):
    sandbox.change_sandbox(paused=True)
    handle = client.submit(APP, ARGUMENTS)
    handle.cancel()
    assert sandbox.job(handle.request_id)["status"] == "cancelled"
    with pytest.raises(fal.FalClientHTTPError) as caught:
        handle.get(interval=0.02)
    assert "cancelled" in caught.value.message


async def test_request_is_cancelled_async(async_client, sandbox):
    sandbox.change_sandbox(paused=True)
    handle = await async_client.submit(APP, ARGUMENTS)
    await handle.cancel()
    assert sandbox.job(handle.request_id)["status"] == "cancelled"


def test_completed_request_cannot_be_cancelled(fal, client):
    handle = client.submit(APP, ARGUMENTS)
    handle.get(interval=0.02)
    with pytest.raises(fal.FalClientHTTPError) as caught:
        handle.cancel()
    assert (caught.value.status_code, caught.value.response.json()) == (400, {"status": "ALREADY_COMPLETED"})


def test_request_is_cancelled_when_the_caller_s_time_is_up(fal, client, sandbox):
    sandbox.change_sandbox(paused=True)
    with pytest.raises(fal.FalClientTimeoutError) as caught:
        client.subscribe(APP, ARGUMENTS, client_timeout=1.1, interval=0.02)
    assert sandbox.job(caught.value.request_id)["status"] == "cancelled"
    sandbox.change_sandbox(paused=False)


def test_wrong_key_is_refused(fal):
    with pytest.raises(fal.FalClientHTTPError) as caught:
        fal.SyncClient(key="wrong").submit(APP, ARGUMENTS)
    assert caught.value.status_code == 401
    assert caught.value.message


def test_unknown_id_is_not_found(fal, client):
    for call in (client.status, client.result, client.cancel):
        with pytest.raises(fal.FalClientHTTPError) as caught:
            call(APP, UNKNOWN)
        assert caught.value.status_code == 404
        assert caught.value.message


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_refused_requests_are_repeated(client, sandbox, code):
    sandbox.set_faults({"kind": "status", "code": code, "nth": [1], "route": ["submit", "poll", "result"]})
    assert client.subscribe(APP, ARGUMENTS, interval=0.02)["video"]
    assert {record["status"] for record in sandbox.requests()} >= {code, 200}


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    sandbox.change_sandbox(scenario="flaky", seed=1)
    assert all(client.subscribe(APP, ARGUMENTS, interval=0.02)["video"] for _ in range(3))
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
