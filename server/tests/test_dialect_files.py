"""Dialect files: good ones are read, bad ones refused in one line. The client refuses the same bad ones."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import read_dialects, shipped, source
from translation_server.core.dialects.dialect import DialectError
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.dialect_command import check

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "dialects"
CORPUS = tomllib.loads((ROOT / "tests" / "contract" / "bad-dialects.toml").read_text())


def read(path: Path):
    return read_dialects(str(path), OWN_NAMES)


def test_the_good_file_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text(CORPUS["good"])
    [dialect] = read(tmp_path / "mine.toml")
    assert (dialect.name, dialect.kind, dialect.api.mount) == ("mine", "task", "/mine")


@pytest.mark.parametrize("bad", CORPUS["bad"], ids=lambda bad: bad["name"])
def test_bad_files_are_refused_in_one_line(tmp_path, bad):
    path, (old, new) = tmp_path / "mine.toml", bad["replace"]
    assert old in CORPUS["good"]
    path.write_text(CORPUS["good"].replace(old, new))
    with pytest.raises(DialectError) as refused:
        read(path)
    assert str(refused.value).startswith("DIALECTS=")
    assert bad["says"] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["Mine", "status", "docs", "sandbox", "native", "two words"])
def test_names_and_mounts_of_the_server_are_refused(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(CORPUS["good"])
    with pytest.raises(DialectError, match="the name of the file is the name of the API: "):
        read(path)
    other = tmp_path / "mine.toml"
    other.write_text(f'mount = "/{name.replace(" ", "-")}/v1"\n{CORPUS["good"]}')
    if name not in {"Mine", "two words"}:
        with pytest.raises(DialectError, match=f"mount: /{name}/v1 is a path of every server"):
            read(other)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DialectError, match="No such file"):
        read(tmp_path / "none.toml")


def test_names_that_are_not_shipped_are_refused_with_those_that_are():
    with pytest.raises(DialectError, match=r"DIALECTS=nothing: no such API is shipped: there are [a-z-]+, "):
        read_dialects("nothing", OWN_NAMES)


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "openai.toml").write_text(CORPUS["good"])
    with pytest.raises(DialectError, match="two APIs have the name openai"):
        read_dialects(f"openai,{tmp_path}/openai.toml", OWN_NAMES)


@pytest.mark.parametrize("mount", ["/openai", "/openai/v2", "/openai/v1/mine", "/open"])
def test_apis_may_share_the_beginning_of_a_mount(tmp_path, mount):
    (tmp_path / "mine.toml").write_text(f'mount = "{mount}"\n{CORPUS["good"]}')
    assert {dialect.name for dialect in read_dialects(f"openai,{tmp_path}/mine.toml", OWN_NAMES)} == {"openai", "mine"}


@pytest.mark.parametrize("listed", ["all,{}", "{},all"])
@pytest.mark.parametrize(
    ("mount", "path", "says"),
    [
        ("/openai/v1", "/tasks", "mount: /openai/v1 is the mount of openai, too: choose another one, or describe both"),
        ("/openai", "/v1/tasks", "job.task.submit: POST /openai/v1/tasks is below the mount of openai: choose another"),
        ("/openai", "/v1", "job.task.submit: POST /openai/v1 is below the mount of openai"),
        ("/openai", "/{a}", "job.task.submit: POST /openai/{a} is below the mount of openai"),
        ("/openai", "/{a=*/tasks}/x", "job.task.submit: POST /openai/{a=*/tasks}/x is below the mount of openai"),
        ("/openai", "/{a:path}/x", "job.task.submit: POST /openai/{a:path}/x is below the mount of openai"),
    ],
)
def test_no_request_of_an_api_is_at_the_mount_of_another_one(tmp_path, listed, mount, path, says):
    (tmp_path / "mine.toml").write_text(f'mount = "{mount}"\n{CORPUS["good"].replace("POST /tasks", f"POST {path}")}')
    with pytest.raises(DialectError) as refused:
        read_dialects(listed.format(tmp_path / "mine.toml"), OWN_NAMES)
    assert str(refused.value).startswith(f"DIALECTS={tmp_path}/mine.toml: {says}")
    assert "\n" not in str(refused.value)


def test_all_stands_for_the_shipped_ones():
    names = {dialect.name for dialect in read_dialects("all", OWN_NAMES)}
    assert names == set(shipped()) >= {"openai", "replicate", "fal", "azure"}


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_file_opens_with_three_lines(name):
    """How to point the client at the server, what is covered, and the version, with what could not be confirmed."""
    head, _, rest = source(name).partition("\n\n")
    [point, covers, checked] = head.splitlines()
    assert re.fullmatch(r"# .*(127\.0\.0\.1:8000|localhost:8443).*", point)
    assert re.fullmatch(r"# Covers .+\.", covers)
    assert re.fullmatch(r"# Checked with .+\. Not confirmed: .+\.", checked)
    assert max(map(len, (point, covers, checked))) <= 150
    assert not rest.startswith("#")


def test_a_pending_job_goes_through_several_words():
    [dialect] = read(EXAMPLES / "video-translate.toml")
    job = Job("id", "ann", 1, 0.0, Fate(10.0, State.ERROR))
    words = [json.loads(dialect.body(JobSnapshot(job, now)))["data"]["status"] for now in (0, 4.9, 5.1, 9.9999999, 10)]
    assert words == ["pending", "pending", "running", "running", "failed"]


@pytest.mark.parametrize(
    ("added", "place"),
    [
        ('when.completed.body.video = "{file_url:mpeg}"', "{file_url:mpeg}"),
        ('output = "{file_url:mpeg}"\nwhen.completed.body.video = "{output}"', "{file_url:mpeg}"),
        ('download = {request = "GET /tasks/{job_id}/file", file = "mpeg"}', "download.file"),
    ],
)
def test_types_without_a_file_are_refused(tmp_path, added, place):
    path = tmp_path / "mine.toml"
    path.write_text(f"{CORPUS['good']}\n{added}\n")
    types = "there is no file of the type mpeg; the types are mp4, wav, png, json, txt, and those of your files"
    with pytest.raises(DialectError, match=re.escape(f"mine.toml: job.task: {place}: {types}")):
        read(path)
    assert read_dialects(str(path), OWN_NAMES, ["mpeg"])


def test_the_check_knows_the_users_own_files(tmp_path, monkeypatch, capsys):
    path, folder = tmp_path / "mine.toml", tmp_path / "files"
    path.write_text(f'{CORPUS["good"]}\nwhen.completed.body.sound = "{{file_url:mp3}}"\n')
    assert check([str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: job.task: {{file_url:mp3}}: there is no file of the type mp3; ")
    monkeypatch.setenv("OUTPUT_FILES", str(folder))
    assert check([str(path)]) == 2
    assert "must be a folder" in capsys.readouterr().err
    folder.mkdir()
    (folder / "talk.mp3").write_bytes(b"x")
    assert check([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: task: submit, poll\n"


def test_the_fields_of_a_submission_are_those_that_are_sent_and_those_that_are_required(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(CORPUS["good"].replace("send = {", 'required = ["a.b", ["to", "c"]]\nsend = {of = {x = 1}, '))
    [dialect] = read(path)
    assert dialect.fields == ["of.x", "to", "a.b", "c"]
