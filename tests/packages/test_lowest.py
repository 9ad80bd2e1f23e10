"""The oldest versions that the packages say they work with: a part of their tests, which covers each requirement."""

import re

from tests.packages.environments import ROOT, TOOLS, run

TESTS = [
    "server/tests/test_api.py",
    "server/tests/test_auth.py",
    "server/tests/test_docs.py",
    "server/tests/test_multipart.py",
    "server/tests/test_settings.py",
    "server/tests/test_webhooks.py",
    "client/tests/test_client.py",
    "client/tests/test_table.py",
    "client/tests/test_transport.py",
]
"""They take half a minute. Before a release, run all: `server/tests client/tests`."""


def test_the_packages_work_with_the_lowest_versions(make_environment, tmp_path):
    sides = [ROOT / side / "pyproject.toml" for side in ("server", "client")]
    lowest, tools = tmp_path / "lowest.txt", tmp_path / "tools.txt"
    options = ("--quiet", "--resolution", "lowest-direct", "--python-version", "3.11", "--no-header", "--no-annotate")
    run(TOOLS / "uv", "pip", "compile", *options, *sides, "--output-file", lowest)
    pinned = (ROOT / "requirements" / "development.txt").read_text()
    tools.write_text("\n".join(re.findall(r"^(?:docker|hypothesis|pytest|pytest-xdist)==\S+", pinned, re.MULTILINE)))
    environment = make_environment("3.11")
    environment.install("--requirements", lowest, "--requirements", tools)
    environment.install("--no-deps", "--editable", ROOT / "server", "--editable", ROOT / "client")
    python = environment.folder / "bin" / "python"  # pytest makes errors of the warnings
    printed = run(python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *TESTS, folder=ROOT)
    assert re.search(r"^\d+ passed", printed, re.MULTILINE), printed
