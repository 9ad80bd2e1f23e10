"""One user's world: how long their jobs take and how they end, and the drawing of a job's fate."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from translation_server.core.delays import Uniform
from translation_server.core.job import Fate, State

Hints = Literal["honest", "exact", "none"]
"""What hints are made from: the delays that jobs take, the very job's fate, or nothing: there are none."""

ENTROPY_BYTES = 16
"""How many random bytes one fate is drawn from."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The settings of a user's world; delays in seconds, drawn uniformly from ``min_delay`` to ``max_delay``.

    ``lateness_worth`` is how many seconds of lateness one request is worth: the more, the fewer looks hints ask for.
    """

    min_delay: float
    max_delay: float
    error_probability: float
    seed: str | None = None
    hints: Hints = "honest"
    lateness_worth: float = 0.25

    @property
    def delays(self) -> Uniform:
        """How long jobs take."""
        return Uniform(self.min_delay, self.max_delay)

    def fate(self, entropy: bytes) -> Fate:
        """Draws a job's fate from 16 random bytes: the same bytes, the same fate."""
        delay, outcome = _uniform(entropy[:8]), _uniform(entropy[8:])
        return Fate(
            delay=self.delays.quantile(delay),
            outcome=State.ERROR if outcome < self.error_probability else State.COMPLETED,
        )


def seeded_entropy(seed: str, owner: str, ordinal: int) -> bytes:
    """The bytes that a seed gives to an owner's n-th job, the same on every machine and in every order."""
    return hashlib.blake2b(json.dumps([seed, owner, ordinal]).encode(), digest_size=ENTROPY_BYTES).digest()


def _uniform(entropy: bytes) -> float:
    """Eight bytes as a number in [0, 1) with the 53 bits that a double holds."""
    return (int.from_bytes(entropy) >> 11) / (1 << 53)
