"""The record of a request in the request log, which is filled in while the request is answered."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar
from urllib.parse import unquote_plus

from pydantic_core import to_json
from starlette.types import Scope

from translation_server.core.clock import Clock, WallTime
from translation_server.core.dialects.dialect import Api
from translation_server.core.job import NATIVE, JobSnapshot
from translation_server.core.request_log import KnownBy
from translation_server.service.request_log import Refusals

logger = logging.getLogger(__name__)

OPTIONAL = (
    *("action", "dialect", "query", "body", "key", "replayed", "digest", "known_by"),
    *("wait", "tagged", "hint", "hidden_status", "agent"),
)
optional_values = attrgetter(*OPTIONAL)
MAX_TEXT = 200  # how many characters of a path and of a User-Agent are kept
MAX_SENT = 1000  # how many characters of a query and of a body are kept; a longer one ends with "…"


@dataclass(slots=True)
class RecordBuilder:
    """A record that is being filled in; `RequestRecord` describes the fields.

    ``snapshots`` are the jobs that the answer shows, ``refusals`` the refused requests since the record before.
    """

    at: float
    method: str
    path: str
    agent: str | None
    tagged: bool
    query: str | None = None
    body: str | None = None
    took: float = 0.0
    action: str | None = None
    dialect: str | None = None
    status: int = 0
    snapshots: Sequence[JobSnapshot] = ()
    key: str | None = None
    replayed: bool = False
    digest: str | None = None
    known_by: KnownBy | None = None
    wait: int | None = None
    hint: float | None = None
    faults: tuple[str, ...] = ()
    hidden_status: int | None = None
    refusals: Refusals | None = None

    def text(self, clock: Clock) -> str:
        """Returns the record as JSON, without empty fields; ``clock`` is the sandbox's."""
        times = {"at": self.at, "virtual_at": clock.virtual(WallTime(self.at)), "took": self.took}
        record = times | self.facts(clock)
        if self.refusals:
            record["refused"] = self.refusals.requests
        return to_json(record).decode()

    def facts(self, clock: Clock) -> dict[str, object]:
        """Returns the fields besides the times and the refused requests, without empty ones."""
        facts: dict[str, object] = {
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "faults": self.faults,
            "jobs": [_reported(snapshot, clock) for snapshot in self.snapshots],
        }
        optional = zip(OPTIONAL, optional_values(self), strict=True)
        return facts | {name: value for name, value in optional if value is not None and value is not False}


@dataclass(slots=True)
class PollRecord:
    """The record of a poll that was answered from memory, as most records are.

    It has the attributes of a `RecordBuilder` that the request log and the metrics use. ``facts`` is what all records
    of the same poll share, as JSON without its braces.
    """

    at: float
    took: float
    hint: float | None
    snapshots: Sequence[JobSnapshot]
    facts: str
    refusals: Refusals | None = None
    action: ClassVar = "poll"
    faults: ClassVar[Sequence[str]] = ()

    def text(self, clock: Clock) -> str:
        """Returns the record as JSON, without empty fields; ``clock`` is the sandbox's."""
        at = repr(self.at)
        virtual_at = at if clock.shows_wall_time else repr(clock.virtual(WallTime(self.at)))
        hint = "" if self.hint is None else f',"hint":{self.hint!r}'
        refused = f',"refused":{self.refusals.requests}' if self.refusals else ""
        return f'{{"at":{at},"virtual_at":{virtual_at},"took":{self.took!r}{hint}{refused},{self.facts}}}'


AddRecord = Callable[[str, RecordBuilder | PollRecord], None]  # adds a record to the request log of a user


def begin_record(scope: Scope, headers: Mapping[bytes, bytes], at: float, api: Api | None) -> RecordBuilder:
    """Begins the record of a request that came in at this wall time, for this API; None means the native one."""
    agent = headers.get(b"user-agent", b"")[:MAX_TEXT].decode("latin-1") or None
    record = RecordBuilder(at, scope["method"], scope["path"][:MAX_TEXT], agent, b"if-none-match" in headers)
    if query := scope["query_string"]:
        tokens = api.token_parameters if api else frozenset()
        shown = [
            text for text in query.split(b"&") if unquote_plus(text.partition(b"=")[0].decode("latin-1")) not in tokens
        ]
        record.query = shortened(b"&".join(shown))
    return record


def shortened(sent: bytes) -> str | None:
    """Returns a query or a body as it is kept; None if it is empty."""
    text = sent[: 4 * MAX_SENT].decode(errors="replace")
    is_whole = len(sent) <= 4 * MAX_SENT and len(text) <= MAX_SENT
    return (text if is_whole else f"{text[:MAX_SENT]}…") or None


def log_request(scope: Scope, user: str, status: int, took: float) -> None:
    """Logs a request that was answered within ``took`` seconds."""
    if logger.isEnabledFor(logging.DEBUG):
        line = "%s %s %s for %s in %.1f ms"
        facts = scope["method"], scope["path"], status, user or "-", 1000 * took
        logger.debug(line, *facts, extra={"scope": scope})


def _reported(snapshot: JobSnapshot, clock: Clock) -> dict[str, object]:
    """Returns a job as a record shows it; its end is in wall time."""
    reported: dict[str, object] = {"job_id": snapshot.job.id, "state": str(snapshot.state)}
    if snapshot.job.api != NATIVE:
        reported["kind"] = f"{snapshot.job.api}/{snapshot.job.kind}"
    if (ended_at := snapshot.wall_end(clock)) is not None:
        reported["ended_at"] = ended_at
    return reported
