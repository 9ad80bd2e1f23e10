"""Makes report cards: from a short request log at once, from long ones in a separate process, one at a time."""

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
from translation_server.service.ends import ends_of
from translation_server.service.jobs import Service
from translation_server.service.request_log import PAGE, RequestLog

logger = logging.getLogger(__name__)

SHORT = 4 * 2**20
"""The size of a request log that is graded in this process, in characters: ten thousand requests, about a second."""

PIECE = 64 * 1024  # how many bytes of a card are sent at a time
LINE = 2**20  # how many bytes a line of the process may have
VARY = {"Vary": "Accept"}
SENDING = 60.0  # how long a client may take to read its card, in seconds. Others wait for theirs meanwhile


Page = Sequence[tuple[int, str]]  # records of a request log, with their numbers


class Grading:
    """Makes report cards: from request logs of up to ``short`` characters here, from longer ones in a process."""

    def __init__(self, request_log: RequestLog, service: Service, short: int = SHORT) -> None:
        self._request_log = request_log
        self._service = service
        self._short = short
        self._turn = asyncio.Semaphore(1)

    async def answer(self, owner: str, media_type: str) -> Response:
        """Returns the report card of an owner.

        Raises:
            Problem: 503 if it cannot be made, for example for lack of memory.
        """
        log, read, size = self._request_log.pages(owner), list[tuple[int, str]](), 0
        async for page in log:
            read += page
            size += sum(len(record) for _, record in page)
            if size > self._short:
                return await self._answer_to_long(owner, media_type, read, log)
        numbers = await self._numbers(owner, read)
        records = await asyncio.to_thread(lambda: [RECORD.validate_json(record) for _, record in read])
        submitted = {job.job_id for record in records if record.action == "submit" for job in record.jobs}
        ends = await ends_of(self._service, owner, list(submitted))
        attempts = await self._service.attempts_of(owner)
        card = await asyncio.to_thread(lambda: "".join(pieces(report(records, ends, *numbers, attempts), media_type)))
        return Response(card, headers=VARY, media_type=media_type)

    async def _numbers(self, owner: str, read: Page) -> tuple[int, int]:
        """Returns how many older requests were dropped, and how many refused requests no record counts."""
        return self._request_log.dropped(owner, read[0][0] if read else 1), await self._request_log.refused(owner)

    async def _answer_to_long(self, owner: str, media_type: str, read: Page, rest: AsyncIterator[Page]) -> Response:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turn)
            try:
                numbers = await self._numbers(owner, read)
                grader = await stack.enter_async_context(grading_process())
                await grader.send(json.dumps([media_type, *numbers, await self._service.attempts_of(owner)]))
                for number in range(0, len(read), PAGE):
                    await grader.send(*(record for _, record in read[number : number + PAGE]))
                async for page in rest:
                    await grader.send(*(record for _, record in page))
                await grader.send("")
                while ids := json.loads(await grader.out.readline()):
                    await grader.send(json.dumps(await ends_of(self._service, owner, ids)))
                first = await grader.out.read(PIECE)
            except (OSError, ValueError):
                first = b""
            if not first:
                logger.warning("report: the card of %s could not be made: its process ended early", owner)
                detail = "The request log is too long to grade now: reset the sandbox, or set a smaller REQUEST_LOG."
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
            return StreamingResponse(_pieces(grader, first, stack.pop_all()), headers=VARY, media_type=media_type)


class GradingProcess(NamedTuple):
    """A process that grades a request log."""

    process: Process
    into: asyncio.StreamWriter
    out: asyncio.StreamReader

    async def send(self, *lines: str) -> None:
        """Sends lines, as fast as the process reads them.

        Raises:
            OSError: The process has ended.
        """
        if self.into.is_closing():  # uvloop raises RuntimeError for a write to it
            raise BrokenPipeError("the grading process has ended")
        self.into.write("".join(f"{line}\n" for line in lines).encode())
        await self.into.drain()


@asynccontextmanager
async def grading_process() -> AsyncIterator[GradingProcess]:
    """Starts a grading process and ends it afterwards."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = sys.executable, "-m", report_process.__name__
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment, limit=LINE)
    try:
        into, out = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
        yield GradingProcess(process, into, out)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _pieces(grader: GradingProcess, piece: bytes, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yields the card. A client that reads too slowly gets an incomplete answer."""
    async with stack:
        ending = asyncio.get_running_loop().call_later(SENDING, grader.process.kill)
        try:
            while piece:
                yield piece
                piece = await grader.out.read(PIECE)
        finally:
            ending.cancel()
        if await grader.process.wait():
            raise ConnectionAbortedError("a report card was not read in time")
