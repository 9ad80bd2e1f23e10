"""The pages of the documentation as a reader works through them: blocks of commands and programs, and the text between.

The language of a block, and the text before and after it, determine how it is used:

- `bash`: lines that the reader types. `console`: the lines after `$` are typed, and the others are what is printed.
- `python`: a program that is run; with tests in it, by pytest. `diff`: the lines with `+` are such a program.
- `java`, `js`, `yaml`, `zsh`, `fish`: not run here; `tests/packages/` tries all except those of Java.
- `http`: a request that the page's server has to accept: method and path, an empty line, the body.
- Any block whose first line is `# NAME.EXTENSION` is a file that the reader saves.
- "In a second terminal" opens one, and "in the first terminal" goes back. What is started there goes on.
- "Press Ctrl-C" stops what runs in the foreground of a terminal.
- A link to `README.md#install` or `README.md#start-the-server` means that the reader has followed that section.
- Blocks between `<!-- name:begin -->` and `<!-- name:end -->` are written by a program and not run.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, replace

BASH = shutil.which("bash") or "bash"

ORDINALS = {"one": 1, "first": 1, "second": 2, "third": 3}

VARIABLE = {
    "ID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "HINT": r"(?<=retry-after: )\d+|(?<=retry-after-ms: )\d+",
    "PORT": r"(?<=127\.0\.0\.1:)\d+|(?<=0\.0\.0\.0:)\d+",
    "RULE": r"={3,}",  # as wide as the text in it leaves room
    "NUMBER": r"(?<![\d.])\d+\.\d+(?!\.?\d)",  # a duration, for example; not a version, an address or a count
}
"""The parts that may differ between the page and the output. The rest has to be the same, except spaces and line
breaks; `…` in a page stands for any text."""


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        place: The page and the line of the block.
        language: The language after the backticks.
        text: The lines between the backticks.
        before: The text of the page since the block before.
        after: The text of the page until the next block.
    """

    place: str
    language: str
    text: str
    before: str
    after: str

    @property
    def file_name(self):
        """The name under which the reader saves the block; None for one that is run."""
        found = re.match(r"# ([\w/-]+\.\w+)\b", self.text)
        return found[1] if found else None

    @property
    def terminal(self):
        """The number of the terminal that the text before names last."""
        return terminal_in(self.before)

    @property
    def stays(self):
        """Whether the text after the block says how to continue while the last command still runs."""
        return presses_ctrl_c(self.after) or terminal_in(self.after) is not None

    def commands(self):
        """Returns the commands, and what each prints if the page shows it."""
        commands: list[tuple[str, str | None]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            shown = self.language == "console"
            if shown and commands and not line.startswith("$ "):
                command, output = commands[-1]
                commands[-1] = (command, f"{output or ''}{line}\n")
                continue
            command = line.removeprefix("$ ") if shown else line
            while command.endswith("\\") or not is_complete(command):
                command += "\n" + next(lines)
            if re.sub(r"^\s*#.*", "", command).strip():
                commands.append((command, None))
        return commands


def read(page, root):
    """Returns the blocks of a page that are run."""
    text = page.read_text()
    fences = list(re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    generated = [found.span() for found in re.finditer(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", text, re.DOTALL)]
    starts = [*(fence.start() for fence in fences), len(text)]
    ends = [0, *(fence.end() for fence in fences)]
    return [
        Block(
            f"{page.relative_to(root)}:{len(text[: fence.start()].splitlines()) + 1}",
            fence[1],
            fence[2],
            before=text[ends[number] : fence.start()],
            after=text[fence.end() : starts[number + 1]],
        )
        for number, fence in enumerate(fences)
        if not any(start < fence.start() < end for start, end in generated)
    ]


def section(blocks, heading):
    """Returns the blocks of the section with this heading."""
    first = next(number for number, block in enumerate(blocks) if f"# {heading}\n" in block.before)
    following = (number for number, block in enumerate(blocks) if number > first and "\n#" in block.before)
    _, _, before = blocks[first].before.partition(f"# {heading}\n")
    return [replace(blocks[first], before=before), *blocks[first + 1 : next(following, len(blocks))]]


def presses_ctrl_c(text):
    """Whether a text says to press Ctrl-C."""
    return bool(re.search(r"press\s+Ctrl-C", text, re.IGNORECASE))


def terminal_in(text):
    """Returns the number of the terminal that a text names last; None if it names none."""
    named = re.findall(rf"\bin\s+(?:a\s+|the\s+)?({'|'.join(ORDINALS)})\s+terminal", text, re.IGNORECASE)
    return ORDINALS[named[-1].lower()] if named else None


def is_complete(command):
    """Whether a shell would not ask for another line."""
    return subprocess.run([BASH, "-n", "-c", command], capture_output=True, check=False).returncode == 0


def matches(shown, output, *, whole=True):
    """Whether an output is what a page shows, as `VARIABLE` says; ``whole`` is False where more may follow."""
    words = without_variables(shown).replace("…", " … ").split()
    pattern = r"\s*".join(".*" if word == "…" else re.escape(word) for word in words)
    return bool(re.match(rf"\s*{pattern}" + r"\s*$" * whole, without_variables(output), re.DOTALL))


def ids_in(text):
    """Returns the ids that a text has."""
    return re.findall(VARIABLE["ID"], text)


def without_variables(text):
    """Returns a text with placeholders for the parts that may differ."""
    for name, pattern in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return text
