"""What the answers of a dialect depend on besides the job: how the caller reached the server."""

from starlette.types import Scope

from translation_server.api.addresses import base_url
from translation_server.core.dialects.dialect import PLAIN, Dialect, View
from translation_server.service.files import Files


def view_of(scope: Scope, dialect: Dialect, files: Files) -> View:
    """Returns what the answers of a dialect to a request depend on, besides the job."""
    return View(base_url(scope), dialect.api.mount, files.path) if dialect.absolute_states else PLAIN
