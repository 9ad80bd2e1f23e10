"""Dialect files: those that the server refuses are refused here too; the shipped ones are copies of the server's."""

import tomllib
from pathlib import Path

import pytest

from tests.custom_dialect import MINE
from tools import copy_dialects
from translation_client import AsyncClient, Client
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.dialects import states_of
from translation_client.dialect_files import find_dialect, shipped

ROOT = Path(__file__).parents[2]
VIDEO_TRANSLATE = ROOT / "examples" / "dialects" / "video-translate.toml"
CORPUS = tomllib.loads((ROOT / "tests" / "contract" / "bad-dialects.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("bad", CORPUS["bad"], ids=lambda bad: bad["name"])
def test_bad_files_are_refused_in_one_line(bad):
    old, new = bad["replace"]
    assert old in CORPUS["good"]
    Path("mine.toml").write_text(CORPUS["good"].replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^dialect mine\.toml: ") as raised:
        Client(dialect="mine.toml")
    assert bad["says"] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_the_good_file_is_read():
    Path("mine.toml").write_text(CORPUS["good"], encoding="utf-8")
    dialect = find_dialect(Path("mine.toml"))
    assert (dialect.name, dialect.request_fields) == ("mine", {"target_language", "simulate"})


@pytest.mark.parametrize("name", ["Mine", "start", "two words"])
def test_names_of_other_dialects_are_refused(name):
    Path(f"{name}.toml").write_text(CORPUS["good"], encoding="utf-8")
    with pytest.raises(ValueError, match="the name of the file is the name of the API: "):
        find_dialect(f"{name}.toml")


def test_a_file_of_several_kinds_needs_a_choice():
    Path("two#1.toml").write_text(CORPUS["good"], encoding="utf-8")
    with pytest.raises(ValueError, match="the name of the file is the name of the API: "):
        find_dialect("two#1.toml")
    other = CORPUS["good"].split("[job.task]")[1].replace("/tasks", "/others")
    Path("two.toml").write_text(f"{CORPUS['good']}\n[job.other]{other}", encoding="utf-8")
    assert find_dialect("two.toml#other").poll.requests == [("GET", "/others/{job_id}")]
    assert find_dialect("two.toml#task").name == "two#task"
    for reference in ("two.toml", "two.toml#third"):
        with pytest.raises(ValueError, match=rf"^dialect {reference}: choose one of two.toml#task, two.toml#other$"):
            find_dialect(reference)


def test_kinds_of_jobs_may_share_requests_about_a_job():
    other = CORPUS["good"].split("[job.task]")[1]
    Path("two.toml").write_text(f"{CORPUS['good']}\n[job.other]{other.replace('POST /tasks', 'POST /others')}")
    assert find_dialect("two.toml#other").poll.requests == find_dialect("two.toml#task").poll.requests
    Path("two.toml").write_text(f"{CORPUS['good']}\n[job.other]{other}")
    with pytest.raises(ValueError, match=r"POST /tasks is a request of job\.task\.submit too"):
        find_dialect("two.toml#task")
    moved = other.replace("POST /tasks", "POST /others").replace("GET /tasks/{job_id}", "GET /{job_id}/tasks")
    clashing = CORPUS["good"].replace("GET /tasks/{job_id}", "GET /{x}/{job_id}")
    Path("two.toml").write_text(f"{clashing}\n[job.other]{moved.replace('/{job_id}/tasks', '/{job_id}/{x}')}")
    with pytest.raises(ValueError, match=r"is a request of job\.task\.poll too"):
        find_dialect("two.toml#task")


def test_unknown_names_and_unreadable_files_are_refused():
    with pytest.raises(ValueError, match=r"^dialect translat: is neither one of start, jobs, .* nor a file$"):
        Client(dialect="translat")
    for folder, problem in ((".", "Is a directory"), ("a\0b", "embedded null")):
        with pytest.raises(ValueError, match=f"cannot be read.*: {problem}"):
            AsyncClient(dialect=folder)
    Path("latin.toml").write_bytes(b"\xe4")
    with pytest.raises(ValueError, match="cannot be read as TOML"):
        Client(dialect=Path("latin.toml"))


def test_the_example_is_read():
    dialect = find_dialect(VIDEO_TRANSLATE)
    assert (dialect.name, dialect.auth) == ("video-translate", "X-Api-Key: {token}")
    assert dialect.poll.requests == [("GET", "/v2/video_translate/{job_id}")]
    assert dialect.request_fields == {"target_language", "simulate"}
    assert [states_of(dialect, word)[0] for word in ("pending", "running", "success", "failed")] == [
        "pending",
        "pending",
        "completed",
        "error",
    ]


def test_dialects_are_found_by_name_or_passed_through():
    assert [find_dialect(name).name for name in DIALECTS] == list(DIALECTS)
    assert find_dialect(MINE) is MINE


def test_copies_of_the_servers_files_are_fresh():
    """`make generate` copies it."""
    assert {path.name for path in (copy_dialects.CLIENT / "catalogue").glob("*.toml")} == {
        path.name for path in (copy_dialects.SERVER / "catalogue").glob("*.toml")
    }
    assert [path for path, text in copy_dialects.copies().items() if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("name", shipped())
def test_shipped_dialects_are_read(name):
    kinds = tomllib.loads((ROOT / "server" / "translation_server" / "catalogue" / f"{name}.toml").read_text())["job"]
    assert [find_dialect(f"{name}#{kind}").name.partition("#")[0] for kind in kinds] == [name] * len(kinds)
