"""The records of a request log: the requests, the statuses of jobs in the answers, and the faults that fired."""

from dataclasses import dataclass
from typing import Literal

from translation_server.core.job import State

KnownBy = Literal["key", "id", "nothing"]
"""How an API recognizes a repeated submission: by its idempotency key, or by the job's id that the caller chose."""


@dataclass(frozen=True, slots=True)
class ReportedJob:
    """A job as an answer showed it.

    ``ended_at`` is the wall time of its end, if it had ended; ``kind`` the API and the kind of a job of another API.
    """

    job_id: str
    state: State
    ended_at: float | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, or the events that a stream sent at one time."""

    at: float  # the wall time at which it came, in seconds since the epoch
    virtual_at: float  # the same on the sandbox's clock
    took: float  # the seconds until it was answered
    method: str
    path: str  # without the query
    query: str | None = None  # the query, without tokens
    body: str | None = None  # the body, in APIs that files describe, where nothing else stores it
    action: str | None = None  # its action; ``event`` for events of a stream, None if its route has no jobs
    dialect: str | None = None  # its wire format
    status: int = 0  # the status code of the answer; 0 without one
    hidden_status: int | None = None  # the status code of the answer that a fault kept from the client
    jobs: tuple[ReportedJob, ...] = ()  # the jobs that the answer showed, unless a fault made the answer unusable
    key: str | None = None  # the idempotency key
    replayed: bool = False  # whether the idempotency key had come before
    digest: str | None = None  # a hash of the body of a submission
    known_by: KnownBy = "key"  # how the API recognizes a repeated submission
    wait: int | None = None  # the seconds of `Prefer: wait`
    tagged: bool = False  # whether it had an If-None-Match header
    hint: float | None = None  # the seconds after which the answer asked the client to come back
    faults: tuple[str, ...] = ()  # the kinds of the fault rules that fired
    agent: str | None = None  # the User-Agent of the program that sent it
    refused: int = 0  # requests refused for their credentials since the record before; those have no records
