"""The fast lane: a look whose answer is at hand is given at once, past the framework.

The law of this file: what goes this way is answered as it would be the ordinary way. Whatever is no look at a job, has
to be read first, or may go wrong goes the ordinary way, which brings it to hand.
"""

import re
import time
from collections.abc import Mapping, Sequence

from starlette.types import Message, Receive, Scope, Send

from translation_server.core.dialects import Dialect, Route
from translation_server.core.job import Look
from translation_server.jobs import Telling, tell
from translation_server.service import Service
from translation_server.web.auth import Anyone, Authenticator
from translation_server.web.draft import Record, begin, draft_of, log
from translation_server.web.leaving import leaving_with_the_client
from translation_server.web.preferences import LONGEST_WAIT, advice, matches, preferred_wait

OK = 200

PLAIN = frozenset({b"prefer", b"if-none-match", b"simulate-fault"})
"""The headers that a plain look has not."""

Answer = tuple[Message, Message]
"""Its beginning and its body."""


class Lane:
    """Answers looks, in every wire format.

    Args:
        routes: all routes; those that look at a job by its id are heeded.
        service: where the looks come from.
        authenticator: knows who sends a request.
        record: takes note of it.
    """

    def __init__(
        self, routes: Sequence[Route], service: Service, authenticator: Authenticator | Anyone, record: Record
    ) -> None:
        looks = [route for route in routes if route.method == "GET"]  # in the framework's order: the first that fits
        paths = (re.escape(route.path).replace(re.escape("{job_id}"), "([^/]+)") for route in looks)
        self._rows = [route.rows[0] for route in looks if route.action == "look"]
        self._job_id = re.compile("|".join(paths))
        self._service = service
        self._authenticator = authenticator
        self._record = record

    def answer(self, scope: Scope) -> Answer | None:
        """The answer to an HTTP request, if it is a plain look that may go this way."""
        began = time.perf_counter()
        headers = dict(scope["headers"])
        if not PLAIN.isdisjoint(headers) or not (found := self._found(scope, headers)):
            return None
        row, user, telling, look = found
        hint = telling.hint(look.now)
        draft = begin(scope, headers, time.time())
        draft.action, draft.dialect, draft.looks, draft.status, draft.hint = "look", row.name, telling.looks, OK, hint
        draft.took = time.perf_counter() - began
        self._record(user, draft)
        log(scope, user, OK, draft.took)
        return _answer(telling, look, hint)

    async def held(self, scope: Scope, receive: Receive) -> Answer | None:
        """The answer to a look that is to be held, if it may go this way, as soon as it is due.

        Raises:
            ClientDisconnect: the client has left.
            JobNotFound: the job is gone.
        """
        headers = dict(scope["headers"])
        wait = preferred_wait([headers.get(b"prefer", b"").decode("latin-1")])
        if wait is None or b"simulate-fault" in headers or not (found := self._found(scope, headers)):
            return None
        row, user, telling, look = found
        draft, tags = draft_of(scope), headers.get(b"if-none-match")
        draft.action, draft.dialect, draft.wait = "look", row.name, wait
        wait, known = min(wait, LONGEST_WAIT), [] if tags is None else [tags.decode("latin-1")]
        if wait and (not known or matches(known, telling.form.tag)):
            async with leaving_with_the_client(receive):
                look = await self._service.hold(look, wait, row.changes_at)
            telling = tell(row, look, await self._service.worlds.of(user))
        draft.looks, draft.hint = (look,), telling.hint(look.now)
        answer = _answer(telling, look, draft.hint, (b"preference-applied", b"wait=%d" % wait))
        return _unchanged(answer) if known and matches(known, telling.form.tag) else answer

    def _found(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Dialect, str, Telling, Look] | None:
        """The row, the user, and what is told: all that there is to know for a look at a job that is at hand."""
        path = self._job_id.fullmatch(scope["path"])
        if path is None or path.lastindex is None or scope["method"] != "GET" or scope["root_path"]:
            return None
        row, user = self._rows[path.lastindex - 1], self._authenticator.known(scope, headers)
        if user is None or len(headers) < len(scope["headers"]):
            return None
        told = self._service.told(user, path[path.lastindex], row)
        return told and (row, user, *told)


def _answer(telling: Telling, look: Look, hint: float | None, *more: tuple[bytes, bytes]) -> Answer:
    body = telling.form.body(look).encode()
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
        (b"vary", b"Prefer"),
        (b"etag", telling.form.tag.encode()),
        *more,
    ]
    if hint is not None:
        headers += [(name.encode(), value.encode()) for name, value in advice(hint).items()]
    start = {"type": "http.response.start", "status": OK, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


def _unchanged(answer: Answer) -> Answer:
    """What is answered to a caller who knows it already."""
    start, _ = answer
    headers = [(name, value) for name, value in start["headers"] if not name.startswith(b"content-")]
    return {**start, "status": 304, "headers": headers}, {"type": "http.response.body", "body": b""}


async def send_all(answer: Answer, send: Send) -> None:
    """Sends an answer."""
    for message in answer:
        await send(message)
