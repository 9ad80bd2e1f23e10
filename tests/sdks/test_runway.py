"""Point it at the server: `RunwayML(api_key="secretpassword", base_url="http://127.0.0.1:8000/runway")`.

RUNWAYML_API_SECRET and RUNWAYML_BASE_URL say the same.
Covered: tasks of videos, images and audio with wait_for_task_output, retrieve and delete; sync and async. Not covered:
recipes, routers, workflows, avatars and uploads. There is no list of tasks.
Version: runwayml 5.24.0. It polls about every six seconds, which nobody can change, so these tests wait at the same
time where they can. Its sync wait takes a cancelled task for a pending one, so such a wait ends with its timeout.
"""

import asyncio

import httpx
import pytest
import runwayml
from runwayml import AsyncRunwayML, RunwayML

from tests.sdks.conftest import KEY

UNKNOWN = "00000000-0000-4000-8000-000000000000"
VIDEO = {"model": "gen4.5", "prompt_text": "A cat", "ratio": "1280:720", "duration": 5}
FAILED = {"simulate": {"outcome": "error", "message": "No cats.", "code": "SAFETY.INPUT.TEXT"}}


@pytest.fixture
def base_url(url):
    return f"{url}/runway"


@pytest.fixture
def client(base_url):
    with RunwayML(api_key=KEY, base_url=base_url) as client:
        yield client


@pytest.fixture
async def async_client(base_url):
    async with AsyncRunwayML(api_key=KEY, base_url=base_url) as client:
        yield client


def test_video_is_awaited(client):
    task = client.text_to_video.create(**VIDEO)
    assert task.estimated_cost.credits > 0
    done = task.wait_for_task_output()
    assert (done.status, done.id) == ("SUCCEEDED", task.id)
    [video] = done.output
    assert httpx.get(video).content[4:8] == b"ftyp"


async def test_videos_images_and_audio_are_awaited_async(async_client):
    created = await asyncio.gather(
        async_client.image_to_video.create(
            model="gen4.5", prompt_text="A cat", prompt_image="https://example.com/a.png", ratio="1280:720", duration=5
        ),
        async_client.text_to_image.create(model="gen4_image", prompt_text="A cat", ratio="1280:720"),
        async_client.text_to_speech.create(model="eleven_v3", prompt_text="A cat", voice={"type": "any"}),
    )
    tasks = await asyncio.gather(*(task.wait_for_task_output() for task in created))
    async with httpx.AsyncClient() as files:
        outputs = [(await files.get(task.output[0])).content for task in tasks]
    assert [outputs[0][4:8], outputs[1][1:4], outputs[2][:4]] == [b"ftyp", b"PNG", b"RIFF"]


async def test_failed_and_cancelled_tasks_are_errors(client, async_client, sandbox):
    failed = await async_client.text_to_video.create(**VIDEO, extra_body=FAILED)
    sandbox.change_sandbox(paused=True)
    cancelled = await async_client.text_to_video.create(**VIDEO)
    sandbox.delete(f"/jobs/{cancelled.id}")
    waits = (
        failed.wait_for_task_output(),
        cancelled.wait_for_task_output(),
        asyncio.to_thread(client.tasks.retrieve(failed.id).wait_for_task_output),
    )
    errors = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(error) for error in errors} == {runwayml.TaskFailedError}
    details = [error.task_details for error in errors]
    assert [one.status for one in details] == ["FAILED", "CANCELLED", "FAILED"]
    assert {(one.failure, one.failure_code) for one in details[::2]} == {("No cats.", "SAFETY.INPUT.TEXT")}


def test_running_task_has_progress_and_the_wait_for_it_an_end(client, sandbox):
    sandbox.change_sandbox(after_polls=4)
    task = client.text_to_video.create(**VIDEO)
    pending, _, running = (client.tasks.retrieve(task.id) for _ in range(3))
    assert (pending.status, running.status) == ("PENDING", "RUNNING")
    assert 0 < running.progress < 1
    sandbox.change_sandbox(paused=True)
    with pytest.raises(runwayml.TaskTimeoutError):
        client.text_to_video.create(**VIDEO).wait_for_task_output(timeout=0)


def test_deleted_task_is_cancelled_and_gone(client, sandbox):
    sandbox.change_sandbox(paused=True)
    task = client.text_to_video.create(**VIDEO)
    client.tasks.delete(task.id)
    assert sandbox.job(task.id)["status"] == "cancelled"
    for call in (client.tasks.retrieve, client.tasks.delete):
        with pytest.raises(runwayml.NotFoundError):
            call(task.id)


def test_wrong_key_is_refused(base_url):
    with RunwayML(api_key="wrong", base_url=base_url) as client, pytest.raises(runwayml.AuthenticationError) as caught:
        client.text_to_video.create(**VIDEO)
    assert caught.value.body["error"]


def test_unknown_id_is_not_found(client):
    for call in (client.tasks.retrieve, client.tasks.delete):
        with pytest.raises(runwayml.NotFoundError) as caught:
            call(UNKNOWN)
        assert caught.value.body["error"]


def test_missing_field_is_a_bad_request(client):
    with pytest.raises(runwayml.BadRequestError) as caught:
        client.text_to_video.create(**VIDEO | {"model": runwayml.omit})
    [issue] = caught.value.body["issues"]
    assert (issue["path"], caught.value.body["error"]) == (["model"], "Validation of body failed")


def test_client_gets_there_when_the_server_is_flaky(base_url, sandbox):
    with RunwayML(api_key=KEY, base_url=base_url, max_retries=8) as client:
        sandbox.change_sandbox(scenario="flaky", seed=1)
        tasks = [client.text_to_video.create(**VIDEO) for _ in range(4)]
        assert [client.tasks.retrieve(task.id).id for task in tasks] == [task.id for task in tasks]
        assert tasks[-1].wait_for_task_output().status == "SUCCEEDED"
        sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
