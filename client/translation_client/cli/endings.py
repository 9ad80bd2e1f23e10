"""The last lines of the command: the states of the jobs, the failures, and the next step."""

import sys
from collections.abc import Callable, Iterator, Sequence

from translation_client.cli.display import MANY, write, write_line
from translation_client.cli.errors import TIMED_OUT, UNREACHABLE, exit_status
from translation_client.cli.failures import failure_lines
from translation_client.cli.log import log, log_and_show
from translation_client.cli.options import Options, command, is_plain, list_all, list_in_full
from translation_client.cli.tracking import TrackedJob, number, summary
from translation_client.core.status import JobFailed, JobTimeout, State


def write_ends(jobs: Sequence[TrackedJob], *, has_table: bool) -> None:
    """Writes the final statuses that only the table has shown, unless there are so many that a summary counts them."""
    if has_table and len(jobs) <= MANY:
        for job in jobs:
            if job.status and job.over:
                write_line(job.status)


def write_summary(options: Options, jobs: Sequence[TrackedJob]) -> None:
    """Writes how many of several jobs have which outcome."""
    if is_plain(options) and (options.pending or len(jobs) > 1):
        write(summary(jobs))


def write_next_step(options: Options, jobs: Sequence[TrackedJob], *, listed: bool) -> None:
    """Tells a person how to read the output of a completed job."""
    if any(job.outcome == State.COMPLETED for job in jobs):
        only = [job.id for job in jobs] if len(jobs) == 1 else []
        how = list_in_full(options, only) if listed else "give --json to this command"
        write(f"To read all that the server says about {'this job' if only else 'your jobs'}: {how}")


def left_open(
    options: Options, jobs: Sequence[TrackedJob], to_resume: Callable[[Sequence[str]], str] | None, *, listed: bool
) -> Iterator[str]:
    """Yields lines after an interrupt: jobs that may have been accepted, and how to resume the wait for others."""
    starting = 0 if options.pending else sum(not job.id and not job.over for job in jobs)
    if starting:
        how = f" (to list your jobs: {list_all(options)})" if listed and command() else ""
        yield f"{number(starting, 'job')} may have been accepted without an answer{how}"
    unfinished = [job.id for job in jobs if job.id and not job.over]
    if to_resume and unfinished:
        yield to_resume(unfinished)


def show_failures(
    options: Options, jobs: Sequence[TrackedJob], to_resume: Callable[[Sequence[str]], str] | None
) -> None:
    """Shows each kind of failure once, and how to resume the wait for jobs that may still be running.

    On a terminal that has already shown the statuses of failed jobs, these failures are only logged.
    """
    is_shown = is_plain(options) and len(jobs) <= MANY and sys.stdout.isatty() and sys.stderr.isatty()
    shown = [job for job in jobs if is_shown and isinstance(job.failure, JobFailed)]
    for message in failure_lines(shown):
        log(message)
    messages = failure_lines(job for job in jobs if job not in shown)
    resumable = {TIMED_OUT, UNREACHABLE}
    unfinished = [job.id for job in jobs if job.id and job.failure and exit_status(job.failure) in resumable]
    cancelled = {job.id for job in jobs if isinstance(job.failure, JobTimeout) and job.failure.cancelled}
    unfinished = [job_id for job_id in unfinished if job_id not in cancelled]
    if to_resume and unfinished:
        messages[-1] += f" {to_resume(unfinished)}"
    for message in messages:
        log_and_show(message)
