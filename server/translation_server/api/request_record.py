"""What a request's entry in the journal is made of, as it becomes known on the request's way."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import to_json
from starlette.types import Scope

from translation_server.core.clock import Clock
from translation_server.core.job import JobSnapshot
from translation_server.service.request_log import Refusals

logger = logging.getLogger(__name__)

OPTIONAL = ("action", "dialect", "key", "replayed", "digest", "wait", "tagged", "hint", "agent")

LONGEST = 200
"""Characters of what a client says of itself that are kept."""


@dataclass(slots=True)
class RecordBuilder:
    """An entry to be; see `request_log.RequestRecord` for what the fields hold. ``snapshots`` are what the answer tells of jobs."""

    at: float
    method: str
    path: str
    agent: str | None
    tagged: bool
    took: float = 0.0
    action: str | None = None
    dialect: str | None = None
    status: int = 0
    snapshots: Sequence[JobSnapshot] = ()
    key: str | None = None
    replayed: bool = False
    digest: str | None = None
    wait: int | None = None
    hint: float | None = None
    faults: tuple[str, ...] = ()
    refusals: Refusals | None = None

    def text(self, clock: Clock) -> str:
        """The entry as JSON, without what it has not."""
        facts = {name: value for name in OPTIONAL if (value := getattr(self, name)) is not None and value is not False}
        facts |= {"at": self.at, "moment": clock.at(self.at), "took": self.took}
        facts |= {"method": self.method, "path": self.path, "status": self.status, "faults": self.faults}
        if self.refusals:
            facts["refused"] = self.refusals.many
        return to_json(facts | {"jobs": [told(snapshot, clock) for snapshot in self.snapshots]}).decode()


Record = Callable[[str, RecordBuilder], None]
"""Takes note of a user's request."""


def begin(scope: Scope, headers: Mapping[bytes, bytes], at: float) -> RecordBuilder:
    """The entry of a request that has just come in."""
    agent = headers.get(b"user-agent", b"")[:LONGEST].decode("latin-1") or None
    return RecordBuilder(at, scope["method"], scope["path"][:LONGEST], agent, b"if-none-match" in headers)


def told(snapshot: JobSnapshot, clock: Clock) -> dict[str, object]:
    """What a look tells; its end in real time."""
    facts: dict[str, object] = {"job_id": snapshot.job.id, "state": snapshot.state}
    return facts if snapshot.completed_at is None else facts | {"ended_at": clock.real(snapshot.completed_at)}


def record_of(scope: Scope) -> RecordBuilder:
    """The entry that a request is to be."""
    record: RecordBuilder = scope["draft"]
    return record


def log(scope: Scope, user: str | None, status: int, took: float) -> None:
    """Logs a request that has been answered within so many seconds."""
    logger.debug("%s %s %s for %s in %.1f ms", scope["method"], scope["path"], status, user or "-", 1000 * took)
