"""A reader who follows a page, on a machine with Python, make and Docker, and nothing of this project."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import httpx

from tests.documentation.pages import BASH, ids_in, matches, presses_ctrl_c, read, section, terminal_in
from tests.documentation.terminal import Terminal
from tests.ports import free_port

CREDENTIALS = ("admin", "secretpassword")

PASSED_ON = re.compile(
    r"(PIP|SSL|REQUESTS|CURL|DOCKER|DEBIAN)_\w+|(HTTPS?|NO|ALL)_PROXY|LANG|TERM|TMPDIR", re.IGNORECASE
)
"""The variables that a reader's machine has too: how it reaches the network and Docker."""

READY = re.compile(r"listening on http|Uvicorn running on http|ready to accept connections")
"""What a server prints when it can be used."""

NEEDS_DOCKER = re.compile(r"docker|--containers|[tT]estcontainers|test_scale|5432")

ONE_FILE = "tests/documentation/test_compose.py"

SHORTENED = {
    r"^make test$": f"PYTEST_ADDOPTS={ONE_FILE} PYTEST_XDIST_AUTO_NUM_WORKERS=1 make test",
    r"^pytest$": f"pytest {ONE_FILE}",
    r"^(python3 test_integration.py)( +#.*)?$": r"\1 ProcessTests.test_wrong_password_is_refused",
    r"^(python3 test_integration.py --containers)": r"\1 ContainerTests.test_missing_env_file_is_reported",
    r"^(python3 -m tests.test_scale)": r"\1 ScaleTests.test_one_key_makes_one_job_whichever_servers_are_asked",
    r"^(\S+ benchmarks/[^#\n]*[^#\s]).*": r"\1 --help",  # they take minutes, and the whole machine
}
"""Commands that would run all tests (this one too) or all benchmarks, and the commands that replace them."""


REMOVE = "docker compose --profile scale down --volumes --rmi local --remove-orphans --timeout 1"


class Machine:
    """A machine on which pages are read: programs, a home, and a folder for each page."""

    def __init__(self, root, folder):
        self.root = root
        self.folder = folder
        self.readme = read(root / "README.md", root)
        programs, home = folder / "bin", folder / "home"
        programs.mkdir()
        home.mkdir()
        (programs / "python3").write_text(f'#!/bin/sh\nexec "{Path(sys.base_prefix, "bin", "python3")}" "$@"\n')
        (programs / "python3").chmod(0o755)
        (home / ".curlrc").write_text("silent\nshow-error\n")  # it shows a meter only outside a terminal
        self.environment = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)} | {
            "HOME": str(home),
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip"),
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
            "BUILDKIT_PROGRESS": "plain",
            "COMPOSE_ANSI": "never",
            # The jobs of the pages end soon and well.
            "MIN_DELAY": "0.2",
            "MAX_DELAY": "0.6",
            "ERROR_PROBABILITY": "0",
        }

    def clone(self, name):
        """Returns a folder with the files of the project."""
        clone = self.folder / name
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=self.root, capture_output=True, text=True, check=True).stdout
        for file in filter(None, files.split("\0")):
            (clone / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / file, clone / file)
        return clone

    @cached_property
    def installed(self):
        """The environment of a reader who did what the README says under "Install", once for all pages."""
        folder = self.clone("installed")
        with Reader(self, folder) as reader:
            for block in section(self.readme, "Install"):
                reader.follow(block)
        return folder / ".venv"

    def copy_environment(self, folder):
        """Copies that environment to another folder, for what is not for the other pages."""
        copy = shutil.copytree(self.installed, folder / ".venv", symlinks=True)
        for program in (copy / "bin").iterdir():
            with suppress(UnicodeDecodeError):  # the path is in scripts, not in Python itself
                if not program.is_symlink():
                    program.write_text(program.read_text().replace(str(self.installed), str(copy)))


