"""The official clients on the page, and our client in the same APIs."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import sdk_drivers as drivers
from sdk_drivers import COMPLETED, TIMEOUT, Open, Run, key
from translation_client import Client, State


class Api(NamedTuple):
    """How our client uses an API: its dialect, where it is mounted, a submission, and parameters of paths."""

    dialect: str
    mount: str
    input: Callable[[str], Mapping[str, Any]]
    parameters: Mapping[str, str] = {}

    def client(self, url: str, user: str) -> Client:
        """Returns our client for the API."""
        login: dict[str, Any] = (
            {"username": user, "password": "any"} if self.dialect.startswith("aws") else {"token": key(user)}
        )
        return Client(url + self.mount, dialect=self.dialect, parameters=self.parameters, **login)

    def open(self, url: str, user: str) -> Run:
        """Opens our client for the API."""
        client = self.client(url, user)

        def run(name: str) -> str:
            final = client.run(input=self.input(name), timeout=TIMEOUT)
            return COMPLETED if final.state is State.COMPLETED else str(final.state)

        return run


class Sdk(NamedTuple):
    """An official client.

    Attributes:
        name: What the page calls it.
        package: Its package, whose version counts.
        call: What waits.
        polls: When it polls, by its own code or documentation.
        open: Opens it.
        api: The same API for our client.
        secure: Whether it speaks HTTPS only.
    """

    name: str
    package: str
    call: str
    polls: str
    open: Open
    api: Api
    secure: bool = False

    @property
    def version(self) -> str:
        """Its version."""
        return version(self.package)


REPLICATE = Api("replicate", "/replicate", lambda name: {"version": "1", "input": {"prompt": name}})
PLACES = {"type": "MultiPoint", "coordinates": [[4.8, 52.3]]}
VEO = {"project": "123456789012", "location": "us-central1", "model": "veo-3.1-generate-001"}

SDKS = [
    Sdk(
        "openai",
        "openai",
        "`client.videos.create_and_poll(…)`",
        "Polls after the `openai-poll-after-ms` of the first poll's answer each time, else every second.",
        drivers.openai,
        Api("openai#video", "/openai/v1", lambda name: {"prompt": name}),
    ),
    Sdk(
        "replicate.run",
        "replicate",
        "`client.run(…)`",
        "The server holds the submission for a minute at most; then it polls every half second.",
        drivers.replicate_run,
        REPLICATE,
    ),
    Sdk(
        "replicate, wait",
        "replicate",
        "`client.predictions.create(…)`, then `prediction.wait()`",
        "Polls every half second.",
        drivers.replicate_wait,
        REPLICATE,
    ),
    Sdk(
        "fal",
        "fal-client",
        "`client.subscribe(…)`",
        "Polls every tenth of a second.",
        drivers.fal,
        Api("fal", "/fal", lambda name: {"prompt": name}, {"owner": "fal-ai", "app": "any"}),
        secure=True,
    ),
    Sdk(
        "assemblyai",
        "assemblyai",
        "`transcriber.transcribe(…)`",
        "Polls every 3 seconds.",
        drivers.assemblyai,
        Api("assemblyai", "/assemblyai", lambda name: {"audio_url": f"https://example.com/{name}.mp3"}),
    ),
    Sdk(
        "aws transcribe",
        "boto3",
        '`client.get_waiter("transcription_job_completed").wait(…)`',
        "Polls every 10 seconds.",
        drivers.aws,
        Api(
            "aws-transcribe",
            "/aws-transcribe",
            lambda name: {"TranscriptionJobName": name, "Media": {"MediaFileUri": f"s3://bucket/{name}.mp3"}},
        ),
    ),
    Sdk(
        "azure",
        "azure-ai-documentintelligence",
        "`client.begin_analyze_document(…).result()`",
        "Polls after `Retry-After`, else every 30 seconds.",
        drivers.azure,
        Api(
            "azure",
            "/documentintelligence",
            lambda name: {"urlSource": f"https://example.com/{name}.pdf"},
            {"model": "prebuilt-layout"},
        ),
    ),
    Sdk(
        "azure maps",
        "azure-maps-route",
        "`client.begin_get_route_matrix_batch(…).result()`",
        "Polls after `Retry-After`, else every 30 seconds.",
        drivers.azure_maps,
        Api(
            "azure-maps",
            "/azure-maps",
            lambda name: {"origins": PLACES, "destinations": PLACES, "name": name},
        ),
    ),
    Sdk(
        "deepl",
        "deepl",
        "`client.translate_document(…)`",
        "Polls every 5 seconds.",
        drivers.deepl,
        Api("deepl", "/deepl", lambda name: {"target_lang": "DE", "file": name}),
    ),
    Sdk(
        "elevenlabs",
        "elevenlabs",
        "`client.dubbing.create(…)`, then `client.dubbing.get(…)` in a loop, as in its documentation",
        "Polls every 5 seconds.",
        drivers.elevenlabs,
        Api(
            "elevenlabs",
            "/elevenlabs",
            lambda name: {"source_url": f"https://example.com/{name}.mp4", "target_lang": "es"},
            {"language_code": "es"},
        ),
    ),
    Sdk(
        "google-genai",
        "google-genai",
        "`client.models.generate_videos(…)`, then `client.operations.get(…)` in a loop, as in its README",
        "Polls every 20 seconds.",
        drivers.google_genai,
        Api("google-veo", "/google-veo", lambda name: {"instances": [{"prompt": name}]}, VEO),
    ),
    Sdk(
        "google speech",
        "google-cloud-speech",
        "`client.long_running_recognize(…).result()`",
        "Polls after a random part of 1 second, then of 1.5, 2.25 and so on, up to 20.",
        drivers.google_speech,
        Api(
            "google-speech",
            "/google-speech",
            lambda name: {"config": {"languageCode": "en-US"}, "audio": {"uri": f"gs://bucket/{name}.flac"}},
        ),
    ),
    Sdk(
        "google videointelligence",
        "google-cloud-videointelligence",
        "`client.annotate_video(…).result()`",
        "Polls as google speech does.",
        drivers.google_videointelligence,
        Api(
            "google-videointelligence",
            "/google-videointelligence",
            lambda name: {"inputUri": f"gs://bucket/{name}.mp4", "features": ["LABEL_DETECTION"]},
        ),
    ),
    Sdk(
        "huggingface",
        "huggingface_hub",
        "`api.wait_for_job(api.run_job(…).id)`",
        "Polls every second.",
        drivers.huggingface,
        Api(
            "huggingface",
            "/api",
            lambda name: {"dockerImage": "python:3.12", "command": ["echo", name]},
            {"namespace": "user"},
        ),
    ),
    Sdk(
        "luma",
        "lumaai",
        "`client.generations.create(…)`, then `client.generations.get(…)` in a loop, as in its documentation",
        "Polls every 3 seconds.",
        drivers.luma,
        Api("luma#video", "/luma/dream-machine/v1", lambda name: {"model": "ray-2", "prompt": name}),
    ),
    Sdk(
        "runpod",
        "runpod",
        "`endpoint.run(…).output(timeout=180)`",
        "Polls every second.",
        drivers.runpod,
        Api("runpod", "/runpod/v2", lambda name: {"input": {"prompt": name}}, {"endpoint": "4kxwl0b8h2zqxy"}),
    ),
    Sdk(
        "runway",
        "runwayml",
        "`client.text_to_video.create(…).wait_for_task_output()`",
        "Polls every 4.5 to 7.5 seconds.",
        drivers.runway,
        Api(
            "runway#video",
            "/runway",
            lambda name: {"model": "gen4.5", "promptText": name, "ratio": "1280:720", "duration": 5},
        ),
    ),
    Sdk(
        "twelvelabs",
        "twelvelabs",
        "`client.tasks.create(…)`, then `client.tasks.wait_for_done(…)`",
        "Polls every 5 seconds.",
        drivers.twelvelabs,
        Api(
            "twelvelabs",
            "/twelvelabs/v1.3",
            lambda name: {"index_id": "1", "video_url": f"https://example.com/{name}.mp4"},
        ),
    ),
]
"""The official clients, in the order of the page."""
