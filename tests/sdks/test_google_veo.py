"""Point it at the server: `genai.Client(vertexai=True, api_key=…, http_options={"base_url": "http://127.0.0.1:8000/google-veo"})`.

Covered: `models.generate_videos` and `operations.get`; sync and async; with an API key, or a project and credentials.
Not covered: the video's bytes in the answer. The API's own client has no function that waits, no cancel and no list.
Version: google-genai 3.6.1, which has Veo at Vertex AI only. A failed job is the `error` of its operation.
"""

import asyncio
import time

import httpx2
import pytest
import requests
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from tests.sdks.conftest import KEY
from translation_client import Client, State

MODEL = "veo-3.1-generate-001"
SOURCE = types.GenerateVideosSource(prompt="A cat")
UNKNOWN = "projects/p/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/unknown"


def client_of(url, **options):
    return genai.Client(vertexai=True, http_options={"base_url": f"{url}/google-veo"}, **options)


@pytest.fixture
def client(url):
    return client_of(url, api_key=KEY)


def waited(client, operation):
    while not operation.done:
        time.sleep(0.05)
        operation = client.operations.get(operation)
    return operation


def test_video_is_generated(client):
    operation = client.models.generate_videos(model=MODEL, source=SOURCE)
    assert not operation.done
    final = waited(client, operation)
    assert (final.name, final.error) == (operation.name, None)
    [generated] = final.response.generated_videos
    assert generated.video.mime_type == "video/mp4"
    assert requests.get(generated.video.uri, timeout=60).content[4:8] == b"ftyp"


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # the client inherits from one of aiohttp
async def test_video_is_generated_async(client):
    operation = await client.aio.models.generate_videos(model=MODEL, source=SOURCE)
    while not operation.done:
        await asyncio.sleep(0.05)
        operation = await client.aio.operations.get(operation)
    assert operation.response.generated_videos[0].video.uri


def test_project_and_token_are_accepted(url):
    client = client_of(url, project="my-project", location="europe-west4", credentials=Credentials(KEY))
    operation = client.models.generate_videos(model=MODEL, source=SOURCE)
    place, _, _ = operation.name.rpartition("/")
    assert place == f"projects/my-project/locations/europe-west4/publishers/google/models/{MODEL}/operations"
    assert waited(client, operation).response.generated_videos


def test_failed_job_has_an_error(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    final = waited(client, client.models.generate_videos(model=MODEL, source=SOURCE))
    assert final.response is None
    assert final.error["code"] == 13  # INTERNAL
    assert final.error["message"].startswith("simulated failure")


def test_wrong_key_is_refused(url):
    client = client_of(url, api_key="wrong")
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_videos(model=MODEL, source=SOURCE)
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_unknown_id_is_not_found(client):
    with pytest.raises(errors.ClientError) as caught:
        client.operations.get(types.GenerateVideosOperation(name=UNKNOWN))
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(client, sandbox):
    """The client repeats nothing by default, and broken answers never."""

    def insisting(call):
        while True:
            try:
                return call()
            except (errors.APIError, errors.UnknownApiResponseError, httpx2.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    jobs = [insisting(lambda: client.models.generate_videos(model=MODEL, source=SOURCE)) for _ in range(3)]
    assert all(insisting(lambda job=job: waited(client, job)).response for job in jobs)
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_our_client_waits_for_its_job(client, url):
    operation = client.models.generate_videos(model=MODEL, source=SOURCE)
    project, location = operation.name.split("/")[1:4:2]
    parameters = {"project": project, "location": location, "model": MODEL}
    options = {"dialect": "google-veo", "token": KEY, "parameters": parameters}
    with Client(f"{url}/google-veo", **options) as ours:
        final = ours.wait(operation.name.rpartition("/")[2], timeout=60)
    assert final.state is State.COMPLETED
