"""What a request's entry in the journal is made of, as it becomes known on the request's way."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import to_json
from starlette.types import Scope

from translation_server.core.clock import Clock
from translation_server.core.job import Look
from translation_server.service.request_log import Refusals

logger = logging.getLogger(__name__)

OPTIONAL = ("action", "dialect", "key", "replayed", "digest", "wait", "tagged", "hint", "agent")

LONGEST = 200
"""Characters of what a client says of itself that are kept."""


@dataclass(slots=True)
class Draft:
    """An entry to be; see `journal.Entry` for what the fields hold. ``looks`` are what the answer tells of jobs."""

    at: float
    method: str
    path: str
    agent: str | None
    tagged: bool
    took: float = 0.0
    action: str | None = None
    dialect: str | None = None
    status: int = 0
    looks: Sequence[Look] = ()
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
        return to_json(facts | {"jobs": [told(look, clock) for look in self.looks]}).decode()


Record = Callable[[str, Draft], None]
"""Takes note of a user's request."""


def begin(scope: Scope, headers: Mapping[bytes, bytes], at: float) -> Draft:
    """The entry of a request that has just come in."""
    agent = headers.get(b"user-agent", b"")[:LONGEST].decode("latin-1") or None
    return Draft(at, scope["method"], scope["path"][:LONGEST], agent, b"if-none-match" in headers)


def told(look: Look, clock: Clock) -> dict[str, object]:
    """What a look tells; its end in real time."""
    facts: dict[str, object] = {"job_id": look.job.id, "state": look.state}
    return facts if look.completed_at is None else facts | {"ended_at": clock.real(look.completed_at)}


def draft_of(scope: Scope) -> Draft:
    """The entry that a request is to be."""
    draft: Draft = scope["draft"]
    return draft


def log(scope: Scope, user: str | None, status: int, took: float) -> None:
    """Logs a request that has been answered within so many seconds."""
    logger.debug("%s %s %s for %s in %.1f ms", scope["method"], scope["path"], status, user or "-", 1000 * took)
