"""Starts slow, asynchronous jobs and waits for their end well.

    with Client("http://127.0.0.1:8000", username="admin", password="secretpassword") as client:
        job = client.start(source_language="en", target_language="es")
        final = client.wait(job.id, timeout=60, on_update=print)

The package logs to the logger `translation_client`.
"""

from translation_client.client import AsyncClient, Client
from translation_client.core.dialects import Dialect
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    JobFailed,
    JobTimeout,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.model import State, Status

__all__ = [
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "Dialect",
    "InvalidRequest",
    "JobFailed",
    "JobTimeout",
    "NotFound",
    "ProtocolError",
    "State",
    "Status",
    "TranslationError",
    "TransportError",
    "__version__",
]

__version__ = "0.1.0"
