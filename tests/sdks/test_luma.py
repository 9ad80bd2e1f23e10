"""Point it at the server: `LumaAI(auth_token="secretpassword", base_url="http://127.0.0.1:8000/luma/dream-machine/v1")`.

LUMAAI_API_KEY and LUMAAI_BASE_URL say the same.
Covered: generations of videos and of images: create, modify, reframe, get, list and delete; callbacks; ping and
credits; sync and async. Not covered: audio, upscale, synchronous images and concepts.
Version: lumaai 1.21.0. It has no call that waits: its callers get a generation until its state is completed or failed,
as here. It has no error for a failed generation, and no cancellation but the deletion.
"""

import asyncio
import time

import httpx
import lumaai
import pytest
from lumaai import AsyncLumaAI, LumaAI

from tests.receivers import receiving
from tests.sdks.conftest import KEY

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PROMPT = {"model": "ray-2", "prompt": "A cat"}


@pytest.fixture
def base_url(url):
    return f"{url}/luma/dream-machine/v1"


@pytest.fixture
def client(base_url):
    with LumaAI(auth_token=KEY, base_url=base_url) as client:
        yield client


@pytest.fixture
async def async_client(base_url):
    async with AsyncLumaAI(auth_token=KEY, base_url=base_url) as client:
        yield client


def ended(client, created):
    """Waits for a generation. The client returns a body that is no JSON as a text."""
    while getattr(generation := client.generations.get(created.id), "state", None) not in {"completed", "failed"}:
        time.sleep(0.02)
    return generation


def test_video_is_awaited(client):
    created = client.generations.video.create(**PROMPT, aspect_ratio="16:9", loop=True)
    assert (created.state, created.assets, created.failure_reason) == ("queued", None, None)
    done = ended(client, created)
    assert (done.state, done.id, done.model, done.generation_type) == ("completed", created.id, "ray-2", "video")
    assert (done.request.prompt, done.request.aspect_ratio, done.request.loop) == ("A cat", "16:9", True)
    assert done.created_at.tzinfo is not None
    assert done.assets.image is None
    assert httpx.get(done.assets.video).content[4:8] == b"ftyp"


async def test_video_is_awaited_async(async_client):
    generation = await async_client.generations.create(**PROMPT)
    while generation.state not in {"completed", "failed"}:
        await asyncio.sleep(0.02)
        generation = await async_client.generations.get(generation.id)
    assert generation.assets.video


def test_videos_are_modified_and_reframed(client):
    media = {"url": "https://example.com/a.mp4"}
    modified = client.generations.video.modify(
        generation_type="modify_video", media=media, mode="flex_1", model="ray-2"
    )
    reframed = client.generations.video.reframe(
        generation_type="reframe_video", media=media, aspect_ratio="1:1", model="ray-2"
    )
    assert all(ended(client, generation).assets.video for generation in (modified, reframed))


def test_images_are_awaited(client):
    created = client.generations.image.create(model="photon-1", prompt="A cat", format="png")
    media = {"url": "https://example.com/a.png"}
    reframed = client.generations.image.reframe(
        generation_type="reframe_image", media=media, aspect_ratio="1:1", model="photon-1"
    )
    for generation in (created, reframed):
        done = ended(client, generation)
        assert (done.generation_type, done.assets.video) == ("image", None)
        assert httpx.get(done.assets.image).content[1:4] == b"PNG"


def test_failed_generation_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    done = ended(client, client.generations.create(**PROMPT))
    assert (done.state, done.assets) == ("failed", None)
    assert done.failure_reason == sandbox.job(done.id)["error_message"]


def test_waiting_generations_are_queued_then_dreaming(client, sandbox):
    sandbox.change_sandbox(after_polls=4)
    generation = client.generations.create(**PROMPT)
    states = [client.generations.get(generation.id).state for _ in range(4)]
    assert states == ["queued", "dreaming", "dreaming", "completed"]


def test_videos_and_images_are_listed_page_by_page(client):
    made = [client.generations.create(**PROMPT).id, client.generations.image.create(model="photon-1").id]
    made.append(ended(client, client.generations.create(**PROMPT)).id)
    first, second = (client.generations.list(limit=2, offset=offset) for offset in (0, 2))
    assert [one.id for page in (first, second) for one in page.generations] == made[::-1]
    assert [(page.count, page.has_more, page.limit, page.offset) for page in (first, second)] == [
        (2, True, 2, 0),
        (1, False, 2, 2),
    ]
    kinds = [one.generation_type for page in (first, second) for one in page.generations]
    assert kinds == ["video", "image", "video"]
    assert first.generations[0].assets.video
    assert client.generations.list().limit == 100


def test_deleted_generation_is_cancelled_and_gone(client, sandbox):
    sandbox.change_sandbox(paused=True)
    generation = client.generations.create(**PROMPT)
    client.generations.delete(generation.id)
    assert sandbox.job(generation.id)["status"] == "cancelled"
    assert client.generations.list().generations == []
    with pytest.raises(lumaai.NotFoundError):
        client.generations.get(generation.id)


def test_account_is_shown(client):
    assert client.ping.check().message == "pong"
    assert client.credits.get().credit_balance > 0


def test_wrong_token_is_refused(base_url):
    with LumaAI(auth_token="wrong", base_url=base_url) as client, pytest.raises(lumaai.AuthenticationError) as caught:
        client.generations.create(**PROMPT)
    assert caught.value.body["detail"]


def test_unknown_id_is_not_found(client):
    for call in (client.generations.get, client.generations.delete):
        with pytest.raises(lumaai.NotFoundError) as caught:
            call(UNKNOWN)
        assert caught.value.body["detail"]


def test_missing_field_is_a_bad_request(client):
    with pytest.raises(lumaai.BadRequestError) as caught:
        client.generations.create(model=lumaai.omit)
    assert "prompt" in caught.value.body["detail"]


def test_client_gets_there_when_the_server_is_flaky(base_url, sandbox):
    with LumaAI(auth_token=KEY, base_url=base_url, max_retries=8) as client:
        sandbox.change_sandbox(scenario="flaky", seed=1)
        assert [ended(client, client.generations.create(**PROMPT)).state for _ in range(3)] == ["completed"] * 3
        sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_callbacks_show_every_update(client):
    with receiving() as receiver:
        created = client.generations.create(**PROMPT, callback_url=receiver.url)
        received = receiver.take(2)
    updates = [lumaai.types.Generation.model_validate(one.body) for one in received]
    assert [(one.id, one.state) for one in updates] == [(created.id, "dreaming"), (created.id, "completed")]
    assert httpx.get(updates[1].assets.video).content[4:8] == b"ftyp"
