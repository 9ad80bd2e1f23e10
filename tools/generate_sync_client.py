"""Generates the sync client from the async one: `make generate`.

The rules rename tokens and phrases of docstrings; ruff sorts the imports and formats the result.
"""

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "client" / "translation_client"
SOURCE, TARGET = PACKAGE / "client.py", PACKAGE / "_sync_client.py"

HEADER = '"""Generated from client.py by `make generate`. Edit client.py instead."""'
END = "# The generated part ends here.\n"
IMPORT = "from translation_client._sync_client import Client\n"

TOKENS = {
    "async": "",
    "async_driver": "sync_driver",
    "await": "",
    "aclose": "close",
    "aclosing": "closing",
    "AsyncClient": "Client",
    "AsyncDriver": "Driver",
    "AsyncGenerator": "Generator",
    "AsyncHttp": "SyncHttp",
    "AsyncReceiver": "Receiver",
    "AsyncTransport": "Transport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}

PHRASES = {
    "A client for async code. Callbacks may be async too. Each event loop has its own connections.": (
        "A client for sync code. Threads may share one. Each process has its own connections, after a fork too."
    ),
    "Closes the connections of this event loop; those of another loop close when that loop ends.": (
        "Closes the connections."
    ),
}

TOKEN = re.compile(rf"\b({'|'.join(TOKENS)})\b ?")


def generate(source: str) -> str:
    """Returns the sync module for an async one.

    Raises:
        ValueError: A phrase, or a line that marks a part, is not in the source.
    """
    for part in (END, IMPORT, *PHRASES):
        if source.count(part) != 1:
            raise ValueError(f"{SOURCE.name} must have this once: {part!r}")
    source = source.partition(END)[0].replace(IMPORT, "")
    for phrase, replacement in PHRASES.items():
        source = source.replace(phrase, replacement)
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    module_docstring = next(token for token in tokens if token.type == tokenize.STRING)
    for token in reversed(tokens):
        if token is module_docstring:
            new = HEADER
        elif token.type == tokenize.STRING:
            new = TOKEN.sub(_renamed, token.string)
        elif token.type == tokenize.NAME and token.string in TOKENS:
            new = TOKENS[token.string]
        else:
            continue
        _replace(lines, token, new)
    return _formatted("".join(lines))


def _renamed(found: re.Match[str]) -> str:
    new = TOKENS[found[1]]
    return new and found[0].replace(found[1], new)


def _replace(lines: list[str], token: tokenize.TokenInfo, new: str) -> None:
    (first, begin), (last, end) = token.start, token.end
    rest = lines[last - 1][end:]
    lines[first - 1 : last] = [lines[first - 1][:begin] + new + (rest if new else rest.lstrip(" "))]


def _formatted(source: str) -> str:
    for arguments in (["check", "--fix", "--select", "F401,I"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--stdin-filename", str(TARGET), "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True).stdout
    return source


if __name__ == "__main__":
    TARGET.write_text(generate(SOURCE.read_text()))
