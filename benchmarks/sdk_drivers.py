"""The official clients of APIs, each with its own way to wait for a job. `sdk_table.py` describes them.

A client is imported when it is opened, in a process of its own: `sdk_runs.py`. Its options are its defaults, but for
the address and the key.
"""

import io
import os
import time
from collections.abc import Callable

TIMEOUT = 180.0
"""How long the benchmark waits for a job, in seconds. Clients that take a timeout get the same value."""

COMPLETED = "completed"
"""The result of a driver if the job completed: the caller has its output, or a status that says so."""

Run = Callable[[str], str]
"""Submits a job under a name that the caller gives, and waits for its end in the client's own way. Returns `COMPLETED`,
or what else the client said of the job."""

Open = Callable[[str, str], Run]
"""Opens a client with the server's address and a user's name."""


def key(user: str) -> str:
    """Returns the API key of a user, on a server without passwords."""
    return f"{user}:any"


def _said(status: object, output: object = True) -> str:
    return COMPLETED if output else f"{status} without an output"


def openai(url: str, user: str) -> Run:
    """Generates videos."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/openai/v1", api_key=key(user))

    def run(name: str) -> str:
        return str(client.videos.create_and_poll(prompt=name).status)

    return run


def replicate_run(url: str, user: str) -> Run:
    """Runs a model; the server holds the first answer."""
    from replicate import Client as Replicate

    client = Replicate(api_token=key(user), base_url=f"{url}/replicate")
    return lambda name: _said("returned", client.run("owner/model", input={"prompt": name}))


def replicate_wait(url: str, user: str) -> Run:
    """Runs a version of a model."""
    from replicate import Client as Replicate

    client = Replicate(api_token=key(user), base_url=f"{url}/replicate")

    def run(name: str) -> str:
        prediction = client.predictions.create(version="1", input={"prompt": name})
        prediction.wait()
        return _said(prediction.status, prediction.output)

    return run


def fal(url: str, user: str) -> Run:
    """Calls an app through its queue. The client needs an address with HTTPS."""
    os.environ["FAL_QUEUE_RUN_HOST"] = f"{url.removeprefix('https://')}/fal"  # read at the import
    from fal_client import SyncClient

    client = SyncClient(key=key(user))
    return lambda name: _said("returned", client.subscribe("fal-ai/any", {"prompt": name}).get("video"))


def google_genai(url: str, user: str) -> Run:
    """Generates videos with Veo, with the loop of the client's README."""
    from google import genai

    client = genai.Client(vertexai=True, api_key=key(user), http_options={"base_url": f"{url}/google-veo"})

    def run(name: str) -> str:
        operation = client.models.generate_videos(model="veo-3.1-generate-001", source={"prompt": name})
        while not operation.done:
            time.sleep(20)
            operation = client.operations.get(operation)
        return _said("done", operation.response)

    return run


def google_speech(url: str, user: str) -> Run:
    """Transcribes audio."""
    from google.cloud.speech import SpeechClient

    options = {"api_endpoint": f"{url}/google-speech", "api_key": key(user)}
    client = SpeechClient(transport="rest", client_options=options)

    def run(name: str) -> str:
        audio = {"uri": f"gs://bucket/{name}.flac"}
        operation = client.long_running_recognize(config={"language_code": "en-US"}, audio=audio)
        return _said("done", operation.result().results)

    return run


def google_videointelligence(url: str, user: str) -> Run:
    """Annotates videos."""
    from google.cloud.videointelligence import VideoIntelligenceServiceClient

    options = {"api_endpoint": f"{url}/google-videointelligence", "api_key": key(user)}
    client = VideoIntelligenceServiceClient(transport="rest", client_options=options)

    def run(name: str) -> str:
        request = {"input_uri": f"gs://bucket/{name}.mp4", "features": ["LABEL_DETECTION"]}
        return _said("done", client.annotate_video(request).result().annotation_results)

    return run


def azure(url: str, user: str) -> Run:
    """Analyses documents."""
    from azure.ai.documentintelligence import DocumentIntelligenceClient
    from azure.ai.documentintelligence.models import AnalyzeDocumentRequest
    from azure.core.credentials import AzureKeyCredential

    client = DocumentIntelligenceClient(url, AzureKeyCredential(key(user)))

    def run(name: str) -> str:
        document = AnalyzeDocumentRequest(url_source=f"https://example.com/{name}.pdf")
        return _said("succeeded", client.begin_analyze_document("prebuilt-layout", document).result().content)

    return run


