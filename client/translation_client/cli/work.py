"""What the command does: every job, one or many, with a client of its own over shared connections."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import httpx

from translation_client.cli.arguments import Login, Options, UsageError, resume
from translation_client.cli.display import Row, Show, live, write, write_json, write_line, write_nothing
from translation_client.cli.log import say, tell
from translation_client.client import AsyncClient, shared_http
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    JobFailed,
    JobTimeout,
    NotFound,
    TranslationError,
)

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
        TranslationError: The jobs could not be listed.
        UsageError: An option is unusable.
    """
    plain = not (options.json or options.quiet or options.verbose)
    table = options.waits and plain and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    show: Show = write_json if options.json else write_line
    if table or (options.quiet and options.waits):
        show = write_nothing
    warn = write_nothing if options.quiet or options.verbose else cache(say)  # of many jobs the same only once
    rows.extend(Row(show, warn, job_id) for job_id in options.ids or [None] * options.jobs)
    with _naming_flags():
        async with _http(login.url) as http:
            clients = [_client(options, login, http, row) for row in rows]
            if options.command == "list":
                async for status in clients[0].list():
                    show(status)
                return DONE
            with live(rows) if table else nullcontext():
                codes = await asyncio.gather(*map(partial(_do, options), clients, rows))
    _conclude(options, rows, table=table, summary=plain and len(rows) > 1)
    return max(codes)


async def _do(options: Options, client: AsyncClient, row: Row) -> int:
    """Do one job's part and return its exit status."""
    job = {name: getattr(options, name) for name in JOB}
    try:
        match options.command, row.id:
            case "wait", str(job_id):
                final = await client.wait(job_id)
            case "status", str(job_id):
                row.hear(final := await client.status(job_id))
            case "cancel", str(job_id):
                row.hear(await client.cancel(job_id))
                return DONE
            case "start", _:
                row.hear(await client.start(**job))
                return DONE
            case _:
                final = await client.run(**job)
        final.raise_for_error()
    except TranslationError as failure:
        row.failure = failure
        return exit_status(failure)
    return DONE


def _conclude(options: Options, rows: Sequence[Row], *, table: bool, summary: bool) -> None:
    """Write what is left to say: what the table showed, the failures, the summary."""
    if table:
        for row in rows:
            if row.status:
                write_line(row.status)
    for message in dict.fromkeys(_message(options, row, row.failure) for row in rows if row.failure):
        tell(message)
    if summary:
        counts = Counter(row.outcome for row in rows)
        write(f"{len(rows)} jobs: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")


def _message(options: Options, row: Row, failure: TranslationError) -> str:
    if options.waits and row.id and exit_status(failure) in {TIMED_OUT, UNREACHABLE}:
        return f"{failure} {resume(options, [row.id])}"
    return str(failure)


def _client(options: Options, login: Login, http: httpx.AsyncClient, row: Row) -> AsyncClient:
    return AsyncClient(
        login.url,
        dialect=login.dialect,
        username=login.username,
        password=login.password,
        token=login.token,
        timeout=options.timeout,
        initial_delay=options.initial_interval,
        max_delay=options.max_interval,
        on_update=row.hear,
        http_client=http,
        trace=row.trace,
    )


def _http(url: str) -> httpx.AsyncClient:
    try:
        return shared_http(url)
    except OSError as error:
        raise UsageError(f"unusable settings of certificates in the environment: {error}") from None


@contextmanager
def _naming_flags() -> Iterator[None]:
    """Call an unusable argument of the library by the flag that it came from."""
    try:
        yield
    except ValueError as error:
        argument, _, rest = str(error).partition(" ")
        raise UsageError(f"{FLAGS[argument]} {rest}" if argument in FLAGS else str(error)) from None
