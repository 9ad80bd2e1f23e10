"""The command's output: lines for people, JSON for programs, a live table on a terminal."""

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
from translation_client.core.status import JobFailed, JobTimeout, Status
from translation_client.core.text import visible

Show: TypeAlias = Callable[[Status], object]

MANY = 50  # with more jobs than this, completed ones are counted and not listed

STYLES = {"pending": "cyan", "completed": "green", "error": "red", "failed": "red", "timed out": "yellow"}


@dataclass
class TrackedJob:
    """One job of the command line.

    Attributes:
        show: Shows a status.
        id: Its id; empty until the server has assigned one.
        status: Its last known status.
        updated: When that status came, on the monotonic clock.
        failure: The job's failure, or the error that ended the wait for it.
    """

    show: Show
    id: str = ""
    status: Status | None = None
    updated: float = 0.0
    failure: TranslationError | None = None

    def update(self, status: Status, *, show: bool = True) -> None:
        """Stores a status, and shows it if its text has changed."""
        changed = str(status) != str(self.status)
        self.id, self.status, self.updated = status.id, status, time.monotonic()
        if show and changed:
            self.show(status)

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Stores an error of the library instead of raising it."""
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
        """The job's state, or why the wait for it ended."""
        if isinstance(self.failure, JobTimeout):
            return "timed out"
        if self.failure and not isinstance(self.failure, JobFailed):
            return "failed"
        return self.status.state if self.status else "starting"


@dataclass
class Tracker:
    """The jobs of the command line, and the client's traffic.

    Attributes:
        jobs: The jobs.
        warn: Shows the first failed request.
        next_poll: When the next poll is due, on the monotonic clock; None during a request.
        warned: Whether a request has failed.
        requests: The number of requests.
        bytes: The size of the answers' bodies.
    """

    jobs: Sequence[TrackedJob]
    warn: Callable[[str], object]
    next_poll: float | None = None
    warned: bool = False
    requests: int = 0
    bytes: int = 0

    def trace(self, item: Effect | Input) -> None:
        """Counts the client's traffic, and warns of the first request that fails."""
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


def write(*lines: str) -> None:
    """Writes lines to stdout and flushes it; characters that are not printable are escaped."""
    sys.stdout.writelines(f"{visible(line)}\n" for line in lines)
    sys.stdout.flush()


def write_line(status: Status) -> None:
    """Writes a status as a line for people."""
    write(str(status))


def write_nothing(_: object) -> None:
    """Writes nothing."""


def write_json(status: Status, *, stats: bool = False) -> None:
    """Writes a status as a line of JSON, with `stats` and if it is known also what the wait cost."""
    document = {name: getattr(status, name) for name in ("id", "state", "progress", "elapsed", "error")}
    write_document(document | ({"cost": asdict(status.cost)} if stats and status.cost else {}), compact=True)


def write_document(document: object, *, compact: bool) -> str:
    """Writes JSON in ASCII, which a terminal cannot interpret, and returns it; `compact` puts it on one line."""
    text = json.dumps(document, indent=None if compact else 2)
    write(*text.split("\n"))
    return text


def write_stats(tracker: Tracker) -> None:
    """Writes what the wait for each job cost, and the totals."""
    costs = [(job.id, job.status.cost) for job in tracker.jobs if job.status and job.status.cost]
    for job_id, cost in costs[:MANY]:
        late = "" if cost.lateness is None else f", {cost.lateness:.3f} s late"
        write(f"{job_id}: {cost.polls} polls, {cost.bytes} bytes, {cost.asleep:.1f} s asleep{late}")
    values = [cost.lateness for _, cost in costs if cost.lateness is not None]
    late = f", {sum(values) / len(values):.3f} s late on average, {max(values):.3f} s at most" if values else ""
    write(f"in all: {tracker.requests} requests, {tracker.bytes} bytes{late}")


def summary(jobs: Sequence[TrackedJob]) -> str:
    """Returns how many jobs have which outcome."""
    counts = Counter(job.outcome for job in jobs)
    return f"{len(jobs)} jobs: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}"


def live(tracker: Tracker) -> AbstractContextManager[object]:
    """Returns a context that shows a live table of the jobs on the terminal, and removes it at the end."""
    console = Console(file=sys.stdout)
    on_terminal = sys.stderr.isatty()  # then lines on stderr go above the table
    return Live(
        get_renderable=partial(_screen, tracker, console), console=console, transient=True, redirect_stderr=on_terminal
    )


def _screen(tracker: Tracker, console: Console) -> RenderableType:
    """Returns a line per job. If they do not fit on the screen: the first unfinished ones, and a summary."""
    width = console.width - 3  # a terminal echoes ^C, which would wrap the last line
    height = max(1, console.height - 1)
    jobs = tracker.jobs
    if len(jobs) <= height:
        return _table(tracker, jobs, width)
    unfinished = [job for job in jobs if not job.over]
    return Group(
        _table(tracker, unfinished[: max(0, height - 2)], width),
        Text(summary(jobs), no_wrap=True, overflow="ellipsis"),
        ProgressBar(total=len(jobs), completed=len(jobs) - len(unfinished), width=width),  # ends no line
    )


def _table(tracker: Tracker, jobs: Sequence[TrackedJob], width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.width = width
    table.add_column("id")  # the column that is cut on a narrow terminal
    table.add_column("state", no_wrap=True)
    table.add_column("bar", ratio=1)
    for column in ("progress", "elapsed", "next poll"):
        table.add_column(column, justify="right", no_wrap=True)
    now = time.monotonic()
    for job in jobs:
        table.add_row(*_cells(job, now, tracker.next_poll))
    return table


def _cells(job: TrackedJob, now: float, next_poll: float | None) -> Iterator[RenderableType]:
    status = job.status
    yield Text(visible(job.id), no_wrap=True, overflow="ellipsis")
    yield Text(job.outcome, STYLES.get(job.outcome, ""))
    if status:
        yield ProgressBar(total=None if status.progress is None else 1.0, completed=status.progress or 0.0)
        yield "" if status.progress is None else f"{status.progress:.0%}"
        yield "" if status.elapsed is None else f"{status.elapsed + (0 if job.over else now - job.updated):.1f} s"
        if not job.over and next_poll is not None:
            yield f"poll in {max(0.0, next_poll - now):.1f} s"
