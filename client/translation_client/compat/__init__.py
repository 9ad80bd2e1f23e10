"""The classes of the five earlier systems, built on `Client` and `AsyncClient`."""
