"""How long tests wait for what comes in a fraction of a second on a machine that is not busy."""

PATIENCE = 300.0
"""Seconds. A slow machine that runs several tests at once is no reason to fail; a test that hangs still fails."""
