"""Jobs for the tests of stores."""

import resource
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

from translation_server.core.job import Fate, Job, State, Submission


def accepting(owner="ann", created_at=1000.0, delay=10.0, outcome=State.COMPLETED, job_id=None, **fields):
    """Returns a function that creates jobs for `JobStore.add`; by default, their ids consist of owner and ordinal."""

    def accept(ordinal):
        fate, submission = Fate(delay, outcome), Submission("en", None, 1.5)
        job = Job(f"{owner}-{ordinal}", owner, ordinal, created_at, fate, submission, changed_at=created_at)
        return replace(job, id=job_id or job.id, **fields)

    return accept


PAUSED_JOB = """
    INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, paused_at, paused_for, changed_at)
    VALUES ('ann', 1, 'a', 1000, 500, 'error', 1090, 7, 1090)
"""
"""Stores a paused job, which was paused before, in a database of a version that did not store pauses."""


async def check_pauses_of_paused_job(store):
    """Checks in the migrated database that earlier pauses count but are not invented, and ends the current one."""
    migrated = await store.find("ann", "a")
    assert (migrated.paused_for, migrated.paused_at, migrated.pauses) == (7.0, 1090.0, [])
    unpaused = await store.change("ann", "a", lambda job: job.unpause(1100.0))
    assert (unpaused.due_at, unpaused.paused_for, unpaused.pauses) == (1517.0, 17.0, [(1090.0, 1100.0)])
    assert await store.find("ann", "a") == unpaused


@contextmanager
def locked(path):
    """Holds the write lock of a SQLite file, as another process may."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full_disk(path):
    """Makes every write that would extend the log of a SQLite file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_suffix(".db-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def add(store, owner="ann", **fields):
    """Adds a job and returns it."""
    return (await store.add(owner, accepting(owner, **fields))).job


async def cancel(store, owner, job_id, at):
    """Cancels a job; virtual time is wall time."""
    return await store.change(owner, job_id, lambda job: replace(job.cancel(at), changed_at=at))


SUBMITTER = """
import asyncio, sys
from translation_server.core.job import Fate, Job, State
from translation_server.storage import Idempotency, open_store

def accept(ordinal):
    return Job(f"ann-{ordinal}", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED))

async def main():
    store = open_store(sys.argv[1])
    await store.add("ann", accept, Idempotency("shared", b""))
    await asyncio.gather(*(store.add("ann", accept) for _ in range(25)))
    await store.close()

asyncio.run(main())
"""
"""A program that adds a job with an idempotency key, and 25 jobs without one, to the store of a URL."""
