"""The page docs/install.md, followed by a reader who has the wheels, the images and the site alone."""

import re
import shutil
from dataclasses import replace

import pytest

from tests.documentation.pages import read
from tests.documentation.reader import Machine, Reader
from tests.packages.environments import IMAGE_PREFIX, ROOT

PAGE = ROOT / "docs" / "install.md"
BLOCKS = read(PAGE, ROOT)
SAVED = re.compile(r"\[`([^`]+)`\]\(\.\./([^)]+)\)(?: as `([^`]+)`)?")
"""A file of the site: its name, its address, and another name to save it under."""

TRIED = {
    "js": "$ node --input-type=module --eval '{}'\ncompleted\n",
    "zsh": """$ zsh -fc 'autoload -U compinit; compinit -u -D
{}echo $_comps[translation-client] $_comps[translation-server]'
_shtab_translation_client _shtab_translation_server
""",
    "fish": """$ fish -c '{}complete -C "translation-client sand"; complete -C "translation-server sch"'
sandbox Show and change your sandbox on the server.
schema …
""",
}
"""How a block is tried that bash does not understand, and what is printed."""

BASH_COMPLETES = """$ complete -p translation-client translation-server
complete -o bashdefault -F _shtab_translation_client translation-client
complete -o bashdefault -F _shtab_translation_server translation-server
"""


def tried(block):
    """Returns the blocks of commands with which the reader tries a block; none where its program is not installed."""
    if block.language in TRIED:
        program = "node" if block.language == "js" else block.language
        text = TRIED[block.language].format(block.text)
        return [replace(block, language="console", text=text)] if shutil.which(program) else []
    if "--completion bash" in block.text:
        return [block, replace(block, language="console", text=BASH_COMPLETES)]
    return [block]


@pytest.fixture
def without_docker(request):
    """Why the blocks that need Docker are left out; None where it answers."""
    try:
        request.getfixturevalue("engine")
    except pytest.skip.Exception as reason:
        return str(reason)
    return None


@pytest.fixture
def reader(dist, without_docker, tmp_path):
    """A reader with an empty folder, but for the wheels and what the page says to save."""
    machine = Machine(ROOT, tmp_path)
    folder = tmp_path / "reader"
    (folder / "wheels").mkdir(parents=True)
    for side in ("server", "client"):
        shutil.copy(dist.wheel(side), folder / "wheels")
    for name, path, other in SAVED.findall(PAGE.read_text()):
        shutil.copy(ROOT / path, folder / (other or name))
    with Reader(machine, folder, without_docker, IMAGE_PREFIX) as reader:
        yield reader


def test_every_block_works_from_the_wheels_the_images_and_the_site_alone(reader):
    for block in BLOCKS:
        for one in tried(block):
            reader.follow(one)
    reader.finish(BLOCKS[-1])
    if reader.left_out:
        pytest.skip("; ".join(f"{place} was left out: {reason}" for place, reason in reader.left_out.items()))


def test_the_page_says_what_to_save():
    assert [other or name for name, _, other in SAVED.findall(PAGE.read_text())] == [
        "demo.py",
        "docker-compose.yml",
        ".env",
        "start.sh",
        "report.sh",
    ]
