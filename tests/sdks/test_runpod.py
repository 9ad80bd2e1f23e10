"""Point it at the server: `RUNPOD_ENDPOINT_BASE_URL=http://127.0.0.1:8000/runpod/v2` before `runpod` is imported.

Its value is `runpod.endpoint_url_base`, which may also be set later, as here.
Covered: run and run_sync with their waits for the output, status, cancel and webhooks; sync and async. Not covered:
stream, health and purge_queue.
Version: runpod 1.12.0. It has no error for a failed job: its status is FAILED, and it has no output. Its async client
does not look at the status codes of refusals.
"""

import aiohttp
import pytest
import requests
import runpod

from tests.receivers import receiving
from tests.sdks.conftest import KEY

ENDPOINT, UNKNOWN = "4kxwl0b8h2zqxy", "00000000-0000-4000-8000-000000000000-u1"
INPUT = {"prompt": "A cat"}


@pytest.fixture(autouse=True)
def base(url, monkeypatch):
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{url}/runpod/v2")


@pytest.fixture
def endpoint():
    return runpod.Endpoint(ENDPOINT, api_key=KEY)


@pytest.fixture
async def async_endpoint():
    async with aiohttp.ClientSession() as session:
        yield runpod.AsyncioEndpoint(ENDPOINT, session, api_key=KEY)


def test_output_is_awaited(endpoint):
    job = endpoint.run(INPUT)
    assert job.status() in {"IN_QUEUE", "IN_PROGRESS"}
    output = job.output(timeout=60)
    assert job.status() == "COMPLETED"
    assert requests.get(output["video_url"], timeout=60).content[4:8] == b"ftyp"


async def test_output_is_awaited_async(async_endpoint):
    job = await async_endpoint.run(INPUT)
    assert (await job.output(timeout=60))["video_url"]
    assert await job.status() == "COMPLETED"


def test_output_of_run_sync_is_awaited(endpoint):
    assert endpoint.run_sync(INPUT, timeout=60)["video_url"]


def test_output_is_what_the_caller_chose(endpoint):
    assert endpoint.run({"input": INPUT, "simulate": {"output": [{"seed": 1}]}}).output(timeout=60) == [{"seed": 1}]


def test_failed_job_has_no_output(endpoint, sandbox):
    sandbox.change_sandbox(error_probability=1)
    job = endpoint.run(INPUT)
    assert job.output(timeout=60) is None
    assert job.status() == "FAILED"


async def test_failed_job_has_no_output_async(async_endpoint, sandbox):
    sandbox.change_sandbox(error_probability=1)
    job = await async_endpoint.run(INPUT)
    assert await job.output(timeout=60) is None
    assert await job.status() == "FAILED"


def test_job_is_cancelled(endpoint, sandbox):
    sandbox.change_sandbox(paused=True)
    job = endpoint.run(INPUT)
    assert job.cancel() == {"id": job.job_id, "status": "CANCELLED"}
    assert job.status() == "CANCELLED"
    assert job.output(timeout=60) is None


async def test_job_is_cancelled_async(async_endpoint, sandbox):
    sandbox.change_sandbox(paused=True)
    job = await async_endpoint.run(INPUT)
    assert (await job.cancel())["status"] == "CANCELLED"
    assert await job.status() == "CANCELLED"


def test_wrong_key_is_refused():
    with pytest.raises(RuntimeError, match="401 Unauthorized"):
        runpod.Endpoint(ENDPOINT, api_key="wrong").run(INPUT)


def test_unknown_id_is_not_found(endpoint):
    job = runpod.endpoint.Job(ENDPOINT, UNKNOWN, endpoint.rp_client)
    for call in (job.status, job.output, job.cancel):
        with pytest.raises(requests.HTTPError) as caught:
            call()
        assert caught.value.response.status_code == 404


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(endpoint, sandbox):
    """The client repeats neither submissions nor polls that were answered with 500 to 599."""

    def insisting(call):
        while True:
            try:
                return call()
            except requests.RequestException:
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    jobs = [insisting(lambda: endpoint.run(INPUT)) for _ in range(3)]
    outputs = [insisting(lambda job=job: job.output(timeout=60)) for job in jobs]
    assert all(output["video_url"] for output in outputs)
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_webhook_has_what_the_status_shows(endpoint):
    with receiving() as receiver:
        job = endpoint.run({"input": INPUT, "webhook": receiver.url})
        [received] = receiver.take()
    assert (received.body["id"], received.body["status"]) == (job.job_id, "COMPLETED")
    assert received.body["output"] == job.output(timeout=60)
