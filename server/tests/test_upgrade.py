"""Migration of a database of version 0.1.0, in which many names were different."""

import sqlite3
from pathlib import Path

import pytest

from translation_server.core.sandbox import SandboxSettings
from translation_server.documents import read_sandbox

STORED = Path(__file__).with_name("stored_by_0_1_0.sql")
"""Contents: a sandbox with settings and fault rules, two jobs, fault counts and a request log."""


@pytest.fixture
def api(start, tmp_path):
    database = sqlite3.connect(tmp_path / "jobs.db")
    database.executescript(STORED.read_text())
    database.close()
    return start(retention="forever")


def test_stored_settings_are_read(api):
    sandbox = api.get("/sandbox").json()
    settings = {"scenario": "flaky", "paused": True, "poll_cost": 0.5, "seed": "look"}
    assert sandbox.items() >= settings.items()
    assert [rule["route"] for rule in sandbox["faults"]] == [["poll"], ["batch_poll", "poll"]]
    assert sandbox["faults"][1]["word"] == "bulk"
    changed = api.patch("/sandbox", json={"hints": "none"}).json()
    assert (changed["scenario"], changed["paused"], changed["faults"]) == ("flaky", True, sandbox["faults"])


def test_stored_request_records_are_read(api):
    records = api.get("/sandbox/requests").json()["requests"][:8]
    actions = ["submit", "submit", "poll", "poll", "poll", "batch_poll", "list", "cancel"]
    assert [record["action"] for record in records] == actions
    assert [record["virtual_at"] for record in records] == [record["at"] for record in records]


def test_stored_fault_counts_go_on(api):
    for _ in range(2):
        assert api.get("/status/one").status_code == 200  # the rule fires for a job's second poll only
    assert [rule["fired"] for rule in api.get("/sandbox").json()["faults"]] == [1, 0]


def test_stored_fault_kinds_are_read_under_their_new_names():
    stored = '{"settings": {"faults": [{"kind": "forgotten"}, {"kind": "bare", "route": ["look"]}]}}'
    faults = read_sandbox(stored, SandboxSettings(), 0.0).settings.faults
    assert [(rule.kind, rule.route) for rule in faults] == [("not-found", ()), ("no-details", ("poll",))]


def test_clock_of_a_sandbox_goes_on():
    clock = '{"settings": [{"real": 1000.0, "moment": 2000.0, "speed": 60.0, "frozen": false}]}'
    state = read_sandbox(f'{{"begun": 5.0, "since": 7.0, "clock": {clock}}}', SandboxSettings(), 0.0)
    assert (state.clock.virtual(1010.0), state.reset_at, state.faults_since) == (2600.0, 5.0, 7.0)
