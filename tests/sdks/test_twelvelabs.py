"""Point it at the server: `TwelveLabs(api_key="secretpassword", base_url="http://127.0.0.1:8000/twelvelabs/v1.3")`.

Covered: tasks.create of a URL and of a file, create_bulk, wait_for_done, retrieve, list and delete; sync and async. Not
covered: all that is no video indexing task, and the filters of lists but the status, which are refused.
Version: twelvelabs 1.2.9. It has no error for a failed task: its status is failed. A 401 or a 404 of a task is its
ApiError.
"""

import io

import httpx
import pytest
from twelvelabs import AsyncTwelveLabs, BadRequestError, TwelveLabs
from twelvelabs.core.api_error import ApiError

from tests.sdks.conftest import KEY

INDEX, UNKNOWN = "0" * 23 + "1", "0" * 24
URL = "https://example.com/video.mp4"


@pytest.fixture
def base_url(url):
    return f"{url}/twelvelabs/v1.3"


@pytest.fixture
def client(base_url):
    return TwelveLabs(api_key=KEY, base_url=base_url)


@pytest.fixture
def async_client(base_url):
    return AsyncTwelveLabs(api_key=KEY, base_url=base_url)


def test_task_becomes_ready(client):
    created = client.tasks.create(index_id=INDEX, video_url=URL)
    statuses = []
    task = client.tasks.wait_for_done(
        created.id, sleep_interval=0.01, callback=lambda seen: statuses.append(seen.status)
    )
    assert (task.status, task.id, task.index_id) == ("ready", created.id, INDEX)
    assert (task.video_id, task.system_metadata.filename) == (created.video_id, "video.mp4")
    assert set(statuses) <= {"uploading", "validating", "pending", "queued", "indexing", "ready"}
    assert task.updated_at > task.created_at


async def test_task_becomes_ready_async(async_client):
    created = await async_client.tasks.create(index_id=INDEX, video_url=URL)
    assert (await async_client.tasks.wait_for_done(created.id, sleep_interval=0.02)).status == "ready"


def test_files_become_ready(client):
    created = client.tasks.create_bulk(index_id=INDEX, video_files=[("a.mp4", io.BytesIO(b"video"))] * 2)
    assert [client.tasks.wait_for_done(one.id, sleep_interval=0.02).status for one in created] == ["ready"] * 2


def test_failed_task_is_failed(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    created = client.tasks.create(index_id=INDEX, video_url=URL)
    assert client.tasks.wait_for_done(created.id, sleep_interval=0.02).status == "failed"


def test_tasks_are_listed_page_by_page(client):
    made = [client.tasks.create(index_id=INDEX, video_url=URL).id for _ in range(12)]
    assert [task.id for task in client.tasks.list()] == made[::-1]
    assert [task.id for task in client.tasks.list(page_limit=5, sort_option="asc")] == made


def test_tasks_are_listed_by_their_status(client, sandbox):
    ready = client.tasks.create(index_id=INDEX, video_url=URL).id
    client.tasks.wait_for_done(ready, sleep_interval=0.02)
    sandbox.change_sandbox(delay={"kind": "fixed", "seconds": 600})
    pending = client.tasks.create(index_id=INDEX, video_url=URL).id
    assert [task.id for task in client.tasks.list(status="ready")] == [ready]
    assert [task.id for task in client.tasks.list(status=["ready", "uploading"])] == [pending, ready]


def test_tasks_are_listed_by_their_index(client):
    made = [client.tasks.create(index_id=index, video_url=URL).id for index in (INDEX, "another")]
    assert [task.id for task in client.tasks.list(index_id=INDEX)] == made[:1]


def test_other_filters_of_lists_are_refused(client):
    with pytest.raises(BadRequestError) as caught:
        list(client.tasks.list(filename="01.mp4"))
    assert "filename" in caught.value.body["message"]


def test_deleted_task_is_gone(client):
    created = client.tasks.create(index_id=INDEX, video_url=URL)
    client.tasks.wait_for_done(created.id, sleep_interval=0.02)
    client.tasks.delete(created.id)
    with pytest.raises(ApiError) as caught:
        client.tasks.retrieve(created.id)
    assert caught.value.status_code == 404


def test_wrong_key_is_refused(base_url):
    with pytest.raises(ApiError) as caught:
        TwelveLabs(api_key="wrong", base_url=base_url).tasks.create(index_id=INDEX, video_url=URL)
    assert (caught.value.status_code, caught.value.body["code"]) == (401, "api_key_invalid")


def test_unknown_id_is_not_found(client):
    for call in (client.tasks.retrieve, client.tasks.delete, client.tasks.wait_for_done):
        with pytest.raises(ApiError) as caught:
            call(UNKNOWN)
        assert (caught.value.status_code, caught.value.body["code"]) == (404, "resource_not_exist")


def test_missing_field_is_a_bad_request(client):
    with pytest.raises(BadRequestError) as caught:
        client.tasks.create(index_id=INDEX)
    assert "video_url" in caught.value.body["message"]


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(client, sandbox):
    """The client repeats refused requests and polls, but neither a broken submission nor a broken first poll."""

    def insisting(call):
        while True:
            try:
                return call()
            except (ApiError, httpx.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        created = insisting(lambda: client.tasks.create(index_id=INDEX, video_url=URL))
        task = insisting(lambda created=created: client.tasks.wait_for_done(created.id, sleep_interval=0.02))
        assert task.status == "ready"
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
