"""What a request's entry in the journal is made of, as it becomes known on the request's way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.types import Scope

from translation_server.core.clock import Clock
from translation_server.core.job import Look
from translation_server.core.journal import Entry, Told

LONGEST = 200
"""Characters of what a client says of itself that are kept."""


@dataclass(slots=True)
class Draft:
    """An entry to be; see `Entry` for what the fields hold. ``looks`` are what the answer tells of jobs."""

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
    faults: list[str] = field(default_factory=list)

    def entry(self, clock: Clock) -> Entry:
        """The entry."""
        return Entry(
            at=self.at,
            moment=clock.at(self.at),
            took=self.took,
            method=self.method,
            path=self.path,
            action=self.action,
            dialect=self.dialect,
            status=self.status,
            jobs=tuple(told(look, clock) for look in self.looks),
            key=self.key,
            replayed=self.replayed,
            digest=self.digest,
            wait=self.wait,
            tagged=self.tagged,
            hint=self.hint,
            faults=tuple(self.faults),
            agent=self.agent,
        )


def begin(scope: Scope, headers: Mapping[bytes, bytes], at: float) -> Draft:
    """The entry of a request that has just come in."""
    agent = headers.get(b"user-agent", b"")[:LONGEST].decode("latin-1") or None
    return Draft(at, scope["method"], scope["path"][:LONGEST], agent, b"if-none-match" in headers)


def told(look: Look, clock: Clock) -> Told:
    """What a look tells; its end in real time."""
    ended = look.completed_at
    return Told(look.job.id, look.state, None if ended is None else clock.real(ended))


def draft_of(scope: Scope) -> Draft:
    """The entry that a request is to be."""
    draft: Draft = scope["draft"]
    return draft
