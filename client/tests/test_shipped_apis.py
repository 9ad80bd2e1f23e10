"""Our client against the shipped APIs, as their own clients use them: outputs, failures, cancellations and refusals."""

import json
from typing import NamedTuple

import pytest

from tests.blocking import open_client
from translation_client import (
    AuthenticationError,
    Client,
    InvalidRequest,
    JobFailed,
    NotFound,
    Sandbox,
    State,
    TransportError,
)
from translation_client.dialect_files import find_dialect
from translation_server import TranslationServer

KEY = "secretpassword"
WRONG_KEY = "The credentials are wrong or malformed"
UNKNOWN = "You have no job of this id"


FAILURES = {
    "openai#video": "generation_failed",
    "openai#response": "server_error",
    "openai#batch": "server_error",
    "azure": "InternalServerError",
    "azure-maps": "400 BadRequest",
    "aws-mediaconvert": "1040",
    "runway#video": "INTERNAL.BAD_OUTPUT.CODE01",
    "runway#image": "INTERNAL.BAD_OUTPUT.CODE01",
    "runway#audio": "INTERNAL.BAD_OUTPUT.CODE01",
    **dict.fromkeys(("google-speech", "google-veo", "google-videointelligence"), "13"),
}
"""The error codes of failed jobs, of the APIs that have them."""


class Api(NamedTuple):
    """How a caller uses an API."""

    dialect: str
    mount: str
    input: dict
    codes: dict  # its own codes by the status codes of refusals
    parameters: dict
    required: str | None = None  # a field that every submission must have
    cancels: bool = True  # whether it has a cancellation
    makes_file: bool = True  # whether its jobs make a video, and not text
    has_output: bool = True
    says: str = "simulated"  # a word of an output that is no file
    says_why: bool = True  # whether a failed job has a reason
    shows_cancelled: bool = True  # whether a cancelled job looks different from a failed one
    unknown_id: str = "unknown"
    wrong_key: int = 401  # the status code of a refusal of it
    resumed_by_token: bool = (
        True  # whether a resumed wait needs no parameters: a poll has none, or answers name its address
    )


