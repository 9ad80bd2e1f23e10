"""Storage: one protocol in parts, and a store for each database."""

import re
from pathlib import Path

from translation_server.storage.memory import MemoryStore
from translation_server.storage.protocol import (
    AmbiguousId,
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
    SecretStore,
    Store,
    StoreChange,
    Stored,
    StoreError,
)
from translation_server.storage.sqlite.store import SqliteStore

__all__ = [
    "AmbiguousId",
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
    "SecretStore",
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
    """Opens the store of a database URL, and creates the database's tables or file where they are missing.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``postgresql://user:password@host:port/name``,
            or ``memory:`` for this process's memory.

    Raises:
        StoreError: the store cannot be opened; the message says what to do.
    """
    if url == MEMORY:
        return MemoryStore()
    if url.startswith(POSTGRES):
        # Imported here because its driver takes time to load.
        from translation_server.storage.postgres.store import PostgresStore  # noqa: PLC0415 - see above

        return PostgresStore(url, redact(url))
    if not url.startswith(SQLITE) or url == SQLITE or "\0" in url:
        supported = "use sqlite:///path/to/jobs.db or postgresql://user:password@host/name"
        raise StoreError(f"the database URL {redact(url)!r} is not supported: {supported}")
    return SqliteStore(Path(url.removeprefix(SQLITE)).absolute())


def redact(url: str) -> str:
    """Returns a database URL without its secrets: of a network database only scheme, host, port and name."""
    scheme, separator, rest = url.partition("://")
    if url.startswith((SQLITE, MEMORY)) or not separator:
        return url
    return f"{scheme}://" + ("…" if "password=" in rest else re.sub(r"\?.*", "", rest.rpartition("@")[2]))
