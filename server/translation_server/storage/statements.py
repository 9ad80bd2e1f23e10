"""The SQL that all databases share; parameters are bound by name."""

from translation_server.core.job import State
from translation_server.storage.rows import COLUMNS, GENERATION_MARK

DATA_KEY = "coalesce((SELECT data_key FROM owners WHERE name = :owner), :owner)"
"""The key of the owner's jobs and request records: first the owner's name, and a new one after each reset. So a reset
touches no row of a job."""

COUNT_KEY = "coalesce((SELECT count_key FROM owners WHERE name = :owner), :owner)"
"""The key of the owner's fault counts, which can also be reset alone."""


def of_kind(api: str | None, kind: str | None) -> str:
    """Returns a condition for jobs of an API and a kind, to be added to others; None means all of them."""
    return f"{' AND api = :api' if api else ''}{' AND kind = :kind' if kind else ''}"


TABLES = {
    "jobs": ("data_key", "ordinal"),
    "inputs": ("data_key", "ordinal"),
    "deliveries": ("data_key", "ordinal"),
    "shown_ends": ("data_key", "ordinal"),
    "requests": ("data_key", "number"),
    "fault_counts": ("count_key", "subject"),
}
"""The tables with owners' data: the column of ``owners`` with their key, and the rest of their primary key."""


def _new_keys(*columns: str) -> tuple[str, ...]:
    """Returns statements that give an owner keys that were never used, and queue the rows of the old ones."""
    enqueue = "INSERT INTO purge_queue SELECT '{}', coalesce({}, name) FROM owners WHERE name = :owner"
    replace = f"""
        UPDATE owners SET generation = generation + 1, {{0}} = name || '{GENERATION_MARK}' || (generation + 1)
        WHERE name = :owner
    """
    queued = [enqueue.format(table, column) for table, (column, _) in TABLES.items() if column in columns]
    return (*queued, *map(replace.format, columns))


RESET_COUNTS = _new_keys("count_key")

RESET_SANDBOX = (
    *_new_keys("data_key", "count_key"),
    "UPDATE owners SET jobs = 0, requests = 0, sandbox = :sandbox WHERE name = :owner",
)

NEXT_QUEUED = "SELECT relation, owner FROM purge_queue LIMIT 1"

PURGE_QUEUED = {
    table: f"""
        DELETE FROM {table} WHERE owner = :owner AND {column} IN (
            SELECT {column} FROM {table} WHERE owner = :owner ORDER BY {column} LIMIT :limit
        )
    """
    for table, (_, column) in TABLES.items()
}
"""By table: deletes some rows of a key."""

ADD_FILE_KEY = "INSERT INTO secrets VALUES ('file key', {}) ON CONFLICT DO NOTHING"
FILE_KEY = "SELECT value FROM secrets WHERE name = 'file key'"

DEQUEUE = "DELETE FROM purge_queue WHERE relation = :relation AND owner = :owner"
NEVER = 1e300  # the end of a paused job

END = f"coalesce(cancelled_at, CASE WHEN paused_at IS NULL THEN created_at + delay + paused_for ELSE {NEVER} END)"
"""The virtual time at which a job ends or was cancelled. There is an index of it for each owner."""

HAS_NOTHING_TO_DELIVER = """
    next_event_at IS NULL AND NOT EXISTS (
        SELECT TRUE FROM deliveries
        WHERE deliveries.owner = jobs.owner AND deliveries.ordinal = jobs.ordinal AND next_at IS NOT NULL
    )
"""
"""The condition for jobs whose webhooks were all delivered, or have failed for good."""

IN_STATE = {
    State.PENDING: f"{END} > :now",
    State.COMPLETED: f"outcome = 'completed' AND cancelled_at IS NULL AND {END} <= :now",
    State.ERROR: f"outcome = 'error' AND cancelled_at IS NULL AND {END} <= :now",
    State.CANCELLED: "cancelled_at <= :now",
}
"""The conditions for jobs in a state: the same function of job and time as ``JobSnapshot.state``."""

MAX_SORTED = 5000
"""How many pending jobs of an owner are sorted to find a page of them. If there are more, all jobs are searched."""

HAS_MANY_PENDING = f"""
    SELECT TRUE FROM jobs WHERE owner = {DATA_KEY} AND {END} > :now ORDER BY {END} LIMIT 1 OFFSET {MAX_SORTED}
"""
"""Returns a row if there are too many pending jobs to sort."""

PENDING_ORDINALS = f"""
    SELECT ordinal FROM (
        SELECT ordinal FROM jobs WHERE owner = {DATA_KEY} AND {END} > :now{{of_kind}} ORDER BY {END} LIMIT {MAX_SORTED}
    ) AS pending
    WHERE ordinal < :before ORDER BY ordinal DESC LIMIT :limit
"""
"""Returns the ordinals of a page of pending jobs, where there are few enough to sort; `of_kind` is filled in."""


def after(expression: str, condition: str, until: str = "TRUE") -> str:
    """Returns a statement for the jobs after a position: those at the same time with a higher ordinal, and later ones.

    The caller has to sort the rows and to apply the limit, since each half returns up to the limit. ``until`` is only
    in the second half, because with it SQLite would not use the index for the first one.
    """
    jobs = f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND {condition}"
    same = f"{jobs} AND {expression} = :at AND ordinal > :ordinal ORDER BY ordinal LIMIT :limit"
    later = f"{jobs} AND {expression} > :at AND {until} ORDER BY {expression}, ordinal LIMIT :limit"
    return f"SELECT * FROM ({same}) AS same UNION ALL SELECT * FROM ({later}) AS later"


BY_END = f"{END}, ordinal"
BY_CHANGE = "changed_at, ordinal"

ENDING_AFTER = after(END, "TRUE", until=f"{END} < {NEVER}")

CHANGED_AFTER = after("changed_at", "changed_at <> created_at")
"""An unchanged job has equal times, unless its owner's clock differs from wall time."""

READ_SANDBOX = "SELECT sandbox FROM owners WHERE name = :owner"

ACCEPTED_AFTER = f"""
    SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND ordinal > :ordinal ORDER BY ordinal LIMIT :limit
"""

READ_INPUT = f"SELECT input FROM inputs WHERE owner = {DATA_KEY} AND ordinal = :ordinal"

ADD_SHOWN_END = f"""
    INSERT INTO shown_ends SELECT owner, ordinal FROM jobs
    WHERE owner = {DATA_KEY} AND ordinal = :ordinal AND id = :job_id ON CONFLICT DO NOTHING RETURNING TRUE
"""
"""Returns a row if the job is there and its end is new. The id tells it from a job before a reset."""

HAS_OWN_CLOCK = "sandbox NOT LIKE '%' || :unset_clock || '%'"

COUNT_PENDING = f"""
    SELECT coalesce(sum((
        SELECT count(*) FROM jobs WHERE owner = coalesce(owners.data_key, owners.name) AND {END} > :now
    )), 0)
    FROM owners WHERE sandbox IS NULL OR NOT {HAS_OWN_CLOCK}
"""
"""Reads the pending jobs in the index by their ends, and no other job."""

COUNT_PENDING_OF = f"SELECT count(*) FROM jobs WHERE owner = {DATA_KEY} AND {END} > :now"

OWNERS_WITH_CLOCK = f"SELECT name FROM owners WHERE {HAS_OWN_CLOCK}"

UNCOUNT = f"UPDATE fault_counts SET count = count - 1 WHERE owner = {COUNT_KEY} AND subject = :subject"

MAX_TRIMMED = 5_000
"""How many records beyond its limit a request log loses with each batch; if the limit was lowered, there may be very
many."""
