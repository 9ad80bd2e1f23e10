"""The generated sync client."""

import pytest

from tools.generate_sync_client import SOURCE, TARGET, generate


def test_generated_client_is_fresh():
    assert TARGET.read_text() == generate(SOURCE.read_text()), "run `make generate`"


def test_generator_refuses_a_source_without_its_marks():
    with pytest.raises(ValueError, match=r"client\.py must have this once"):
        generate("async def run() -> None: ...\n")
