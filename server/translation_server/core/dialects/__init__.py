"""Wire formats as data."""