class Reader:
    """Follows one page after the other, in terminals of its own.

    Args:
        machine: where it reads.
        folder: where its terminals start.
        without_docker: why blocks that need Docker are left out; None if they are not.
        image_prefix: of the images that the page uses; by default, they are this reader's own.

    Attributes:
        left_out: The places of the blocks that were left out, and why.
    """

    def __init__(self, machine, folder, without_docker=None, image_prefix=None):
        self.left_out = {}
        self._machine = machine
        self._folder = folder
        self._without_docker = without_docker
        self._port = str(free_port())
        self._replaced = {
            r"\b8000\b": self._port,
            r"\b8001\b": str(free_port()),
            r"https://api.example\b": f"http://127.0.0.1:{self._port}",
            r"(?<=127\.0\.0\.1:)5432\b": str(free_port()),
            r"^docker buildx": "IMAGE_PREFIX= docker buildx",
            **SHORTENED,
        }
        self._terminals = {}
        self._current = 1
        self._activates = self._used_docker = False
        project = f"translation-test-{secrets.token_hex(4)}"
        self._environment = machine.environment | {
            "PORT": self._port,
            "SERVER_URL": f"http://127.0.0.1:{self._port}",
            "COMPOSE_PROJECT_NAME": project,
            "IMAGE_PREFIX": image_prefix or f"{project}/",
            "SCALE_NETWORK": f"10.{secrets.choice(range(64, 128))}.{secrets.choice(range(256))}",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for terminal in self._terminals.values():
            terminal.close()
        if self._used_docker:
            subprocess.run(
                [BASH, "-c", REMOVE], cwd=self._folder, env=self._environment, capture_output=True, check=True
            )

    def prepare(self, page):
        """Does what the page refers to: an installation, and a server."""
        links = set(re.findall(r"README\.md#([\w-]+)", page))
        if {"install", "start-the-server"} & links:
            if "pip install" in page:
                self._machine.copy_environment(self._folder)
            else:
                (self._folder / ".venv").symlink_to(self._machine.installed)
            self._activates = True
        if "start-the-server" in links:
            for block in section(self._machine.readme, "Start the server"):
                self.follow(block)
            self._current = 2

    def follow(self, block):
        """Does what a block says, after what the text before it says."""
        if presses_ctrl_c(block.before):
            self._press_ctrl_c(block)
        self._current = terminal_in(block.before) or self._current
        if NEEDS_DOCKER.search(block.text):
            if self._without_docker:
                self.left_out[block.place] = self._without_docker
                return
            self._used_docker = True
        if block.language == "http":
            self._send(block)
            return
        commands = commands_of(block)
        for number, (command, shown) in enumerate(commands):
            following = commands[number + 1][0] if number + 1 < len(commands) else None
            self._run(block, command, shown, stays=following is None and block.stays, may_fail=following == "echo $?")

    def finish(self, block):
        """Does what the text after the last block says."""
        if presses_ctrl_c(block.after):
            self._press_ctrl_c(block)

    @property
    def _terminal(self):
        if self._current not in self._terminals:
            terminal = self._terminals[self._current] = Terminal(self._folder, self._environment)
            if self._activates:
                terminal.start("source .venv/bin/activate")
                terminal.wait()
        return self._terminals[self._current]

    def _run(self, block, command, shown, *, stays, may_fail):
        terminal = self._terminal
        for pattern, instead in self._replaced.items():
            command = re.sub(pattern, instead, command)

        def is_there():
            output = terminal.output
            return matches(shown, output, whole=False) if shown else bool(READY.search(output))

        def fail(what):
            raise AssertionError(f"{block.place}: {what}\n$ {command}\n{terminal.output}")

        if not terminal.wait():
            fail("the command before still runs in this terminal; the page has to say how to go on")
        terminal.start(command)
        if not terminal.wait(is_there if stays else lambda: False):
            fail("this does not end" if not shown else f"this does not end, or does not print\n{shown}")
        if terminal.status and not may_fail and not shown:
            fail(f"this fails with exit status {terminal.status}")
        if shown and not matches(shown, terminal.output, whole=not stays):
            fail(f"the page shows\n{shown}and the output is another")
        if shown:
            self._replaced |= dict(zip(ids_in(shown), ids_in(terminal.output), strict=False))

    def _press_ctrl_c(self, block):
        busy = [terminal for terminal in self._terminals.values() if terminal.is_busy]
        assert busy or self.left_out, f"{block.place}: nothing runs that Ctrl-C could stop"
        for terminal in busy:
            assert terminal.press_ctrl_c(), f"{block.place}: it does not stop after Ctrl-C\n{terminal.output}"

    def _send(self, block):
        head, _, body = block.text.partition("\n\n")
        method, path = head.split()
        url = f"{self._environment['SERVER_URL']}{path}"
        headers = {"Content-Type": "application/json"}
        answer = httpx.request(method, url, content=body, headers=headers, auth=CREDENTIALS, trust_env=False)
        assert answer.is_success, f"{block.place}: {answer.status_code}\n{block.text}\n{answer.text}"


def commands_of(block):
    """Returns the commands with which a reader follows a block, and what each prints if the page shows it."""
    here = "<<'@end'\n{}@end"
    if block.file_name:
        return [(f"cat > {block.file_name} {here.format(block.text)}", None)]
    match block.language:
        case "bash" | "console":
            return block.commands()
        case "java" | "js" | "yaml" | "zsh" | "fish":
            return []
        case "diff":
            added = "\n".join(re.findall(r"^\+(.*)", block.text, re.MULTILINE)) + "\n"
            return [(f"python -W error - {here.format(added)}", None)]
        case "python" if re.search(r"^(async )?def test_", block.text, re.MULTILINE):
            return [(f"cat > test_example.py {here.format(block.text)}", None), ("pytest -q test_example.py", None)]
        case "python":
            return [(f"python -W error - {here.format(block.text)}", None)]
    raise AssertionError(f"{block.place}: nobody knows how to follow a block of {block.language}")
