"""Server-sent events: the changes of a caller's jobs as they happen (WHATWG HTML, section 9.2)."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from translation_server.api.context import context_of
from translation_server.api.preferences import values_of, wall_elapsed
from translation_server.api.problems import invalid
from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.dialect import Dialect, View
from translation_server.core.job import JobSnapshot
from translation_server.service.change_stream import ChangePage, Changes
from translation_server.storage import StoreError

logger = logging.getLogger(__name__)
RETRY = 1000  # when a client should connect again after its stream broke off, in milliseconds

OVERLAP = 1.0
"""How much of the time before the last event a resumed stream repeats, in seconds: a commit may have come late."""

MICROSECONDS = 1e6
MAX_ID = 16  # how many digits the id of an event may have
HEARTBEAT = ":\n\n"

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def resume_time(request: Request) -> VirtualTime | None:
    """Returns the time from which a stream has to repeat changes, by its Last-Event-ID; None without one.

    Raises:
        Problem: 422 if it is no id of this server's events.
    """
    last = ", ".join(values_of(request, "last-event-id"))
    if not last:
        return None
    if not (last.isascii() and last.isdigit() and len(last) <= MAX_ID):
        raise invalid([{"field": "Last-Event-ID", "message": "must be the id of an event of this server"}])
    return VirtualTime(int(last) / MICROSECONDS - OVERLAP)


async def stream(  # noqa: PLR0913, PLR0917 - all that a stream depends on
    request: Request,
    dialect: Dialect,
    view: View,
    changes: Changes,
    now: float,
    record: Callable[[Request, Sequence[JobSnapshot]], None],
) -> Response:
    """Returns a stream of changes in a dialect. Errors of the request are raised before the stream begins.

    ``record`` is called with the snapshots of each part that is sent.
    """
    first = await anext(changes)
    if context_of(request).is_head:
        await changes.aclose()
        return Response(headers=HEADERS, media_type="text/event-stream")

    async def parts() -> AsyncIterator[str]:
        page: ChangePage | None = first
        start = f"retry: {RETRY}\nid: {_id(now)}\n\n"  # after the first pages, so that a client skips none of them
        try:
            while page:
                record(request, page.snapshots)
                text = _events(dialect, view, page)
                if not page.more:
                    text, start = text + start, ""
                yield text or HEARTBEAT
                page = await anext(changes, None)
        except StoreError as error:  # the client connects again and continues after its last event
            logger.warning("an event stream of %s ends: %s", context_of(request).user, error)
        finally:
            await changes.aclose()

    return StreamingResponse(parts(), headers=HEADERS, media_type="text/event-stream")


def _events(dialect: Dialect, view: View, page: ChangePage) -> str:
    """Returns the events of a page. Headers of polls become fields, which clients ignore if they do not know them."""
    events = list[str]()
    for snapshot in page.snapshots:
        headers = wall_elapsed(page.clock, partial(page.clock.wall, snapshot.now), snapshot)
        fields = "".join(f"{name.decode()}: {value.decode()}\n" for name, value in headers)
        body = dialect.body(snapshot, view)
        events.append(f"id: {_id(snapshot.now)}\nevent: {snapshot.state}\n{fields}data: {body}\n\n")
    return "".join(events)


def _id(time: float) -> str:
    return str(int(time * MICROSECONDS))
