"""The records of a request log: what was asked, what the answers said of jobs, and which faults fired."""

from dataclasses import dataclass

from translation_server.core.job import State


@dataclass(frozen=True, slots=True)
class ReportedJob:
    """What an answer said of a job. ``ended_at`` is the wall time of its end, if it had ended."""

    job_id: str
    state: State
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, or the events that a stream sent at one time.

    Attributes:
        at: The wall time at which it came, in seconds since the epoch.
        virtual_at: The same on the sandbox's clock.
        took: The seconds until it was answered.
        method: Its HTTP method.
        path: Its path, without the query.
        action: What it asked for; ``event`` for events of a stream, None for a path that is no route of jobs.
        dialect: Its wire format.
        status: The status code of the answer; 0 without one.
        jobs: What the answer said of jobs, unless a fault spoiled it.
        key: The idempotency key.
        replayed: Whether the idempotency key had come before.
        digest: A hash of the body of a submission.
        wait: The seconds of `Prefer: wait`.
        tagged: Whether it had an If-None-Match header.
        hint: The seconds after which the answer asked the client to come back.
        faults: The kinds of the fault rules that fired.
        agent: The User-Agent of the program that sent it.
        refused: How many requests were refused for their credentials since the record before; those have no records.
    """

    at: float
    virtual_at: float
    took: float
    method: str
    path: str
    action: str | None = None
    dialect: str | None = None
    status: int = 0
    jobs: tuple[ReportedJob, ...] = ()
    key: str | None = None
    replayed: bool = False
    digest: str | None = None
    wait: int | None = None
    tagged: bool = False
    hint: float | None = None
    faults: tuple[str, ...] = ()
    agent: str | None = None
    refused: int = 0
