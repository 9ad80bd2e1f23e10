"""The images: what is in them, how large they are, and the container for Testcontainers."""

import json
import os
import re
import subprocess
import unittest

import httpx
import pytest

from tests.packages.environments import NODE, ROOT, run
from tests.pair import find_engine, need_package_index, pull_images
from translation_client.testing import TranslationContainer
from translation_server.version import __version__

BAKE = ("docker", "buildx", "bake", "--file", "deploy/docker-bake.hcl")
BASE = re.search(r"^FROM (\S+)$", (ROOT / "server" / "Dockerfile").read_text(), re.MULTILINE)[1]
PAGE = (ROOT / "docs" / "testcontainers.md").read_text()
PREFIX = "packages-test/"
MOST_BYTES = {"server": 120_000_000, "client": 60_000_000}
"""How much larger than its base an image may be."""

SIDES = pytest.mark.parametrize("side", ["server", "client"])


@pytest.fixture(scope="module")
def engine():
    """The Docker engine, with the images built."""
    try:
        engine = find_engine()
        pull_images(engine, BASE)
        need_package_index()
    except unittest.SkipTest as reason:
        pytest.skip(str(reason))
    run(*BAKE, folder=ROOT, IMAGE_PREFIX=PREFIX)
    yield engine
    for side in ("server", "client"):
        engine.images.remove(f"{PREFIX}translation-{side}:{__version__}")
    engine.close()


def image(side):
    """The name of the image of a side."""
    return f"{PREFIX}translation-{side}:{__version__}"


@SIDES
def test_an_image_has_labels(engine, side):
    labels = engine.images.get(image(side)).labels
    prefix = "org.opencontainers.image."
    found = {name.removeprefix(prefix): value for name, value in labels.items() if name.startswith(prefix)}
    assert found["title"] == f"translation-{side}"
    assert found["version"] == __version__
    assert found["licenses"] == "MIT"
    assert found["description"]
    assert found["authors"]


@SIDES
def test_an_image_is_small(engine, side):
    larger = engine.images.get(image(side)).attrs["Size"] - engine.images.get(BASE).attrs["Size"]
    print(f"{side}: {larger / 1e6:.0f} MB over {BASE}")  # noqa: T201 - for whoever asks with -rP
    assert 0 < larger <= MOST_BYTES[side]


@SIDES
def test_an_image_says_its_version(engine, side):
    assert engine.containers.run(image(side), ["--version"], remove=True).decode().endswith(f"{__version__}\n")


def test_a_release_is_for_two_processors_and_says_what_it_contains(engine):  # noqa: ARG001 - Docker is there
    printed = run(*BAKE, "--print", "release", folder=ROOT)
    targets = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])["target"]
    assert sorted(targets) == ["client-release", "server-release"]
    for target in targets.values():
        assert target["platforms"] == ["linux/amd64", "linux/arm64"]
        assert sorted(option.split(",")[0] for option in target["attest"]) == ["type=provenance", "type=sbom"]


@pytest.mark.usefixtures("engine")
def test_a_container_for_testcontainers_is_ready_and_takes_settings(monkeypatch):
    monkeypatch.setattr("testcontainers.core.config.testcontainers_config.ryuk_disabled", True)  # its image is not here
    with TranslationContainer(image("server"), min_delay=0.1, max_delay=0.2, scenario="perfect") as server:
        with server.sandbox() as sandbox, sandbox.client() as client:
            assert client.run().state == "completed"
            assert sandbox.show()["scenario"] == "perfect"
            sandbox.assert_good()
        assert httpx.get(f"{server.url}/jobs", auth=(server.username, server.password)).status_code == 200
        assert httpx.get(f"{server.url}/jobs", auth=(server.username, "wrong")).status_code == 401
        assert server.password not in os.environ.values()


@pytest.mark.usefixtures("engine")
def test_the_program_for_node_on_the_page_works(node):
    [program] = re.findall(r"```js\n(// container.mjs\n.*?)```", PAGE, re.DOTALL)
    program = program.replace(f"translation-server:{__version__}", image("server"))
    options = {"input": program, "env": os.environ | {"TESTCONTAINERS_RYUK_DISABLED": "true"}, "cwd": NODE}
    ran = subprocess.run(
        [node, "--input-type=module", "-"], **options, capture_output=True, text=True, check=False, timeout=300
    )
    assert (ran.stdout, ran.returncode) == ("202 pending\n", 0), ran.stderr
