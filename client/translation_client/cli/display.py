"""What the command shows of its jobs: lines for people, JSON for programs, a live table on a terminal."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from translation_client.core.effects import Chunk, Effect, Input, Listen, Reply, Send, Sleep, Warn
from translation_client.core.errors import TranslationError
from translation_client.core.status import JobFailed, JobTimeout, State, Status
from translation_client.core.text import visible

Show: TypeAlias = Callable[[Status], object]

MANY = 50  # jobs: of more, not each is worth a line once it has completed

STYLES = {"pending": "cyan", "completed": "green", "error": "red", "failed": "red", "timed out": "yellow"}


@dataclass
class Row:
    """One job of the command, as far as it is known.

    Attributes:
        show: Shows each status that is heard.
        id: Its id, once it has one.
        status: The last that was heard of it.
        parsed: When that was, on the monotonic clock.
        failure: What went wrong, with the job or on the way to it.
    """

    show: Show
    id: str | None = None
    status: Status | None = None
    parsed: float = 0.0
    failure: TranslationError | None = None

    def update(self, status: Status, *, show: bool = True) -> None:
        """Take down a status, and show it if it is news."""
        news = show and str(status) != str(self.status)
        self.id, self.status, self.parsed = status.id, status, time.monotonic()
        if news:
            self.show(status)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Take down what goes wrong while this lasts."""
        try:
            yield
        except TranslationError as failure:
            self.failure = failure

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


@dataclass
class Work:
    """All that the command does, as far as it is known.

    Attributes:
        rows: A row for each job.
        warn: Is told of the first request that failed.
        next_poll: When the next look is due, on the monotonic clock; None while a request is under way.
        warned: Whether a request has failed.
        requests: How many were made.
        bytes: What the answers brought.
    """

    rows: Sequence[Row]
    warn: Callable[[str], object]
    next_poll: float | None = None
    warned: bool = False
    requests: int = 0
    bytes: int = 0

    def trace(self, item: Effect | Input) -> None:
        """Take down what the client does, and warn of the first request that fails."""
        match item:
            case Sleep(seconds=seconds):
                self.next_poll = time.monotonic() + seconds
            case Send() | Listen(send=Send()):
                self.next_poll = None
                self.requests += 1
            case Reply(body=body):
                self.bytes += len(body)
            case Chunk(data=data):
                self.bytes += len(data)
            case Warn(text=text, failure=True) if not self.warned:
                self.warned = True
                self.warn(text)

    def shown(self) -> Sequence[Row]:
        """The rows to list at the end: all, or if there are many, those that did not complete."""
        return self.rows if len(self.rows) <= MANY else [row for row in self.rows if row.outcome != State.COMPLETED]


def write(*lines: str) -> None:
    """Write lines to the standard output, at once; what is not printable in one is escaped."""
    sys.stdout.writelines(f"{visible(line)}\n" for line in lines)
    sys.stdout.flush()


def write_line(status: Status) -> None:
    """Write a status for people."""
    write(str(status))


def write_nothing(_: object) -> None:
    """Keep quiet."""


def write_json(status: Status, *, stats: bool = False) -> None:
    """Write a status as one JSON object on one line, and what the wait has cost if that is asked for and known."""
    document = {name: getattr(status, name) for name in ("id", "state", "progress", "elapsed", "error")}
    write(json.dumps(document | ({"cost": asdict(status.cost)} if stats and status.cost else {})))


def write_stats(work: Work) -> None:
    """Write what the wait for each job has cost, and what all of it has."""
    costs = [(row.id, row.status.cost) for row in work.rows if row.status and row.status.cost]
    for job_id, cost in costs[:MANY]:
        late = "" if cost.lateness is None else f", {cost.lateness:.3f} s late"
        write(f"{job_id}: {cost.polls} looks, {cost.bytes} bytes, {cost.asleep:.1f} s asleep{late}")
    told = [cost.lateness for _, cost in costs if cost.lateness is not None]
    late = f", {sum(told) / len(told):.3f} s late on average, {max(told):.3f} s at most" if told else ""
    write(f"in all: {work.requests} requests, {work.bytes} bytes{late}")


def live(work: Work) -> AbstractContextManager[object]:
    """A table of the rows that keeps itself up to date on the terminal, and goes away at the end."""
    console = Console(file=sys.stdout)
    on_terminal = sys.stderr.isatty()  # then what is written there goes above the table
    return Live(
        get_renderable=partial(_screen, work, console), console=console, transient=True, redirect_stderr=on_terminal
    )


def _screen(work: Work, console: Console) -> RenderableType:
    """A line for each job; where the terminal has no room for all, for those it has room for, and a summary."""
    width = console.width - 3  # room for the ^C that a terminal echoes, which would break the last line
    room = max(1, console.height - 1)
    if len(work.rows) <= room:
        return _table(work, work.rows, width)
    counts = Counter(row.outcome for row in work.rows)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    unfinished = [row for row in work.rows if not row.over]
    return Group(
        _table(work, unfinished[: max(0, room - 2)], width),
        Text(f"{len(work.rows)} jobs: {summary}", no_wrap=True, overflow="ellipsis"),
        ProgressBar(total=len(work.rows), completed=len(work.rows) - len(unfinished), width=width),  # ends no line
    )


def _table(work: Work, rows: Sequence[Row], width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.width = width
    table.add_column("id")  # the one to be cut where the terminal is narrow
    table.add_column("state", no_wrap=True)
    table.add_column("bar", ratio=1)
    for column in ("progress", "elapsed", "next look"):
        table.add_column(column, justify="right", no_wrap=True)
    now = time.monotonic()
    for row in rows:
        table.add_row(*_cells(row, now, work.next_poll))
    return table


def _cells(row: Row, now: float, next_poll: float | None) -> Iterator[RenderableType]:
    status = row.status
    yield Text(visible((status.id if status else row.id) or ""), no_wrap=True, overflow="ellipsis")
    yield Text(row.outcome, STYLES.get(row.outcome, ""))
    if status:
        yield ProgressBar(total=None if status.progress is None else 1.0, completed=status.progress or 0.0)
        yield "" if status.progress is None else f"{status.progress:.0%}"
        yield "" if status.elapsed is None else f"{status.elapsed + (0 if row.over else now - row.parsed):.1f} s"
        if not row.over and next_poll is not None:
            yield f"look in {max(0.0, next_poll - now):.1f} s"
