"""Fault rules: their matchers, and their effects."""
