"""The subcommands for one or several jobs. All jobs of a command line share one client."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from translation_client.base_client import default_kind
from translation_client.cli.display import write, write_json, write_line, write_nothing, write_stats
from translation_client.cli.endings import left_open, show_failures, write_ends, write_next_step, write_summary
from translation_client.cli.errors import DONE, UsageError, exit_status
from translation_client.cli.log import show_message
from translation_client.cli.login import Login, login
from translation_client.cli.options import (
    SECONDS,
    Handler,
    Options,
    Parser,
    assignment,
    command,
    is_plain,
    json_or_text,
    naming_flags,
    resume,
)
from translation_client.cli.saving import save
from translation_client.cli.table import live, refreshing
from translation_client.cli.tracking import Show, TrackedJob, Tracker
from translation_client.client import LONG_POLL, AsyncClient
from translation_client.core.errors import TranslationError
from translation_client.core.estimator import ENOUGH, DurationEstimator, History
from translation_client.core.schedule import Exponential, Fixed, Hinted, Learned, Plan, Progressive
from translation_client.core.status import Status
from translation_client.core.wait_one import GLANCE
from translation_client.history import HistoryFile
from translation_client.http_library import httpx
from translation_client.receivers import Listener

MOST_JOBS = 10_000

SCHEDULES = ("auto", "fixed:SECONDS", "exponential[:INITIAL,FACTOR,MAXIMUM]", "progressive", "hinted", "learned")

Action: TypeAlias = Callable[[AsyncClient, Options, TrackedJob], Awaitable[None]]
"""The action of a subcommand for one job."""


def add_job(parser: Parser) -> None:
    """Adds the flags that describe a new job."""
    job = parser.add_argument_group("job")
    job.add_argument("--source-language", metavar="LANGUAGE", help="the video's language")
    job.add_argument("--target-language", metavar="LANGUAGE", help="the language to translate it to")
    job.add_argument("--video-length", **SECONDS, help="the video's length")
    job.add_argument(
        "--input",
        action="append",
        type=assignment,
        metavar="NAME=VALUE",
        help="a field that only this API knows, JSON or text; several times for several fields",
    )
    job.add_argument(
        "--file",
        action="append",
        type=_file,
        metavar="NAME=PATH",
        help="a file for an API that takes a multipart form; several times for several files",
    )
    job.add_argument("--idempotency-key", metavar="KEY", help="start no second job with the same key")


def add_run(parser: Parser) -> None:
    """Adds the flags of new jobs that are awaited."""
    parser.add_argument("--jobs", type=number_of_jobs, metavar="N", help="run N jobs at once (default 1)")
    parser.add_argument(
        "--webhook",
        action="store_true",
        help="listen on a free port of this machine for the webhooks of the jobs, and poll far more seldom",
    )


def add_waiting(parser: Parser) -> None:
    """Adds the flags of the wait."""
    waiting = parser.add_argument_group("waiting")
    waiting.add_argument("--timeout", **SECONDS, help="how long to wait (default: no limit)")
    waiting.add_argument(
        "--cancel-on-timeout",
        action="store_true",
        help="cancel the jobs that are pending when the time is up; this takes five seconds more at most",
    )
    waiting.add_argument(
        "--long-poll", action="store_false", dest="no_long_poll", help="use long polls if the server can (the default)"
    )
    waiting.add_argument("--no-long-poll", action="store_true", help="use no long polls; the command still waits")
    waiting.add_argument(
        "--schedule",
        metavar="PLAN",
        help=f"when to poll: {', '.join(SCHEDULES)} (default auto: the server's hints, else learned, else progressive)",
    )
    waiting.add_argument("--initial-interval", **SECONDS, help="poll with exponential backoff; the first interval")
    waiting.add_argument("--max-interval", **SECONDS, help="the longest interval of the backoff")
    waiting.add_argument("--kind", metavar="NAME", help="the kind of job; how long jobs take is learned per kind")
    waiting.add_argument("--history", metavar="FILE", help="a file for the learned durations (default: none)")
    waiting.add_argument(
        "--output",
        metavar="PATH",
        help="write the output file of a completed job; for several jobs, a folder or a name with {id}",
    )
    waiting.add_argument("--stats", action="store_true", help="print the cost of the wait at the end")


def add_waited(parser: Parser) -> None:
    """Adds the jobs to wait for: ids, or all pending ones."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="a job's id; put -- before an id that starts with a dash")
    parser.add_argument("--pending", action="store_true", help="wait for all your pending jobs instead")


