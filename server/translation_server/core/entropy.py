"""Randomness that is an argument: bytes that come from a seed, and what is made of them."""

import hashlib
import json

ENTROPY_BYTES = 16
"""How many random bytes one fate, or one fault, is drawn from."""


def seeded_entropy(seed: str, owner: str, *of: object) -> bytes:
    """The bytes that a seed gives to an owner's n-th job, or to what is named: the same everywhere, in any order."""
    return hashlib.blake2b(json.dumps([seed, owner, *of]).encode(), digest_size=ENTROPY_BYTES).digest()


def uniform(entropy: bytes) -> float:
    """Eight bytes as a number in [0, 1) with the 53 bits that a double holds."""
    return (int.from_bytes(entropy) >> 11) / (1 << 53)
