"""Point it at the server: `openai.OpenAI(base_url="http://127.0.0.1:8000/openai/v1", api_key="secretpassword")`.

Covered: videos and background responses, models, errors, and repeated requests; sync and async.
Version: openai 3.57.0.
"""

import time

import openai
import pytest

from tests.sdks.conftest import KEY

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

UNKNOWN = {"video": "video_" + "0" * 32, "response": "resp_" + "0" * 48}


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/openai/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=KEY, max_retries=0) as client:
        yield client


def wait(client, response):
    while response.status in {"queued", "in_progress"}:
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    return response


def test_video_is_made_and_downloaded(client):
    video = client.videos.create_and_poll(prompt="A cat", model="sora-2", seconds="8", poll_interval_ms=10)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.object, video.prompt, video.model, video.seconds) == ("video", "A cat", "sora-2", "8")
    assert video.completed_at >= video.created_at
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"


async def test_video_is_made_and_downloaded_async(async_client):
    video = await async_client.videos.create_and_poll(prompt="A cat", poll_interval_ms=10)
    assert video.status == "completed"
    content = await async_client.videos.download_content(video.id)
    assert (await content.aread())[4:8] == b"ftyp"


def test_video_has_the_defaults_of_the_api(client):
    video = client.videos.create(prompt="A cat")
    assert (video.status, video.model, video.seconds, video.size) == ("queued", "sora-2", "4", "720x1280")


def test_video_can_have_a_reference_file(client):
    video = client.videos.create(prompt="A cat", input_reference=("cat.png", b"picture", "image/png"))
    assert video.prompt == "A cat"


def test_poll_says_when_to_ask_next(client, sandbox):
    sandbox.change_sandbox(delay={"kind": "fixed", "seconds": 60})
    video = client.videos.create(prompt="A cat")
    assert int(client.videos.with_raw_response.retrieve(video.id).headers["openai-poll-after-ms"]) > 0


def test_failed_video_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    video = client.videos.create_and_poll(prompt="A cat", poll_interval_ms=10)
    assert video.status == "failed"
    assert video.error.code
    assert video.error.message == sandbox.job(video.id)["error_message"]
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content(video.id)


def test_videos_are_listed_page_by_page(client):
    made = [client.videos.create(prompt=f"Cat {n}").id for n in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == made[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made


def test_deleted_video_is_gone(client):
    video = client.videos.create_and_poll(prompt="A cat", poll_interval_ms=10)
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (video.id, "video.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
    assert list(client.videos.list()) == []


def test_background_response_is_completed(client):
    response = client.responses.create(model="gpt-5", input="Say hello", background=True, metadata={"case": "1"})
    assert (response.status, response.background, response.metadata) == ("queued", True, {"case": "1"})
    response = wait(client, response)
    assert (response.status, response.model, response.error) == ("completed", "gpt-5", None)
    assert response.output_text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_response_has_the_output_that_the_sandbox_chose(client, sandbox):
    text = {"type": "output_text", "text": "Hello!", "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    sandbox.change_sandbox(output=[message])
    response = wait(client, client.responses.create(model="gpt-5", input="Say hello", background=True))
    assert response.output_text == "Hello!"


async def test_background_response_is_completed_async(async_client, client):
    response = await async_client.responses.create(model="gpt-5", input="Say hello", background=True)
    wait(client, response)
    assert (await async_client.responses.retrieve(response.id)).output_text


def test_failed_response_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    response = wait(client, client.responses.create(model="gpt-5", input="Say hello", background=True))
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert response.error.message == sandbox.job(response.id)["error_message"]


def test_response_is_cancelled(client, sandbox):
    sandbox.change_sandbox(paused=True)
    response = client.responses.create(model="gpt-5", input="Say hello", background=True)
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"


async def test_response_is_cancelled_async(async_client, sandbox):
    sandbox.change_sandbox(paused=True)
    response = await async_client.responses.create(model="gpt-5", input="Say hello", background=True)
    assert (await async_client.responses.cancel(response.id)).status == "cancelled"


def test_deleted_response_is_gone(client):
    response = wait(client, client.responses.create(model="gpt-5", input="Say hello", background=True))
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong").videos.create(prompt="A cat")
    assert caught.value.type == "authentication_error"
    assert caught.value.body["message"]


async def test_wrong_key_is_an_authentication_error_async(async_client):
    with pytest.raises(openai.AuthenticationError):
        await async_client.with_options(api_key="wrong").videos.create(prompt="A cat")


def test_unknown_ids_are_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.videos.poll(UNKNOWN["video"])
    assert caught.value.body["message"]
    for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(UNKNOWN["response"])
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content(UNKNOWN["video"])


def test_missing_field_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(prompt=openai.omit, model="sora-2")
    assert caught.value.param == "prompt"
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(input="Say hello", background=True)
    assert caught.value.param == "model"


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    sandbox.change_sandbox(scenario="flaky", seed=1)
    patient = client.with_options(max_retries=5)
    videos = [patient.videos.create_and_poll(prompt="A cat", poll_interval_ms=10) for _ in range(3)]
    assert {video.status for video in videos} == {"completed"}
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_rate_limit_is_its_own_error(client, sandbox):
    sandbox.set_faults({"kind": "status", "code": 429, "route": ["submit"], "retry_after": 1})
    with pytest.raises(openai.RateLimitError) as caught:
        client.videos.create(prompt="A cat")
    assert caught.value.response.headers["Retry-After"] == "1"


def test_models_are_listed(client):
    assert {model.id for model in client.models.list()} >= {"sora-2"}
