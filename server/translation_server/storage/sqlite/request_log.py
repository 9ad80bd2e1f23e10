"""The request logs in a SQLite file. A row holds consecutive records, one a line, since a few long rows cost less.

``number`` is the number of a row's last record. So a row is deleted once all of its records may be.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing

from translation_server.storage import statements as sql
from translation_server.storage.sqlite.database import unsynced

READ = f"SELECT number, records FROM requests WHERE owner = {sql.DATA_KEY} AND number > :after ORDER BY number"
ROWS = 100  # how many rows a full log has at least. A log keeps as many records beyond its limit as one row holds


def add_requests(connection: sqlite3.Connection, records: Sequence[tuple[str, str]], limit: int) -> None:
    """Adds records; see `RequestLogStore`."""
    by_owner, size = defaultdict(list), max(1, limit // ROWS)
    for owner, record in records:
        by_owner[owner].append(record)
    with unsynced(connection):
        for owner, new in by_owner.items():
            [(last, key)] = connection.execute(
                "INSERT INTO owners (name, jobs, requests) VALUES (:owner, 0, :new)"
                " ON CONFLICT (name) DO UPDATE SET requests = requests + :new"
                " RETURNING requests, coalesce(data_key, name)",
                {"owner": owner, "new": len(new)},
            ).fetchall()
            parts = [new[start : start + size] for start in range(0, len(new), size)]
            before = last - len(new)
            connection.executemany(
                "INSERT INTO requests VALUES (?, ?, ?)",
                [(key, min(before + number * size, last), "\n".join(part)) for number, part in enumerate(parts, 1)],
            )
            connection.execute(
                "DELETE FROM requests WHERE owner = :key AND number <= :last"
                " AND number <= (SELECT min(number) FROM requests WHERE owner = :key) + :max",
                {"key": key, "last": last - limit, "max": sql.MAX_TRIMMED},
            )


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