OPENAI = dict.fromkeys((401, 404, 422), "invalid_request_error")
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"}
AZURE = {401: "401", 404: "NotFound", 422: "InvalidRequest"}
AZURE_MAPS = {401: "Unauthorized", 404: "404 NotFound", 422: "400 BadRequest"}
GOOGLE = {401: "UNAUTHENTICATED", 404: "NOT_FOUND", 422: "INVALID_ARGUMENT"}
TWELVELABS = {401: "api_key_invalid", 404: "resource_not_exist", 422: "parameter_invalid"}
APIS = [
    Api("openai#video", "/openai/v1", {"prompt": "a cat"}, OPENAI, {}, required="prompt", cancels=False),
    Api("openai#response", "/openai/v1", {"model": "gpt-5"}, OPENAI, {}, required="model", makes_file=False),
    Api("openai#batch", "/openai/v1", BATCH, OPENAI, {}, required="input_file_id", makes_file=False),
    Api(
        "openai#file",
        "/openai/v1",
        {"purpose": "batch", "file": "text"},
        OPENAI,
        {},
        required="purpose",
        cancels=False,
        has_output=False,
        shows_cancelled=False,
    ),
    Api("replicate", "/replicate", {"version": "1", "input": {"prompt": "a cat"}}, {}, {}, required="input"),
    Api("fal", "/fal", {"prompt": "a cat"}, {}, {"owner": "fal-ai", "app": "wan", "path": "v2"}),
    Api(
        "azure",
        "/documentintelligence",
        {"urlSource": "https://example.com/a.pdf"},
        AZURE,
        {"model": "prebuilt-read"},
        required="urlSource",
        cancels=False,
        makes_file=False,
    ),
    Api(
        "azure-maps",
        "/azure-maps",
        {
            "origins": {"type": "MultiPoint", "coordinates": [[4.8, 52.3]]},
            "destinations": {"type": "MultiPoint", "coordinates": [[4.9, 52.4]]},
        },
        AZURE_MAPS,
        {},
        required="origins",
        cancels=False,
        makes_file=False,
        says="routeSummary",
    ),
    Api(
        "luma#video",
        "/luma/dream-machine/v1",
        {"model": "ray-2", "prompt": "A cat"},
        {},
        {},
        required="prompt",
        cancels=False,
    ),
    Api(
        "assemblyai",
        "/assemblyai",
        {"audio_url": "https://example.com/a.mp3"},
        {},
        {},
        required="audio_url",
        cancels=False,
        makes_file=False,
    ),
    Api(
        "deepl",
        "/deepl",
        {"target_lang": "DE", "file": "Hello!"},
        {},
        {},
        required="target_lang",
        cancels=False,
        has_output=False,
        wrong_key=403,
    ),
    Api(
        "elevenlabs",
        "/elevenlabs",
        {"source_url": "https://example.com/a.mp4", "target_lang": "es"},
        {401: "invalid_api_key", 404: "dubbing_not_found"},
        {"language_code": "es"},
        required="source_url",
        cancels=False,
    ),
    Api(
        "google-speech",
        "/google-speech",
        {"config": {"languageCode": "en-US"}, "audio": {"uri": "gs://bucket/speech.flac"}},
        GOOGLE,
        {},
        required="config",
        cancels=False,
        makes_file=False,
    ),
    Api(
        "google-veo",
        "/google-veo",
        {"instances": [{"prompt": "A cat"}]},
        GOOGLE,
        {"project": "123456789012", "location": "us-central1", "model": "veo-3.1-generate-001"},
        required="instances",
        cancels=False,
        resumed_by_token=False,
    ),
    Api(
        "google-videointelligence",
        "/google-videointelligence",
        {"inputUri": "gs://bucket/cat.mp4", "features": ["LABEL_DETECTION"]},
        GOOGLE,
        {},
        required="features",
        makes_file=False,
        unknown_id="projects/123456789012/locations/us-west1/operations/1",
    ),
    Api(
        "heygen",
        "/heygen",
        {"video": {"type": "url", "url": "https://example.com/a.mp4"}, "output_languages": ["French"]},
        {401: "unauthorized", 404: "not_found", 422: "invalid_parameter"},
        {},
        required="video",
        cancels=False,
    ),
    Api(
        "heygen-v2",
        "/heygen-v2",
        {"output_language": "French"},
        {401: "unauthorized", 404: "not_found", 422: "invalid_parameter"},
        {},
        required="output_language",
        cancels=False,
    ),
    Api(
        "huggingface",
        "/api",
        {"dockerImage": "python:3.12", "command": ["true"]},
        {},
        {"namespace": "user"},
        required="dockerImage",
        has_output=False,
        resumed_by_token=False,
    ),
    Api(
        "runpod",
        "/runpod/v2",
        {"input": {"prompt": "a cat"}},
        {},
        {"endpoint": "4kxwl0b8h2zqxy"},
        required="input",
        resumed_by_token=False,
    ),
    Api(
        "runway#video",
        "/runway",
        {"model": "gen4.5", "promptText": "A cat", "ratio": "1280:720", "duration": 5},
        {},
        {},
        required="model",
        cancels=False,
    ),
    Api(
        "twelvelabs",
        "/twelvelabs/v1.3",
        {"index_id": "1", "video_url": "https://example.com/a.mp4"},
        TWELVELABS,
        {},
        required="index_id",
        cancels=False,
        has_output=False,
        says_why=False,
        shows_cancelled=False,
    ),
]


@pytest.fixture(scope="module")
def shipped():
    """A server with the shipped APIs, whose jobs end at once."""
    with TranslationServer(0, 0, dialects="all", username="admin", password=KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def sandbox(shipped):
    """The sandbox of the user, empty again after the test."""
    with Sandbox(shipped.url, username="admin", password=KEY) as sandbox:
        yield sandbox
        sandbox.reset()


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=APIS, ids=lambda api: api.dialect)
def api(request):
    return request.param


@pytest.fixture
def opened(shipped, kind, api):
    """Opens a client of the API."""

    def opened(**options):
        options = {"initial_delay": 0.01, "max_delay": 0.05, "parameters": api.parameters} | options
        return open_client(kind, shipped.url + api.mount, dialect=api.dialect, token=KEY, **options)

    return opened


