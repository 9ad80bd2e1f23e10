"""SQLite files: other programs, versions and processes, and failing disks."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from tests.stores import PAUSED_JOB, SUBMITTER, accepting, check_pauses_of_paused_job, full_disk, locked
from translation_server.core.change_feed import FeedPosition
from translation_server.storage import StoreError
from translation_server.storage.batching import MAX_BATCH
from translation_server.storage.sqlite.database import APPLICATION_ID
from translation_server.storage.sqlite.migrations import MIGRATIONS
from translation_server.storage.sqlite.store import SqliteStore
from translation_server.storage.statements import CHANGED_AFTER, END, ENDING_AFTER

accept = accepting()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def execute(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements]


async def test_file_and_folder_are_created(tmp_path):
    path = tmp_path / "a" / "new" / "folder" / "jobs.db"
    await SqliteStore(path).close()
    assert execute(path, "PRAGMA journal_mode", "PRAGMA user_version") == [[("wal",)], [(len(MIGRATIONS),)]]


async def test_commits_wait_for_the_disk(path):
    store = SqliteStore(path)
    full = 2
    writer = store._writer  # noqa: SLF001 - only a power cut would show it from outside
    assert await writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (full,)
    await store.close()


def test_file_of_another_program_is_refused_and_unchanged(path):
    execute(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another program: name another file in DATABASE_URL"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_file_of_an_older_version_is_migrated(path, version):
    marks = f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {version}"
    job = "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome) VALUES ('ann', 1, 'a', 1000, 5, 'error')"
    owner = "INSERT INTO owners (name, jobs) VALUES ('ann', 1)"
    execute(path, *chain.from_iterable(MIGRATIONS[:version]), *marks, owner, job)
    store = SqliteStore(path)
    assert [job.id for job in await store.ending_after("ann", FeedPosition(1001), 9)] == ["a"]
    assert (await store.find("ann", "a", api="native", kind="translation")).due_at == 1005.0
    assert (await store.add("ann", accept)).job.ordinal == 2
    await store.close()
    plan = execute(path, f"EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE owner = 'ann' AND {END} > 7")  # noqa: S608 - no input
    assert "jobs_by_end" in str(plan)
    assert execute(path, "PRAGMA user_version") == [[(len(MIGRATIONS),)]]


async def test_pauses_from_before_they_were_stored_count_but_are_not_invented(path):
    version = 16
    marks = f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {version}"
    owner = "INSERT INTO owners (name, jobs) VALUES ('ann', 1)"
    execute(path, *chain.from_iterable(MIGRATIONS[:version]), *marks, owner, PAUSED_JOB)
    store = SqliteStore(path)
    await check_pauses_of_paused_job(store)
    await store.close()


@pytest.mark.parametrize(("statement", "index"), [(ENDING_AFTER, "jobs_by_end"), (CHANGED_AFTER, "jobs_by_change")])
async def test_ordered_reads_use_an_index_and_no_sorting(path, statement, index):
    await SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        parameters = {"owner": "ann", "at": 1000.0, "ordinal": 1, "limit": 9}
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall())
    assert (plan.count(index), "TEMP B-TREE" in plan, "=? AND ordinal>?" in plan) == (2, False, True)


async def test_file_of_a_newer_version_is_refused(path):
    await SqliteStore(path).close()
    execute(path, "PRAGMA user_version = 1000")
    with pytest.raises(StoreError, match="a newer version"):
        SqliteStore(path)


def test_file_that_is_no_database_is_refused(path):
    path.write_text("this is not a database" * 100)
    with pytest.raises(StoreError, match="not a SQLite database"):
        SqliteStore(path)


async def test_corrupt_file_fails_reads_and_the_check(path):
    store = SqliteStore(path)
    for _ in range(200):
        await store.add("ann", accept)
    await store.close()
    [[(page,)]] = execute(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    store = SqliteStore(path)
    for use in (store.check(), store.page("ann", limit=10, before=None, state=None, now=0)):
        with pytest.raises(StoreError, match="corrupt"):
            await use
    await store.close()


@pytest.mark.parametrize("folder", ["/proc/jobs/jobs.db", "/dev/null/jobs.db", "/"])
def test_path_without_write_access_is_refused(folder):
    with pytest.raises(StoreError, match=f"the database {folder}: "):
        SqliteStore(Path(folder))


async def test_full_disk_refuses_a_job_and_leaves_the_others_alone(path):
    store = SqliteStore(path)
    job = (await store.add("ann", accept)).job
    with full_disk(path):
        with pytest.raises(StoreError, match="disk"):
            await store.add("ann", accept)
        assert await store.find("ann", job.id) == job
    assert (await store.add("ann", accept)).job.ordinal == job.ordinal + 1
    await store.close()
    assert execute(path, "PRAGMA integrity_check", "SELECT count(*) FROM jobs") == [[("ok",)], [(2,)]]


async def test_lock_of_another_process(path):
    store = SqliteStore(path, lock_timeout=0.05)
    with locked(path), pytest.raises(StoreError, match="locked"):
        await store.add("ann", accept)
    assert (await store.add("ann", accept)).job.ordinal == 1
    await store.close()


async def test_cancellation_that_waits_for_the_lock_until_the_job_ends(path):
    store = SqliteStore(path)
    job = (await store.add("ann", accept)).job
    now = job.due_at - 1
    with locked(path):
        cancelling = asyncio.create_task(store.change("ann", job.id, lambda job: job.cancel(now)))
        await asyncio.sleep(0.05)
        now = job.due_at
    assert (await cancelling).cancelled_at is None
    await store.close()


async def test_queued_work_fails_together_with_the_work_before_it(path):
    store = SqliteStore(path, lock_timeout=0.3)
    with locked(path):
        changing = asyncio.create_task(store.change_sandbox("ann", lambda _: "x"))
        adding = [asyncio.create_task(store.add("ann", accept)) for _ in range(MAX_BATCH + 1)]
        with pytest.raises(StoreError, match="locked"):
            await changing
        await asyncio.sleep(0.6)  # all have timed out; work that waited again would get the lock now
    assert {type(outcome) for outcome in await asyncio.gather(*adding, return_exceptions=True)} == {StoreError}
    assert (await store.add("ann", accept)).job.ordinal == 1
    await store.close()


async def test_work_that_has_timed_out_is_not_done_later(path):
    store = SqliteStore(path, lock_timeout=0.1)

    def accept_slowly(ordinal):
        time.sleep(0.2)
        return accept(ordinal)

    adding = asyncio.create_task(store.add("ann", accept_slowly))
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="try again"):
        await asyncio.gather(adding, store.change_sandbox("ann", lambda _: "x"))
    assert await store.read_sandbox("ann") is None
    await store.close()


@pytest.mark.parametrize("replacement", [None, b"another file"])
async def test_deleted_or_replaced_file_is_refused_before_a_job_is_lost(path, replacement):
    store = SqliteStore(path)
    original = path.rename(path.with_suffix(".away"))
    if replacement is not None:
        path.write_bytes(replacement)
    for use in (store.check, lambda: store.find("ann", "x"), lambda: store.add("ann", accept)):
        with pytest.raises(StoreError, match=r"deleted, replaced or cut|No such file"):
            await use()
    original.rename(path)
    assert (await store.add("ann", accept)).job.ordinal == 1
    await store.close()


@pytest.mark.parametrize("size", [0, 32, 5000])
async def test_log_that_was_cut_is_refused_before_a_job_is_lost(path, size):
    store = SqliteStore(path)
    for _ in range(3):
        await store.add("ann", accept)
    os.truncate(f"{path}-wal", size)
    for use in (lambda: store.add("ann", accept), lambda: store.change_sandbox("ann", lambda _: "x")):
        with pytest.raises(StoreError, match="deleted, replaced or cut"):
            await use()
    with pytest.raises(StoreError):
        await store.check()
    await store.close()


def size_of_log(path):
    return Path(f"{path}-wal").stat().st_size


async def test_log_that_another_process_has_emptied_is_whole(path):
    store = SqliteStore(path)
    for _ in range(3):
        await store.add("ann", accept)
    assert execute(path, "PRAGMA wal_checkpoint(TRUNCATE)") == [[(0, 0, 0)]]
    assert size_of_log(path) == 0
    assert (await store.add("ann", accept)).job.ordinal == 4
    await store.check()
    await store.close()


def test_processes_share_a_new_file(path):
    processes = [subprocess.Popen([sys.executable, "-c", SUBMITTER, f"sqlite:///{path}"]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert execute(path, "SELECT count(*), min(ordinal), max(ordinal) FROM jobs") == [[(101, 1, 101)]]


async def test_version_changes_only_after_writes_of_other_processes(path):
    store, other = SqliteStore(path), SqliteStore(path)
    version = await store.version()
    await store.add("ann", accept)
    with locked(path):
        assert await store.version() == version
    await other.add("ann", accept)
    assert await store.wait_for_changes(0.0) is None
    assert await store.version() != version
    for each in (store, other):
        await each.close()
