"""Delays from a history file of the client, and in a sandbox."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.api import Api
from tests.processes import MODULE
from translation_server.config.history_files import MAX_SIZE, HistoryError, HistoryFile
from translation_server.config.settings import Settings
from translation_server.core.delays import MAX_DURATIONS, Empirical

LINE = '{"kind": "start api.example", "seconds": 61.5}'
INVALID_LINE = f"of the file must be like {LINE}, with 0 to 1000000000 seconds"


@pytest.fixture
def waits(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("waits.jsonl")


def test_delays_are_the_durations_in_the_file(start, waits):
    waits.write_text("".join(LINE.replace("61.5", seconds) + "\n" for seconds in ("20", "0.5", "300.25")))
    api = start(delay=f"empirical({waits})", seed="s", hints="exact")
    assert api.get("/sandbox").json()["delay"] == {"kind": "empirical", "durations": [0.5, 20, 300.25]}
    api.set_clock(frozen=True)
    hints = {int(api.post("/start").headers["retry-after-ms"]) for _ in range(40)}
    assert hints == {500, 20_000, 300_250}


@pytest.mark.parametrize(
    ("setting", "path", "kind"),
    [
        ("empirical(waits.jsonl)", "waits.jsonl", None),
        (" Empirical ( My waits (1).jsonl ) ", "My waits (1).jsonl", None),
        ("empirical(waits.jsonl, start api.example)", "waits.jsonl", "start api.example"),
        ("empirical(waits.jsonl,videos, long (HD))", "waits.jsonl", "videos, long (HD)"),
    ],
)
def test_setting_names_a_file_and_a_kind(setting, path, kind):
    delay = Settings(_env_file=None, api_username="u", api_password="p", delay=setting).delay
    assert delay == HistoryFile(Path(path), kind)


def test_newest_durations_of_the_only_kind_or_of_the_named_one_count(waits):
    lines = [{"kind": "a", "seconds": seconds} for seconds in range(MAX_DURATIONS + 5)]
    waits.write_text("\n".join(map(json.dumps, lines)))
    assert HistoryFile(waits).delays() == Empirical(tuple(range(5, MAX_DURATIONS + 5)))
    with waits.open("a") as file:
        file.write('\n{"kind": "b", "seconds": 7}\n')
    assert HistoryFile(waits, "b").delays() == Empirical((7.0,))


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        ("", None, f"the file must have a line like {LINE} for each past job"),
        ("sometimes\n", None, f"line 1 {INVALID_LINE}"),
        (f"{LINE}\n[1, 2]", None, f"line 2 {INVALID_LINE}"),
        (f"{LINE}\n\n{LINE}", None, f"line 2 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": -1}', None, f"line 1 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": NaN}', None, f"line 1 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": Infinity}', None, f"line 1 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": true}', None, f"line 1 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": 1' + "0" * 400 + "}", None, f"line 1 {INVALID_LINE}"),
        ('{"kind": "a", "seconds": 1' + "0" * 5000 + "}", None, f"line 1 {INVALID_LINE}"),
        ("[" * 10**5, None, f"line 1 {INVALID_LINE}"),
        (b"\xff\xfe", None, f"line 1 {INVALID_LINE}"),
        (f"{LINE}\n" * 10**6, None, "the file must have 4 MiB at most"),
        (LINE, "b", "the file has no jobs of this kind; it has 'start api.example'"),
        (
            "".join(f'{{"kind": "{kind}", "seconds": 1}}\n' for kind in "abcdefg"),
            None,
            "name the kind of job after a comma, because the file has several: 'a', 'b', 'c', 'd', 'e', …",
        ),
    ],
)
def test_unusable_file_is_refused_in_one_line(waits, content, kind, reason):
    waits.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HistoryError) as refused:
        HistoryFile(waits, kind).delays()
    setting = "empirical(waits.jsonl)" if kind is None else f"empirical(waits.jsonl, {kind})"
    assert str(refused.value) == f"DELAY={setting}: {reason}"


def test_missing_file_and_folder_are_refused_in_one_line(waits):
    for make, reason in ((waits.parent.exists, "No such file or directory"), (waits.mkdir, "Is a directory")):
        make()
        with pytest.raises(HistoryError, match=rf"^DELAY=empirical\(waits.jsonl\): the file cannot be read: {reason}$"):
            HistoryFile(waits).delays()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_file_without_permission_is_refused(waits):
    waits.write_text(LINE)
    waits.chmod(0)
    with pytest.raises(HistoryError, match="the file cannot be read: Permission denied"):
        HistoryFile(waits).delays()


def test_largest_file_of_the_client_is_read(waits):
    line = json.dumps({"kind": "k" * 100, "seconds": 1.5}) + "\n"
    waits.write_text(line * (MAX_SIZE // len(line)))
    assert HistoryFile(waits).delays().latest == 1.5


def test_hangup_reads_the_file_again(run, tmp_path):
    (tmp_path / "waits.jsonl").write_text(LINE)
    server = run([*MODULE, "--port", "0"], DELAY="empirical(waits.jsonl)")
    assert server.client.get("/sandbox").json()["delay"]["durations"] == [61.5]  # from now on, it reads the file again
    (tmp_path / "waits.jsonl").write_text(LINE.replace("61.5", "7"))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("reload: faults reloaded")
    assert server.client.get("/sandbox").json()["delay"]["durations"] == [7]


def test_sandbox_takes_durations(api: Api):
    api.change_sandbox(delay={"kind": "empirical", "durations": [30, 10, 20]}, seed=1)
    assert api.get("/sandbox").json()["delay"] == {"kind": "empirical", "durations": [10, 20, 30]}
    api.set_clock(frozen=True)
    ids = [api.submit() for _ in range(30)]
    ended = []
    for _ in range(3):
        api.set_clock(advance=10)
        ended.append(sum(api.job(job_id)["status"] != "pending" for job_id in ids))
    assert 0 < ended[0] < ended[1] < ended[2] == 30


@pytest.mark.parametrize(
    ("durations", "field", "message"),
    [
        ([], "delay.durations", "at least 1 item"),
        ([1] * (MAX_DURATIONS + 1), "delay.durations", "at most 1000 items"),
        ([1, -1], "delay.durations[1]", "greater than or equal to 0"),
        (["1"], "delay.durations[0]", "valid number"),
    ],
    ids=["none", "too many", "negative", "text"],
)
def test_unusable_durations_are_refused(api: Api, durations, field, message):
    refused = api.patch("/sandbox", json={"delay": {"kind": "empirical", "durations": durations}})
    error = refused.json()["errors"][0]
    assert (refused.status_code, error["field"]) == (422, field)
    assert message in error["message"]


def test_durations_are_documented(api: Api):
    documented = api.get("/openapi.json").json()["components"]["schemas"]["Empirical"]
    assert documented["required"] == ["durations", "kind"]
    durations = documented["properties"]["durations"]
    assert (durations["minItems"], durations["maxItems"]) == (1, MAX_DURATIONS)
    assert (durations["items"]["minimum"], set(documented["properties"])) == (0, {"kind", "durations"})
