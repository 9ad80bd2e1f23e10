"""Randomness as an argument: random bytes from a seed, and numbers from random bytes."""

import hashlib
import json

ENTROPY_BYTES = 16
"""The number of random bytes from which one fate, or one fault, is drawn."""


def seeded_entropy(seed: str, *draw: object) -> bytes:
    """Returns the random bytes of one draw, named by ``draw``: the same everywhere, for every user, in any order."""
    return hashlib.blake2b(json.dumps([seed, *draw]).encode(), digest_size=ENTROPY_BYTES).digest()


def uniform(entropy: bytes) -> float:
    """Returns eight random bytes as a number in [0, 1), with the 53 bits that a double holds."""
    return (int.from_bytes(entropy) >> 11) / (1 << 53)
