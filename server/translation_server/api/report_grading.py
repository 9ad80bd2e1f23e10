"""Report cards of request logs: of a short one at once, of a long one by a process of its own, one at a time."""

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple, cast

from starlette.responses import Response, StreamingResponse

from translation_server.api import report_process
from translation_server.api.problems import Problem
from translation_server.api.report_render import pieces
from translation_server.core.report.report import report
from translation_server.documents import RECORD
from translation_server.service.jobs import Service
from translation_server.service.request_log import PAGE, RequestLog

logger = logging.getLogger(__name__)

SHORT = 4 * 2**20
"""Characters of a log that is graded in this process: some ten thousand requests, which take a second or so."""

PIECE = 64 * 1024
"""Bytes of a card that are sent at a time."""

LINE = 2**20
"""Bytes that a line of the process may have."""

VARY = {"Vary": "Accept"}

SENDING = 60.0
"""Seconds within which a client has to read its card, so that others get theirs."""


Page = Sequence[tuple[int, str]]
"""Entries of a log, with their numbers."""


class Grading:
    """Makes report cards.

    Args:
        request_log: what the requests were.
        service: tells when jobs ended.
    """

    def __init__(self, request_log: RequestLog, service: Service) -> None:
        self._request_log = request_log
        self._service = service
        self._turn = asyncio.Semaphore(1)

    async def answer(self, owner: str, media_type: str) -> Response:
        """The card of an owner's log.

        Raises:
            Problem: 503 where it cannot be made, as for want of memory.
        """
        log, read, size = self._request_log.pages(owner), list[tuple[int, str]](), 0
        async for page in log:
            read += page
            size += sum(len(record) for _, record in page)
            if size > SHORT:
                return await self._answer_to_long(owner, media_type, read, log)
        numbers = await self._numbers(owner, read)
        records = await asyncio.to_thread(lambda: [RECORD.validate_json(record) for _, record in read])
        submitted = {told.job_id for record in records if record.action == "submit" for told in record.jobs}
        ends = await self._service.ends(owner, list(submitted))
        card = await asyncio.to_thread(lambda: "".join(pieces(report(records, ends, *numbers), media_type)))
        return Response(card, headers=VARY, media_type=media_type)

    async def _numbers(self, owner: str, read: Page) -> tuple[int, int]:
        """How many older requests are not known, and how many were refused, of which no entry tells."""
        return self._request_log.dropped(owner, read[0][0] if read else 1), await self._request_log.refused(owner)

    async def _answer_to_long(self, owner: str, media_type: str, read: Page, rest: AsyncIterator[Page]) -> Response:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turn)
            try:
                there = await stack.enter_async_context(_grader())
                await there.say(json.dumps([media_type, *await self._numbers(owner, read)]))
                for number in range(0, len(read), PAGE):
                    await there.say(*(record for _, record in read[number : number + PAGE]))
                async for page in rest:
                    await there.say(*(record for _, record in page))
                await there.say("")
                while ids := json.loads(await there.out.readline()):
                    await there.say(json.dumps(await self._service.ends(owner, ids)))
                first = await there.out.read(PIECE)
            except (OSError, ValueError):
                first = b""
            if not first:
                logger.warning("the report card of %s could not be made: its process has ended before", owner)
                detail = "The request log is too long to be graded now: empty the sandbox, or keep a shorter log."
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
            return StreamingResponse(_pieces(there, first, stack.pop_all()), headers=VARY, media_type=media_type)


class _Grader(NamedTuple):
    """A process that grades."""

    process: Process
    into: asyncio.StreamWriter
    out: asyncio.StreamReader

    async def say(self, *lines: str) -> None:
        """Sends lines, as fast as they are taken."""
        self.into.write("".join(f"{line}\n" for line in lines).encode())
        await self.into.drain()


@asynccontextmanager
async def _grader() -> AsyncIterator[_Grader]:
    """Starts one, which is gone afterwards."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = sys.executable, "-m", report_process.__name__
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment, limit=LINE)
    try:
        yield _Grader(
            process, cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
        )
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _pieces(there: _Grader, piece: bytes, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """The card; a client that is too slow gets only a part of it, and so can tell."""
    async with stack:
        ending = asyncio.get_running_loop().call_later(SENDING, there.process.kill)
        try:
            while piece:
                yield piece
                piece = await there.out.read(PIECE)
        finally:
            ending.cancel()
        if await there.process.wait():
            raise ConnectionAbortedError("a report card was not read in time")
