"""Shells complete the command with what `--completion` prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import Terminal
from translation_client.cli import main
from translation_client.cli.commands import SHELLS

CASES = [
    ("translation-client sandb", ["sandbox"]),
    ("translation-client sandbox fin", ["finish"]),
    ("translation-client wait --sched", ["--schedule"]),
    ("translation-client wait --passw", ["--password", "--password-file"]),
    ("translation-client list --status com", ["completed"]),
    ("translation-client run --dialect repl", ["replicate"]),
    ("translation-client start --password-file cred", ["credentials"]),
]

BASH = """source completion
complete -p translation-client >/dev/null || exit 1
COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_translation_client
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source completion; complete -C $argv[1]"


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Returns what puts the completion for a shell into the working folder; skips where there is no such shell."""
    (tmp_path / "credentials").touch()
    monkeypatch.chdir(tmp_path)

    def prepare(shell: str) -> str:
        if (program := shutil.which(shell)) is None:
            pytest.skip(f"{shell} is not installed")
        assert main(["--completion", shell]) == 0
        Path("completion").write_text(capsys.readouterr().out, encoding="utf-8")
        return program

    return prepare


@pytest.mark.parametrize(("line", "words"), CASES)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_bash_and_fish_complete_the_command(folder, shell, line, words):
    program = folder(shell)
    arguments = [BASH, "-"] if shell == "bash" else [FISH]
    ran = subprocess.run([program, "-c", *arguments, line], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert sorted(found.split("\t")[0].strip() for found in ran.stdout.splitlines()) == words


def test_zsh_completes_the_command(folder):
    terminal = Terminal([folder("zsh"), "-f", "-i"], PS1="", TERM="dumb")
    terminal.type('autoload -Uz compinit && compinit -u -D && eval "$(cat completion)"; echo re""ady\n')
    terminal.until("ready")
    for line, words in CASES:
        if len(words) == 1:
            terminal.seen = ""
            terminal.type(f"{line}\t")
            terminal.until(f"{words[0][-4:]} ?")
            terminal.type("\x15")
    terminal.type("exit\n")
    assert terminal.end() == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_imported_only_on_demand(shell):
    program = "import sys; from translation_client.cli import main; main(sys.argv[1:]); print('shtab' in sys.modules)"
    command = [sys.executable, "-c", program]
    ran = subprocess.run([*command, "list", "--limit", "0"], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
    asked = subprocess.run([*command, "--completion", shell], capture_output=True, text=True, check=True)
    assert asked.stdout.endswith("True\n")
