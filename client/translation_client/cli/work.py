"""What the command does: every job, one or many, with one client."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial

from translation_client.cli.arguments import Options, UsageError, plan, resume
from translation_client.cli.display import (
    MANY,
    Row,
    Show,
    Work,
    live,
    write,
    write_json,
    write_line,
    write_nothing,
    write_stats,
)
from translation_client.cli.log import say, tell
from translation_client.cli.login import Login
from translation_client.client import LONG_POLL, AsyncClient
from translation_client.core.errors import AuthenticationError, InvalidRequest, NotFound, TranslationError
from translation_client.core.status import JobFailed, JobTimeout, Status

DONE, FAILED, USAGE, REFUSED, TIMED_OUT, UNREACHABLE = range(6)
SIGNALLED = 128  # as shells say it of a program that a signal ended, the signal's number added
UNREAD = 141  # as shells say it of a program that SIGPIPE ended

FLAGS = {
    "job_id": "ID",
    "base_url": "--url",
    "username": "--username",
    "password": "--password",
    "token": "--token",
    "timeout": "--timeout",
    "initial_delay": "--initial-interval",
    "max_delay": "--max-interval",
    "kind": "--kind",
    "history": "--history",
    "source_language": "--source-language",
    "target_language": "--target-language",
    "video_length": "--video-length",
    "idempotency_key": "--idempotency-key",
}

JOB = ("source_language", "target_language", "video_length", "idempotency_key")  # what starts a job


def exit_status(failure: TranslationError) -> int:
    """The exit status that tells of a failure."""
    match failure:
        case JobFailed():
            return FAILED
        case AuthenticationError():
            return REFUSED
        case JobTimeout():
            return TIMED_OUT
        case NotFound() | InvalidRequest():
            return USAGE
        case _:
            return UNREACHABLE


async def work(options: Options, login: Login, rows: list[Row]) -> int:
    """Do what the options say, a row for each job, and return the exit status.

    Raises:
        TranslationError: The jobs could not be listed, or nobody may ask for them.
        UsageError: An option is unusable.
    """
    plain = not (options.json or options.quiet or options.verbose)
    table = options.waits and plain and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    show: Show = partial(write_json, stats=options.stats) if options.json else write_line
    if table or (options.quiet and options.waits):
        show = write_nothing
    warn = write_nothing if options.quiet or options.verbose else cache(say)  # the same only once
    rows.extend(Row(show, job_id) for job_id in dict.fromkeys(options.ids) or [None] * options.jobs)
    done = Work(rows, warn)
    with naming_flags():
        async with _client(options, login, done) as client:
            if options.command == "list":
                async for status in client.list():
                    show(status)
                return DONE
            with live(done) if table else nullcontext():
                if options.waits and len(rows) > 1:
                    await _wait_for_all(options, client, rows)
                else:
                    await asyncio.gather(*(_do(options, client, row) for row in rows))
    _conclude(options, done, table=table, plain=plain)
    return max(DONE if row.failure is None else exit_status(row.failure) for row in rows)


async def _do(options: Options, client: AsyncClient, row: Row) -> None:
    """Do one job's part."""
    job = {name: getattr(options, name) for name in JOB}
    with row.failing():
        match options.command, row.id:
            case "wait", str(job_id):
                final = await client.wait(job_id, on_update=row.update)
            case "status", str(job_id):
                row.update(final := await client.status(job_id))
            case "cancel", str(job_id):
                row.update(await client.cancel(job_id))
                return
            case "start", _:
                row.update(await client.start(**job))
                return
            case _:
                final = await client.run(**job, on_update=row.update)
        final.raise_for_error()


async def _wait_for_all(options: Options, client: AsyncClient, rows: Sequence[Row]) -> None:
    """Start the jobs that have no id yet, then wait for all together."""
    clock = asyncio.get_running_loop().time
    began = clock()
    job = {name: getattr(options, name) for name in JOB}

    new = set[str]()  # told to be pending; the look that follows at once need not tell it again

    async def start(row: Row) -> None:
        with row.failing():
            row.update(first := await client.start(**job, timeout=options.timeout))
            first.raise_for_error()
            new.add(first.id)

    def update(status: Status) -> None:
        again = status.id in new and not status.state.ended
        new.discard(status.id)
        waited[status.id].update(status, show=not again)

    await asyncio.gather(*(start(row) for row in rows if row.id is None))
    waited = {row.id: row for row in rows if row.id is not None and not row.over}
    left = None if options.timeout is None else max(0.0, options.timeout - (clock() - began))
    async for job_id, end in client.as_completed(waited, timeout=left, on_update=update):
        with waited[job_id].failing():
            if isinstance(end, TranslationError):
                raise end
            end.raise_for_error()


def _conclude(options: Options, done: Work, *, table: bool, plain: bool) -> None:
    """Write what is left to say: what the table showed, the failures, the summary."""
    rows = done.rows
    if table:
        for row in done.shown():
            if row.status:
                write_line(row.status)
    left = [row.id for row in rows if row.id and row.failure and exit_status(row.failure) in {TIMED_OUT, UNREACHABLE}]
    messages = dict.fromkeys(str(row.failure) for row in rows if row.failure)
    going_on = f" {resume(options, left)}" if options.waits and left else ""
    told = [*messages][:MANY]
    if len(messages) > MANY:
        told.append(f"{len(messages) - MANY} more jobs did not complete; the log has their names.")
    for message in told[:-1]:
        tell(message)
    for message in told[-1:]:
        tell(message + going_on)
    if options.stats and options.waits and not options.json:
        write_stats(done)
    if plain and len(rows) > 1:
        counts = Counter(row.outcome for row in rows)
        write(f"{len(rows)} jobs: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")


def _client(options: Options, login: Login, done: Work) -> AsyncClient:
    schedule = plan(options)
    try:
        return AsyncClient(
            login.url,
            dialect=login.dialect,
            username=login.username,
            password=login.password,
            token=login.token,
            timeout=options.timeout,
            initial_delay=options.initial_interval,
            max_delay=options.max_interval,
            kind=options.kind,
            schedule=schedule,
            long_poll=0.0 if options.no_wait else LONG_POLL,
            history=None if schedule else options.history,
            trace=done.trace,
        )
    except OSError as error:
        raise UsageError(f"unusable settings of certificates in the environment: {error}") from None


@contextmanager
def naming_flags() -> Iterator[None]:
    """Call an unusable argument of the library by the flag that it came from."""
    try:
        yield
    except ValueError as error:
        argument, _, rest = str(error).partition(" ")
        raise UsageError(f"{FLAGS[argument]} {rest}" if argument in FLAGS else str(error)) from None
