"""Texts of a server in the output, in the line to resume with and in files; and the modes of these files."""

import json
import os
import shlex
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client import Client, JobFailed, Sandbox, TranslationError
from translation_client.cli import jobs, main
from translation_client.cli.commands import parse
from translation_client.cli.options import Options, resume
from translation_client.core.dialects import is_id
from translation_client.core.text import EXCERPT, one_line, visible
from translation_client.history import HistoryFile

LOGIN = ("--username", "admin", "--password", "secretpassword")
EVIL = "a\x1b]0;b\x07\x9b31m\u202ec\u2066\u200f\u2028\u2029\x85\r\nd\x7f\0\t\ud800".encode("utf-8", "replace").decode()


def is_one_line(text):
    """Whether a terminal shows every character of the text, and the text alone."""
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)


class TestEscaping:
    @given(st.text())
    def test_every_text_becomes_one_printable_line(self, text):
        assert is_one_line(visible(text))
        assert is_one_line(one_line(text))
        assert len(one_line(text)) <= EXCERPT + 1

    @pytest.mark.parametrize("text", ["", "ä ß 漢字 ✓", "\\x1b"])
    def test_printable_text_is_unchanged(self, text):
        assert visible(text) == text

    def test_other_characters_are_escaped(self):
        assert visible("a\x1b[2J\u202e\nb\u3000\xa0c") == "a\\x1b[2J\\u202e\\nb  c"

    @pytest.fixture
    def evil(self, server, job):
        """The scripted server, which puts EVIL into every text."""
        finding = {"rule": EVIL, "severity": "warning", "message": EVIL, "jobs": [EVIL]}
        cards = {
            "text/plain": f"warning {EVIL}".encode(),
            "application/xml": f"<testsuites><failure message='{visible(EVIL)}\u202e\x85'/></testsuites>".encode(),
            "application/json": json.dumps({"findings": [finding]}).encode(),
        }

        def script(request):  # noqa: PLR0911 - one for each route
            path = request.path
            if path == "/sandbox/report":
                return 200, cards[request.headers["accept"]]
            if path == "/sandbox/requests":
                return 200, {"requests": [{"agent": EVIL, EVIL: EVIL}], "next": None}
            if path.startswith("/sandbox"):
                scenarios = [{"scenario": EVIL, "meaning": EVIL}]
                return 200, {EVIL: EVIL, "job": {"error_message": EVIL}, "scenarios": scenarios}
            if path == "/jobs":
                return 200, {"jobs": [job("error", error_message=EVIL), job(EVIL, error_message=EVIL)], "next": None}
            if path.startswith("/status/refused"):
                return 422, {"title": EVIL, "detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}]}
            if path.startswith("/status/html"):
                return 200, EVIL.encode()
            if path.startswith("/status/"):
                return 200, job("error", path.rpartition("/")[2], error_message=EVIL)
            return 202, job(EVIL, error_message=EVIL)

        server.script = script
        return server

    @pytest.mark.parametrize(
        "words",
        [
            *("start", "list", "status j1", "status refused", "status html", "cancel j1", "wait j1 j2", "wait refused"),
            *("run --timeout 0", "wait j1 --stats", "status j1 --verbose", "report", "report --format junit"),
            *("sandbox", "sandbox scenarios", "sandbox pause j1", "sandbox finish j1", "sandbox requests"),
            "sandbox scenario x",
        ],
    )
    @pytest.mark.parametrize("as_json", [False, True])
    def test_server_texts_are_escaped_in_all_output(self, evil, capsys, words, as_json):
        main(["--url", evil.url, *LOGIN, *words.split(), "--log-file=client.log", *(["--json"] if as_json else [])])
        out, err = capsys.readouterr()
        assert out or err
        lines = [*out.split("\n"), *err.split("\n"), *Path("client.log").read_text().split("\n")]
        assert [line for line in lines if not is_one_line(line)] == []
        if as_json:
            assert out.isascii()
            assert [json.loads(line) for line in out.splitlines()] or err

    def test_escaped_text_can_be_decoded(self, evil, capsys):
        def run(*words):
            main([*words, "--url", evil.url, *LOGIN])
            return capsys.readouterr().out

        assert json.loads(run("sandbox", "requests"))[0]["agent"] == EVIL
        assert json.loads(run("report", "--format", "json"))["findings"][0]["message"] == EVIL
        assert "\\u202e" in run("report")
        assert ET.fromstring(run("report", "--format", "junit"))[0].get("message").endswith("\u202e\x85")  # noqa: S314 - from this test

    def test_exceptions_and_findings_are_printable_lines(self, evil):
        with Client(evil.url, max_retries=0) as client:
            for job_id in ("refused", "html"):
                with pytest.raises(TranslationError) as raised:
                    client.status(job_id)
                assert is_one_line(str(raised.value))
            with pytest.raises(JobFailed) as failed:
                client.status("j1").raise_for_error()
            assert is_one_line(str(failed.value))
            assert [is_one_line(str(status)) for status in client.list()] == [True, True]
        with Sandbox(evil.url) as sandbox:
            assert is_one_line(str(sandbox.report()))
        assert is_one_line(str(TranslationError(EVIL)))


class TestResume:
    @given(
        st.lists(st.text(st.characters() | st.sampled_from("-='\"$`\\ "), min_size=1).filter(is_id), min_size=1),
        st.fixed_dictionaries({}, optional=dict.fromkeys(("url", "username", "kind", "log_file"), st.text(min_size=1))),
    )
    def test_resume_line_parses_to_the_same_options(self, ids, flags):
        words = shlex.split(resume(Options(**flags), ids, listed=False).removeprefix("Resume with: "))
        parsed = parse(words[words.index("wait", -len(ids) - 2) - len(flags) :])
        assert parsed.handler is jobs.WAIT
        assert [*parsed.ids] == ids
        assert {name: getattr(parsed, name) for name in flags} == flags

    def test_id_with_leading_dashes_is_no_flag(self, server, job, capsys):
        bad = "--url=http://elsewhere.example"
        server.says((202, job(job_id=bad)), (200, job("pending", bad)))
        assert main(["--url", server.url, *LOGIN, "run", "--timeout", "0"]) == 4
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.endswith(f"wait -- {bad}")
        server.says((200, job("completed", bad)))
        assert main([*LOGIN, *shlex.split(line.partition("translation_client ")[2])]) == 0
        assert server.asked[-1] == "GET /status/--url%3Dhttp%3A%2F%2Felsewhere.example"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no modes here")
class TestFiles:
    @pytest.fixture(params=[0, 0o022, 0o777])
    def umask(self, request):
        before = os.umask(request.param)
        yield request.param
        os.umask(before)

    def test_files_are_readable_by_their_owner_alone(self, server, job, umask):
        server.says((200, job("completed", "a")))
        for _ in range(2):
            assert (
                main(["--url", server.url, *LOGIN, "wait", "a", "--history", "waits", "--log-file", "client.log"]) == 0
            )
        HistoryFile("waits").add("k", 3)
        assert {path.name: oct(path.stat().st_mode & 0o777) for path in Path().iterdir()} == {
            "client.log": "0o600",
            "waits": "0o600",
        }, umask

    def test_mode_of_an_existing_log_file_is_tightened(self, server, job):
        server.says((200, job("completed", "a")))
        Path("client.log").write_text("before\n")
        Path("client.log").chmod(0o644)
        assert main(["--url", server.url, *LOGIN, "status", "a", "--log-file", "client.log"]) == 0
        assert Path("client.log").stat().st_mode & 0o777 == 0o600
        assert Path("client.log").read_text().startswith("before\n")

    def test_mode_of_a_named_pipe_is_unchanged(self, server, job):
        server.says((200, job("completed", "a")))
        with pipe("log") as read:
            assert main(["--url", server.url, *LOGIN, "status", "a", "--log-file", "log"]) == 0
            assert b"GET /status/a" in os.read(read, 65_536)
            assert Path("log").stat().st_mode & 0o777 == 0o644


@contextmanager
def pipe(name):
    """A named pipe that others may read, opened for reading."""
    os.mkfifo(name)
    Path(name).chmod(0o644)
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)
