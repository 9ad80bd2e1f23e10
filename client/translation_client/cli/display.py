"""The command's output: lines for people, JSON for programs."""

import json
import sys
from dataclasses import asdict
from typing import Any

from translation_client.cli.tracking import Tracker, number
from translation_client.core.status import Status
from translation_client.core.text import visible

WIDTH = 100  # columns of a document's lines
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


def document_of(status: Status) -> dict[str, Any]:
    """Returns a status under the names that the native API has for its parts, whichever dialect it was read from."""
    return {
        "job_id": status.id,
        "status": status.state,
        "progress": status.progress,
        "elapsed_time": status.elapsed,
        "error_message": status.error,
        "error_code": status.error_code,
    }


def write_json(status: Status, *, stats: bool = False) -> None:
    """Writes a status as a line of JSON; with `stats`, it includes the cost of the wait, if that is known."""
    cost = {"cost": asdict(status.cost)} if stats and status.cost else {}
    write_document(document_of(status) | {"raw": status.raw} | cost, compact=True)


def laid_out(document: object, indent: int = 0, column: int = 0) -> str:
    """Returns JSON in ASCII in which each object or list is on one line if it fits, so that a person sees all of it.

    Args:
        document: The document.
        indent: How many spaces begin its lines, after the first one.
        column: Where its first line begins.
    """
    text = json.dumps(document)
    if not isinstance(document, dict | list) or column + len(text) <= WIDTH:
        return text
    names = [f"{json.dumps(name)}: " for name in document] if isinstance(document, dict) else [""] * len(document)
    values = document.values() if isinstance(document, dict) else document
    inner = indent + 2
    lines = [
        f"{' ' * inner}{name}{laid_out(value, inner, inner + len(name))}"
        for name, value in zip(names, values, strict=True)
    ]
    return "\n".join([text[0], ",\n".join(lines), f"{' ' * indent}{text[-1]}"])


def write_document(document: object, *, compact: bool) -> str:
    """Writes JSON in ASCII, which a terminal cannot interpret, and returns it; `compact` puts it on one line."""
    text = json.dumps(document) if compact else laid_out(document)
    write(*text.split("\n"))
    return text


def write_stats(tracker: Tracker) -> None:
    """Writes the cost of the wait for each job, and the totals."""
    costs = [(job.id, job.status.cost) for job in tracker.jobs if job.status and job.status.cost]
    for job_id, cost in costs if len(costs) <= MANY else ():
        late = "" if cost.lateness is None else f", {cost.lateness:.3f} s late"
        late += ", ended by a delivery" if cost.ended_by == "delivery" else ""
        polls, size = number(cost.polls, "poll"), number(cost.bytes, "byte")
        write(f"{job_id}: {polls}, {size}, {cost.asleep:.1f} s asleep{late}")
    values = [cost.lateness for _, cost in costs if cost.lateness is not None]
    late = f", {sum(values) / len(values):.3f} s late on average, {max(values):.3f} s at most" if values else ""
    write(f"in all: {number(tracker.requests, 'request')}, {number(tracker.bytes, 'byte')}{late}")
