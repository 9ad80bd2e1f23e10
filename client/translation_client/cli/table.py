"""The live table of jobs on a terminal."""

import asyncio
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from translation_client.cli.tracking import TrackedJob, Tracker, summary
from translation_client.client import AsyncClient
from translation_client.core.errors import TranslationError
from translation_client.core.status import State
from translation_client.core.text import visible
from translation_client.core.wait_one import GLANCE

if sys.platform != "win32":
    import termios

STYLES = {
    "pending": "cyan",
    "completed": "green",
    "error": "red",
    "cancelled": "yellow",
    "failed": "red",
    "timed out": "yellow",
}

FRAME = 0.25  # seconds between two drawings of the table
REFRESH, REFRESH_FACTOR = 1.0, 4  # seconds until the table polls its jobs, and how much that grows
ECHO = 3  # columns that stay free: a terminal echoes ^C, which would wrap the last line
SHORT_ID, LEAST_BAR, LONGEST_BAR = 8, 10, 60  # columns
EXPECTED_ID = 36  # columns, until the first id is known: most ids are UUIDs, and then nothing moves when they come
STATE, PROGRESS, ELAPSED = 9, 4, 8  # columns: the longest text of each


class Layout(NamedTuple):
    """The columns of the table."""

    id: int  # the width of the ids
    bar: int  # the width of the bars
    has_state: bool  # whether the states have a column; else the state of a job without a bar takes the bar's place


@asynccontextmanager
async def live(tracker: Tracker) -> AsyncIterator[None]:
    """Shows a live table of the jobs on the terminal, and removes it at the end."""
    console = Console(file=sys.stdout)
    # It is drawn by the event loop, like the lines above it. A thread could draw it between the moment when such a line
    # takes the height of the table and the moment when it is written.
    table = Live(
        get_renderable=lambda: screen(tracker, *console.size),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),  # then lines on stderr go above the table
    )

    async def draw() -> None:
        while True:
            await asyncio.sleep(FRAME)
            table.refresh()

    with _without_echo(sys.stdout.fileno()), table:
        table.refresh()
        async with _meanwhile(draw()):
            yield


@contextmanager
def _without_echo(terminal: int) -> Iterator[None]:
    """Keeps typed characters off a terminal, since they would shift the table. The shell gets them afterwards.

    Only the terminal's foreground processes may do this: the kernel stops others that try.
    """

    def is_in_foreground() -> bool:
        with suppress(OSError):  # no terminal of this session
            return os.tcgetpgrp(terminal) == os.getpgrp()
        return False

    if sys.platform == "win32" or not is_in_foreground():
        yield
        return
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~(termios.ECHO | termios.ECHONL)
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    try:
        yield
    finally:
        if is_in_foreground():
            termios.tcsetattr(terminal, termios.TCSANOW, before)


@asynccontextmanager
async def refreshing(client: AsyncClient, tracker: Tracker) -> AsyncIterator[None]:
    """Polls the jobs of the table less and less often, so that it can estimate their progress.

    A wait by long polls or by a stream learns nothing about a job until its end. These polls are long polls too, so
    they never come too early. If the server does not hold polls, the wait itself polls often enough. A summary shows no
    jobs and needs no polls.
    """

    async def refresh(job: TrackedJob) -> None:
        with suppress(TranslationError):  # the wait shows and retries failures
            job.refresh(await client.status(job.id, long_poll=GLANCE))

    async def refresh_all() -> None:
        for number in count():
            await asyncio.sleep(REFRESH * REFRESH_FACTOR**number)
            if tracker.holds_polls and not tracker.retry and len(tracker.jobs) < Console(file=sys.stdout).height:
                await asyncio.gather(*(refresh(job) for job in tracker.jobs if job.id and not job.over))

    async with _meanwhile(refresh_all()):
        yield


@asynccontextmanager
async def _meanwhile(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Does something in the background, and cancels it at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def screen(tracker: Tracker, width: int, height: int) -> RenderableType:
    """Returns a line per job, and when the next poll comes.

    If the jobs do not fit on the screen: the first unfinished ones, and a summary.
    """
    width, height = width - ECHO, max(1, height - 1)
    jobs, next_poll = tracker.jobs, _next_poll(tracker)
    if len(jobs) < height:
        return Group(_table(tracker, jobs, width), Text(next_poll))
    unfinished = [job for job in jobs if not job.over]
    lines = textwrap.wrap(summary(jobs), width)[: max(1, height - 2)]
    return Group(
        _table(tracker, unfinished[: max(0, height - 2 - len(lines))], width),
        *map(Text, lines),
        ProgressBar(total=len(jobs), completed=len(jobs) - len(unfinished), width=width),  # ends no line
        *([Text(f"\n{next_poll}")] if height > 2 else []),  # noqa: PLR2004 - the summary and the bar take two lines
    )


def layout(ids: Sequence[str], width: int) -> Layout:
    """Returns the columns for a table of this width. An id that leaves no room for a bar is cut to a few characters."""

    def bar(*columns: int) -> int:
        return min(width - sum(columns) - len(columns), LONGEST_BAR)  # one space between two columns

    longest = max(map(len, ids), default=0) or EXPECTED_ID
    for id_width, has_state in ((longest, True), (longest, False), (SHORT_ID, True), (SHORT_ID, False)):
        room = bar(id_width, *[STATE] * has_state, PROGRESS, ELAPSED)
        if room >= LEAST_BAR:
            break
    return Layout(id_width, max(1, room), has_state)


def _table(tracker: Tracker, jobs: Sequence[TrackedJob], width: int) -> Table:
    columns = layout([visible(job.id) for job in jobs], width)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column("id", width=columns.id, no_wrap=True, overflow="ellipsis")
    if columns.has_state:
        table.add_column("state", width=STATE, no_wrap=True)
    table.add_column("bar", width=columns.bar, no_wrap=True)
    table.add_column("progress", width=PROGRESS, justify="right", no_wrap=True)
    table.add_column("elapsed", width=ELAPSED, justify="right", no_wrap=True)
    for job in jobs:
        table.add_row(*_cells(tracker, job, columns))
    return table


def _cells(tracker: Tracker, job: TrackedJob, columns: Layout) -> Iterator[RenderableType]:
    outcome = Text(job.outcome, STYLES.get(job.outcome, ""))
    yield Text(visible(job.id))
    if columns.has_state:
        yield outcome
    progress, has_bar = job.progress(tracker.typical), job.outcome in {State.PENDING, State.COMPLETED}
    if has_bar and (columns.has_state or not job.over):
        # The bar pulses if nothing is known.
        yield ProgressBar(
            total=1.0 if progress else None,
            completed=progress.part if progress else 0.0,
            width=columns.bar,
            animation_time=tracker.clock(),
        )
    else:
        yield "" if columns.has_state else outcome
    yield f"{'~' if progress.is_estimate else ''}{progress.part:.0%}" if progress else ""
    yield "" if job.elapsed is None else f"{job.elapsed:.1f} s"


def _next_poll(tracker: Tracker) -> str:
    """Returns when the next request comes; it is the same for all jobs that are awaited together."""
    if tracker.next_poll is None:
        return "waiting for the server"
    what = "retry" if tracker.retry else "next poll"  # the lines above number the retries, which differ by request
    return f"{what} in {max(0.0, tracker.next_poll - tracker.clock()):.1f} s"
