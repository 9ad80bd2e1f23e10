"""A job as a row of a table, the same in every database."""

from collections.abc import Sequence
from typing import Any

from translation_server.core.job import Fate, Job, State, Submission

NAMES = (
    "id",
    "owner",
    "ordinal",
    "created_at",
    "delay",
    "outcome",
    "message",
    "source_language",
    "target_language",
    "video_length",
    "cancelled_at",
    "paused_at",
    "paused_for",
    "changed_at",
)
COLUMNS = ", ".join(NAMES)

GENERATION = "\x1e"
"""Stands in a key between the owner's name, in which it cannot be, and the number of the generation."""

DATA_KEY = "coalesce((SELECT data_key FROM owners WHERE name = :owner), :owner)"
"""The key of the owner's jobs and requests: first the name, then another one from each reset on, which moves no row."""

COUNT_KEY = "coalesce((SELECT count_key FROM owners WHERE name = :owner), :owner)"
"""The key of the owner's tallies, which also begin anew by themselves."""

RELATIONS = {
    "jobs": ("data_key", "ordinal"),
    "requests": ("data_key", "number"),
    "fault_counts": ("count_key", "subject"),
}
"""What is kept of owners: which column has its key, and what tells one row of a key from the others."""


def _anew(*columns: str) -> tuple[str, ...]:
    """Statements that give an owner keys that none has had, and leave what the old ones have to be purged."""
    leave = "INSERT INTO purge_queue SELECT '{}', coalesce({}, name) FROM owners WHERE name = :owner"
    begin = f"""
        UPDATE owners SET generation = generation + 1, {{0}} = name || '{GENERATION}' || (generation + 1)
        WHERE name = :owner
    """
    left = [leave.format(relation, column) for relation, (column, _) in RELATIONS.items() if column in columns]
    return (*left, *map(begin.format, columns))


RECOUNT = _anew("count_key")
"""Ends all tallies of an owner."""

CLEAR = (
    *_anew("data_key", "count_key"),
    "UPDATE owners SET jobs = 0, requests = 0, sandbox = :sandbox WHERE name = :owner",
)
"""Empties an owner's sandbox, whatever it holds, in a few rows."""

EMPTIED = "SELECT relation, owner FROM purge_queue LIMIT 1"
"""Something that is to be purged."""

PURGE_EMPTIED = {
    relation: f"""
        DELETE FROM {relation} WHERE owner = :owner AND {column} IN (
            SELECT {column} FROM {relation} WHERE owner = :owner ORDER BY {column} LIMIT :limit
        )
    """
    for relation, (_, column) in RELATIONS.items()
}
"""A step of a purge."""

EMPTIED_ENTIRELY = "DELETE FROM purge_queue WHERE relation = :relation AND owner = :owner"

NEVER = 1e300
"""The end of a job that is held, until it is released."""

END = f"coalesce(cancelled_at, CASE WHEN paused_at IS NULL THEN created_at + delay + paused_for ELSE {NEVER} END)"
"""The moment at which a job ends, or ended. An index has it for each owner."""

IN_STATE = {
    None: "TRUE",
    State.PENDING: f"{END} > :now",
    State.COMPLETED: f"outcome = 'completed' AND cancelled_at IS NULL AND {END} <= :now",
    State.ERROR: f"outcome = 'error' AND cancelled_at IS NULL AND {END} <= :now",
    State.CANCELLED: "cancelled_at <= :now",
}
"""Law 1 in SQL: the same function of (job, now) as ``JobSnapshot.state``, for the filter of a page."""

MANY = 5000
"""Pending jobs of an owner that are too many to be sorted: among so many, a page is found by going through all jobs."""

MANY_PENDING = f"SELECT TRUE FROM jobs WHERE owner = {DATA_KEY} AND {END} > :now ORDER BY {END} LIMIT 1 OFFSET {MANY}"
"""Finds a row if there are so many."""

FEW_PENDING = f"""
    SELECT ordinal FROM (
        SELECT ordinal FROM jobs WHERE owner = {DATA_KEY} AND {END} > :now ORDER BY {END} LIMIT {MANY}
    ) AS pending
    WHERE ordinal < :before ORDER BY ordinal DESC LIMIT :limit
"""
"""The ordinals of a page of pending jobs, where there are not so many."""


def _behind(expression: str, condition: str, until: str = "TRUE") -> str:
    """A statement that finds jobs behind a place in an order: the rest of those in the same place, and later ones.

    What it finds has yet to be put in order, and may be twice as much as the limit. With ``until`` in both halves,
    SQLite would not find the first one by its index.
    """
    jobs = f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND {condition}"
    same = f"{jobs} AND {expression} = :at AND ordinal > :ordinal ORDER BY ordinal LIMIT :limit"
    later = f"{jobs} AND {expression} > :at AND {until} ORDER BY {expression}, ordinal LIMIT :limit"
    return f"SELECT * FROM ({same}) AS same UNION ALL SELECT * FROM ({later}) AS later"


ENDING = _behind(END, "TRUE", until=f"{END} < {NEVER}")

AMENDED = _behind("changed_at", "changed_at <> created_at")
"""Jobs to which something was done; of others, the two are the same, unless the owner's clock shows another time."""

ACCEPTED = f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND ordinal > :after ORDER BY ordinal LIMIT :limit"

MOST_TRIMMED = 5_000
"""Requests over the limit that are removed with each batch; where the limit was lowered, there may be a million."""


def owner_of(key: str) -> str:
    """The name of the owner who has a key."""
    return key.partition(GENERATION)[0]


def job_of(row: Sequence[Any]) -> Job:
    """The job in the values of COLUMNS."""
    (
        job_id,
        key,
        ordinal,
        created_at,
        delay,
        outcome,
        message,
        source,
        target,
        length,
        cancelled_at,
        paused_at,
        paused_for,
        changed_at,
    ) = row
    return Job(
        id=job_id,
        owner=owner_of(key),
        ordinal=ordinal,
        created_at=created_at,
        fate=Fate(delay, State(outcome), message),
        submission=Submission(source, target, length),
        cancelled_at=cancelled_at,
        paused_at=paused_at,
        paused_for=paused_for,
        changed_at=changed_at,
    )


def row_of(job: Job, key: str) -> tuple[object, ...]:
    """The job's values for COLUMNS; the key stands for its owner."""
    return (
        job.id,
        key,
        job.ordinal,
        job.created_at,
        job.fate.delay,
        job.fate.outcome,
        job.fate.message,
        job.submission.source_language,
        job.submission.target_language,
        job.submission.video_length,
        job.cancelled_at,
        job.paused_at,
        job.paused_for,
        job.changed_at,
    )
