"""The classes of this library's ancestors, built on `Client` and `AsyncClient`."""