def azure_maps(url: str, user: str) -> Run:
    """Calculates matrices of routes. The name is a parameter that the API does not know."""
    from azure.core.credentials import AzureKeyCredential
    from azure.maps.route import MapsRouteClient
    from azure.maps.route.models import GeoJsonMultiPoint, RouteMatrixQuery

    client = MapsRouteClient(AzureKeyCredential(key(user)), endpoint=f"{url}/azure-maps")
    places = GeoJsonMultiPoint(coordinates=[[4.8, 52.3]])
    query = RouteMatrixQuery(origins=places, destinations=places)

    def run(name: str) -> str:
        poller = client.begin_get_route_matrix_batch(query=query, params={"name": name})
        return _said("succeeded", poller.result().matrix)

    return run


def aws(url: str, user: str) -> Run:
    """Transcribes audio, under a name that the caller chooses."""
    import boto3

    place = {"endpoint_url": f"{url}/aws-transcribe", "region_name": "us-east-1"}
    client = boto3.client("transcribe", **place, aws_access_key_id=user, aws_secret_access_key="any")

    def run(name: str) -> str:
        media = {"MediaFileUri": f"s3://bucket/{name}.mp3"}
        client.start_transcription_job(TranscriptionJobName=name, Media=media, LanguageCode="en-US")
        client.get_waiter("transcription_job_completed").wait(TranscriptionJobName=name)
        return COMPLETED

    return run


def assemblyai(url: str, user: str) -> Run:
    """Transcribes audio."""
    import assemblyai as aai

    client = aai.Client(settings=aai.Settings(api_key=key(user), base_url=f"{url}/assemblyai"))

    def run(name: str) -> str:
        transcript = aai.Transcriber(client=client).transcribe(f"https://example.com/{name}.mp3")
        return _said(transcript.status.value, transcript.text)

    return run


def deepl(url: str, user: str) -> Run:
    """Translates documents."""
    from deepl import DeepLClient

    client = DeepLClient(key(user), server_url=f"{url}/deepl/")

    def run(name: str) -> str:
        translated = io.BytesIO()
        document = name.encode()
        status = client.translate_document(document, translated, filename=f"{name}.txt", target_lang="DE")
        return _said(status.status.value, translated.getvalue())

    return run


def elevenlabs(url: str, user: str) -> Run:
    """Dubs files, with a loop like the one in the client's documentation."""
    from elevenlabs import ElevenLabs

    client = ElevenLabs(api_key=key(user), base_url=f"{url}/elevenlabs")

    def run(name: str) -> str:
        dubbing = client.dubbing.create(source_url=f"https://example.com/{name}.mp4", target_lang="es")
        while client.dubbing.get(dubbing.dubbing_id).status != "dubbed":
            time.sleep(5)
        return COMPLETED

    return run


def luma(url: str, user: str) -> Run:
    """Generates videos, with a loop like the one in the client's documentation."""
    from lumaai import LumaAI

    client = LumaAI(auth_token=key(user), base_url=f"{url}/luma/dream-machine/v1")

    def run(name: str) -> str:
        generation = client.generations.create(model="ray-2", prompt=name)
        while generation.state not in {"completed", "failed"}:
            time.sleep(3)
            generation = client.generations.get(generation.id)
        return _said(generation.state, generation.assets and generation.assets.video)

    return run


def runway(url: str, user: str) -> Run:
    """Generates videos."""
    from runwayml import RunwayML

    client = RunwayML(api_key=key(user), base_url=f"{url}/runway")

    def run(name: str) -> str:
        task = client.text_to_video.create(model="gen4.5", prompt_text=name, ratio="1280:720", duration=5)
        done = task.wait_for_task_output()
        return _said(done.status, done.output)

    return run


def runpod(url: str, user: str) -> Run:
    """Runs jobs on an endpoint."""
    import runpod as rp

    rp.endpoint_url_base = f"{url}/runpod/v2"
    endpoint = rp.Endpoint("4kxwl0b8h2zqxy", api_key=key(user))

    def run(name: str) -> str:
        job = endpoint.run({"prompt": name})
        output = job.output(timeout=int(TIMEOUT))
        return _said(job.status(), output)

    return run


def twelvelabs(url: str, user: str) -> Run:
    """Indexes videos."""
    from twelvelabs import TwelveLabs

    client = TwelveLabs(api_key=key(user), base_url=f"{url}/twelvelabs/v1.3")

    def run(name: str) -> str:
        task = client.tasks.create(index_id="1", video_url=f"https://example.com/{name}.mp4")
        status = client.tasks.wait_for_done(task.id).status
        return COMPLETED if status == "ready" else str(status)

    return run


def huggingface(url: str, user: str) -> Run:
    """Runs compute jobs."""
    from huggingface_hub import HfApi

    client = HfApi(endpoint=url, token=key(user))

    def run(name: str) -> str:
        job = client.run_job(image="python:3.12", command=["echo", name])
        stage = client.wait_for_job(job.id).status.stage
        return COMPLETED if stage == "COMPLETED" else str(stage)

    return run
