"""The parts of answers besides the job: URLs, as the caller reached the server, and the hint when to poll next."""

from starlette.requests import Request
from starlette.types import Scope

from translation_server.api.addresses import base_url
from translation_server.api.context import context_of
from translation_server.core.clock import Clock
from translation_server.core.dialects.dialect import PLAIN, Dialect, View
from translation_server.core.hints import hint
from translation_server.core.job import JobSnapshot
from translation_server.service.files import Files
from translation_server.service.jobs import Service


def view_of(scope: Scope, dialect: Dialect, files: Files) -> View:
    """Returns the view for the answers of a dialect to a request."""
    return View(base_url(scope), dialect.api.mount, files.path) if dialect.absolute_states else PLAIN


async def record_hint(request: Request, service: Service, dialect: Dialect, *snapshots: JobSnapshot) -> Clock:
    """Records when to poll the first of these jobs next, if the dialect says it; returns the sandbox's clock."""
    context = context_of(request)
    sandbox = await service.sandboxes.of(context.user)
    rate = sandbox.clock.current.rate
    hints = [found for snapshot in snapshots if (found := hint(snapshot, sandbox.settings, rate)) is not None]
    context.record.hint = min(hints, default=None) if dialect.sends_hints else None
    return sandbox.clock
