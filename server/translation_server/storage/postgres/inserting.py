"""Adds many jobs to a PostgreSQL database in one transaction and few round trips, each with a result of its own.

Theory of operation: incrementing their ordinals locks the rows of the owners, in the order of their names. So until the
commit, no other process can use these ordinals, idempotency keys or job ids, and it is known which jobs the keys have
created. Then the jobs are created and inserted. If some of their ids are taken, they are created again without these.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from translation_server.core.job import Job, JobKey
from translation_server.storage.batching import Addition, Written
from translation_server.storage.postgres.database import Connection
from translation_server.storage.postgres.notifications import notify
from translation_server.storage.postgres.parameters import number_parameters
from translation_server.storage.protocol import IdTaken, KeyReused, StoreChange, Stored
from translation_server.storage.rows import COLUMNS, TYPES, job_of, owner_of, row_of
from translation_server.storage.statements import DATA_KEY

INCREMENT_ORDINALS = """
    INSERT INTO owners (name, jobs) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO UPDATE SET jobs = owners.jobs + excluded.jobs
    RETURNING name, jobs, coalesce(data_key, name)
"""

LOCK_OWNER = """
    INSERT INTO owners (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING sandbox
"""

ARRAYS = ", ".join(f"${number}::{name}[]" for number, name in enumerate([*TYPES.values(), "bytea", "bytea"], 1))

ADD_JOBS = f"""
    WITH new AS (SELECT * FROM unnest({ARRAYS}) AS new ({COLUMNS}, idempotency_key, fingerprint)),
    taken AS (
        SELECT owner, id, api, kind FROM jobs JOIN new USING (owner, id, api, kind)
    ),
    added AS (
        INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint)
        SELECT * FROM new WHERE NOT EXISTS (SELECT FROM taken)
    )
    SELECT * FROM taken
"""
"""Inserts jobs. If some of their ids are taken, inserts none and returns these."""

JobsByKey = Mapping[tuple[str, str], tuple[bytes, Job]]
"""By owner and idempotency key: the fingerprint of the first request, and the job that it created."""


async def add_all(connection: Connection, sender: str, batch: Sequence[Addition]) -> Sequence[Written]:
    """Adds the jobs of a batch, within a transaction; an addition that fails changes nothing and affects no other."""
    counts = Counter(addition.owner for addition in batch)
    names = sorted(counts)
    owners = await connection.fetch(INCREMENT_ORDINALS, names, [counts[name] for name in names])
    last, keys = {name: jobs - counts[name] for name, jobs, _ in owners}, {name: key for name, _, key in owners}
    existing, taken = await _find_by_keys(connection, batch, keys), set[tuple[str, JobKey]]()
    while True:
        written, rows = _create_jobs(batch, last, keys, existing, taken)
        clashes = await connection.fetch(ADD_JOBS, *map(list, zip(*rows, strict=True))) if rows else []
        if not clashes:
            break
        taken |= {(owner_of(key), JobKey(*job_key)) for key, *job_key in clashes}
    inputs = [
        (keys[addition.owner], result.job.ordinal, addition.job_input)
        for addition, result in zip(batch, written, strict=True)
        if addition.job_input is not None and isinstance(result, Stored) and not result.replayed
    ]
    await connection.executemany("INSERT INTO inputs VALUES ($1, $2, $3)", inputs)
    added = Counter(job.owner for job in new_jobs(written))
    if unused := counts - added:
        statement = "UPDATE owners SET jobs = jobs - $2 WHERE name = $1"
        await connection.executemany(statement, sorted(unused.items()))
    changes = [StoreChange(name, range(last[name] + 1, last[name] + added[name] + 1)) for name in added]
    await notify(connection, sender, changes)
    return written


def new_jobs(written: Iterable[Written]) -> list[Job]:
    """Returns the jobs that were not there before."""
    return [result.job for result in written if isinstance(result, Stored) and not result.replayed]


def _create_jobs(
    batch: Sequence[Addition],
    last: Mapping[str, int],
    keys: Mapping[str, str],
    existing: JobsByKey,
    taken: Iterable[tuple[str, JobKey]],
) -> tuple[list[Written], list[tuple[object, ...]]]:
    """Returns the result of each addition, and the rows of the new jobs.

    Args:
        batch: the additions, in order.
        last: each owner's last ordinal.
        keys: each owner's DATA_KEY.
        existing: the jobs that idempotency keys have created before.
        taken: the owners and keys of existing jobs.
    """
    ordinals, by_key, taken_keys = dict(last), dict(existing), set(taken)
    written: list[Written] = []
    rows: list[tuple[object, ...]] = []
    for addition in batch:
        idempotency = addition.idempotency
        key = idempotency and (addition.owner, idempotency.key)
        if idempotency and key in by_key:
            fingerprint, job = by_key[key]
            same = idempotency.matches(fingerprint)
            written.append(Stored(job, replayed=True) if same else KeyReused(idempotency.key))
            continue
        try:
            job = addition.accept(ordinals[addition.owner] + 1)
            if (job.owner, job.key) in taken_keys:
                raise IdTaken(job.id)  # noqa: TRY301 - handled like an error of ``accept``
        except Exception as error:  # noqa: BLE001 - the caller of this addition gets it
            written.append(error)
            continue
        ordinals[addition.owner] += 1
        taken_keys.add((job.owner, job.key))
        if key and idempotency:
            by_key[key] = idempotency.fingerprint, job
        written.append(Stored(job, replayed=False))
        row = row_of(job, keys[addition.owner])
        rows.append((*row, idempotency and idempotency.key.encode(), idempotency and idempotency.fingerprint))
    return written, rows


async def _find_by_keys(connection: Connection, batch: Sequence[Addition], keys: Mapping[str, str]) -> JobsByKey:
    """Returns the existing jobs that the batch's idempotency keys have created."""
    requested = [
        (keys[addition.owner], addition.idempotency.key.encode()) for addition in batch if addition.idempotency
    ]
    if not requested:
        return {}
    statement = f"""
        SELECT idempotency_key, fingerprint, {COLUMNS} FROM jobs
        JOIN unnest($1::text[], $2::bytea[]) AS requested (data_key, key)
        ON owner = data_key AND idempotency_key = key
    """
    rows = await connection.fetch(statement, *map(list, zip(*requested, strict=True)))
    jobs = [(key.decode(), fingerprint, job_of(row)) for key, fingerprint, *row in rows]
    return {(job.owner, key): (fingerprint, job) for key, fingerprint, job in jobs}


async def is_stored(connection: Connection, job: Job) -> bool:
    """Whether a transaction with an unknown result has stored a job; waits until that transaction has ended."""
    await connection.execute(LOCK_OWNER, job.owner)
    statement, values = number_parameters(
        f"SELECT EXISTS (SELECT FROM jobs WHERE owner = {DATA_KEY} AND ordinal = :ordinal AND id = :id)",
        {"owner": job.owner, "ordinal": job.ordinal, "id": job.id},
    )
    return bool(await connection.fetchval(statement, *values))
