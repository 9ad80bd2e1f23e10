"""What a journal of requests holds: who waits for what, what they were told, and what went wrong on the way."""

from dataclasses import dataclass

from translation_server.core.job import State


@dataclass(frozen=True, slots=True)
class ReportedJob:
    """What an answer told of a job; ``ended_at`` is the real time at which it had ended, if it had."""

    job_id: str
    state: State
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, or what a stream of events told at a time.

    Attributes:
        at: The real time at which it came, in seconds since the epoch.
        moment: The same on the sandbox's clock.
        took: Seconds until it was answered.
        method: How it was sent.
        path: Where to, without the query.
        action: What it asked for: an action, ``event`` for what a stream told, or None for what is no route of a job.
        dialect: In which wire format.
        status: The status that was sent; 0 where none was.
        jobs: What the answer told of jobs, as it arrived.
        key: The idempotency key.
        replayed: Whether the key had come before.
        digest: Tells the body of a submission from others.
        wait: Seconds for which it asked to be held.
        tagged: Whether it said what it knew already (If-None-Match).
        hint: Seconds after which it was told to come back.
        faults: The kinds of what went wrong with it.
        agent: The program that sent it, as it calls itself.
        refused: How many requests had been refused for their credentials since the entry before; they have none.
    """

    at: float
    moment: float
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
