"""A file of version 0.1.0, written before names changed, is read under today's names."""

import sqlite3
from pathlib import Path

import pytest

STORED = Path(__file__).with_name("stored_by_0_1_0.sql")
"""What that version wrote: a sandbox with settings and fault rules, and the requests of its user."""


@pytest.fixture
def api(start, tmp_path):
    database = sqlite3.connect(tmp_path / "jobs.db")
    database.executescript(STORED.read_text())
    database.close()
    return start(retention="forever")


def test_the_settings_of_a_sandbox_stay_as_they_were(api):
    shown = api.get("/sandbox").json()
    assert (shown["scenario"], shown["paused"], shown["poll_cost"], shown["seed"]) == ("flaky", True, 0.5, "look")
    assert [rule["route"] for rule in shown["faults"]] == [["poll"], ["batch_poll", "poll"]]
    assert shown["faults"][1]["word"] == "bulk"
    changed = api.patch("/sandbox", json={"hints": "none"}).json()
    assert (changed["scenario"], changed["paused"], changed["faults"]) == ("flaky", True, shown["faults"])


def test_stored_request_records_are_read(api):
    records = api.get("/sandbox/requests").json()["requests"]
    assert [record["action"] for record in records[:8]] == [
        "submit", "submit", "poll", "poll", "poll", "batch_poll", "list", "cancel",
    ]  # fmt: skip
    assert all(record["virtual_at"] == record["at"] for record in records[:8])


def test_stored_fault_counts_go_on(api):
    for _ in range(2):
        assert api.get("/status/one").status_code == 200  # the rule fires for a job's second poll only
    assert [rule["fired"] for rule in api.get("/sandbox").json()["faults"]] == [1, 0]
