"""Compares the documentation with the code, and runs the programs in examples/; `test_pages.py` runs the pages."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

import translation_client
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import read_dialects, shipped
from translation_server.config.dialect_format import FILE, JOB, OPERATIONS, PAGE, SIGNATURE, WEBHOOK
from translation_server.config.settings import Settings
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import ERROR_NAMES, HINT_NAMES, JOB_NAMES, LIST_NAMES
from translation_server.core.dialects.filters import FILTERS
from translation_server.core.dialects.routes import routes
from translation_server.core.dialects.webhooks import EVENT_NAMES
from translation_server.core.faults.rules import APPLICABILITY, KINDS, REQUESTS, Matcher
from translation_server.core.job import State
from translation_server.core.report.findings import RULES
from translation_server.core.scenarios import SCENARIOS
from translation_server.documents import SandboxPatch

pytestmark = pytest.mark.takes(60)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLACES = ("*.md", "docs/**/*.md", "tests/contract/*.md", "examples/**/*.md")
PAGES = [page for pattern in PLACES for page in sorted(ROOT.glob(pattern))]
CREDENTIALS = {"API_USERNAME": "admin", "API_PASSWORD": "secretpassword"}


def table(header: str, page: str = README) -> list[list[str]]:
    """Returns the cells of the table with this header."""
    lines = page.split(header + "\n", 1)[1].splitlines()[1:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def defaults() -> dict[str, str]:
    return {
        name.upper(): "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }


def test_the_readme_has_every_setting_with_its_default_and_meaning():
    documented = {
        name.strip("`"): (default.strip("`"), meaning)
        for name, default, meaning in table("| name | default | meaning |")
    }
    meanings = {name.upper(): field.description for name, field in Settings.model_fields.items()}
    assert documented == {name: (default or "none", meanings[name]) for name, default in defaults().items()}


def test_the_example_env_file_has_every_setting_once_with_its_default():
    lines = re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(dict(lines)) == len(lines)
    others = {"API_TOKEN": "", "SERVER_URL": "http://127.0.0.1:8000"}
    of_compose = {
        "COMPOSE_PROFILES": "scale",
        "SCALE_PORTS": "0",
        "SERVERS": "3",
        "POSTGRES_PASSWORD": "secretpassword",
        "SCALE_NETWORK": "10.83.71",
        "SERVER_MEMORY": "1g",
        "IMAGE_PREFIX": "",
        "PROMETHEUS_PORT": "9090",
        "GRAFANA_PORT": "3000",
    }
    assert dict(lines) == defaults() | CREDENTIALS | others | of_compose


def test_the_example_env_file_works(monkeypatch):
    for name in defaults():
        monkeypatch.delenv(name, raising=False)
    assert Settings(_env_file=ROOT / ".env.example").credentials == tuple(CREDENTIALS.values())


def help_of(package: str, *command: str) -> str:
    """What a package's command says of itself."""
    asked = [sys.executable, "-m", package, *command, "--help"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_the_readme_has_every_exit_status():
    documented = re.findall(r"^  (\d+) +(.+)$", help_of("translation_client"), re.MULTILINE)
    assert [tuple(row) for row in table("| exit status | meaning |")] == documented


def test_the_readme_has_every_exception():
    documented = {name.strip("`") for name, *_ in table("| exception | when | what it carries |")}
    there = {name for name, thing in vars(translation_client).items() if isinstance(thing, type)}
    assert documented == {name for name in there if issubclass(getattr(translation_client, name), Exception)}


def test_every_documented_flag_exists():
    subcommands = (help_of("translation_client", *words) for words in (["wait"], ["list"], ["sandbox", "clock"]))
    there = help_of("translation_client") + "".join(subcommands) + help_of("translation_server")
    others = {
        "--no-proxy-headers",
        "--timeout-graceful-shutdown",
        "--http",
        "--containers",
        "--detach",
        "--wait",
        "--volumes",
        "--rm",
        "--profile",
        "--scale",
        "--app-dir",
        "--no-build-isolation",
        "--no-deps",
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - others
    assert named
    assert named <= set(re.findall(r"--[a-z][a-z-]+", there))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_resolves(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_on_dialects_has_every_key_name_and_filter():
    page = (ROOT / "docs" / "dialects.md").read_text()

    def documented(heading: str, header: str) -> set[str]:
        first = " ".join(row[0] for row in table(header, page.split(f"{heading}\n", 1)[1]))
        return {name.split(".")[0] for name in re.findall(r"`([\w.]+)(?::TYPE)?`", first)}

    keys = "| key | by default | what it holds |"
    assert documented("### The API", keys) == set(FILE.keys)
    assert documented("### A kind of job", keys) == set(JOB.keys)
    operations = {key for operation in OPERATIONS.values() for key in operation.keys}
    assert documented("### An operation", keys) == operations
    assert documented("### Lists", "| key of `page` | by default | what it holds |") == set(PAGE.keys)
    assert documented("### Webhooks", "| key of `webhook` | by default | what it holds |") == set(WEBHOOK.keys)
    assert documented("### Webhooks", "| key of `signature` | by default | what it holds |") == set(SIGNATURE.keys)
    names = {re.split("[.:]", name)[0] for name in (*JOB_NAMES, *EVENT_NAMES, *LIST_NAMES, *HINT_NAMES, *ERROR_NAMES)}
    assert documented("## Templates", "| name | what it is |") == names
    assert documented("## Templates", "| filter | for | what it makes |") == set(FILTERS)
    assert (ROOT / "examples" / "dialects" / "video-translate.toml").read_text() in page


def test_the_page_on_apis_has_a_row_and_the_differences_of_every_shipped_api():
    text = (ROOT / "docs/apis.md").read_text()
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == shipped()
    differences = re.findall(r"^- \*\*([\w, -]+)\*\*: ", text, re.MULTILINE)
    assert sorted(name for names in differences for name in names.split(", ")) == shipped()


def test_the_page_on_the_simulator_has_every_setting():
    page = (ROOT / "docs" / "simulator.md").read_text()

    def first(header: str) -> list[str]:
        return [name for row in table(header, page) for name in re.findall(r"`([\w-]+)`", row[0])]

    assert first("| setting | what it holds |") == list(SandboxPatch.model_fields)
    assert first("| kind | details | what the client sees |") == list(KINDS)
    assert first("| condition | the rule fires only for |") == [field.name for field in fields(Matcher)]
    scenarios = {row[0].strip("`"): row[1] for row in table("| scenario | what happens |", page)}
    assert scenarios == {name: scenario.meaning for name, scenario in SCENARIOS.items()}


def test_the_page_on_the_simulator_has_the_applicability_of_each_kind():
    page = (ROOT / "docs" / "simulator.md").read_text()
    documented: dict[str, tuple[tuple[str, ...], bool, list[str]]] = {}
    for what, kinds in table("| requests | kinds |", page):
        for kind in re.findall(r"`([\w-]+)`", kinds):
            routes, body, states = documented.get(kind, ((), False, []))
            routes += tuple(re.findall(r"`(\w+)`", what)) or REQUESTS
            documented[kind] = routes, body or "body" in what, states + re.findall("pending|ended", what)
    words = {None: [], frozenset(State): [], frozenset({State.PENDING}): ["pending"]}
    assert set(APPLICABILITY) == set(KINDS)
    assert documented == {
        kind: (reach.routes, reach.body, words.get(reach.states, ["ended"])) for kind, reach in APPLICABILITY.items()
    }


def test_the_page_on_the_report_card_has_every_rule():
    page = (ROOT / "docs" / "report-card.md").read_text()
    documented = {
        row[0].strip("`"): row[1] for row in table("| rule | severity | what it means | what to change |", page)
    }
    assert list(documented.items()) == [(name, rule.severity) for name, rule in RULES.items()]


def test_the_cards_on_the_page_name_existing_rules():
    page = (ROOT / "docs" / "report-card.md").read_text()
    assert set(re.findall(r"^(?:warning|note) ([\w-]+):", page, re.MULTILINE)) <= set(RULES)


def test_the_example_of_a_client_being_hardened_runs():
    command = [sys.executable, "-m", "pytest", "examples/hardening", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_on_earlier_systems_names_existing_routes_and_classes():
    page = (ROOT / "docs" / "coming-from.md").read_text()
    there = {str(route.pattern).replace(":path", "") for route in routes(DIALECTS)}
    documented = set(re.findall(r"`((?:GET|POST) /[^`]*)`", page))
    assert documented == there - {"GET /jobs/{job_id}"}
    new = [
        row[1] for section in page.split("| before | now |")[1:] for row in table("|---|---|", "|---|---|\n" + section)
    ]
    imports = re.findall(r"`(from translation_\w+[^`]*)`", " ".join(new))
    assert {line.split()[1].split(".")[-1] for line in imports} >= {"start", "jobs", "status", "translate", "result"}
    for line in imports:
        exec(line, {})  # noqa: S102 - the page's own lines


def test_the_example_of_both_in_one_process_runs():
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "one_process.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(" ended as ") == 3


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, whose jobs end soon and well."""
    folder = tmp_path_factory.mktemp("server")
    settings = {"PORT": "0", "MIN_DELAY": "0.1", "MAX_DELAY": "0.2", "ERROR_PROBABILITY": "0"}
    command = [sys.executable, "-m", "translation_server"]
    environment = os.environ | CREDENTIALS | settings
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if found := re.search(r"listening on (\S+)", line):
                yield found[1]
                break
        server.kill()


def test_the_readme_has_every_native_route(url):
    documented = httpx.get(f"{url}/openapi.json", auth=tuple(CREDENTIALS.values())).json()["paths"]
    mounts = tuple(f"{dialect.api.mount}/" for dialect in read_dialects("all", OWN_NAMES))
    there = {
        f"{method.upper()} {path}"
        for path, methods in documented.items()
        for method in methods
        if not f"{path}/".startswith(mounts)
    }
    documented = re.findall(r"`([A-Z]+ /[^`]*)`", "\n".join(row[0] for row in table("| route | does |")))
    assert set(documented) == there | {"GET /docs", "GET /openapi.json"}


def test_the_map_in_contributing_names_every_package_and_no_other():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    dialects = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    documented = set()
    for dialect in dialects:
        first, *others = re.findall(r"`([^`]+)`", dialect)
        documented |= {ROOT / first, *((ROOT / first).parent / other for other in others)}
    assert [place for place in documented if not place.exists()] == []
    packages = {
        path.parent for side in ("server", "client") for path in (ROOT / side).glob("translation_*/*/__init__.py")
    }
    assert packages <= documented
