"""Faults in answers."""
