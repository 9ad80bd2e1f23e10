"""What comes from outside the command: texts of a server, settings of a working directory, files that it leaves."""

from __future__ import annotations

import json
import os
import shlex
import threading
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Job, Request, Server

LOGIN = ("--username", "admin", "--password", "secretpassword")
EVIL = "a\x1b]0;b\x07\x9b31m\u202ec\u2066\u200f\u2028\u2029\x85\r\nd\x7f\0\t\ud800".encode("utf-8", "replace").decode()


def of_one_line(text: str) -> bool:
    """Whether a terminal shows every character of the text, and the text alone."""
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)


class TestTexts:
    @given(st.text())
    def test_every_text_becomes_one_line_of_what_can_be_seen(self, text: str) -> None:
        assert of_one_line(visible(text))
        assert of_one_line(one_line(text))
        assert len(one_line(text)) <= EXCERPT + 1

    @pytest.mark.parametrize("text", ["", "ä ß 漢字 ✓", "\\x1b"])
    def test_what_can_be_seen_stays(self, text: str) -> None:
        assert visible(text) == text

    def test_what_cannot_is_told(self) -> None:
        assert visible("a\x1b[2J\u202e\nb\u3000\xa0c") == "a\\x1b[2J\\u202e\\nb  c"

    @pytest.fixture
    def evil(self, server: Server, job: Job) -> Server:
        """A server that has put this text wherever it can."""
        finding = {"rule": EVIL, "severity": "warning", "message": EVIL, "jobs": [EVIL]}
        cards = {
            "text/plain": f"warning {EVIL}".encode(),
            "application/xml": f"<testsuites><failure message='{visible(EVIL)}\u202e\x85'/></testsuites>".encode(),
            "application/json": json.dumps({"findings": [finding]}).encode(),
        }

        def script(request: Request) -> tuple[int, object]:  # noqa: PLR0911 - one for each route
            path = request.path
            if path == "/sandbox/report":
                return 200, cards[request.headers["accept"]]
            if path == "/sandbox/requests":
                return 200, {"requests": [{"agent": EVIL, EVIL: EVIL}], "next": None}
            if path.startswith("/sandbox"):
                return 200, {
                    EVIL: EVIL,
                    "job": {"error_message": EVIL},
                    "scenarios": [{"scenario": EVIL, "meaning": EVIL}],
                }
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
            *(
                "sandbox",
                "sandbox scenarios",
                "sandbox pause j1",
                "sandbox finish j1",
                "sandbox requests",
                "sandbox scenario x",
            ),
        ],
    )
    @pytest.mark.parametrize("as_json", [False, True])
    def test_none_reaches_the_terminal_as_it_is(
        self, evil: Server, capsys: pytest.CaptureFixture[str], words: str, as_json: bool
    ) -> None:
        main(["--url", evil.url, *LOGIN, *words.split(), *(["--json"] if as_json else [])])
        out, err = capsys.readouterr()
        assert out or err
        told = [*out.split("\n"), *err.split("\n"), *Path("client.log").read_text().split("\n")]
        assert [line for line in told if not of_one_line(line)] == []
        if as_json:
            assert out.isascii()
            assert [json.loads(line) for line in out.splitlines()] or err

    def test_what_is_escaped_is_not_lost(self, evil: Server, capsys: pytest.CaptureFixture[str]) -> None:
        def run(*words: str) -> Any:
            main([*words, "--url", evil.url, *LOGIN])
            return capsys.readouterr().out

        assert json.loads(run("sandbox", "requests"))[0]["agent"] == EVIL
        assert json.loads(run("report", "--format", "json"))["findings"][0]["message"] == EVIL
        assert "\\u202e" in run("report")
        assert ET.fromstring(run("report", "--format", "junit"))[0].get("message").endswith("\u202e\x85")  # noqa: S314 - of this test

    def test_exceptions_and_findings_are_lines_too(self, evil: Server) -> None:
        with Client(evil.url, max_retries=0) as client:
            for job_id in ("refused", "html"):
                with pytest.raises(TranslationError) as raised:
                    client.status(job_id)
                assert of_one_line(str(raised.value))
            with pytest.raises(JobFailed) as failed:
                client.status("j1").raise_for_error()
            assert of_one_line(str(failed.value))
            assert [of_one_line(str(status)) for status in client.list()] == [True, True]
        with Sandbox(evil.url) as sandbox:
            assert of_one_line(str(sandbox.report()))
        assert of_one_line(str(TranslationError(EVIL)))