def test_completed_job_has_its_output(opened, api, tmp_path):
    with opened() as client:
        final = client.run(input=api.input, timeout=60)
        assert (final.state, client.wait(final.id)) == (State.COMPLETED, final)
        if not api.has_output:
            assert final.output is None
        elif api.makes_file:
            assert client.download(final, tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
        else:
            assert api.says in json.dumps(final.output)


def test_failed_job_says_why(opened, api, sandbox):
    sandbox.set(error_probability=1)
    with opened() as client:
        final = client.run(input=api.input, timeout=60)
    assert (final.state, final.output) == (State.ERROR, None)
    if not api.says_why:
        assert final.error is None
        return
    assert final.error.startswith("simulated failure")
    assert final.error_code == FAILURES.get(api.dialect)
    with pytest.raises(JobFailed, match="ended with an error: simulated failure"):
        final.raise_for_error()


def test_cancelled_job_is_cancelled(opened, api, sandbox, shipped):
    sandbox.set(delay={"kind": "fixed", "seconds": 600}, hints="none")
    shown = State.CANCELLED if api.shows_cancelled else State.ERROR
    with opened() as client:
        job = client.start(input=api.input)
        if api.cancels:
            assert client.cancel(job.id).state in {State.CANCELLED, State.PENDING}
        else:
            with Client(shipped.url, username="admin", password=KEY) as native:
                native.cancel(job.id)
        assert client.status(job.id).state is shown
        assert client.wait(job.id, timeout=60).state is shown


def test_deleted_job_is_unknown(opened, api):
    with opened() as client:
        if not find_dialect(api.dialect).operation("delete"):
            with pytest.raises(ValueError, match=r"^delete: the dialect .* has no route for this$"):
                client.delete("j1")
            return
        job = client.start(input=api.input)
        assert client.delete(job.id) is None
        with pytest.raises(NotFound):
            client.status(job.id)


def test_wrong_key_is_refused_in_the_words_of_the_api(kind, api):
    """The server is one of its own: a shared one would lock the other tests out."""
    options = {"dialect": api.dialect, "parameters": api.parameters, "token": "wrong"}
    refused = pytest.raises(AuthenticationError, match=f"^{api.wrong_key} .*{WRONG_KEY}")
    with (
        TranslationServer(0, 0, dialects="all", username="admin", password=KEY) as server,
        open_client(kind, server.url + api.mount, **options) as client,
        refused as raised,
    ):
        client.start(input=api.input)
    assert (raised.value.status_code, raised.value.code) == (api.wrong_key, api.codes.get(401))


def test_unknown_id_is_not_found(opened, api):
    with opened() as client, pytest.raises(NotFound, match=f"^404 .*{UNKNOWN}") as raised:
        client.wait(api.unknown_id, timeout=60)
    assert raised.value.code == api.codes.get(404)


def test_missing_field_is_named(opened, api):
    with opened() as client:
        if api.required is None:
            assert client.status(client.start().id).state is State.COMPLETED
            return
        with pytest.raises(InvalidRequest, match=f"{api.required}: is required") as raised:
            client.start()
    assert raised.value.code == api.codes.get(422)


def test_flaky_api_loses_no_job(opened, api, sandbox):
    sandbox.set(seed=1)
    sandbox.scenario("flaky")
    with opened() as client:
        finals = [client.run(input=api.input, timeout=60) for _ in range(3)]
    assert [final.state for final in finals] == [State.COMPLETED] * 3
    assert len({final.id for final in finals}) == 3


def test_refusals_that_are_retried_say_why(opened, api, sandbox):
    sandbox.set(delay={"kind": "fixed", "seconds": 600}, hints="none")
    sandbox.faults({"kind": "status", "code": 503, "route": ["poll"]})
    with opened(max_retries=1) as client, pytest.raises(TransportError) as raised:
        client.run(input=api.input, timeout=60)
    assert raised.value.last.startswith("the server answered 503: ")


def test_polls_go_where_the_answers_say(opened, api):
    """So a resumed wait needs no parameters of the path, unless no answer names an address."""
    with opened() as client:
        job = client.start(input=api.input)
    with opened(parameters={} if api.resumed_by_token else api.parameters) as client:
        assert client.resume(job.token, timeout=60).state is State.COMPLETED


def test_jobs_of_one_submission_are_awaited_together(shipped, kind, sandbox):
    """A batch poll of heygen has other words than a poll."""
    sandbox.set(delay={"kind": "fixed", "seconds": 0.2}, hints="none")
    video, languages = {"type": "url", "url": "https://example.com/a.mp4"}, ["French", "German", "Spanish (Spain)"]
    with open_client(kind, f"{shipped.url}/heygen", dialect="heygen", token=KEY, initial_delay=0.05) as client:
        job = client.start(input={"video": video, "output_languages": languages})
        ids = job.raw["data"]["video_translation_ids"]
        finals = client.wait_all([*ids, "unknown"], timeout=60)
    assert (job.id, [finals[one].raw["status"] for one in ids]) == (ids[0], ["completed"] * 3)
    assert isinstance(finals["unknown"], NotFound)


def test_job_whose_id_is_chosen_is_awaited(shipped, kind):
    options = {"dialect": "openai#vector-store-file", "parameters": {"vector_store_id": "vs_1"}, "token": KEY}
    with open_client(kind, f"{shipped.url}/openai/v1", **options) as client:
        final = client.run(input={"file_id": "file-1"}, timeout=60)
    assert (final.id, final.state) == ("file-1", State.COMPLETED)
