"""What the command shows of its jobs: lines for people, JSON for programs, a live table on a terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from translation_client.core.errors import JobFailed, JobTimeout, TranslationError
from translation_client.core.model import Command, Event, Notice, Send, Sleep, Status

Show: TypeAlias = Callable[[Status], object]

STYLES = {"pending": "cyan", "completed": "green", "error": "red", "failed": "red", "timed out": "yellow"}


@dataclass
class Row:
    """One job of the command, as far as it is known.

    Attributes:
        show: Shows each status that is heard.
        warn: Is told of the first request that failed.
        id: Its id, once it has one.
        status: The last that was heard of it.
        heard: When that was, on the monotonic clock.
        next_look: When the next look is due, on the same clock; None while a request is under way.
        failure: What went wrong, with the job or on the way to it.
        warned: Whether a request has failed.
    """

    show: Show
    warn: Callable[[str], object]
    id: str | None = None
    status: Status | None = None
    heard: float = 0.0
    next_look: float | None = None
    failure: TranslationError | None = None
    warned: bool = False

    def hear(self, status: Status) -> None:
        """Take down a status, and show it."""
        self.id, self.status, self.heard = status.id, status, time.monotonic()
        self.show(status)

    def trace(self, item: Command | Event) -> None:
        """Take down when the client means to look next, and warn of the first request that fails."""
        if isinstance(item, Sleep):
            self.next_look = time.monotonic() + item.seconds
        elif isinstance(item, Send):
            self.next_look = None
        elif isinstance(item, Notice) and item.failure and not self.warned:
            self.warned = True
            self.warn(item.text)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.failure is not None or (self.status is not None and self.status.state.ended)

    @property
    def outcome(self) -> str:
        """How it stands, or what came of it."""
        if isinstance(self.failure, JobTimeout):
            return "timed out"
        if self.failure and not isinstance(self.failure, JobFailed):
            return "failed"
        return self.status.state if self.status else "starting"


def write(text: str) -> None:
    """Write a line to the standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_line(status: Status) -> None:
    """Write a status for people."""
    write(str(status))


def write_nothing(_: object) -> None:
    """Keep quiet."""


def write_json(status: Status) -> None:
    """Write a status as one JSON object on one line."""
    write(json.dumps({name: getattr(status, name) for name in ("id", "state", "progress", "elapsed", "error")}))


def live(rows: Sequence[Row]) -> AbstractContextManager[object]:
    """A table of the rows that keeps itself up to date on the terminal, and goes away at the end."""
    console = Console(file=sys.stdout)
    on_terminal = sys.stderr.isatty()  # then what is written there goes above the table
    return Live(
        get_renderable=partial(_table, rows, console), console=console, transient=True, redirect_stderr=on_terminal
    )


def _table(rows: Sequence[Row], console: Console) -> Table:
    table = Table.grid(padding=(0, 1))
    table.width = console.width - 3  # room for the ^C that a terminal echoes, which would break the last line
    table.add_column("id")  # the one to be cut where the terminal is narrow
    table.add_column("state", no_wrap=True)
    table.add_column("bar", ratio=1)
    for column in ("progress", "elapsed", "next look"):
        table.add_column(column, justify="right", no_wrap=True)
    now = time.monotonic()
    for row in rows[: console.height + 1]:  # the terminal has no room for more
        table.add_row(*_cells(row, now))
    return table


def _cells(row: Row, now: float) -> Iterator[RenderableType]:
    status = row.status
    yield Text((status.id if status else row.id) or "", no_wrap=True, overflow="ellipsis")
    yield Text(row.outcome, STYLES.get(row.outcome, ""))
    if status:
        yield ProgressBar(total=None if status.progress is None else 1.0, completed=status.progress or 0.0)
        yield "" if status.progress is None else f"{status.progress:.0%}"
        yield "" if status.elapsed is None else f"{status.elapsed + (0 if row.over else now - row.heard):.1f} s"
        if not row.over:
            yield "looking" if row.next_look is None else f"look in {max(0.0, row.next_look - now):.1f} s"
