"""The good and the bad days: settings of a sandbox, under one word each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from translation_server.core.delays import Exponential, Uniform
from translation_server.core.faults.rules import (
    Break,
    Drip,
    Hang,
    HugeRetryAfter,
    Latency,
    Lie,
    Rule,
    Status,
    Truncate,
    UnknownStatus,
    WrongType,
)

DayName = Literal["perfect", "flaky", "overloaded", "outage", "slow-network", "liar", "stuck"]


class Day(NamedTuple):
    """What a day is like, and the settings that make it."""

    meaning: str
    settings: Mapping[str, Any]


def _day(meaning: str, *faults: Rule, **settings: object) -> Day:
    return Day(meaning, MappingProxyType({**settings, "faults": faults}))


DAYS: Mapping[DayName, Day] = MappingProxyType(
    {
        "perfect": _day("nothing goes wrong, and no job fails", error_probability=0.0),
        "flaky": _day(
            "one request in six is late, refused, or cut off, now and then after it was served",
            Latency(probability=0.1, delay=Exponential(0.2)),
            Status(probability=0.06, code=503),
            Break(probability=0.05, kind="reset"),
            Truncate(probability=0.04),
            Break(probability=0.02, kind="empty"),
        ),
        "overloaded": _day(
            "every answer is late, and every third request is told to come back in a second or two",
            Latency(delay=Exponential(0.2)),
            Status(probability=0.2, code=429, retry_after=1),
            Status(probability=0.15, code=503, retry_after=2),
        ),
        "outage": _day(
            "a second after it was chosen, everything fails for eight seconds",
            Break(after=1, until=9, probability=0.5, kind="reset"),
            Status(after=1, until=9, code=503),
        ),
        "slow-network": _day(
            "every answer takes up to a second longer, some drip in, a few never come",
            Latency(delay=Uniform(0.05, 1.0)),
            Hang(probability=0.02),
            Drip(probability=0.1, rate=400),
        ),
        "liar": _day(
            "looks tell of unknown states, forget jobs just accepted and ends just told, and ask for a day of patience",
            Lie(route=("look",), nth=(1,), probability=0.5, kind="forgotten"),
            UnknownStatus(route=("look", "bulk"), probability=0.2),
            HugeRetryAfter(route=("look",), probability=0.3),
            Lie(route=("look", "bulk"), nth=tuple(range(2, 20)), probability=0.2, kind="back-to-pending"),
            Lie(route=("look", "bulk"), probability=0.2, kind="bare"),
            WrongType(probability=0.1),
        ),
        "stuck": _day(
            "jobs stay pending until they are released, and every fifth look hangs",
            Hang(route=("look", "bulk"), probability=0.2),
            hold=True,
        ),
    },
)
"""Each day under its name."""
