"""The use cases, with their caches and background work."""
