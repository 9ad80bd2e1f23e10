"""The READMEs of the packages, followed by a reader who has the wheels and nothing of this project."""

import pytest

from tests.documentation.pages import read
from tests.documentation.reader import Machine, Reader
from tests.packages.environments import ROOT


@pytest.mark.parametrize("side", ["server", "client"])
def test_every_block_works_in_the_order_of_the_page(side, dist, make_environment, tmp_path):
    machine = Machine(ROOT, tmp_path)
    environment = make_environment("3.11")
    environment.install("pip")
    machine.environment["PATH"] = f"{environment.folder / 'bin'}:{machine.environment['PATH']}"
    machine.environment["PIP_FIND_LINKS"] = f"{dist.folder} {machine.environment.get('PIP_FIND_LINKS', '')}"
    folder = tmp_path / "reader"
    folder.mkdir()
    with Reader(machine, folder) as reader:
        for block in read(ROOT / side / "README.md", ROOT):
            reader.follow(block)
