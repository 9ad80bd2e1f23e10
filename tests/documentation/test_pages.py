"""Every block of README and of the pages in docs/ does what the page says, in the order of the page."""

import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from tests.documentation.pages import read
from tests.documentation.reader import Machine, Reader
from tests.pair import base_images, find_engine, need_package_index, pull_images

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
WITHOUT_PROJECT = ROOT / "docs" / "install.md"  # `tests/packages/` follows it, with the wheels and the images alone
PAGES = sorted({*(ROOT / "docs").glob("*.md")} - {WITHOUT_PROJECT})

pytestmark = pytest.mark.takes(300)


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """A machine on which pip reaches a package index."""
    folder = tmp_path_factory.mktemp("machine")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "hatchling"]
    asked = subprocess.run(download, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"pip reaches no package index: {asked.stderr.strip()[-300:]}")
    return Machine(ROOT, folder)


@pytest.fixture(scope="session")
def without_docker():
    """Why the blocks that need Docker are left out; None where it can build and run the images."""
    try:
        engine = find_engine()
        pull_images(engine, *base_images())
        need_package_index()
        engine.close()
    except unittest.SkipTest as reason:
        return str(reason)
    return None


class Pages:
    """Tests that each follow a page. Several processes may run the classes."""

    def test_every_block_of_a_page_works_in_the_order_of_the_page(self, page, machine, without_docker):
        blocks = read(page, ROOT)
        with Reader(machine, machine.clone(page.stem), without_docker) as reader:
            reader.prepare(page.read_text())
            for block in blocks:
                reader.follow(block)
            if blocks:
                reader.finish(blocks[-1])
        if reader.left_out:
            pytest.skip("; ".join(f"{place} was left out: {reason}" for place, reason in reader.left_out.items()))


@pytest.mark.parametrize("page", [README], ids=["README.md"])
class TestReadme(Pages):
    """It installs everything several times, each time in another way."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestDocs(Pages): ...
