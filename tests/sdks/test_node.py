"""Official clients for Node: `node/` has a module for each of them, which says how to point the client at the server.

A case is a function that such a module exports. The cases of a client run in one process, which is told their names.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sdks.conftest import KEY, USERNAME, documented_lines

FOLDER = Path(__file__).parent / "node"
IMPORTS = {
    "fal": 'import { fal } from "@fal-ai/client";',
    "google-veo": 'import { GoogleGenAI } from "@google/genai";',
    "openai": 'import OpenAI from "openai";',
    "replicate": 'import Replicate from "replicate";',
    "runway": 'import RunwayML from "@runwayml/sdk";',
}
WITH_TLS = {"replicate"}  # it makes FileOutput of URLs with HTTPS only
CASES = [
    (sdk, case)
    for sdk in IMPORTS
    for case in re.findall(r"^export async function (\w+)", (FOLDER / f"{sdk}.mjs").read_text(), re.MULTILINE)
]


@pytest.fixture(scope="module")
def node():
    """The path of node, where the clients are installed, too."""
    path = shutil.which("node")
    if path is not None and (FOLDER / "node_modules").is_dir():
        return path
    missing = "node was not found" if path is None else "make sdks installs the clients for Node where npm is"
    if os.environ.get("REQUIRE_NODE") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def process_of(node):
    """Returns the process that runs the cases of a client at the server with this address."""
    with contextlib.ExitStack() as processes:

        @functools.cache
        def start(sdk, url):
            server = {"SERVER_URL": url, "SERVER_USERNAME": USERNAME, "SERVER_KEY": KEY}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            process = subprocess.Popen([node, "run.mjs", sdk], cwd=FOLDER, env=trusting(sdk) | server, **pipes)
            return processes.enter_context(process)

        yield start


def trusting(sdk):
    """Returns the environment in which node trusts the server's certificate, where there is one."""
    return os.environ | ({"NODE_EXTRA_CA_CERTS": os.environ["SSL_CERT_FILE"]} if sdk in WITH_TLS else {})


@pytest.fixture
def url(request, sdk):
    return request.getfixturevalue("secure_url" if sdk in WITH_TLS else "plain_url")


@pytest.mark.parametrize(("sdk", "case"), CASES)
def test_case(process_of, sdk, case, url):
    process = process_of(sdk, url)
    print(case, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    failure = json.loads(answer) if answer else "the process has ended"
    assert failure is None, failure


@pytest.mark.parametrize("sdk", IMPORTS, ids="{}-documentation".format)
def test_lines_of_the_documentation_work(node, sdk, url, sandbox):
    program = "\n".join([IMPORTS[sdk], *documented_lines(sdk, "Node")]).replace("http://127.0.0.1:8000", url)
    subprocess.run([node, "--input-type=module", "--eval", program], cwd=FOLDER, env=trusting(sdk), check=True)
    assert "submit" in {record["action"] for record in sandbox.requests()}
