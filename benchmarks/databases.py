"""How a database does with many jobs: bytes per job, and jobs stored, found and purged per second.

    python benchmarks/databases.py                      200,000 jobs in each database: a minute or so
    python benchmarks/databases.py --jobs 10000000      ten million: ten minutes or so, and ten gigabytes below TMPDIR
    python benchmarks/databases.py --postgres URL       an empty database of yours; its tables are left behind
    python benchmarks/databases.py --write              also writes the table into docs/scale.md

Most jobs are inserted the fastest way that the database has, `executemany` or COPY. All other numbers are those of
the server's own store. Without --postgres, the PostgreSQL is Debian's with its defaults, if it is installed. Each
database is measured twice: with a tenth of the jobs, then with all of them.
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
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

import harness
from tables import number, write
from translation_server.core.clock import VirtualTime, WallTime
from translation_server.core.job import Fate, Job, State, Submission
from translation_server.storage import Cutoff, Store, open_store
from translation_server.storage.rows import COLUMNS, NAMES, row_of

JOBS = 200_000
OWNERS = 1000
AGE, RETENTION = 8 * 86_400.0, 7 * 86_400.0  # the oldest jobs can be purged
MANY, CONNECTIONS = 500, 32  # requests at a time
ADDED, FOUND, PURGED = 10_000, 20_000, 5000  # jobs per measurement
SAMPLE = 50_000  # jobs that are looked up
PURGE_STEP = 100
SUBMISSION = Submission("en", "es", 90.0)
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
INSERT = f"INSERT INTO jobs ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})"  # noqa: S608 - all names are this file's

Rows = Iterable[tuple[object, ...]]


class Database(NamedTuple):
    """A database under test.

    Attributes:
        name: Its name and version.
        store: The server's store in it.
        insert: Inserts rows the fastest way.
        size: Returns the bytes of its jobs.
    """

    name: str
    store: Store
    insert: Callable[[Rows], Awaitable[None]]
    size: Callable[[], Awaitable[int]]


@contextmanager
def sqlite() -> Iterator[Database]:
    """Creates a SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/jobs.db"
        store = open_store(f"sqlite:///{path}")

        async def insert(rows: Rows) -> None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA cache_size = -2000000")
                connection.executemany(INSERT, rows)
                connection.commit()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        async def size() -> int:
            return await asyncio.to_thread(os.path.getsize, path)

        yield Database(f"SQLite {sqlite3.sqlite_version}", store, insert, size)


@contextmanager
def postgres(url: str) -> Iterator[Database]:
    """Opens a PostgreSQL database."""
    store = open_store(url)

    async def query(sql: str) -> Any:  # noqa: ANN401 - the driver's type
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def insert(rows: Rows) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.copy_records_to_table("jobs", columns=NAMES, records=rows, timeout=None)
            await connection.execute("VACUUM ANALYZE jobs")
        finally:
            await connection.close()

    version = asyncio.run(query("SHOW server_version")).split()[0]
    yield Database(f"PostgreSQL {version}", store, insert, partial(query, "SELECT pg_total_relation_size('jobs')"))


@contextmanager
def debian_postgres() -> Iterator[str]:
    """Runs Debian's PostgreSQL, not as root because it refuses that, and yields its URL."""
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, **user)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        data = f"--pgdata={folder}/data"
        run = partial(subprocess.run, check=True, capture_output=True, cwd=folder, **user)
        run([POSTGRES[-1] / "initdb", data, "--username=bench", "--auth=trust", "--encoding=UTF8", "--no-locale"])
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        control = [POSTGRES[-1] / "pg_ctl", data, "--wait"]
        run([*control, "start", f"--log={folder}/log", f"--options={options}"])
        try:
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"
        finally:
            run([*control, "stop", "--mode=fast"])


