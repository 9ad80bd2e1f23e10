"""The response with a file or a part of it (RFC 9110, sections 13 and 14)."""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from translation_server.api.context import context_of
from translation_server.api.preferences import matches, values_of
from translation_server.api.problems import RETRY_AFTER, Problem
from translation_server.service.files import Files, OpenFile

logger = logging.getLogger(__name__)

PIECE = 64 * 1024  # how many bytes of a file are in memory at a time
RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII | re.IGNORECASE)

INLINE = re.compile(r"(audio|image|video)/(?!svg)[\w.+-]+|application/json|text/plain.*", re.ASCII)
"""The media types that a browser shows; it saves any other, which may hold scripts."""


class FileResponse(Response):
    """A response that sends a part of a file, piece by piece, and closes it.

    Args:
        file: the file.
        part: which of its bytes; none where the response has no body.
        status: the status code.
        is_head: whether the response is only a head.
    """

    def __init__(self, file: OpenFile, part: range, status: HTTPStatus, *, is_head: bool = False) -> None:
        self.part = part
        self._file = file
        self._is_head = is_head
        disposition = "inline" if INLINE.fullmatch(file.media_type) else "attachment"
        name = file.name.replace("\\", r"\\").replace('"', r"\"")
        headers = {
            "ETag": file.tag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Disposition": f'{disposition}; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        }
        if status is not HTTPStatus.NOT_MODIFIED:
            headers |= {"Content-Type": file.media_type, "Content-Length": str(len(part))}
        if status is HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
        super().__init__(None, status, headers)

    async def read(self, start: int, stop: int) -> bytes:
        """Returns some bytes of the part, counted from its beginning."""
        return await self._file.read(self.part.start + start, self.part.start + stop)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - part of ASGI
        """Sends the response."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            length = 0 if self._is_head else len(self.part)
            for start in range(0, length, PIECE):
                piece = await self.read(start, min(start + PIECE, length))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            self.close()


def requested_part(ranges: Sequence[str], if_range: Sequence[str], file: OpenFile) -> range | None:
    """Returns the bytes that the Range headers of a request ask for; None if it has none that count.

    The part is empty if the file has none of these bytes. A header with several ranges, or with a condition that does
    not hold, does not count: then the whole file is sent.
    """
    match = RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if match is None or (if_range and list(if_range) != [file.tag]):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return range(max(0, file.size - int(suffix)), file.size)
    if last and int(last) < int(first):
        return None
    return range(min(int(first), file.size), min(int(last) + 1, file.size) if last else file.size)


async def send_file(request: Request, files: Files, name: str) -> Response:
    """Returns the response with a file, or with the part of it that a request asks for.

    Raises:
        Problem: 404 if there is no file of this name any more; 416 if it has no such part; 503 if it cannot be opened.
    """
    tags, ranges, if_range = (values_of(request, header) for header in ("if-none-match", "range", "if-range"))
    try:
        file = await files.library.open(name)
    except OSError as error:
        logger.warning("download for %r failed: %s cannot be opened: %s", context_of(request).user, name, error)
        detail = "The server cannot open this file at the moment: try again."
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER)}) from None
    if file is None:
        raise Problem(HTTPStatus.NOT_FOUND, "The server no longer has this file.")
    if tags and matches(tags, file.tag):
        return FileResponse(file, range(0), HTTPStatus.NOT_MODIFIED)
    is_head = context_of(request).is_head
    part = None if is_head else requested_part(ranges, if_range, file)
    if part is None:
        return FileResponse(file, range(file.size), HTTPStatus.OK, is_head=is_head)
    if part:
        return FileResponse(file, part, HTTPStatus.PARTIAL_CONTENT)
    file.close()
    headers = {"Content-Range": f"bytes */{file.size}"}
    detail = f"The file has {file.size} bytes: ask for a range within these."
    raise Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail, headers)
