"""Point it at the server: `openai.OpenAI(base_url="http://127.0.0.1:8000/openai/v1", api_key="secretpassword")`.

Covered: videos and remixes, background responses, batches, files, vector store files, models, webhooks, errors, and
repeated requests; sync and async. Batches have no waiting helper of the client's.
Version: openai 3.57.0.
"""

import json
import time

import openai
import pytest

from tests.receivers import receiving
from tests.sdks.conftest import KEY

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

WEBHOOK_SECRET = "whsec_c2ltdWxhdGVkIHNlY3JldA=="
UNKNOWN = {"video": "video_" + "0" * 32, "response": "resp_" + "0" * 48, "batch": "batch_" + "0" * 32}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"}


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


def test_remix_is_made(client):
    video = client.videos.create(prompt="A cat")
    remix = client.videos.poll(client.videos.remix(video.id, prompt="A dog").id, poll_interval_ms=10)
    assert (remix.status, remix.prompt, remix.remixed_from_video_id) == ("completed", "A dog", video.id)
    assert video.remixed_from_video_id is None


def ended(client, batch):
    while batch.status in {"validating", "in_progress", "finalizing"}:
        assert batch.output_file_id is None
        time.sleep(0.02)
        batch = client.batches.retrieve(batch.id)
    return batch


def test_batch_has_an_output_file(client):
    uploaded = client.files.create(file=("in.jsonl", b"{}"), purpose="batch")
    batch = client.batches.create(**BATCH | {"input_file_id": uploaded.id}, metadata={"a": "b"})
    assert (batch.status, batch.object, batch.completed_at) == ("validating", "batch", None)
    batch = ended(client, batch)
    assert (batch.status, batch.input_file_id, batch.metadata) == ("completed", uploaded.id, {"a": "b"})
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (1, 1, 0)
    assert batch.completed_at >= batch.finalizing_at >= batch.in_progress_at >= batch.created_at
    [line] = client.files.content(batch.output_file_id).text.splitlines()
    assert json.loads(line)["response"]["status_code"] == 200


async def test_batch_has_an_output_file_async(async_client, sandbox):
    sandbox.change_sandbox(delay={"kind": "fixed", "seconds": 0})
    batch = await async_client.batches.retrieve((await async_client.batches.create(**BATCH)).id)
    assert (await async_client.files.content(batch.output_file_id)).text


def test_failed_batch_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    batch = ended(client, client.batches.create(**BATCH))
    assert (batch.status, batch.output_file_id) == ("failed", None)
    assert batch.errors.data[0].message == sandbox.job(batch.id)["error_message"]
    with pytest.raises(openai.NotFoundError):
        client.files.content(f"file-{batch.id}")


def test_batch_is_cancelled(client, sandbox):
    sandbox.change_sandbox(paused=True)
    batch = client.batches.cancel(client.batches.create(**BATCH).id)
    assert (batch.status, batch.cancelled_at >= batch.created_at) == ("cancelled", True)


def test_batches_and_files_are_listed_page_by_page(client):
    made = [client.batches.create(**BATCH).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    files = [client.files.create(file=b"text", purpose="user_data").id for _ in range(3)]
    assert [file.id for file in client.files.list(limit=2)] == files[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == files
    other = client.files.create(file=b"text", purpose="assistants").id
    assert [file.id for file in client.files.list(limit=2, purpose="user_data")] == files[::-1]
    assert [file.id for file in client.files.list(purpose="assistants")] == [other]


def test_files_of_a_store_are_listed_by_status(client):
    files = client.vector_stores.files
    made = [files.create_and_poll(f"file-{n}", vector_store_id="vs_1", poll_interval_ms=10).id for n in range(3)]
    files.create("vs_2", file_id="file-3")
    assert [file.id for file in files.list("vs_1", limit=2)] == made[::-1]
    assert [file.id for file in files.list("vs_1", filter="completed", order="asc")] == made
    assert list(files.list("vs_1", filter="failed")) == []


def test_file_is_processed_and_deleted(client):
    file = client.files.create(file=("notes.txt", b"text"), purpose="assistants")
    assert (file.status, file.filename, file.bytes, file.purpose) == ("uploaded", "notes.txt", 4, "assistants")
    assert client.files.wait_for_processing(file.id, poll_interval=0.02).status == "processed"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_file_of_a_store_is_processed_and_detached(client):
    files = client.vector_stores.files
    file = files.upload_and_poll(vector_store_id="vs_1", file=("notes.txt", b"text"), poll_interval_ms=10)
    assert (file.status, file.last_error, file.vector_store_id) == ("completed", None, "vs_1")
    assert (file.usage_bytes, file.chunking_strategy.type) == (1024, "static")
    assert client.files.retrieve(file.id).filename == "notes.txt"
    assert files.delete(file.id, vector_store_id="vs_1").deleted
    with pytest.raises(openai.NotFoundError):
        files.poll(file.id, vector_store_id="vs_1")


async def test_file_of_a_store_is_processed_async(async_client):
    options = {"vector_store_id": "vs_1", "attributes": {"a": 1.5}, "poll_interval_ms": 10}
    file = await async_client.vector_stores.files.create_and_poll("file-1", **options)
    assert (file.id, file.status, file.attributes) == ("file-1", "completed", {"a": 1.5})


def test_failed_file_of_a_store_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    file = client.vector_stores.files.create_and_poll("file-1", vector_store_id="vs_1", poll_interval_ms=10)
    assert (file.status, file.last_error.code) == ("failed", "server_error")
    assert file.last_error.message.startswith("simulated failure")


def test_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong").videos.create(prompt="A cat")
    assert (caught.value.type, caught.value.code) == ("invalid_request_error", "invalid_api_key")
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
    for call in (client.batches.retrieve, client.batches.cancel, client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError):
            call(UNKNOWN["batch"])
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


@pytest.mark.parametrize("kind", ["videos", "responses", "batches"])
def test_webhook_is_unwrapped(client, sandbox, kind):
    makers = {
        "videos": lambda: client.videos.create(prompt="A cat"),
        "responses": lambda: client.responses.create(model="gpt-5", input="Say hello", background=True),
        "batches": lambda: client.batches.create(**BATCH),
    }
    with receiving() as receiver:
        sandbox.change_sandbox(webhook={"url": receiver.url})
        made = makers[kind]()
        [received] = receiver.take()
    event = client.webhooks.unwrap(received.text, received.headers, secret=WEBHOOK_SECRET)
    assert (event.type, event.object, event.data.id) == (f"{made.object}.completed", "event", made.id)
    assert event.created_at >= made.created_at
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(received.text + " ", received.headers, secret=WEBHOOK_SECRET)


async def test_webhook_is_unwrapped_async(async_client, sandbox):
    own = "whsec_b3du"
    with receiving() as receiver:
        sandbox.change_sandbox(webhook={"url": receiver.url, "secret": own}, error_probability=1)
        made = await async_client.responses.create(model="gpt-5", input="Say hello", background=True)
        [received] = receiver.take()
    event = async_client.webhooks.unwrap(received.text, received.headers, secret=own)
    assert (event.type, event.data.id) == ("response.failed", made.id)