def jobs(total: int) -> Iterator[Job]:
    """Yields jobs of all owners in turn, the oldest first."""
    draw, now = random.Random("jobs"), time.time()
    for index in range(total):
        job_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        yield _job(f"user-{index % OWNERS}", index // OWNERS + 1, job_id, now - AGE * (1 - index / total))


def _job(owner: str, ordinal: int, job_id: str, at: float) -> Job:
    return Job(
        id=job_id,
        owner=owner,
        ordinal=ordinal,
        created_at=VirtualTime(at),
        fate=Fate(5.0, State.COMPLETED),
        submission=SUBMISSION,
        cancelled_at=None,
        paused_at=None,
        paused_for=0.0,
        changed_at=WallTime(at),
    )


async def measure(database: Database, source: Iterator[Job], before: int, total: int) -> dict[str, float]:
    """Inserts jobs until a database has `total`, and measures it."""
    draw, sample = random.Random("sample"), list[tuple[str, str]]()

    def rows() -> Iterator[tuple[object, ...]]:
        for job in islice(source, total - before):
            if draw.random() < SAMPLE / total:
                sample.append((job.owner, job.id))
            yield row_of(job, job.owner)

    began = time.monotonic()
    await database.insert(rows())
    inserted = (total - before) / (time.monotonic() - began)
    size = await database.size() / total
    store = database.store

    async def add(index: int) -> None:
        owner, job_id, now = f"new-{index % OWNERS}", str(uuid.uuid4()), time.time()
        await store.add(owner, lambda ordinal: _job(owner, ordinal, job_id, now))

    async def find(index: int) -> None:
        owner, job_id = sample[index % len(sample)]
        if not await store.find(owner, job_id):
            raise LookupError(job_id)

    draw.shuffle(sample)
    added_by_many, _ = await _concurrently(MANY, range(ADDED), add)
    added, _ = await _concurrently(CONNECTIONS, range(ADDED // 5), add)
    found, _ = await _concurrently(CONNECTIONS, range(FOUND), find)
    _, latencies = await _concurrently(1, range(FOUND // 10), find)
    return {
        "bytes per job, with its indexes": size,
        "jobs inserted per second, executemany or COPY": inserted,
        f"jobs added per second by the store, {MANY} at a time": added_by_many,
        f"jobs added per second by the store, {CONNECTIONS} at a time": added,
        f"jobs found per second by the store, {CONNECTIONS} at a time": found,
        "a lone job found: median, ms": 1000 * latencies[len(latencies) // 2],
        "a lone job found: p99, ms": 1000 * latencies[len(latencies) * 99 // 100],
        "jobs purged per second, without pauses": await _purge(store),
    }


async def _concurrently(
    workers: int, indexes: Sequence[int], work: Callable[[int], Awaitable[None]]
) -> tuple[float, list[float]]:
    """Works on each index; returns how many per second, and the sorted latencies in seconds."""
    left, latencies = iter(indexes), list[float]()

    async def worker() -> None:
        for index in left:
            began = time.monotonic()
            await work(index)
            latencies.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return len(latencies) / (time.monotonic() - began), sorted(latencies)


async def _purge(store: Store) -> float:
    """Purges old jobs in steps, as the server does; returns how many per second."""
    before, purged, began = time.time() - RETENTION, 0, time.monotonic()
    for index in range(OWNERS):
        purged += await store.purge(f"user-{index}", Cutoff(before, before), PURGE_STEP)
        if purged >= PURGED:
            break
    return purged / (time.monotonic() - began)


async def measure_twice(database: Database, total: int) -> list[dict[str, float]]:
    """Measures a database with a tenth of the jobs, then with all of them."""
    source, tenth = jobs(total), total // 10
    try:
        return [await measure(database, source, 0, tenth), await measure(database, source, tenth, total)]
    finally:
        await database.store.close()


def main() -> None:
    """Measures, prints the table, and writes it into the page if asked to."""
    parser = argparse.ArgumentParser(description="Measure databases with many jobs.")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many jobs (default {JOBS:,})")
    parser.add_argument("--postgres", metavar="URL", help="an empty PostgreSQL database, instead of Debian's")
    parser.add_argument("--only", choices=("sqlite", "postgres"), help="measure this one alone")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/scale.md")
    options = parser.parse_args()
    interference, columns = harness.Interference(), dict[str, dict[str, float]]()
    with ExitStack() as opened:
        databases: list[Callable[[], AbstractContextManager[Database]]] = []
        if options.only != "postgres":
            databases.append(sqlite)
        if options.only != "sqlite":
            if options.postgres or POSTGRES:
                databases.append(partial(postgres, options.postgres or opened.enter_context(debian_postgres())))
            else:
                print("No PostgreSQL: install Debian's postgresql, or pass a URL with --postgres.", file=sys.stderr)
        for database in databases:
            with database() as under_test:
                results = asyncio.run(measure_twice(under_test, options.jobs))
                for total, result in zip((options.jobs // 10, options.jobs), results, strict=True):
                    columns[f"{under_test.name}, {total:,} jobs"] = result
    table = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    table += [
        f"| {name} | {' | '.join(number(column[name]) for column in columns.values())} |"
        for name in next(iter(columns.values()))
    ]
    text = f"{time.strftime('%Y-%m-%d')}. {harness.machine(interference.share())}\n\n" + "\n".join(table)
    print(text)
    if options.write:
        write("scale.md", "databases", text)


if __name__ == "__main__":
    main()
