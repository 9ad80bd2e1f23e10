"""Checks that no identifier uses a word that the project has given up, and that the name of each test has a subject.

Reads the files in Python and JavaScript, and prints each identifier that does not pass.

Run it from the root: `python tools/check_words.py`. It exits with status 1 if it finds one.
"""

import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

GONE = {
    "advice": "hint",
    "arrivals": "group commit or batch",
    "bulk": "batch",
    "draft": "record",
    "ear": "subscription",
    "forget": "evict or drop",
    "freshness": "staleness",
    "hear": "the event's name",
    "heard": "the event's name",
    "held": "paused, or long poll",
    "journal": "request log",
    "kept": "cached or stored",
    "lane": "poll endpoint",
    "look": "poll or snapshot",
    "looked": "polled",
    "looking": "polling",
    "lies": "false answers",
    "looks": "polls or snapshots",
    "moment": "virtual time",
    "news": "changes",
    "pump": "driver",
    "spoiled": "unusable",
    "strike": "apply",
    "struck": "affected",
    "tell": "publish, report or show",
    "telling": "rendering",
    "told": "reported or shown",
    "trail": "timeline",
    "wish": "fate override",
    "woke": "done",
    "world": "sandbox",
}
"""Words that no identifier may have, and what to say instead."""

FROZEN = {"migrations.py"}
"""Files that keep old words, because they never change."""

OTHERS = {"create_bulk"}
"""Identifiers of other projects, which keep their words."""

WITHOUT_SUBJECT = re.compile(r"test_(it|they|what|who)_.*")
"""The names of tests that do not begin with what they test."""

CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|[A-Za-z_$][\w$]*|[`{}]""", re.DOTALL)
"""The tokens of JavaScript that matter here: comments, strings, identifiers, and the signs around template literals."""

TEMPLATE = re.compile(r"\\.|`|\$\{", re.DOTALL)
"""Matches an escape, the closing backtick or the beginning of an expression in a template literal of JavaScript."""

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words(identifier: str) -> list[str]:
    """Returns the words of an identifier, in lower case and without a plural s that hides a word of the list."""
    found = [word.lower() for word in WORDS.findall(identifier)]
    return [word[:-1] if word[:-1] in GONE and word.endswith("s") else word for word in found]


def python_identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the identifiers in a file of Python, each after its line number."""
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string


def javascript_identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the identifiers in a file of JavaScript, each after its line number, also those in template literals."""
    text, end = path.read_text(encoding="utf-8"), 0
    opened = list[str]()  # the template literals and braces around the position
    while found := (TEMPLATE if opened[-1:] == ["`"] else CODE).search(text, end):
        end, token = found.end(), found[0]
        if opened and token == ("`" if opened[-1] == "`" else "}"):
            opened.pop()
        elif token in {"`", "{", "${"}:
            opened.append(token)
        elif token[0].isidentifier() or token[0] == "$":
            yield text.count("\n", 0, found.start()) + 1, token


def violations(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields the violations in a file, each as a line number, an identifier and the remedy."""
    for line, identifier in (javascript_identifiers if path.suffix == ".js" else python_identifiers)(path):
        if identifier not in OTHERS:
            for word in GONE.keys() & set(words(identifier)):
                yield line, identifier, f"say {GONE[word]}, not {word}"
            if WITHOUT_SUBJECT.fullmatch(identifier):
                yield line, identifier, "begin with what is tested"


def main() -> int:
    """Prints the violations in all files of the repository and returns the exit status."""
    listed = subprocess.run(["git", "ls-files", "*.py", "*.js"], cwd=ROOT, check=True, capture_output=True, text=True)
    status = 0
    for name in listed.stdout.split():
        path = ROOT / name
        if path.exists() and path.name not in FROZEN:
            for line, identifier, remedy in violations(path):
                print(f"{name}:{line}: {identifier}: {remedy}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