def for_each_job(action: Action, *, waits: bool = False) -> Handler:
    """Makes a handler that takes an action for each job of the command line, for all at once.

    Args:
        action: Takes the action.
        waits: Whether the action waits for the job's end. Several such jobs are awaited together, on a terminal with a
            live table, and Ctrl-C prints how to resume.
    """

    def handler(options: Options) -> int:
        server = login(options)
        has_table = waits and is_plain(options) and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        show = write_nothing if has_table or (options.quiet and waits) else shown(options)
        jobs = [TrackedJob(show, job_id) for job_id in dict.fromkeys(options.ids) or [""] * options.jobs]
        tracker = Tracker(jobs, warned(options))
        listed = server.dialect.listing is not None
        to_resume = partial(resume, options, listed=listed) if waits and command() else None

        async def act() -> None:
            async with open_client(options, server, tracker) as client, AsyncExitStack() as listening:
                if options.webhook:
                    options.receiver = listening.enter_context(_listener(options))
                if options.pending:
                    jobs[:] = [TrackedJob(show, job.id) async for job in client.list() if not job.state.ended]
                async with AsyncExitStack() as table:
                    if has_table:
                        tracker.typical = _typical_duration(options, server)
                        await table.enter_async_context(live(tracker))
                        await table.enter_async_context(refreshing(client, tracker))
                    if waits and len(jobs) > 1:
                        await _wait_for_all(client, options, jobs)
                    else:
                        await asyncio.gather(*(_try(action, client, options, job) for job in jobs))
                await save(client, options, jobs)

        try:
            with naming_flags():
                asyncio.run(act())
        except KeyboardInterrupt:
            write_ends(jobs, has_table=has_table)
            write_summary(options, jobs)
            raise KeyboardInterrupt(*left_open(options, jobs, to_resume, listed=listed)) from None
        write_ends(jobs, has_table=has_table)
        show_failures(options, jobs, to_resume)
        if waits and options.stats and not options.json:
            write_stats(tracker)
        write_summary(options, jobs)
        if has_table and command():
            write_next_step(options, jobs, listed=listed)
        return max((DONE if job.failure is None else exit_status(job.failure) for job in jobs), default=DONE)

    return handler


def plan(options: Options) -> Plan | None:
    """Returns the plan that `--schedule` names; None leaves the choice to the client.

    Raises:
        UsageError: There is no such plan, or another option does not go with it.
    """
    name, colon, parameters = options.schedule.partition(":")
    intervals = options.initial_interval is not None or options.max_interval is not None
    if (options.kind or options.history) and (intervals or name not in {"auto", "learned"}):
        raise UsageError("--kind and --history are for the schedules auto and learned; no other learns")
    if options.schedule == "auto":
        return None
    if intervals:
        raise UsageError("--schedule and --initial-interval or --max-interval exclude each other; give one")
    history: DurationEstimator = HistoryFile(options.history) if options.history else History()
    plans: Mapping[str, tuple[Callable[..., Plan], range]] = {  # and how many numbers each takes
        "fixed": (Fixed, range(1, 2)),
        "exponential": (Exponential, range(4)),
        "progressive": (Progressive, range(1)),
        "hinted": (Hinted, range(1)),
        "learned": (partial(Learned, history), range(1)),
    }
    numbers = parameters.split(",") if colon else ()
    make, accepted_counts = plans.get(name, (Progressive, range(0)))
    if len(numbers) not in accepted_counts:
        raise UsageError(f"--schedule must be one of {', '.join(SCHEDULES)}, not {options.schedule!r}")
    try:
        return make(*map(float, numbers))
    except ValueError as error:
        raise UsageError(f"--schedule {options.schedule}: {error}") from None


async def _run(client: AsyncClient, options: Options, job: TrackedJob) -> None:
    final = await client.run(
        **_fields(options),
        cancel_on_timeout=options.cancel_on_timeout,
        webhook=options.receiver,
        on_update=job.update,
    )
    final.raise_for_error()


async def _start(client: AsyncClient, options: Options, job: TrackedJob) -> None:
    job.update(await client.start(**_fields(options)))


async def _status(client: AsyncClient, _: Options, job: TrackedJob) -> None:
    status = await client.status(job.id, long_poll=GLANCE)
    job.update(status)
    status.raise_for_error()


async def _wait(client: AsyncClient, options: Options, job: TrackedJob) -> None:
    cancels = options.cancel_on_timeout
    (await client.wait(job.id, cancel_on_timeout=cancels, on_update=job.update)).raise_for_error()


