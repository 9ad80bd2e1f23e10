"""One user's world: how long their jobs take and how they end, and the drawing of a job's fate."""

import hashlib
import json
from dataclasses import dataclass

from translation_server.core.job import Fate, State

ENTROPY_BYTES = 16
"""How many random bytes one fate is drawn from."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The settings of a user's world; delays in seconds, drawn uniformly from ``min_delay`` to ``max_delay``."""

    min_delay: float
    max_delay: float
    error_probability: float
    seed: str | None = None

    def fate(self, entropy: bytes) -> Fate:
        """Draws a job's fate from 16 random bytes: the same bytes, the same fate."""
        delay, outcome = _uniform(entropy[:8]), _uniform(entropy[8:])
        return Fate(
            delay=self.min_delay + (self.max_delay - self.min_delay) * delay,
            outcome=State.ERROR if outcome < self.error_probability else State.COMPLETED,
        )


def seeded_entropy(seed: str, owner: str, ordinal: int) -> bytes:
    """The bytes that a seed gives to an owner's n-th job, the same on every machine and in every order."""
    return hashlib.blake2b(json.dumps([seed, owner, ordinal]).encode(), digest_size=ENTROPY_BYTES).digest()


def _uniform(entropy: bytes) -> float:
    """Eight bytes as a number in [0, 1) with the 53 bits that a double holds."""
    return (int.from_bytes(entropy) >> 11) / (1 << 53)
