"""The attempts to deliver events, as the report card uses them, and what they mean for the jobs."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from translation_server.core.faults.deliveries import POSTPONING
from translation_server.core.faults.rules import FORGED
from translation_server.core.webhooks import ACCEPTED, ENDS, Delivery

FALSE = frozenset({*FORGED, "stale"})  # the faults of deliveries that tell nothing true
MISSED = frozenset({"lost", "truncate"})  # the faults with which the receiver got no whole delivery
HINDERED = MISSED | POSTPONING  # the faults that keep an event from its receiver for a while


class ReportedAttempt(NamedTuple):
    """One attempt of a delivery."""

    job_id: str
    delivery_id: str
    event: str
    state: str  # of the delivery
    at: float  # the wall time at which it began
    seconds: float  # how long it took
    status: int | None  # the status code of the answer
    fault: str | None
    extra: bool

    @property
    def was_accepted(self) -> bool:
        """Whether the receiver has accepted it."""
        return self.status in ACCEPTED

    @property
    def is_genuine_end(self) -> bool:
        """Whether it is about the end of its job, and not forged or stale."""
        return self.event in ENDS and self.fault not in FALSE


def reported(deliveries: Iterable[Delivery]) -> list[ReportedAttempt]:
    """Returns all attempts of deliveries."""
    return [
        ReportedAttempt(
            delivery.job_id,
            delivery.id,
            delivery.event,
            delivery.state.value,
            attempt.wall,
            attempt.seconds,
            attempt.status,
            attempt.fault,
            attempt.extra,
        )
        for delivery in deliveries
        for attempt in delivery.attempts
    ]


class Received:
    """What a receiver got of the ends of jobs."""

    def __init__(self, attempts: Sequence[ReportedAttempt]) -> None:
        self.attempts = attempts

    @cached_property
    def accepted_at(self) -> dict[str, float]:
        """When the receiver accepted the end of each job, by the job's id."""
        found: dict[str, float] = {}
        for attempt in self.attempts:
            if attempt.is_genuine_end and attempt.was_accepted:
                at = attempt.at + attempt.seconds
                found[attempt.job_id] = min(at, found.get(attempt.job_id, at))
        return found

    @cached_property
    def hindered(self) -> frozenset[str]:
        """The jobs whose end was kept from the receiver by a fault, for a while or for ever."""
        return frozenset(one.job_id for one in self.attempts if one.event in ENDS and one.fault in HINDERED)

    @cached_property
    def hints(self) -> dict[str, list[float]]:
        """When something about each job reached the receiver, which may then poll at once."""
        found: dict[str, list[float]] = {}
        for attempt in self.attempts:
            if attempt.status is not None:
                found.setdefault(attempt.job_id, []).append(attempt.at)
        return found

    def came_between(self, job_id: str, before: float, after: float) -> bool:
        """Whether something about a job reached the receiver between two times."""
        return any(before <= at <= after for at in self.hints.get(job_id, ()))
