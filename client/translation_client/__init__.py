"""Starts slow, asynchronous jobs and waits for their end.

    with Client("http://127.0.0.1:8000", username="admin", password="secretpassword") as client:
        job = client.start(source_language="en", target_language="es")
        final = client.wait(job.id, timeout=60, on_update=print)

The package logs to the logger `translation_client`.
"""

import logging
import signal
import sys

# In the command, Ctrl-C must not print a traceback during the imports below either; main() takes over after them.
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN and (
    "".join(sys.argv[:1]).endswith("translation-client")
    or (sys.argv[:1] == ["-m"] and ("-m", __name__) in zip(sys.orig_argv, sys.orig_argv[1:], strict=False))
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from translation_client.client import AsyncClient, Client
from translation_client.core.dialects import Dialect
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.schedule import Exponential, Fixed, Hinted, Learned, Progressive
from translation_client.core.status import Cost, JobFailed, JobTimeout, Observation, State, Status
from translation_client.sandbox import Finding, Report, Sandbox
from translation_client.version import __version__

__all__ = [
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "Cost",
    "Dialect",
    "Exponential",
    "Finding",
    "Fixed",
    "Hinted",
    "InvalidRequest",
    "JobFailed",
    "JobTimeout",
    "Learned",
    "NotFound",
    "Observation",
    "Progressive",
    "ProtocolError",
    "Report",
    "Sandbox",
    "State",
    "Status",
    "TranslationError",
    "TransportError",
    "__version__",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # without a handler, warnings go to stderr
