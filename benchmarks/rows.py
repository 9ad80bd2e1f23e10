"""How a database does with many jobs in it: what a job takes, how fast jobs come in, are found, and are forgotten.

    python benchmarks/rows.py                      200,000 jobs in each database: a minute or so
    python benchmarks/rows.py --rows 10000000      ten million: ten minutes or so, and ten gigabytes below TMPDIR
    python benchmarks/rows.py --postgres URL       an empty database of yours; it is left with tables in it
    python benchmarks/rows.py --write              also puts the table into docs/scale.md

Most jobs get in by the shortest way that the database has, `executemany` or COPY; what is measured as the store's own
goes through the store that the server uses. Without --postgres, PostgreSQL is Debian's, where that is installed, as
it comes. A tenth of the jobs is measured first, then all of them.
"""

import argparse
import asyncio
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

import stage
from translation_server.core.job import Fate, Job, State, Submission
from translation_server.storage import Cutoff, Store, open_store
from translation_server.storage.rows import COLUMNS, NAMES, row_of

ROWS = 200_000
OWNERS = 1000
AGE, RETENTION = 8 * 86_400.0, 7 * 86_400.0  # the oldest are to be forgotten
TOGETHER, CONNECTIONS = 500, 32
ADDED, FOUND, FORGOTTEN = 10_000, 20_000, 5000  # how many are measured
SAMPLE = 50_000  # jobs that may be looked at
SUBMISSION = Submission("en", "es", 90.0)
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
INSERT = f"INSERT INTO jobs ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})"  # noqa: S608 - both are our own

Rows = Iterable[tuple[object, ...]]


class Database(NamedTuple):
    """A database under test.

    Attributes:
        name: what the table calls it.
        store: the server's store in it.
        bulk: puts rows into it by the shortest way.
        size: the bytes that its jobs take.
    """

    name: str
    store: Store
    bulk: Callable[[Rows], Awaitable[None]]
    size: Callable[[], Awaitable[int]]


@contextmanager
def sqlite() -> Iterator[Database]:
    """A file, with the settings of the server but for the bulk's."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/jobs.db"
        store = open_store(f"sqlite:///{path}")

        async def bulk(rows: Rows) -> None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA cache_size = -2000000")
                connection.executemany(INSERT, rows)
                connection.commit()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        async def size() -> int:
            return await asyncio.to_thread(os.path.getsize, path)

        yield Database(f"SQLite {sqlite3.sqlite_version}", store, bulk, size)


@contextmanager
def postgres(url: str) -> Iterator[Database]:
    """A PostgreSQL, with its own settings."""
    store = open_store(url)

    async def ask(what: str) -> Any:  # noqa: ANN401 - as the driver has it
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(what)
        finally:
            await connection.close()

    async def bulk(rows: Rows) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.copy_records_to_table("jobs", columns=NAMES, records=rows, timeout=None)
            await connection.execute("VACUUM ANALYZE jobs")
        finally:
            await connection.close()

    version = asyncio.run(ask("SHOW server_version")).split()[0]
    yield Database(f"PostgreSQL {version}", store, bulk, partial(ask, "SELECT pg_total_relation_size('jobs')"))


@contextmanager
def debian() -> Iterator[str]:
    """The URL of a PostgreSQL of Debian's, which refuses to be run by root."""
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, **user)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        data = f"--pgdata={folder}/data"
        run = partial(subprocess.run, check=True, capture_output=True, cwd=folder, **user)
        run([PROGRAMS[-1] / "initdb", data, "--username=bench", "--auth=trust", "--encoding=UTF8", "--no-locale"])
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        control = [PROGRAMS[-1] / "pg_ctl", data, "--wait"]
        run([*control, "start", f"--log={folder}/log", f"--options={options}"])
        try:
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"
        finally:
            run([*control, "stop", "--mode=fast"])


