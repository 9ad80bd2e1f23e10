"""The subcommands for jobs, and the table of all subcommands."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import LOGIN, QUICK, scripted_jobs
from translation_client.cli import main
from translation_client.cli.commands import COMMAND, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command_line import Run
    from tests.conftest import Job, Listen, Request, Server

FIELDS = ("job_id", "status", "progress", "elapsed_time", "error_message", "error_code")


class TestRun:
    def test_run_is_the_default_and_shows_each_change(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        status, out, err = run(*QUICK, "--source-language", "en", "--target-language", "es", "--video-length", "90")
        assert status == 0
        assert out == ["j1 pending  50% after 2.0 s", "j1 completed 100% after 4.0 s"]
        assert err == []
        assert json.loads(server.requests[0].body) == {
            "source_language": "en",
            "target_language": "es",
            "video_length": 90,
        }

    @pytest.mark.parametrize("end", ["error", "cancelled"])
    def test_failed_job_gives_exit_status_1(self, run: Run, server: Server, job: Job, end: str) -> None:
        server.script = scripted_jobs(job, polls=0, end=end)
        status, out, err = run("run", *QUICK)
        assert status == 1
        assert out[-1].startswith(f"j1 {end} 100% after 4.0 s")
        (line,) = err
        assert line.startswith("translation-client: job j1 ")
        assert line.endswith("Start a new job to try again.")

    def test_several_jobs_run_at_once(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        status, out, err = run("--jobs", "3", *QUICK)
        assert (status, err) == (0, [])
        assert server.asked[:3] == ["POST /start"] * 3
        assert len({request.headers["idempotency-key"] for request in server.requests[:3]}) == 3
        assert len(out) == 7
        assert out[-1] == "3 jobs: 3 completed"

    def test_exit_status_of_several_jobs_is_the_highest(self, run: Run, server: Server, job: Job) -> None:
        server.says((202, job("completed", "a")), (202, job("error", "b")), (422, {"title": "No"}))
        status, out, err = run("--jobs", "4")
        assert status == 2
        assert out[-1] == "4 jobs: 1 completed, 1 error, 2 failed"
        assert err == [
            "translation-client: job b ended with an error: the video has no sound. Start a new job to try again.",
            "translation-client: 2 jobs failed: 422 No. Correct the request: unchanged, it will be refused again.",
        ]

    def test_json_is_one_object_per_change_and_nothing_else(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, end="error")
        status, out, err = run("run", *QUICK, "--jobs", "2", "--json")
        assert (status, len(err)) == (1, 1)
        changes = [json.loads(line) for line in out]
        assert [change["status"] for change in changes if change["job_id"] == "j2"] == ["pending", "error"]
        assert changes[-1].keys() == {*FIELDS, "raw"}
        assert {name: changes[-1]["raw"].get(name) for name in FIELDS} == {name: changes[-1][name] for name in FIELDS}
        assert changes[-1]["error_message"] == "the video has no sound"

    def test_json_has_the_code_of_an_error(self, run: Run, server: Server, job: Job) -> None:
        server.says((202, {**job("error"), "error_code": "no-sound"}))
        assert json.loads(run("run", "--json")[1][-1])["error_code"] == "no-sound"

    def test_quiet_shows_only_failures(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        assert run("--quiet", "run", *QUICK) == (0, [], [])
        server.script = scripted_jobs(job, end="error")
        status, out, err = run("--quiet", "run", *QUICK)
        assert (status, out, len(err)) == (1, [], 1)

    def test_verbose_shows_the_log(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        status, out, err = run("--verbose", *QUICK)
        assert status == 0
        assert len(out) == 2
        assert err[0].endswith(" INFO POST /start: 202")
        assert any(line.endswith(" DEBUG GET /status/j1: 200") for line in err)


class TestSubcommands:
    def test_start_does_not_wait(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        assert run("start", "--quiet") == (0, ["j1 pending  50% after 2.0 s"], [])
        assert server.asked == ["POST /start"]

    def test_status_shows_jobs_and_fails_for_failed_ones(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        assert run("status", "a")[0] == 0
        server.says((200, job("error", "a")))
        assert run("status", "a", "--json")[0] == 1
        server.script = scripted_jobs(job)
        status, out, err = run("status", "unknown", "unknown too")
        assert (status, out[-1]) == (2, "2 jobs: 2 failed")
        (line,) = err
        assert line == (
            "translation-client: 2 jobs failed: 404 Not Found. Check the job's id and owner, and the server's address"
            " (unknown, unknown too)."
        )

    def test_wait_waits_for_the_end(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job(job_id="a")), (200, job("completed", "a")))
        status, out, _ = run("wait", "a", *QUICK)
        assert status == 0
        assert [line.split()[1] for line in out] == ["pending", "completed"]

    def test_delete_says_which_jobs_are_gone(self, run: Run, server: Server) -> None:
        submit, poll = ('{request = "POST /tasks"}', '{request = "GET /tasks/{job_id}"}')
        body, delete = ('{id = "{job_id}", is = "{status}"}', '{request = "DELETE /tasks/{job_id}", code = 204}')
        text = f"[job.task]\nbody = {body}\nsubmit = {submit}\npoll = {poll}\ndelete = {delete}\n"
        Path("mine.toml").write_text(text, encoding="utf-8")
        server.says((204, None))
        status, out, err = run("delete", "a", "b", "--dialect", "mine.toml")
        assert (status, sorted(out[:2]), out[2:], err) == (0, ["a deleted", "b deleted"], ["2 jobs: 2 deleted"], [])
        assert set(server.asked) == {"DELETE /tasks/a", "DELETE /tasks/b"}
        assert run("delete", "a", "--json", "--dialect", "mine.toml") == (0, [], [])
        server.says((404, None))
        assert run("delete", "c", "--dialect", "mine.toml")[:2] == (2, [])

    def test_cancel_succeeds_for_ended_jobs(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job("cancelled", "a")), (200, job("error", "b")))
        status, out, _ = run("cancel", "a", "b")
        assert status == 0
        assert len(out) == 3
        assert sorted(server.asked) == ["DELETE /jobs/a", "DELETE /jobs/b"]

    def test_list_shows_the_newest_first(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, {"jobs": [job(job_id="b"), job("error", "a")], "next": None}))
        status, out, _ = run("list")
        assert status == 0
        assert [line.split()[:2] for line in out] == [["b", "pending"], ["a", "error"]]

    def test_list_shows_only_the_jobs_that_are_named(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, {"jobs": [job(job_id="b"), job("error", "a")], "next": None}))
        status, [line], _ = run("list", "a")
        assert (status, line.split()[:2]) == (0, ["a", "error"])
        status, _, [error] = run("list", "a", "x")
        assert (status, "the server lists no job x." in error) == (2, True)

    def test_list_shows_only_so_many_jobs_of_a_status(self, run: Run, server: Server, job: Job) -> None:
        jobs = [job(job_id="d"), job("error", "c"), job("completed", "b"), job("error", "a")]
        page, second = {"jobs": jobs, "next": "a"}, {"jobs": [job("error", "0")], "next": None}
        for options, shown in (
            (["--limit", "1"], ["d"]),
            (["--limit", "2", "--status", "error"], ["c", "a"]),
            (["--status", "completed", "--status", "pending", "--limit", "2"], ["d", "b"]),
            (["--status", "error", "d", "a"], ["a"]),
        ):
            server.requests.clear()
            server.says((200, page))
            status, out, err = run("list", *options)
            assert (status, [line.split()[0] for line in out], err) == (0, shown, [])
            assert len(server.requests) == 1
        server.says((200, page), (200, second))
        assert [line.split()[0] for line in run("list", "--status", "error")[1]] == ["c", "a", "0"]
        assert run("list", "--limit", "0")[0] == run("list", "--status", "ended")[0] == 2

    def test_help_of_a_subcommand_has_its_own_flags_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["wait"], ["sandbox", "finish"], []):
            with pytest.raises(SystemExit):
                main([*words, "--help"])
            shown = capsys.readouterr().out
            assert ("--token-file" in shown, "see translation-client --help" in shown) == (not words, bool(words))
            assert re.match(rf"usage: .*{''.join(f' {word}' for word in words)} \[options\] ", shown)


class TestWaiting:
    def test_stats_show_the_cost_of_the_wait(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        status, out, _ = run(*QUICK, "--stats")
        assert status == 0
        assert re.fullmatch(r"j1: 2 polls, \d+ bytes, 0\.0 s asleep, \d+\.\d\d\d s late", out[-2])
        assert re.fullmatch(r"in all: 3 requests, \d+ bytes, .* late on average, .* at most", out[-1])

    def test_stats_are_part_of_the_json(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        _, out, _ = run(*QUICK, "--stats", "--json")
        assert json.loads(out[-1])["cost"]["polls"] == 2
        assert "cost" not in json.loads(out[0])

    @pytest.mark.parametrize(
        "schedule", ["fixed:0.01", "exponential:0.01,1,0.02", "exponential", "progressive", "hinted", "learned"]
    )
    def test_schedule_is_chosen_by_name(self, run: Run, server: Server, job: Job, schedule: str) -> None:
        server.script = scripted_jobs(job, polls=0, age=1.1)
        status, _, err = run("--schedule", schedule)
        assert (status, err) == (0, [])
        assert not any("prefer" in request.headers for request in server.requests)

    @pytest.mark.parametrize("schedule", ["auto", "learned"])
    def test_learned_durations_are_stored_by_kind(self, run: Run, server: Server, job: Job, schedule: str) -> None:
        server.script = scripted_jobs(job, polls=0, age=1.1)
        assert run("--schedule", schedule, "--history", "waits", "--kind", "films")[0] == 0
        assert "films" in Path("waits").read_text()

    @pytest.mark.parametrize("learning", [("--history", "waits"), ("--kind", "films")])
    @pytest.mark.parametrize("chosen", [("--schedule", "hinted"), ("--initial-interval", "1")])
    def test_history_is_refused_for_a_schedule_that_does_not_learn(
        self, run: Run, chosen: tuple[str, ...], learning: tuple[str, ...]
    ) -> None:
        status, _, (line,) = run(*chosen, *learning)
        assert status == 2
        assert "--kind and --history are for the schedules auto and learned" in line
        assert not Path("waits").exists()

    @pytest.mark.parametrize(
        "schedule",
        [
            *("soon", "fixed", "fixed:x", "fixed:-1", "fixed:1,2", "auto:", "auto:3", "progressive:", "progressive:1"),
            *("exponential:2,1,1", "exponential:1,2,3,0.5", "hinted:5", "learned:0.5"),
        ],
    )
    def test_unusable_schedule_is_refused(self, run: Run, schedule: str) -> None:
        status, _, (line,) = run("--schedule", schedule)
        assert status == 2
        assert line.startswith("translation-client: --schedule ")

    def test_schedule_and_intervals_exclude_each_other(self, run: Run) -> None:
        status, _, (line,) = run("--schedule", "progressive", *QUICK)
        assert status == 2
        assert "exclude each other" in line

    def test_hanging_start_ends_at_the_timeout(self, capsys: pytest.CaptureFixture[str], listen: Listen) -> None:
        with listen(lambda connection, over: connection.recv(65_536) and over.wait()) as url:
            began = time.monotonic()
            assert main(["--url", url, *LOGIN, "--jobs", "2", "--timeout", "0.1"]) == 5
            assert time.monotonic() - began < 8  # a request that hangs gives up after 10 s
        assert "try again when the server is well" in capsys.readouterr().err

    def test_started_job_is_shown_as_pending_once(self, run: Run, server: Server, job: Job) -> None:
        polls = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            polls[request.path] += 1
            if request.method == "POST":
                return 202, job(job_id=f"j{polls['/start']}", elapsed_time=0.0)
            if request.path == "/jobs":
                return 404, {"title": "Not Found"}
            job_id, seen = request.path.rpartition("/")[2], polls[request.path]
            return 200, job("completed" if seen > 2 else "pending", job_id, elapsed_time=float(seen))

        server.script = script
        _, out, _ = run("--jobs", "2", *QUICK)
        assert [line.partition(" after ")[2] for line in out if line.startswith("j2 ")] == ["0.0 s", "2.0 s", "3.0 s"]

    @pytest.mark.parametrize("flag", ["--long-poll", "--no-long-poll"])
    def test_long_polls_can_be_switched_off(self, run: Run, server: Server, job: Job, flag: str) -> None:
        server.script = scripted_jobs(job, polls=0, age=1.1)
        assert run(flag)[0] == 0
        assert any("prefer" in request.headers for request in server.requests) == (flag == "--long-poll")

    def test_equal_failures_of_many_jobs_are_one_line(self, run: Run, server: Server) -> None:
        server.says((404, {"title": "Not Found"}))
        status, out, err = run("wait", *(f"j{n}" for n in range(120)), *QUICK)
        assert (status, len(err)) == (2, 1)
        assert out[-1] == "120 jobs: 120 failed"


def commands(command: Command) -> Iterator[Command]:
    """Yields the command and all its subcommands."""
    yield command
    for each in command.subcommands:
        yield from commands(each)


class TestTable:
    @pytest.mark.parametrize("command", [*commands(COMMAND)], ids=lambda command: command.name)
    def test_every_subcommand_has_a_handler(self, command: Command) -> None:
        assert callable(command.handler)

    def test_subcommand_without_a_handler_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="handler"):
            Command("nonsense", "do nothing")

    @pytest.mark.parametrize("words", [["nonsense"], ["sandbox", "nonsense"]])
    def test_unknown_subcommand_is_a_usage_error(self, run: Run, server: Server, words: list[str]) -> None:
        status, out, (line,) = run(*words)
        assert (status, out, server.requests) == (2, [], [])
        assert "invalid choice: 'nonsense'" in line
