"""A stand-in for a slow, asynchronous job API."""

__version__ = "0.1.0"
