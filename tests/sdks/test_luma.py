"""Point it at the server: `LumaAI(auth_token="secretpassword", base_url="http://127.0.0.1:8000/luma/dream-machine/v1")`.

Covered: creating, getting, listing and deleting videos, concepts, credits and ping; sync and async. Not covered:
images, upscaling, audio and callbacks.
Version: lumaai 1.21.0. It has no helper that waits, so these tests loop as its documentation does.
"""

import asyncio
import time

import httpx
import lumaai
import pytest

from tests.sdks.conftest import KEY

ENDED = {"completed", "failed"}


@pytest.fixture
def client(url):
    with lumaai.LumaAI(auth_token=KEY, base_url=f"{url}/luma/dream-machine/v1", max_retries=10) as client:
        yield client


def create(client, prompt="A cat"):
    return client.generations.create(model="ray-2", prompt=prompt)


def ended(client, generation):
    """Waits for a generation."""
    while (polled := client.generations.get(generation.id)).state not in ENDED:
        time.sleep(0.02)
    return polled


def test_video_is_awaited(client):
    created = create(client)
    assert created.state in {"queued", "dreaming"}
    generation = ended(client, created)
    assert (generation.state, generation.model, generation.failure_reason) == ("completed", "ray-2", None)
    assert generation.request.prompt == "A cat"
    assert httpx.get(generation.assets.video).content[4:8] == b"ftyp"


async def test_video_is_awaited_async(url):
    base_url = f"{url}/luma/dream-machine/v1"
    async with lumaai.AsyncLumaAI(auth_token=KEY, base_url=base_url) as client:
        generation = await client.generations.video.create(model="ray-2", prompt="A cat")
        while generation.state not in ENDED:
            await asyncio.sleep(0.02)
            generation = await client.generations.get(generation.id)
    assert generation.assets.video


def test_failed_video_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    generation = ended(client, create(client))
    assert (generation.state, generation.assets) == ("failed", None)
    assert "simulated failure" in generation.failure_reason


def test_videos_are_listed_and_deleted(client):
    made = [create(client).id for _ in range(5)]
    pages = [client.generations.list(limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [one.id for page in pages for one in page.generations] == made[::-1]
    assert [(page.has_more, page.count, page.offset) for page in pages] == [(True, 5, 0), (True, 5, 2), (False, 5, 4)]
    client.generations.delete(made[0])
    with pytest.raises(lumaai.NotFoundError):
        client.generations.get(made[0])
    assert client.generations.list().count == 4


def test_whoever_asks_gets_concepts_credits_and_a_pong(client):
    assert "dolly_zoom" in client.generations.concepts.list()
    assert client.credits.get().credit_balance > 0
    assert client.ping.check().message == "pong"


def test_wrong_token_is_refused(url):
    with pytest.raises(lumaai.AuthenticationError):
        create(lumaai.LumaAI(auth_token="wrong", base_url=f"{url}/luma/dream-machine/v1"))


def test_unknown_id_is_not_found(client):
    for call in (client.generations.get, client.generations.delete):
        with pytest.raises(lumaai.NotFoundError):
            call("unknown")


def test_missing_prompt_is_refused(client):
    with pytest.raises(lumaai.BadRequestError, match="prompt: is required"):
        client.generations.create(model="ray-2")


def test_client_gets_there_on_flaky_days_if_its_caller_goes_on(client, sandbox):
    """It repeats what was refused or broke, but not what is no JSON: it returns that as text."""
    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        created = create(client)
        while getattr(polled := client.generations.get(created.id), "state", None) not in ENDED:
            time.sleep(0.02)
        assert polled.state == "completed"