class TestResume:
    @given(
        st.lists(st.text(st.characters() | st.sampled_from("-='\"$`\\ "), min_size=1).filter(is_id), min_size=1),
        st.fixed_dictionaries({}, optional=dict.fromkeys(("url", "username", "kind", "log_file"), st.text(min_size=1))),
    )
    def test_the_command_that_goes_on_is_the_one_that_is_told(self, ids: list[str], flags: dict[str, str]) -> None:
        told = shlex.split(resume(Options(**flags), ids).removeprefix("Resume with: "))
        read = parse(told[told.index("wait", -len(ids) - 2) - len(flags) :])
        assert read.handler is jobs.WAIT
        assert [*read.ids] == ids
        assert {name: getattr(read, name) for name in flags} == flags

    def test_an_id_that_looks_like_a_flag_is_none(
        self, server: Server, job: Job, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = "--url=http://elsewhere.example"
        server.says((202, job(job_id=bad)), (200, job("pending", bad)))
        assert main(["--url", server.url, *LOGIN, "run", "--timeout", "0"]) == 4
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.endswith(f"wait -- {bad}")
        server.says((200, job("completed", bad)))
        assert main([*LOGIN, *shlex.split(line.partition("translation_client ")[2])]) == 0
        assert server.asked[-1] == "GET /status/--url%3Dhttp%3A%2F%2Felsewhere.example"


class TestWhereCredentialsGo:
    @pytest.fixture
    def told(self, server: Server, job: Job, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
        """Runs the command with these flags and gives its lines on stderr."""
        server.says((200, job("completed", "a")))

        def told(*flags: str) -> list[str]:
            assert main(["status", "a", *flags]) == 0
            return capsys.readouterr().err.splitlines()

        return told

    @pytest.mark.parametrize(
        ("dotenv", "environment", "flags", "places"),
        [
            ("SERVER_URL API_USERNAME", "API_PASSWORD", "", "the environment"),
            ("SERVER_URL", "API_USERNAME API_PASSWORD", "--quiet", "the environment"),
            ("SERVER_URL", "API_USERNAME API_PASSWORD", "--json", "the environment"),
            ("SERVER_URL API_PASSWORD", "", "--username admin", "the command line"),
            ("SERVER_URL", "API_USERNAME", "--password secret", "the environment and the command line"),
            ("SERVER_URL API_USERNAME", "", "--password-file secret", "the command line"),
            ("SERVER_URL API_USERNAME", "API_PASSWORD_FILE", "", "the environment"),
            ("SERVER_URL API_USERNAME API_PASSWORD_FILE", "", "", "a file that .env names"),
            ("SERVER_URL", "API_TOKEN", "--dialect mine.toml", "the environment"),
            ("SERVER_URL", "", "--dialect mine.toml --token secret", "the command line"),
            ("SERVER_URL API_TOKEN_FILE", "", "--dialect mine.toml", "a file that .env names"),
        ],
    )
    def test_it_is_told_where_the_working_directory_names_the_server(
        self,
        server: Server,
        told,
        monkeypatch: pytest.MonkeyPatch,
        dotenv: str,
        environment: str,
        flags: str,
        places: str,
    ) -> None:
        self.set(server, monkeypatch, dotenv, environment)
        assert told(*flags.split()) == [
            f"python3 -m translation_client: credentials from {places} go to {server.url}, the SERVER_URL of .env"
        ]
        assert " WARNING credentials from " in Path("client.log").read_text()

    def test_or_the_credentials(self, server: Server, told, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set(server, monkeypatch, "API_USERNAME API_PASSWORD", "SERVER_URL")
        (line,) = told()
        assert line.endswith(f"credentials from .env go to {server.url}, the SERVER_URL of the environment")

    @pytest.mark.parametrize(
        ("dotenv", "places"),
        [
            ("API_USERNAME=x\nAPI_PASSWORD=${OTHER_SECRET}", ("variables that .env names", ".env")),
            ("NAME=${OTHER_SECRET}\nAPI_USERNAME=${NAME}\nAPI_PASSWORD=x", ("variables that .env names", ".env")),
            ("URL=${OTHER}\nSERVER_URL=${URL}\nAPI_USERNAME=x\nAPI_PASSWORD=y", (".env", "variables that .env names")),
            (
                "SERVER_URL=${OTHER}\nAPI_USERNAME=${OTHER_SECRET}\nAPI_PASSWORD=${OTHER_SECRET}",
                ("variables that .env names", "variables that .env names"),
            ),
        ],
    )
    def test_or_reads_the_environment_out(
        self, server: Server, told, monkeypatch: pytest.MonkeyPatch, dotenv: str, places: tuple[str, str]
    ) -> None:
        monkeypatch.setenv("OTHER_SECRET", "s3")
        monkeypatch.setenv("OTHER", server.url)
        Path(".env").write_text(f"SERVER_URL={server.url}\n{dotenv}\n")
        (line,) = told()
        assert line.endswith(f"credentials from {places[0]} go to {server.url}, the SERVER_URL of {places[1]}")

    def test_what_stands_in_one_file_is_one_place(self, server: Server, told) -> None:
        Path(".env").write_text(f"PORT={server.url[17:]}\nSERVER_URL=http://127.0.0.1:${{PORT}}\n")
        with Path(".env").open("a") as file:
            file.write("API_USERNAME=x\nAPI_PASSWORD=y\n")
        assert told() == []

    def test_a_folder_of_that_name_is_none(self, server: Server, told) -> None:
        Path(".env").mkdir()
        assert told("--url", server.url, *LOGIN) == []

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
    def test_a_pipe_is_read_once(self, server: Server, told) -> None:
        os.mkfifo(".env")
        writer = threading.Thread(
            target=Path(".env").write_text, args=(f"SERVER_URL={server.url}\nAPI_USERNAME=x\nAPI_PASSWORD=y\n",)
        )
        writer.start()
        assert told() == []
        writer.join()

    @pytest.mark.parametrize(
        ("dotenv", "environment", "flags"),
        [
            ("SERVER_URL API_USERNAME API_PASSWORD", "", ""),
            ("", "SERVER_URL API_USERNAME API_PASSWORD", ""),
            ("", "SERVER_URL", "--username admin --password secret"),
            ("API_USERNAME API_PASSWORD", "", "--url SERVER_URL"),
            ("SERVER_URL", "API_USERNAME API_PASSWORD", "--url SERVER_URL"),
        ],
    )
    def test_it_is_not_told_where_one_place_says_both_or_the_caller_does(
        self, server: Server, told, monkeypatch: pytest.MonkeyPatch, dotenv: str, environment: str, flags: str
    ) -> None:
        self.set(server, monkeypatch, dotenv, environment)
        assert told(*flags.replace("SERVER_URL", server.url).split()) == []

    def test_the_sandboxs_commands_tell_it_too(
        self, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.set(server, monkeypatch, "SERVER_URL", "API_USERNAME API_PASSWORD")
        server.says((200, {}))
        assert main(["sandbox"]) == 0
        assert "credentials from the environment go to" in capsys.readouterr().err

    @pytest.mark.parametrize("url", ["http://admin:s3cret@127.0.0.1", "http://admin:s3cret@127.0.0.1:99999"])
    @pytest.mark.parametrize("where", ["--url", "SERVER_URL"])
    def test_an_address_with_credentials_is_refused_before_anybody_is_asked(
        self, capsys: pytest.CaptureFixture[str], url: str, where: str
    ) -> None:
        Path(".env").write_text(f"SERVER_URL={url}\n")
        for words in (["status", "a"], ["sandbox"], ["report"]):
            assert main([*words, *(["--url", url] if where == "--url" else []), "--log-file", "my.log"]) == 2
            err = capsys.readouterr().err
            assert f"{where} must " in err
            assert "s3cret" not in err + Path("my.log").read_text()

    @pytest.mark.parametrize("words", [["status", "a"], ["sandbox"], ["report"], ["sandbox", "requests"], ["start"]])
    def test_a_redirect_to_another_origin_is_not_followed(
        self, server: Server, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        server.says((307, None, {"location": "http://elsewhere.example/"}))
        assert main([*words, "--url", server.url, *LOGIN]) == 5
        assert "redirects (307) to http://elsewhere.example/" in capsys.readouterr().err
        assert {f"http://{request.headers['host']}" for request in server.requests} == {server.url}

    @staticmethod
    def set(server: Server, monkeypatch: pytest.MonkeyPatch, dotenv: str, environment: str) -> None:
        """Put the settings there; credentials are all the same."""
        settings = {"SERVER_URL": server.url, "API_PASSWORD_FILE": "secret", "API_TOKEN_FILE": "secret"}
        Path("secret").write_text("secret")
        Path("mine.toml").write_text(
            '[mine]\npoll = "/tasks/{job_id}"\njob = {status = "{status}"}\nauth = "X-Key"\n'
            'words = {pending = "pending", completed = "completed", error = "error"}\n'
        )
        Path(".env").write_text("".join(f"{name}={settings.get(name, 'secret')}\n" for name in dotenv.split()))
        for name in environment.split():
            monkeypatch.setenv(name, settings.get(name, "secret"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no modes here")
class TestFiles:
    @pytest.fixture(params=[0, 0o022, 0o777])
    def umask(self, request: pytest.FixtureRequest) -> Iterator[int]:
        before = os.umask(request.param)
        yield request.param
        os.umask(before)

    def test_what_the_command_leaves_is_for_its_owner_alone(self, server: Server, job: Job, umask: int) -> None:
        server.says((200, job("completed", "a")))
        for _ in range(2):
            assert main(["--url", server.url, *LOGIN, "wait", "a", "--history", "waits"]) == 0
        HistoryFile("waits").add("k", 3)
        assert {path.name: oct(path.stat().st_mode & 0o777) for path in Path().iterdir()} == {
            "client.log": "0o600",
            "waits": "0o600",
        }, umask

    def test_what_an_older_version_left_open_to_others_is_closed_to_them(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        Path("client.log").write_text("before\n")
        Path("client.log").chmod(0o644)
        assert main(["--url", server.url, *LOGIN, "status", "a"]) == 0
        assert Path("client.log").stat().st_mode & 0o777 == 0o600
        assert Path("client.log").read_text().startswith("before\n")

    def test_what_is_no_file_stays_as_it_is(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        with pipe("log") as read:
            assert main(["--url", server.url, *LOGIN, "status", "a", "--log-file", "log"]) == 0
            assert b"GET /status/a" in os.read(read, 65_536)
            assert Path("log").stat().st_mode & 0o777 == 0o644


@contextmanager
def pipe(name: str) -> Iterator[int]:
    """A named pipe that others may read, opened for reading."""
    os.mkfifo(name)
    Path(name).chmod(0o644)
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)
