"""The address and the credentials of the command: their sources, and the warning when sources are mixed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.command_line import LOGIN
from translation_client.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from tests.conftest import Job, Server

    Warnings: TypeAlias = Callable[..., list[str]]

MINE = """
auth = "X-Key: {token}"

[job.task]
words = {pending = "busy", completed = "done", error = "failed"}
body = {state = "{status}"}
submit = {request = "POST /tasks", body = {id = "{job_id}"}}
poll.request = "GET /tasks/{job_id}"
"""


class TestCredentials:
    @pytest.fixture
    def login(self, server: Server, job: Job) -> Callable[..., tuple[str, str]]:
        """Runs the command with these flags and returns the credentials that reached the server."""
        server.says((200, job("completed", "a")))

        def login(*arguments: str) -> str:
            assert main(["status", "a", "--log-file", "none", *arguments]) == 0
            return server.requests[-1].headers["authorization"]

        return login

    def test_sources_have_an_order(
        self, server: Server, login: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def basic(username: str, password: str) -> str:
            return next(httpx.BasicAuth(username, password).auth_flow(httpx.Request("GET", "http://a"))).headers[
                "authorization"
            ]

        Path("secret").write_text("from dotenv's file\n")
        Path(".env").write_text(f"SERVER_URL={server.url}\nAPI_USERNAME=dotenv\nAPI_PASSWORD_FILE=secret\n")
        assert login() == basic("dotenv", "from dotenv's file")
        Path(".env").write_text(f"SERVER_URL={server.url}\nAPI_USERNAME=dotenv\nAPI_PASSWORD=pä ss # a comment\n")
        assert login() == basic("dotenv", "pä ss")
        Path("secret").write_text("from the environment's file\r\n")
        monkeypatch.setenv("API_PASSWORD_FILE", "secret")
        monkeypatch.setenv("API_USERNAME", "env")
        assert login() == basic("env", "from the environment's file")
        monkeypatch.setenv("API_PASSWORD", "from the environment")
        assert login() == basic("env", "from the environment")
        Path("another").write_text(" from the flag's file ")
        assert login("--password-file", "another") == basic("env", " from the flag's file ")
        assert login("--password", "from the flag", "--password-file", "another") == basic("env", "from the flag")
        assert login("--username", "flag", "--password", "") == basic("flag", "")

    def test_token_comes_from_the_same_sources(
        self, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("mine.toml").write_text(MINE)
        server.says((200, {"state": "done"}))

        def token(*arguments: str) -> str:
            server_options = ["--url", server.url, "--dialect", "mine.toml", "--log-file", "none"]
            assert main([*server_options, "status", "a", *arguments]) == 0
            return server.requests[-1].headers["x-key"]

        Path(".env").write_text("API_TOKEN=from dotenv\nAPI_USERNAME=unused\n")
        assert token() == "from dotenv"
        Path("secret").write_text("from the environment's file\n")
        monkeypatch.setenv("API_TOKEN_FILE", "secret")
        assert token() == "from the environment's file"
        monkeypatch.setenv("API_TOKEN", "from the environment")
        assert token() == "from the environment"
        Path("another").write_text("from the flag's file")
        assert token("--token-file", "another") == "from the flag's file"
        assert token("--token", "from the flag", "--token-file", "another") == "from the flag"
        assert "authorization" not in server.requests[-1].headers

        assert main(["--dialect", "mine.toml", "--username", "admin", "status", "a"]) == 2
        assert "--username does not fit the dialect mine: give token" in capsys.readouterr().err
        assert main(["--dialect", "mine.toml", "--token-file", "missing", "status", "a"]) == 2
        assert "the token file 'missing' cannot be read" in capsys.readouterr().err
        monkeypatch.delenv("API_TOKEN")
        monkeypatch.delenv("API_TOKEN_FILE")
        Path(".env").unlink()
        assert main(["--dialect", "mine.toml", "status", "a"]) == 2
        assert "no token. Give --token, or set API_TOKEN" in capsys.readouterr().err

    def test_unreadable_dotenv_is_a_usage_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path(".env").write_bytes(b"API_USERNAME=\xff")
        assert main(["list"]) == 2
        assert ".env cannot be read" in capsys.readouterr().err

    @pytest.mark.parametrize(("arguments", "missing"), [((), "username"), (("--username", "admin"), "password")])
    def test_missing_credentials_without_a_terminal_are_a_usage_error(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], missing: str
    ) -> None:
        assert main(["list", *arguments]) == 2
        assert f"no {missing}. Give --{missing}, or set API_{missing.upper()}" in capsys.readouterr().err


class TestMixedSources:
    @pytest.fixture
    def warnings(self, server: Server, job: Job, capsys: pytest.CaptureFixture[str]) -> Warnings:
        """Runs the command with these flags and returns its lines on stderr."""
        server.says((200, job("completed", "a")))

        def warnings(*flags: str) -> list[str]:
            assert main(["status", "a", "--log-file", "client.log", *flags]) == 0
            return capsys.readouterr().err.splitlines()

        return warnings

    @pytest.mark.parametrize(
        ("dotenv", "environment", "flags", "sources"),
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
    def test_warning_names_source_of_credentials_for_a_server_of_dotenv(
        self,
        server: Server,
        warnings: Warnings,
        monkeypatch: pytest.MonkeyPatch,
        dotenv: str,
        environment: str,
        flags: str,
        sources: str,
    ) -> None:
        self.configure(server, monkeypatch, dotenv, environment)
        assert warnings(*flags.split()) == [
            f"python3 -m translation_client: credentials from {sources} go to {server.url}, the SERVER_URL of .env"
        ]
        assert " WARNING credentials from " in Path("client.log").read_text()

    def test_warning_names_server_for_credentials_of_dotenv(
        self, server: Server, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.configure(server, monkeypatch, "API_USERNAME API_PASSWORD", "SERVER_URL")
        (line,) = warnings()
        assert line.endswith(f"credentials from .env go to {server.url}, the SERVER_URL of the environment")

    @pytest.mark.parametrize(
        ("dotenv", "sources"),
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
    def test_warning_for_variables_that_dotenv_expands(
        self, server: Server, warnings: Warnings, monkeypatch: pytest.MonkeyPatch, dotenv: str, sources: tuple[str, str]
    ) -> None:
        monkeypatch.setenv("OTHER_SECRET", "s3")
        monkeypatch.setenv("OTHER", server.url)
        Path(".env").write_text(f"SERVER_URL={server.url}\n{dotenv}\n")
        (line,) = warnings()
        assert line.endswith(f"credentials from {sources[0]} go to {server.url}, the SERVER_URL of {sources[1]}")

    def test_no_warning_for_one_file(self, server: Server, warnings: Warnings) -> None:
        Path(".env").write_text(f"PORT={server.url[17:]}\nSERVER_URL=http://127.0.0.1:${{PORT}}\n")
        with Path(".env").open("a") as file:
            file.write("API_USERNAME=x\nAPI_PASSWORD=y\n")
        assert warnings() == []

    def test_folder_named_dotenv_is_ignored(self, server: Server, warnings: Warnings) -> None:
        Path(".env").mkdir()
        assert warnings("--url", server.url, *LOGIN) == []

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
    def test_pipe_named_dotenv_is_read_once(self, server: Server, warnings: Warnings) -> None:
        os.mkfifo(".env")
        writer = threading.Thread(
            target=Path(".env").write_text, args=(f"SERVER_URL={server.url}\nAPI_USERNAME=x\nAPI_PASSWORD=y\n",)
        )
        writer.start()
        assert warnings() == []
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
    def test_no_warning_for_one_source_or_for_an_explicit_server(
        self,
        server: Server,
        warnings: Warnings,
        monkeypatch: pytest.MonkeyPatch,
        dotenv: str,
        environment: str,
        flags: str,
    ) -> None:
        self.configure(server, monkeypatch, dotenv, environment)
        assert warnings(*flags.replace("SERVER_URL", server.url).split()) == []

    def test_sandbox_subcommands_warn_too(
        self, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.configure(server, monkeypatch, "SERVER_URL", "API_USERNAME API_PASSWORD")
        server.says((200, {}))
        assert main(["sandbox"]) == 0
        assert "credentials from the environment go to" in capsys.readouterr().err

    @pytest.mark.parametrize("url", ["http://admin:s3cret@127.0.0.1", "http://admin:s3cret@127.0.0.1:99999"])
    @pytest.mark.parametrize("where", ["--url", "SERVER_URL"])
    def test_address_with_credentials_is_refused_before_the_prompt(
        self, capsys: pytest.CaptureFixture[str], url: str, where: str
    ) -> None:
        Path(".env").write_text(f"SERVER_URL={url}\n")
        for words in (["status", "a"], ["sandbox"], ["report"]):
            assert main([*words, *(["--url", url] if where == "--url" else []), "--log-file", "my.log"]) == 2
            err = capsys.readouterr().err
            assert f"{where} must " in err
            assert "s3cret" not in err + Path("my.log").read_text()

    @pytest.mark.parametrize("words", [["status", "a"], ["sandbox"], ["report"], ["sandbox", "requests"], ["start"]])
    def test_redirect_to_another_origin_is_not_followed(
        self, server: Server, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        server.says((307, None, {"location": "http://elsewhere.example/"}))
        assert main([*words, "--url", server.url, *LOGIN]) == 5
        assert "redirects (307) to http://elsewhere.example/" in capsys.readouterr().err
        assert {f"http://{request.headers['host']}" for request in server.requests} == {server.url}

    @staticmethod
    def configure(server: Server, monkeypatch: pytest.MonkeyPatch, dotenv: str, environment: str) -> None:
        """Sets names in `.env` and in the environment; every credential has the same value."""
        settings = {"SERVER_URL": server.url, "API_PASSWORD_FILE": "secret", "API_TOKEN_FILE": "secret"}
        Path("secret").write_text("secret")
        Path("mine.toml").write_text(
            MINE.replace("busy", "pending").replace("done", "completed").replace("state =", "status =")
        )
        Path(".env").write_text("".join(f"{name}={settings.get(name, 'secret')}\n" for name in dotenv.split()))
        for name in environment.split():
            monkeypatch.setenv(name, settings.get(name, "secret"))
