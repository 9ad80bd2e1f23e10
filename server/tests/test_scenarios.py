"""Scenarios and files of fault rules, over HTTP against a real server."""

import re

import pytest

from translation_server.config.fault_files import FaultsError
from translation_server.config.settings import SettingsError
from translation_server.core.scenarios import SCENARIOS


def test_scenarios_are_listed_with_their_settings_and_can_be_set(start):
    api = start()
    scenarios = {scenario["scenario"]: scenario for scenario in api.get("/sandbox/scenarios").json()["scenarios"]}
    assert set(scenarios) == set(SCENARIOS)
    for name, scenario in scenarios.items():
        shown = api.change_sandbox(scenario=name)
        assert shown["scenario"] == name
        assert [{key: value for key, value in rule.items() if key != "fired"} for rule in shown["faults"]] == (
            scenario["settings"]["faults"]
        )


def test_a_new_scenario_replaces_the_settings_that_scenarios_set(start):
    api = start()
    api.change_sandbox(faults=[{"kind": "reset"}], paused=True, seed="kept")
    shown = api.change_sandbox(scenario="perfect")
    assert (shown["faults"], shown["paused"], shown["error_probability"], shown["seed"]) == ([], False, 0, "kept")
    assert api.change_sandbox(scenario=None)["error_probability"] == 0


def test_the_servers_scenario_applies_to_every_sandbox(start):
    api = start(scenario="stuck")
    assert api.get("/sandbox").json()["paused"]
    assert api.change_sandbox(scenario="perfect")["paused"] is False


def test_a_file_of_fault_rules_applies_to_every_sandbox(start, tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text('[[faults]]\nkind = "status"\ncode = 418\nroute = ["submit"]\ntimes = 1\n')
    api = start(faults=path)
    assert [api.post("/start").status_code for _ in range(2)] == [418, 202]
    assert api.change_sandbox(scenario="perfect")["faults"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"[[faults", "must be UTF-8 TOML"),
        (b"\xff", "must be UTF-8 TOML"),
        (b"faults = 2026-01-01", "faults: input should be a valid array"),
        (b"faults = " + b"[" * 100_000, "must be UTF-8 TOML"),
        (b"", "faults: field required"),
        (b"[[faults]]\nkind = 'status'\n", "faults[0].code: field required"),
        (b"[[faults]]\nkind = 'reset'\nrout = ['poll']\n", "faults[0].rout: there is no such field"),
    ],
)
def test_an_invalid_file_of_fault_rules_stops_the_server(start, tmp_path, content, message):
    path = tmp_path / "faults.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FaultsError, match=re.escape(message)):
        start(faults=path)


@pytest.mark.parametrize("settings", [{"scenario": "flaky"}, {"faults": "faults.toml"}])
def test_scenarios_and_fault_rules_need_a_sandbox(start, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.toml").write_text("[[faults]]\nkind = 'reset'\n")
    with pytest.raises(SettingsError, match="SANDBOX=off: must be on"):
        start(sandbox="off", **settings)
