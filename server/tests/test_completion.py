"""Shells complete the server's command with what `--completion` prints."""

import shutil
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "translation_server", "--completion"]
BASH = """source completion
COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_translation_server
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shells_complete_the_command(shell, tmp_path):
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run([*COMMAND, shell], capture_output=True, text=True, check=True).stdout
    (tmp_path / "completion").write_text(script)
    (tmp_path / "mine.toml").touch()
    for line, word in (
        ("translation-server --work", "--workers"),
        ("translation-server dialects sh", "show"),
        ("translation-server dialects show repl", "replicate"),
        ("translation-server dialects check mine", "mine.toml"),
    ):
        arguments = [BASH, "-"] if shell == "bash" else ["source completion; complete -C $argv[1]"]
        command = [program, "-c", *arguments, line]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert (ran.stdout.split()[:1], ran.stderr) == ([word], "")


def test_zsh_accepts_the_script():
    if (program := shutil.which("zsh")) is None:
        pytest.skip("zsh is not installed")
    script = subprocess.run([*COMMAND, "zsh"], capture_output=True, text=True, check=True).stdout
    assert subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=True).stderr == ""
