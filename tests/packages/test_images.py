"""The images: what is in them, how large they are, and the container for Testcontainers."""

import json
import os
import re
import subprocess

import pytest

from tests.packages.environments import BAKE, BASE, IMAGE_PREFIX, NODE, ROOT, run
from translation_server.version import __version__

PAGE = (ROOT / "docs" / "testcontainers.md").read_text()
MOST_BYTES = {"server": 120_000_000, "client": 60_000_000}
"""How much larger than its base an image may be."""

CONTAINED = """
import os
import sys

import httpx
from translation_client.testing import TranslationContainer

with TranslationContainer(sys.argv[1], min_delay=0.1, max_delay=0.2, scenario="perfect") as server:
    with server.sandbox() as sandbox, sandbox.client() as client:
        print(client.run().state, sandbox.show()["scenario"])
        sandbox.assert_good()
    codes = [httpx.get(f"{server.url}/jobs", auth=("admin", word)).status_code for word in (server.password, "wrong")]
    print(*codes)
    print(server.password not in os.environ.values())
"""

SIDES = pytest.mark.parametrize("side", ["server", "client"])


def image(side):
    """The name of the image of a side."""
    return f"{IMAGE_PREFIX}translation-{side}:{__version__}"


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
def test_an_image_is_small(engine, side, measured):
    larger = engine.images.get(image(side)).attrs["Size"] - engine.images.get(BASE).attrs["Size"]
    measured(f"image of the {side}: {larger / 1e6:.0f} MB over {BASE}, of {MOST_BYTES[side] / 1e6:.0f} MB at most")
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
def test_a_container_for_testcontainers_is_ready_and_takes_settings(dist, make_environment, tmp_path):
    environment = make_environment("3.11")
    environment.install(f"{dist.wheel('client')}[testcontainers]")
    (tmp_path / "contained.py").write_text(CONTAINED)
    python = environment.folder / "bin" / "python"  # Testcontainers warns of its own modules
    printed = run(python, "contained.py", image("server"), folder=tmp_path, TESTCONTAINERS_RYUK_DISABLED="true")
    assert printed.endswith("completed perfect\n200 401\nTrue\n")


@pytest.mark.usefixtures("engine")
def test_the_program_for_node_on_the_page_works(node):
    [program] = re.findall(r"```js\n(// container.mjs\n.*?)```", PAGE, re.DOTALL)
    program = program.replace(f"translation-server:{__version__}", image("server"))
    options = {"input": program, "env": os.environ | {"TESTCONTAINERS_RYUK_DISABLED": "true"}, "cwd": NODE}
    ran = subprocess.run(
        [node, "--input-type=module", "-"], **options, capture_output=True, text=True, check=False, timeout=300
    )
    assert (ran.stdout, ran.returncode) == ("202 pending\n", 0), ran.stderr
