"""The classes of this library's ancestors, each over `Client`."""
