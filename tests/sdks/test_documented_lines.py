"""The lines for Python in `docs/apis.md`, each API's in a program of its own. `test_node.py` has those for Node."""

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.sdks.conftest import documented_apis, documented_lines

AZURE_KEY = "from azure.core.credentials import AzureKeyCredential"
IMPORTS = {
    "assemblyai": "import assemblyai as aai",
    "aws-mediaconvert": "import boto3",
    "aws-transcribe": "import boto3",
    "azure": f"""{AZURE_KEY}
from azure.ai.documentintelligence import DocumentIntelligenceClient
from azure.ai.documentintelligence.models import AnalyzeDocumentRequest""",
    "azure-maps": f"""{AZURE_KEY}
from azure.maps.route import MapsRouteClient
from azure.maps.route.models import GeoJsonMultiPoint, RouteMatrixQuery""",
    "deepl": "import deepl",
    "elevenlabs": "from elevenlabs import ElevenLabs",
    "fal": "import fal_client",
    "google-speech": "from google.cloud.speech import SpeechClient",
    "google-veo": "from google import genai",
    "google-videointelligence": "from google.cloud.videointelligence import VideoIntelligenceServiceClient",
    "heygen": "import httpx",
    "heygen-v2": "import httpx",
    "huggingface": "from huggingface_hub import HfApi",
    "luma": "from lumaai import LumaAI",
    "openai": "import openai",
    "replicate": "import replicate",
    "runpod": "import runpod",
    "runway": "from runwayml import RunwayML",
    "twelvelabs": "from twelvelabs import TwelveLabs",
}
WITH_TLS = {"fal"}
WAITS = {  # those whose lines wait until the job has ended
    *("assemblyai", "azure", "azure-maps", "deepl", "fal", "google-speech", "google-videointelligence", "huggingface"),
    *("openai", "replicate", "runpod", "runway", "twelvelabs"),
}
CLIENTS = {"aws-mediaconvert": "aws", "aws-transcribe": "aws", "heygen-v2": "heygen"}
SETTING = re.compile(r"([A-Z_]+)=(\S+)")


@pytest.fixture
def url(request, api):
    return request.getfixturevalue("secure_url" if api in WITH_TLS else "plain_url")


@pytest.mark.parametrize("api", documented_apis(), ids=lambda api: f"{CLIENTS.get(api, api)}-documentation")
def test_lines_of_the_documentation_work(api, url, sandbox, tmp_path):
    (tmp_path / "a.txt").write_text("Hello!")
    host = urlsplit(url).netloc
    lines = [
        line.replace("http://127.0.0.1:8000", url).replace("localhost:8443", host)
        for line in documented_lines(api, "Python")
    ]
    settings = dict(found.groups() for line in lines if (found := SETTING.fullmatch(line)))
    program = "\n".join([IMPORTS[api], *(line for line in lines if not SETTING.fullmatch(line))])
    command = [sys.executable, "-W", "ignore", "-c", program]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(lines) > 1
    jobs = sandbox.get("/jobs").json()["jobs"]
    assert jobs
    if api in WAITS:
        assert {job["status"] for job in jobs} == {"completed"}
