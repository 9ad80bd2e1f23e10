"""Fault rules: which one fires for a request, and what it does."""