def jobs(total: int) -> Iterator[Job]:
    """So many jobs, of all owners in turn; the longer ago an owner's job was accepted, the lower is its ordinal."""
    draw, now = random.Random("jobs"), time.time()
    for number in range(total):
        job_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        yield _job(f"user-{number % OWNERS}", number // OWNERS + 1, job_id, now - AGE * (1 - number / total))


def _job(owner: str, ordinal: int, job_id: str, at: float) -> Job:
    return Job(
        id=job_id,
        owner=owner,
        ordinal=ordinal,
        created_at=at,
        fate=Fate(5.0, State.COMPLETED),
        submission=SUBMISSION,
        cancelled_at=None,
        paused_at=None,
        paused_for=0.0,
        changed_at=at,
    )


async def measure(database: Database, made: Iterator[Job], before: int, rows: int) -> dict[str, float]:
    """Puts more jobs into a database, up to so many rows, and tells what is to be known of it then."""
    draw, sample = random.Random("sample"), list[tuple[str, str]]()

    def some() -> Iterator[tuple[object, ...]]:
        for job in islice(made, rows - before):
            if draw.random() < SAMPLE / rows:
                sample.append((job.owner, job.id))
            yield row_of(job, job.owner)

    began = time.monotonic()
    await database.bulk(some())
    bulk = (rows - before) / (time.monotonic() - began)
    size = await database.size() / rows
    store = database.store

    async def add(number: int) -> None:
        owner, job_id, now = f"new-{number % OWNERS}", str(uuid.uuid4()), time.time()
        await store.add(owner, lambda ordinal: _job(owner, ordinal, job_id, now))

    async def find(number: int) -> None:
        owner, job_id = sample[number % len(sample)]
        if not await store.find(owner, job_id):
            raise LookupError(job_id)

    draw.shuffle(sample)
    many, _ = await _by(TOGETHER, range(ADDED), add)
    few, _ = await _by(CONNECTIONS, range(ADDED // 5), add)
    found, _ = await _by(CONNECTIONS, range(FOUND), find)
    _, alone = await _by(1, range(FOUND // 10), find)
    return {
        "bytes a job takes, with its indexes": size,
        "jobs per second, by executemany or COPY": bulk,
        f"jobs per second, by the store, {TOGETHER} at once": many,
        f"jobs per second, by the store, {CONNECTIONS} at once": few,
        f"looks per second, by the store, {CONNECTIONS} at once": found,
        "a look alone: median, ms": 1000 * alone[len(alone) // 2],
        "a look alone: p99, ms": 1000 * alone[len(alone) * 99 // 100],
        "jobs forgotten per second, without a rest": await _forget(store),
    }


async def _by(
    workers: int, numbers: Sequence[int], work: Callable[[int], Awaitable[None]]
) -> tuple[float, list[float]]:
    """Does a piece of work for each number; returns how many a second, and the seconds that each took, sorted."""
    left, took = iter(numbers), list[float]()

    async def worker() -> None:
        for number in left:
            began = time.monotonic()
            await work(number)
            took.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return len(took) / (time.monotonic() - began), sorted(took)


async def _forget(store: Store) -> float:
    """Forgets old jobs, in steps as the server does."""
    before, gone, began = time.time() - RETENTION, 0, time.monotonic()
    for number in range(OWNERS):
        gone += await store.purge(f"user-{number}", Cutoff(before, before), 100)
        if gone >= FORGOTTEN:
            break
    return gone / (time.monotonic() - began)


async def both(database: Database, rows: int) -> list[dict[str, float]]:
    """What is measured with a tenth of the rows, and with all of them."""
    made = jobs(rows)
    try:
        return [await measure(database, made, before, until) for before, until in ((0, rows // 10), (rows // 10, rows))]
    finally:
        await database.store.close()


def main() -> None:
    """Measure, print, and put the table into the page."""
    parser = argparse.ArgumentParser(description="Measure databases with many jobs in them.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"how many jobs (default {ROWS:,})")
    parser.add_argument("--postgres", metavar="URL", help="an empty PostgreSQL database, instead of Debian's")
    parser.add_argument("--only", choices=("sqlite", "postgres"), help="measure this one alone")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/scale.md")
    options = parser.parse_args()
    watching, columns = stage.Watching(), dict[str, dict[str, float]]()
    with ExitStack() as opened:
        databases: list[Callable[[], Any]] = []
        if options.only != "postgres":
            databases.append(sqlite)
        if options.only != "sqlite":
            if options.postgres or PROGRAMS:
                url = options.postgres or opened.enter_context(debian())
                databases.append(lambda: postgres(url))
            else:
                print("No PostgreSQL: install Debian's postgresql, or name one with --postgres.", file=sys.stderr)
        for database in databases:
            with database() as under_test:
                for rows, column in zip(
                    (options.rows // 10, options.rows),
                    asyncio.run(both(under_test, options.rows)),
                    strict=True,
                ):
                    columns[f"{under_test.name}, {rows:,} jobs"] = column
    table = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for what in next(iter(columns.values())):
        cells = (column[what] for column in columns.values())
        told = (f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}" for cell in cells)
        table.append(f"| {what} | {' | '.join(told)} |")
    text = f"{time.strftime('%Y-%m-%d')}. {watching}\n\n" + "\n".join(table)
    print(text)
    if options.write:
        stage.write("rows", text, PAGE)


if __name__ == "__main__":
    main()
