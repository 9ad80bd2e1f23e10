"""Where accepted jobs are kept: one protocol, one small file per database."""

from pathlib import Path

from translation_server.stores.memory import MemoryStore
from translation_server.stores.protocol import Idempotency, IdTaken, KeyReused, Store, Stored, StoreError
from translation_server.stores.sqlite import SqliteStore

__all__ = ["IdTaken", "Idempotency", "KeyReused", "Store", "StoreError", "Stored", "open_store"]

SQLITE = "sqlite:///"
MEMORY = "memory:"


def open_store(url: str) -> Store:
    """Opens the store that a database URL names, creating it where there is none.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, or ``memory:`` for this process's memory.

    Raises:
        StoreError: with one line that says what is wrong and what to do.
    """
    if url == MEMORY:
        return MemoryStore()
    if not url.startswith(SQLITE) or url == SQLITE or "\0" in url:
        raise StoreError(f"{url!r} is no database this server knows: use sqlite:///path/to/jobs.db")
    return SqliteStore(Path(url.removeprefix(SQLITE)).absolute())
