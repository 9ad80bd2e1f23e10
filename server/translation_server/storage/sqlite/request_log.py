"""The request logs in a SQLite file. A row holds consecutive records, one a line, since a few long rows cost less.

``number`` is the number of a row's last record. So a row is deleted once all of its records may be.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing

from translation_server.storage import statements as sql
from translation_server.storage.sqlite.database import unsynced

READ = f"SELECT number, records FROM requests WHERE owner = {sql.DATA_KEY} AND number > :after ORDER BY number"
ADD = """
    INSERT INTO owners (name, jobs, requests) SELECT key, 0, value FROM json_each(?) WHERE TRUE
    ON CONFLICT (name) DO UPDATE SET requests = requests + excluded.requests
    RETURNING name, requests, coalesce(data_key, name)
"""
TRIM = """
    DELETE FROM requests WHERE owner = :key AND number <= :last
    AND number <= (SELECT min(number) FROM requests WHERE owner = :key) + :max
"""
ROWS = 100  # how many rows a full log has at least. A log keeps as many records beyond its limit as one row holds


def add_requests(connection: sqlite3.Connection, records: Sequence[tuple[str, str]], limit: int) -> None:
    """Adds records; see `RequestLogStore`."""
    by_owner, size = defaultdict(list), max(1, limit // ROWS)
    for owner, record in records:
        by_owner[owner].append(record)
    counts = json.dumps({owner: len(new) for owner, new in by_owner.items()})
    with unsynced(connection):
        owners = connection.execute(ADD, (counts,)).fetchall()
        rows = [row for owner, last, key in owners for row in _rows(key, last, by_owner[owner], size)]
        connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
        full = [{"key": key, "last": last - limit, "max": sql.MAX_TRIMMED} for _, last, key in owners if last > limit]
        connection.executemany(TRIM, full)


def _rows(key: str, last: int, records: Sequence[str], size: int) -> Iterator[tuple[str, int, str]]:
    """Yields the rows for an owner's records, of which ``last`` is the number of the last one."""
    before = last - len(records)
    for end in range(size, len(records) + size, size):
        yield key, min(before + end, last), "\n".join(records[end - size : end])


def read_requests(connection: sqlite3.Connection, owner: str, after: int, limit: int) -> list[tuple[int, str]]:
    """Returns an owner's records with a number above ``after``, oldest first."""
    found = list[tuple[int, str]]()
    with closing(connection.execute(READ, {"owner": owner, "after": after})) as rows:
        for last, text in rows:
            records = text.split("\n")
            numbered = enumerate(records, last - len(records) + 1)
            found += [(number, record) for number, record in numbered if number > after]
            if len(found) >= limit:
                break
    return found[:limit]
