"""How jobs are added to a PostgreSQL database: many in one transaction, in few trips, each with an outcome of its own.

Theory of operation: the rows of the owners are locked, in the order of the names, by counting up their ordinals. So
nobody else can use these ordinals, these idempotency keys or these ids until the commit, and what a key has made is
known. Then the jobs are made and added; where one asks for an id that is taken, they are made again without it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from translation_server.core.job import Job
from translation_server.storage.batching import Arrival, Outcome
from translation_server.storage.postgres.database import Connection
from translation_server.storage.postgres.notifications import tell
from translation_server.storage.protocol import IdTaken, KeyReused, StoreChange, Stored
from translation_server.storage.rows import COLUMNS, DATA_KEY, job_of, owner_of, row_of

ADD_TO_OWNERS = """
    INSERT INTO owners (name, jobs) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO UPDATE SET jobs = owners.jobs + excluded.jobs
    RETURNING name, jobs, coalesce(data_key, name)
"""

LOCK_OWNER = """
    INSERT INTO owners (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING sandbox
"""

TYPES = ("text", "text", "bigint", *["float8"] * 2, *["text"] * 4, *["float8"] * 5, "bytea", "bytea")
ARRAYS = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(TYPES, 1))

ADD_JOBS = f"""
    WITH new AS (SELECT * FROM unnest({ARRAYS}) AS new ({COLUMNS}, idempotency_key, fingerprint)),
    taken AS (SELECT jobs.owner, jobs.id FROM jobs JOIN new ON jobs.owner = new.owner AND jobs.id = new.id),
    added AS (
        INSERT INTO jobs ({COLUMNS}, idempotency_key, fingerprint)
        SELECT * FROM new WHERE NOT EXISTS (SELECT FROM taken)
    )
    SELECT * FROM taken
"""
"""Adds jobs, or, where some of their ids are taken, tells these and adds none."""

Keyed = Mapping[tuple[str, str], tuple[bytes, Job]]
"""By owner and key: the fingerprint that came with the key, and the job that it made."""


async def add_all(connection: Connection, sender: str, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
    """Adds, within a transaction, what can be added; an error of one is no other's, and changes nothing."""
    counts = Counter(arrival.owner for arrival in arrivals)
    names = sorted(counts)
    owners = await connection.fetch(ADD_TO_OWNERS, names, [counts[name] for name in names])
    last, kept = {name: jobs - counts[name] for name, jobs, _ in owners}, {name: key for name, _, key in owners}
    keyed, taken = await _keyed(connection, arrivals, kept), set[tuple[str, str]]()
    while True:
        outcomes, rows = _accept(arrivals, last, kept, keyed, taken)
        clashes = await connection.fetch(ADD_JOBS, *map(list, zip(*rows, strict=True))) if rows else []
        if not clashes:
            break
        taken |= {(owner_of(key), job_id) for key, job_id in clashes}
    added = Counter(job.owner for job in new_of(outcomes))
    if unused := counts - added:
        statement = "UPDATE owners SET jobs = jobs - $2 WHERE name = $1"
        await connection.executemany(statement, sorted(unused.items()))
    await tell(
        connection, sender, [StoreChange(name, range(last[name] + 1, last[name] + added[name] + 1)) for name in added]
    )
    return outcomes


def new_of(outcomes: Iterable[Outcome]) -> list[Job]:
    """The jobs that were not there before."""
    return [one.job for one in outcomes if isinstance(one, Stored) and not one.replayed]


def _accept(
    arrivals: Sequence[Arrival],
    last: Mapping[str, int],
    kept: Mapping[str, str],
    keyed: Keyed,
    taken: Iterable[tuple[str, str]],
) -> tuple[list[Outcome], list[tuple[object, ...]]]:
    """What becomes of each submission, and the rows of the new jobs.

    Args:
        arrivals: the submissions, in their order.
        last: each owner's last ordinal.
        kept: the key of each owner's rows.
        keyed: what was made by keys.
        taken: the owners and ids of jobs that are there.
    """
    ordinals, made, ids = dict(last), dict(keyed), set(taken)
    outcomes: list[Outcome] = []
    rows: list[tuple[object, ...]] = []
    for arrival in arrivals:
        idempotency = arrival.idempotency
        key = idempotency and (arrival.owner, idempotency.key)
        if idempotency and key in made:
            fingerprint, job = made[key]
            outcomes.append(
                Stored(job, replayed=True) if idempotency.matches(fingerprint) else KeyReused(idempotency.key)
            )
            continue
        try:
            job = arrival.accept(ordinals[arrival.owner] + 1)
            if (job.owner, job.id) in ids:
                raise IdTaken(job.id)  # noqa: TRY301 - like whatever else may be wrong with it
        except Exception as error:  # noqa: BLE001 - it goes to whoever submitted
            outcomes.append(error)
            continue
        ordinals[arrival.owner] += 1
        ids.add((job.owner, job.id))
        if key and idempotency:
            made[key] = idempotency.fingerprint, job
        outcomes.append(Stored(job, replayed=False))
        row = row_of(job, kept[arrival.owner])
        rows.append((*row, idempotency and idempotency.key.encode(), idempotency and idempotency.fingerprint))
    return outcomes, rows


async def _keyed(connection: Connection, arrivals: Sequence[Arrival], kept: Mapping[str, str]) -> Keyed:
    """What the submissions' keys have made before."""
    keys = [(kept[one.owner], one.idempotency.key) for one in arrivals if one.idempotency]
    if not keys:
        return {}
    statement = f"""
        SELECT idempotency_key, fingerprint, {COLUMNS} FROM jobs
        JOIN unnest($1::text[], $2::bytea[]) AS wanted (owner_of_key, key)
        ON owner = owner_of_key AND idempotency_key = key
    """
    rows = await connection.fetch(statement, [owner for owner, _ in keys], [key.encode() for _, key in keys])
    jobs = [(key.decode(), fingerprint, job_of(row)) for key, fingerprint, *row in rows]
    return {(job.owner, key): (fingerprint, job) for key, fingerprint, job in jobs}


async def is_there(connection: Connection, job: Job) -> bool:
    """Whether a job was added by a transaction of which nothing was heard; waits until it has ended."""
    await connection.execute(LOCK_OWNER, job.owner)
    statement = f"SELECT EXISTS (SELECT FROM jobs WHERE owner = {DATA_KEY} AND ordinal = $2 AND id = $3)"
    return bool(await connection.fetchval(statement.replace(":owner", "$1"), job.owner, job.ordinal, job.id))
