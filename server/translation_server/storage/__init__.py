"""Storage: one protocol in parts, and a store for each database."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from translation_server.storage.memory import MemoryStore
from translation_server.storage.protocol import (
    AmbiguousId,
    ChangeSource,
    Cutoff,
    DeliveryStore,
    FaultCountStore,
    Idempotency,
    IdTaken,
    JobStore,
    KeyReused,
    MetricsStore,
    RequestLogStore,
    RetentionStore,
    SandboxStore,
    SecretStore,
    ShownEnd,
    Store,
    StoreChange,
    Stored,
    StoreError,
    TooLarge,
)
from translation_server.storage.sqlite.store import SqliteStore

__all__ = [
    "AmbiguousId",
    "ChangeSource",
    "Cutoff",
    "DeliveryStore",
    "FaultCountStore",
    "IdTaken",
    "Idempotency",
    "JobStore",
    "KeyReused",
    "MetricsStore",
    "RequestLogStore",
    "RetentionStore",
    "SandboxStore",
    "SecretStore",
    "ShownEnd",
    "Store",
    "StoreChange",
    "StoreError",
    "Stored",
    "TooLarge",
    "is_shared",
    "open_store",
    "redact",
]

SQLITE = "sqlite:///"


def _open_sqlite(url: str) -> Store:
    return SqliteStore(Path(url.removeprefix(SQLITE)).absolute())


def _open_postgres(url: str) -> Store:
    # Imported here because its driver takes time to load.
    from translation_server.storage.postgres.store import PostgresStore

    return PostgresStore(url, redact(url))


class StoreKind(NamedTuple):
    """A kind of store, by the URLs of its databases."""

    pattern: str  # matches the URLs
    open: Callable[[str], Store]
    example: str | None = None  # a URL to recommend
    is_shared: bool = True  # whether several processes can use one database


KINDS = (
    StoreKind(rf"{SQLITE}[^\0]+", _open_sqlite, f"{SQLITE}path/to/jobs.db"),
    StoreKind("postgres(ql)?://.*", _open_postgres, "postgresql://user:password@host/name"),
    StoreKind("memory:", lambda _: MemoryStore(), is_shared=False),
)


def open_store(url: str) -> Store:
    """Opens the store of a database URL, and creates the database's tables or file where they are missing.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``postgresql://user:password@host:port/name``,
            or ``memory:`` for this process's memory.

    Raises:
        StoreError: the store cannot be opened; the message says what to do.
    """
    return _kind(url).open(url)


def is_shared(url: str) -> bool:
    """Whether several processes can use the database of a URL; raises StoreError if there is no store for it."""
    return _kind(url).is_shared


def _kind(url: str) -> StoreKind:
    for kind in KINDS:
        if re.fullmatch(kind.pattern, url, re.DOTALL):
            return kind
    examples = " or ".join(kind.example for kind in KINDS if kind.example)
    raise StoreError(f"the database URL {redact(url)!r} is not supported: use {examples}")


def redact(url: str) -> str:
    """Returns a database URL without its secrets: of a network database only scheme, host, port and name."""
    scheme, separator, rest = url.partition("://")
    if url.startswith(SQLITE) or not separator:
        return url
    return f"{scheme}://" + ("…" if "password=" in rest else re.sub(r"\?.*", "", rest.rpartition("@")[2]))
