"""The command's output: lines for people, JSON for programs."""

import json
import sys
from dataclasses import asdict

from translation_client.cli.tracking import Tracker, number
from translation_client.core.status import Status
from translation_client.core.text import visible

MANY = 50  # with more jobs than this, they are counted and not listed


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
    """Writes a status as a line of JSON; with `stats`, it includes the cost of the wait, if that is known."""
    names = ("id", "state", "progress", "elapsed", "error", "error_code", "raw")
    document = {name: getattr(status, name) for name in names}
    write_document(document | ({"cost": asdict(status.cost)} if stats and status.cost else {}), compact=True)


def write_document(document: object, *, compact: bool) -> str:
    """Writes JSON in ASCII, which a terminal cannot interpret, and returns it; `compact` puts it on one line."""
    text = json.dumps(document, indent=None if compact else 2)
    write(*text.split("\n"))
    return text


def write_stats(tracker: Tracker) -> None:
    """Writes the cost of the wait for each job, and the totals."""
    costs = [(job.id, job.status.cost) for job in tracker.jobs if job.status and job.status.cost]
    for job_id, cost in costs if len(costs) <= MANY else ():
        late = "" if cost.lateness is None else f", {cost.lateness:.3f} s late"
        polls, size = number(cost.polls, "poll"), number(cost.bytes, "byte")
        write(f"{job_id}: {polls}, {size}, {cost.asleep:.1f} s asleep{late}")
    values = [cost.lateness for _, cost in costs if cost.lateness is not None]
    late = f", {sum(values) / len(values):.3f} s late on average, {max(values):.3f} s at most" if values else ""
    write(f"in all: {number(tracker.requests, 'request')}, {number(tracker.bytes, 'byte')}{late}")
