"""The command's `--output`: where the files of completed jobs go, and what is shown of it."""

import sys

import pytest

from tests.command_line import QUICK, scripted_jobs
from translation_client.cli.saving import _path, _Progress

DIALECT = """
[job.task]
body = {job_id = "{job_id}", status = "{status}", output = "{output}"}
submit = {request = "POST /start", code = 202}
poll.request = "GET /status/{job_id}"
"""
CONTENT = b"a video"


@pytest.fixture
def save(run, server, job, tmp_path):
    """Runs the command with `--output` against jobs that complete with a file."""
    (tmp_path / "mine.toml").write_text(DIALECT)

    def save(*arguments, output, url=f"{server.url}/files/output.mp4?x=1", end="completed"):
        jobs = scripted_jobs(lambda *a, **b: job(*a, **b, output={"video_url": url}), end=end)
        server.script = lambda request: (200, CONTENT) if request.path.startswith("/files/") else jobs(request)
        return run(*arguments, *QUICK, "--dialect", str(tmp_path / "mine.toml"), "--output", str(output))

    return save


def test_file_of_a_completed_job_is_saved(save, tmp_path):
    path = tmp_path / "video.mp4"
    status, out, err = save("run", output=path)
    assert (status, out[-1], err) == (0, f"j1 saved as {path}", [])
    assert path.read_bytes() == CONTENT


def test_files_of_several_jobs_go_to_a_folder_or_by_a_pattern(save, tmp_path):
    (tmp_path / "all").mkdir()
    assert save("run", "--jobs", "2", output=tmp_path / "all")[0] == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["j1.mp4", "j2.mp4"]
    assert save("run", "--jobs", "2", output=tmp_path / "job {id}.bin")[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == ["job j1.bin", "job j2.bin"]


@pytest.mark.parametrize(("name", "why"), [("one.mp4", "with several jobs"), ("missing/{id}", "there is no folder")])
def test_unusable_output_starts_no_job(save, server, tmp_path, name, why):
    status, _, (line,) = save("run", "--jobs", "2", output=tmp_path / name)
    assert (status, server.requests, why in line) == (2, [], True)


def test_failed_job_saves_nothing(save, tmp_path):
    status, _, _ = save("run", output=tmp_path / "video.mp4", end="error")
    assert (status, (tmp_path / "video.mp4").exists()) == (1, False)


def test_output_without_a_url_is_a_failure(save, tmp_path):
    status, _, (line,) = save("run", output=tmp_path / "video.mp4", url="none")
    assert status == 5
    assert "the output of job j1 has no URL" in line
    assert not (tmp_path / "video.mp4").exists()


def test_json_and_quiet_say_nothing_more(save, tmp_path):
    for flag, lines in (("--quiet", 0), ("--json", 2)):
        status, out, err = save("run", flag, output=tmp_path / "video.mp4")
        assert (status, len(out), err) == (0, lines, [])


@pytest.mark.parametrize("job_id", ["../../etc/passwd", ".hidden", "a/b", "C:\\x", "ä b"])
def test_ids_cannot_lead_out_of_the_folder(tmp_path, job_id):
    for output in (tmp_path, tmp_path / "x{id}.mp4"):
        path = _path(str(output), job_id, "http://127.0.0.1/output.mp4")
        assert path.parent == tmp_path
        assert path.suffix == ".mp4"
        assert not path.name.startswith(".")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x.example", "j1"),
        ("http://x/a.b/c", "j1"),
        ("http://x/a.tar.gz?y=.z", "j1.gz"),
        ("http://x/.mp4", "j1.mp4"),
    ],
)
def test_ending_is_that_of_the_url(tmp_path, url, name):
    assert _path(str(tmp_path), "j1", url).name == name


def test_progress_is_one_line_that_goes_at_the_end(tmp_path, capsys):
    progress = _Progress(tmp_path / "a\x1b.mp4", shown=True)
    for received in (0, 1, 500, 1000):
        progress.show(received, 1000)
    progress.show(2000, None)
    progress.close()
    lines = capsys.readouterr().err.split("\r\x1b[K")
    sizes = ["0% of 1,000 bytes", "50% of 1,000 bytes", "100% of 1,000 bytes", "2,000 bytes"]
    assert lines == ["", *(f"a\\x1b.mp4: {size}" for size in sizes), ""]
    hidden = _Progress(tmp_path / "a", shown=False)
    hidden.show(1, 2)
    hidden.close()
    assert (capsys.readouterr().err, sys.stderr.isatty()) == ("", False)
