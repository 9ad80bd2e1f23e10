"""The scenarios: named sets of faults and settings of a sandbox."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from translation_server.core.delays import Exponential, Uniform
from translation_server.core.faults.rules import (
    FORGED,
    Break,
    Doubled,
    Drip,
    FalseAnswer,
    FaultRule,
    Forged,
    Hang,
    HugeRetryAfter,
    Latency,
    Lost,
    OutOfOrder,
    Stale,
    Status,
    Truncate,
    UnknownStatus,
    WrongType,
)

ScenarioName = Literal["perfect", "flaky", "overloaded", "outage", "slow-network", "liar", "stuck", "lossy-webhooks"]


class Scenario(NamedTuple):
    """A description of a scenario, and its settings."""

    meaning: str
    settings: Mapping[str, Any]


def _scenario(meaning: str, *faults: FaultRule, **settings: object) -> Scenario:
    return Scenario(meaning, MappingProxyType({**settings, "faults": faults}))


SCENARIOS: Mapping[ScenarioName, Scenario] = MappingProxyType(
    {
        "perfect": _scenario("nothing goes wrong, and no job fails", error_probability=0.0),
        "flaky": _scenario(
            "about one request in four is late, refused or cut off, sometimes after the server has acted on it; "
            "webhooks get lost and doubled",
            Latency(probability=0.1, delay=Exponential(0.2)),
            Status(probability=0.06, code=503),
            Break(probability=0.05, kind="reset"),
            Truncate(probability=0.04),
            Break(probability=0.02, kind="empty"),
            Lost(probability=0.1),
            Doubled(probability=0.1),
        ),
        "overloaded": _scenario(
            "every answer is late, and about one request in three is refused with a Retry-After of one or two seconds",
            Latency(delay=Exponential(0.2)),
            Status(probability=0.2, code=429, retry_after=1),
            Status(probability=0.15, code=503, retry_after=2),
        ),
        "outage": _scenario(
            "one second after the scenario was chosen, every request and every webhook fails for eight seconds",
            Break(after=1, until=9, probability=0.5, kind="reset"),
            Status(after=1, until=9, code=503),
            Lost(after=1, until=9),
        ),
        "slow-network": _scenario(
            "every answer and every webhook takes up to a second longer, some answers arrive slowly, a few never",
            Latency(delay=Uniform(0.05, 1.0)),
            Hang(probability=0.02),
            Drip(probability=0.1, rate=400),
            Latency(route=("webhook",), delay=Uniform(0.05, 1.0)),
        ),
        "liar": _scenario(
            "polls report unknown states, forget new jobs, show ended jobs as pending, and send a Retry-After of a day"
            "; webhooks are forged, or show ended jobs as pending",
            FalseAnswer(route=("poll",), nth=(1,), probability=0.5, kind="not-found"),
            UnknownStatus(route=("poll", "batch_poll"), probability=0.2),
            HugeRetryAfter(route=("poll",), probability=0.3),
            FalseAnswer(route=("poll", "batch_poll"), nth=tuple(range(2, 20)), probability=0.2, kind="back-to-pending"),
            FalseAnswer(route=("poll", "batch_poll"), probability=0.2, kind="no-details"),
            WrongType(probability=0.1),
            Stale(probability=0.2),
            Forged(probability=0.2, kind="changed-body"),
            Forged(probability=0.2, kind="no-signature"),
        ),
        "stuck": _scenario(
            "jobs stay pending until they are unpaused, and about one poll in five hangs",
            Hang(route=("poll", "batch_poll"), probability=0.2),
            paused=True,
        ),
        "lossy-webhooks": _scenario(
            "about two webhooks in three are lost, late, out of order, doubled, cut off or forged; requests are served",
            Latency(route=("webhook",), probability=0.1, delay=Uniform(0.5, 2.0)),
            OutOfOrder(probability=0.2),
            Lost(probability=0.25),
            Truncate(route=("webhook",), probability=0.05),
            Doubled(probability=0.15, copies=3),
            Doubled(probability=0.15, delay=1.0),
            *(Forged(probability=0.1, kind=kind) for kind in FORGED),
            Stale(probability=0.1),
        ),
    }
)
"""All scenarios, by name."""
