"""Server-sent events: how a caller's jobs change, as it happens (WHATWG HTML, section 9.2)."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from translation_server.api.context import context_of
from translation_server.api.preferences import values_of, wall_elapsed
from translation_server.api.problems import invalid
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.job import JobSnapshot
from translation_server.service.change_stream import ChangePage, Changes
from translation_server.storage import StoreError

logger = logging.getLogger(__name__)

RETRY = 1000
"""Milliseconds after which a client whose stream broke off should come back."""

OVERLAP = 1.0
"""Seconds before the last event from which a stream is taken up again: a commit may have come late."""

MICROSECONDS = 1e6
LONGEST_ID = 16

HEARTBEAT = ":\n\n"

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def resumed_at(request: Request) -> float | None:
    """The moment from which the caller has heard nothing, told by Last-Event-ID; None without one.

    Raises:
        Problem: 422 for what is no id of ours.
    """
    last = ", ".join(values_of(request, "last-event-id"))
    if not last:
        return None
    if not (last.isascii() and last.isdigit() and len(last) <= LONGEST_ID):
        raise invalid([{"field": "Last-Event-ID", "message": "must be the id of an event of this server"}])
    return int(last) / MICROSECONDS - OVERLAP


async def stream(
    request: Request,
    dialect: Dialect,
    changes: Changes,
    now: float,
    note: Callable[[Request, Sequence[JobSnapshot]], None],
) -> Response:
    """The changes as a stream in the row's form; what is wrong with the request shows before it begins.

    ``note`` is called with what is told.
    """
    first = await anext(changes)
    if context_of(request).is_head:
        await changes.aclose()
        return Response(headers=HEADERS, media_type="text/event-stream")

    async def blocks() -> AsyncIterator[str]:
        told: ChangePage | None = first
        begun = f"retry: {RETRY}\nid: {_id(now)}\n\n"  # behind what has changed already, so that none is skipped
        try:
            while told:
                note(request, told.snapshots)
                text = _blocks(dialect, told)
                if not told.more:
                    text, begun = text + begun, ""
                yield text or HEARTBEAT
                told = await anext(changes, None)
        except StoreError as error:  # the client comes back and goes on where it was
            logger.warning("an event stream of %s ends: %s", context_of(request).user, error)
        finally:
            await changes.aclose()

    return StreamingResponse(blocks(), headers=HEADERS, media_type="text/event-stream")


def _blocks(dialect: Dialect, told: ChangePage) -> str:
    """The events; what tells a header of a poll is a field of theirs, which those who do not know it ignore."""
    blocks = list[str]()
    for snapshot in told.snapshots:
        more = wall_elapsed(told.clock, partial(told.clock.wall, snapshot.now), snapshot)
        fields = "".join(f"{name.decode()}: {value.decode()}\n" for name, value in more)
        blocks.append(f"id: {_id(snapshot.now)}\nevent: {snapshot.state}\n{fields}data: {dialect.body(snapshot)}\n\n")
    return "".join(blocks)


def _id(moment: float) -> str:
    return str(int(moment * MICROSECONDS))
