"""Where accepted jobs are kept: one protocol, and a store for each database."""

import re
from pathlib import Path

from translation_server.storage.memory import MemoryStore
from translation_server.storage.protocol import (
    ChangeSource,
    Cutoff,
    FaultCountStore,
    Idempotency,
    IdTaken,
    JobStore,
    KeyReused,
    RequestLogStore,
    RetentionStore,
    SandboxStore,
    Store,
    StoreChange,
    Stored,
    StoreError,
)
from translation_server.storage.sqlite.store import SqliteStore

__all__ = [
    "ChangeSource",
    "Cutoff",
    "FaultCountStore",
    "IdTaken",
    "Idempotency",
    "JobStore",
    "KeyReused",
    "RequestLogStore",
    "RetentionStore",
    "SandboxStore",
    "Store",
    "StoreChange",
    "StoreError",
    "Stored",
    "open_store",
    "redact",
]

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")
MEMORY = "memory:"


def open_store(url: str) -> Store:
    """Opens the store that a database URL names, creating what it needs where it is not there.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``postgresql://user:password@host:port/name``,
            or ``memory:`` for this process's memory.

    Raises:
        StoreError: with one line that says what is wrong and what to do.
    """
    if url == MEMORY:
        return MemoryStore()
    if url.startswith(POSTGRES):
        # Loaded where it is needed: other databases shall not wait for its driver.
        from translation_server.storage.postgres.store import PostgresStore  # noqa: PLC0415 - see above

        return PostgresStore(url, redact(url))
    if not url.startswith(SQLITE) or url == SQLITE or "\0" in url:
        known = "use sqlite:///path/to/jobs.db or postgresql://user:password@host/name"
        raise StoreError(f"{redact(url)!r} is no database this server knows: {known}")
    return SqliteStore(Path(url.removeprefix(SQLITE)).absolute())


def redact(url: str) -> str:
    """A database URL without what may be secret: of one on a network only host, port and name are left."""
    scheme, of_network, rest = url.partition("://")
    if url.startswith((SQLITE, MEMORY)) or not of_network:
        return url
    return f"{scheme}://" + ("…" if "password=" in rest else re.sub(r"\?.*", "", rest.rpartition("@")[2]))
