"""The JSON Schemas accept what the server accepts, and refuse what an editor should mark."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from jsonschema.validators import validator_for
from pydantic import ValidationError

from tests.test_bad_dialects import GOOD, WRONG, places, refusal_of_server, replaced
from translation_server.config.fault_files import FaultsError, read_faults
from translation_server.config.settings import Settings
from translation_server.core.faults.rules import KINDS
from translation_server.schemas import SCHEMAS, schema

ROOT = Path(__file__).parents[1]
FILES = [*(ROOT / "server/translation_server/catalogue").glob("*.toml"), *(ROOT / "examples/dialects").glob("*.toml")]
FAULTS = [
    [],
    [{"kind": "reset"}],
    [{"kind": "latency", "seconds": 2, "every": 3, "route": ["poll"]}],
    [{"kind": "status", "code": 503, "probability": 0.5, "count": 2}],
    [{"kind": "status", "code": 20}],
    [{"kind": "nope"}],
    [{"kind": "reset", "probability": 2}],
    [{"kind": "reset", "unknown": 1}],
    [{}],
    "reset",
    *([{"kind": kind}] for kind in KINDS),
]


@pytest.fixture(scope="module")
def accepts():
    """Returns whether the schema with a name accepts a document."""
    schemas = {name: json.loads(json.dumps(schema(name), default=dict)) for name in SCHEMAS}
    validators = {name: validator_for(one)(one) for name, one in schemas.items()}

    def accepts(name, document):
        return validators[name].is_valid(json.loads(json.dumps(document, default=str)))

    return accepts


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dialects_that_are_shipped_are_accepted(accepts, file):
    assert accepts("dialect", tomllib.loads(file.read_text()))


@pytest.mark.parametrize("path", list(places(GOOD))[1:], ids=".".join)
def test_the_schema_of_dialects_accepts_whatever_the_server_accepts(accepts, path):
    assert accepts("dialect", GOOD)
    for wrong in WRONG:
        table = replaced(path, wrong)
        assert accepts("dialect", table) or refusal_of_server(table)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("mount",), "no slash"),
        (("unknown",), 1),
        (("job",), {}),
        (("job", "Task"), GOOD["job"]["task"]),
        (("job", "task", "unknown"), 1),
        (("job", "task", "submit", "request"), "FETCH /tasks"),
        (("job", "task", "submit", "accepts"), ["xml"]),
        (("job", "task", "poll"), {}),
        (("job", "task", "poll", "code"), 99),
        (("job", "task", "list", "page", "default"), 101),
        (("job", "task", "batch_poll", "ids"), 5),
        (("job", "task", "result", "job_id"), {}),
        (("error", "types", "200"), "no error"),
        (("idempotency",), "some"),
        (("webhook", "signature", "encoding"), "base32"),
    ],
)
def test_mistakes_in_a_dialect_are_marked(accepts, path, wrong):
    assert refusal_of_server(replaced(path, wrong))
    assert not accepts("dialect", replaced(path, wrong))


@pytest.mark.parametrize("rules", FAULTS, ids=json.dumps)
def test_fault_rules_are_accepted_and_refused_as_by_the_server(accepts, rules, tmp_path):
    file = tmp_path / "faults.toml"
    text = "faults = " + json.dumps(rules).replace('": ', '" = ')  # JSON that is TOML too
    file.write_text(text)
    try:
        read_faults(file)
    except FaultsError:
        assert not accepts("faults", {"faults": rules})
    else:
        assert accepts("faults", {"faults": rules})


def test_the_schema_of_the_settings_has_each_with_its_meaning():
    described = {name: one["description"] for name, one in schema("settings")["properties"].items()}
    assert described == {name.upper(): field.description for name, field in Settings.model_fields.items()}


VALUES = [
    *(
        "",
        " ",
        "on",
        "ON",
        "off",
        "true",
        "7",
        " 7 ",
        "-7",
        "+7",
        "0",
        "1.5",
        "1_000",
        "7.0",
        ".5",
        "5.",
        "1e3",
        "1e9",
        "inf",
        "1e400",
    ),
    *(
        "7d",
        "12H",
        "1.5h",
        "90 s",
        "forever",
        "FOREVER",
        "5s,5m",
        "5s, 5M ",
        "5s,,5m",
        ",",
        "none",
        "Exact",
        "warning",
        "json",
    ),
    *(
        "flaky",
        "Slow-Network",
        "fixed(5)",
        "Uniform(3, 7)",
        "lognormal(600,0.5)",
        "empirical(waits.jsonl)",
        "fixed",
        "fixed()",
    ),
    *("api.example", "*.api.example", "*", "api.example:80", "a, b", "https://app.example", "HTTP://[::1]:80", "null"),
    *(
        "10.0.0.0/8",
        "10.0.0.1, ::1",
        "10.0.0.0/255.0.0.0",
        "local-networks",
        "a:b",
        "x" * 16,
        "x" * 257,
        "a\nb",
        "é",
        "65536",
    ),
]
CHOSEN = {"api_username": "admin", "api_password": "secretpassword"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_that_the_server_accepts_the_schema_accepts_too(accepts, name, monkeypatch):
    for other in Settings.model_fields:
        monkeypatch.delenv(other.upper(), raising=False)
    for value in VALUES:
        monkeypatch.setenv(name.upper(), value)
        try:
            Settings(_env_file=None, **{key: chosen for key, chosen in CHOSEN.items() if key != name})
        except ValidationError as refused:
            if any(error["loc"] == (name,) for error in refused.errors()):
                continue
        assert accepts("settings", {name.upper(): value}), value
        if re.fullmatch(r"\d+(\.\d+)?", value):
            assert accepts("settings", {name.upper(): float(value)}), value


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("PORT", 65_536),
        ("PORT", -1),
        ("PORT", 80.5),
        ("PORT", "eighty"),
        ("PORT", True),
        ("ERROR_PROBABILITY", 1.1),
        ("ERROR_PROBABILITY", "often"),
        ("MIN_DELAY", "3s"),
        ("WORKERS", 0),
        ("API_USERNAME", "a:b"),
        ("AUTH", "yes"),
        ("AUTH", True),
        ("SCENARIO", "flakey"),
        ("LOG_LEVEL", "loud"),
        ("HINTS", 1),
        ("DELAY", "5"),
        ("DELAY", 5),
        ("DELAY", "gauss(5, 1)"),
        ("RETENTION", 7),
        ("RETENTION", "7 days"),
        ("FILE_TTL", "forever"),
        ("WEBHOOK_RETRIES", "5s 5m"),
        ("FORWARDED_ALLOW_IPS", "*"),
        ("ALLOWED_HOSTS", "api.example:80"),
        ("CORS_ORIGINS", "app.example"),
        ("METRICS_TOKEN", "short"),
        ("SEED", "x" * 100_000),
    ],
)
def test_mistakes_in_settings_are_marked(accepts, name, wrong):
    assert not accepts("settings", {name: wrong})


def test_the_schema_of_the_settings_accepts_the_defaults_and_says_them(accepts):
    properties = schema("settings")["properties"]
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    assert defaults.items() >= {"PORT": 8000, "MIN_DELAY": 3, "RETENTION": "7d", "AUTH": "on"}.items()
    assert accepts("settings", defaults)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_command_prints_a_schema(name):
    command = [sys.executable, "-m", "translation_server", "schema", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["title"] == SCHEMAS[name][0]
