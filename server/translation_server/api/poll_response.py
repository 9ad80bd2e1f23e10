"""What a look is answered with, whichever way it goes."""

from collections.abc import Sequence

from starlette.types import Send

from translation_server.api.preferences import Wanted
from translation_server.core.dialects.dialect import Form
from translation_server.core.job import JobSnapshot

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Its status, its headers and its body."""

OK, NOT_MODIFIED = 200, 304

NOTHING = Wanted()


def render(form: Form, snapshot: JobSnapshot, more: Sequence[tuple[bytes, bytes]], wanted: Wanted = NOTHING) -> Answer:
    """The answer that tells how a job stands, with more headers than each has."""
    headers = [(b"vary", b"Prefer"), (b"etag", form.tag.encode()), *more]
    if wanted.wait is not None:
        headers.append((b"preference-applied", b"wait=%d" % wanted.wait))
    if wanted.knows(form.tag):
        return NOT_MODIFIED, headers, b""
    body = form.body(snapshot).encode()
    headers += (b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")
    return OK, headers, body


async def send_all(answer: Answer, send: Send) -> None:
    """Sends an answer."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