async def _cancel(client: AsyncClient, _: Options, job: TrackedJob) -> None:
    job.update(await client.cancel(job.id))


async def _delete(client: AsyncClient, options: Options, job: TrackedJob) -> None:
    await client.delete(job.id)
    job.deleted = True
    if is_plain(options):
        write(f"{job.id} deleted")


RUN = for_each_job(_run, waits=True)
START = for_each_job(_start)
STATUS = for_each_job(_status)
WAIT = for_each_job(_wait, waits=True)
CANCEL = for_each_job(_cancel)
DELETE = for_each_job(_delete)


async def _try(action: Action, client: AsyncClient, options: Options, job: TrackedJob) -> None:
    with job.recording_failure():
        await action(client, options, job)


async def _wait_for_all(client: AsyncClient, options: Options, jobs: Sequence[TrackedJob]) -> None:
    """Starts the jobs that have no id yet, then waits for all of them."""
    clock = asyncio.get_running_loop().time
    began = clock()
    just_started = set[str]()  # shown as pending; the first poll need not show it again

    async def start(job: TrackedJob) -> None:
        with job.recording_failure():
            status = await client.start(**_fields(options), webhook=options.receiver, timeout=options.timeout)
            job.update(status)
            status.raise_for_error()
            just_started.add(status.id)

    def update(status: Status) -> None:
        shown_already = status.id in just_started and not status.state.ended
        just_started.discard(status.id)
        pending[status.id].update(status, show=not shown_already)

    await asyncio.gather(*(start(job) for job in jobs if not job.id))
    pending = {job.id: job for job in jobs if job.id and not job.over}
    timeout = None if options.timeout is None else max(0.0, options.timeout - (clock() - began))
    ends = client.as_completed(
        pending,
        timeout=timeout,
        cancel_on_timeout=options.cancel_on_timeout,
        webhook=options.receiver,
        on_update=update,
    )
    async for job_id, end in ends:
        with pending[job_id].recording_failure():
            if isinstance(end, TranslationError):
                raise end
            end.raise_for_error()


def _typical_duration(options: Options, server: Login) -> float | None:
    """Returns how many seconds a job takes according to the history file, if it has enough durations."""
    if options.history is None:
        return None
    kind = options.kind or default_kind(server.dialect, httpx.URL(server.url))
    durations = HistoryFile(options.history).durations(kind)
    return median(durations) if len(durations) >= ENOUGH else None


def open_client(options: Options, server: Login, tracker: Tracker) -> AsyncClient:
    """Makes the client that the options describe."""
    schedule = plan(options)
    try:
        return AsyncClient(
            server.url,
            dialect=server.dialect,
            parameters=dict(options.parameter or ()),
            username=server.username,
            password=server.password,
            token=server.token,
            timeout=options.timeout,
            initial_delay=options.initial_interval,
            max_delay=options.max_interval,
            kind=options.kind,
            schedule=schedule,
            long_poll=0.0 if options.no_long_poll else LONG_POLL,
            history=None if schedule else options.history,
            trace=tracker.trace,
        )
    except OSError as error:
        raise UsageError(f"unusable settings of certificates in the environment: {error}") from None


def _listener(options: Options) -> Listener:
    try:
        return Listener(dialect=options.dialect)
    except OSError as error:
        raise UsageError(f"--webhook: cannot listen on this machine: {error}") from None


def _fields(options: Options) -> dict[str, Any]:
    names = ("source_language", "target_language", "video_length", "idempotency_key")
    fields = {name: getattr(options, name) for name in names}
    if options.input:
        fields["input"] = {name: json_or_text(value) for name, value in options.input}
    if options.file:
        fields["files"] = dict(options.file)
    return fields


def _file(text: str) -> tuple[str, str]:
    name, path = assignment(text)
    try:
        with Path(path).open("rb"):
            return name, path
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be read: {error}") from None


def shown(options: Options) -> Show:
    """Returns the function that shows a status."""
    return partial(write_json, stats=options.stats) if options.json else write_line


def warned(options: Options) -> Callable[[str], object]:
    """Returns the function that shows a warning."""
    return write_nothing if options.quiet or options.verbose else show_message


def number_of_jobs(text: str) -> int:
    """Reads a number of jobs from the command line."""
    with suppress(ValueError):
        if 1 <= (count := int(text)) <= MOST_JOBS:
            return count
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of jobs from 1 to {MOST_JOBS:,}")
