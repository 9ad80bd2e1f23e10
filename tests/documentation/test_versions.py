"""The version is the same everywhere, and the changelog has the form of Keep a Changelog."""

import re
from pathlib import Path

import translation_client
import translation_server
from tools import copy_package_files
from translation_server.config.dialect_files import shipped, source

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RELEASES = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_server_and_client_have_the_version_of_the_newest_release():
    assert {translation_server.__version__, translation_client.__version__} == {RELEASES[0][0]}


def test_the_licences_of_the_packages_and_the_version_of_the_client_are_fresh_copies():
    """`make generate` writes them."""
    copies = copy_package_files.copies()
    assert {path: path.read_text(encoding="utf-8") for path in copies} == copies


def test_the_changelog_has_a_section_for_what_is_unreleased_and_then_one_for_each_release():
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert headings == ["[Unreleased]", *(f"[{version}] - {date}" for version, date in RELEASES)]
    assert [date for _, date in RELEASES] == sorted((date for _, date in RELEASES), reverse=True)


def test_each_section_of_the_changelog_has_the_kinds_of_changes_in_order():
    for section in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]


def test_no_file_names_another_version():
    places = [
        "README.md",
        "docker-compose.yml",
        "deploy/docker-bake.hcl",
        "docs/ci.md",
        "docs/testcontainers.md",
        "docs/testing.md",
    ]
    found = {
        version
        for place in places
        for version in re.findall(
            r"(?:translation[-_](?:server|client)[:-]|deploy/action@v|default = \")(\d+\.\d+\.\d+)",
            (ROOT / place).read_text(),
        )
    }
    assert found == {translation_server.__version__}


def test_each_shipped_api_names_the_pinned_version_of_its_official_client():
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements/sdks.txt").read_text(), re.MULTILINE))
    heads = {
        name: re.search(r"^# Checked with ([\w-]+) (\d[\w.]*\w)", source(name), re.MULTILINE) for name in shipped()
    }
    named = {head[1].replace("_", "-"): head[2] for head in heads.values() if head}
    assert {name: pins[name] for name in named} == named
    assert {name for name, head in heads.items() if not head} == {"heygen", "heygen-v2"}  # they have no official client
