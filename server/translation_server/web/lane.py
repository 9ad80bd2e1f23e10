"""The fast lane: a look whose answer is at hand is given at once, past the framework.

The law of this file: what goes this way is answered as it would be the ordinary way. Whatever asks for more than a
plain look, or for something that has to be read first, goes the ordinary way, which brings it to hand.
"""

import re
import time
from collections.abc import Sequence

from starlette.types import Message, Scope

from translation_server.core.dialects import Route
from translation_server.service import Service
from translation_server.web.auth import Anyone, Authenticator
from translation_server.web.draft import begin
from translation_server.web.gate import Record, log
from translation_server.web.preferences import advice

OK = 200

ORDINARY = frozenset({b"prefer", b"if-none-match", b"simulate-fault"})
"""The headers of a look that is not plain."""


class Lane:
    """Answers plain looks, in every wire format.

    Args:
        routes: all routes; those that look at a job by its id are heeded.
        service: where the looks come from.
        authenticator: knows who sends a request.
        record: takes note of it.
    """

    def __init__(
        self, routes: Sequence[Route], service: Service, authenticator: Authenticator | Anyone, record: Record
    ) -> None:
        looks = [route for route in routes if route.action == "look"]
        paths = (re.escape(route.path).replace(re.escape("{job_id}"), "([^/]+)") for route in looks)
        self._rows = [route.rows[0] for route in looks]
        self._job_id = re.compile("|".join(paths))
        self._service = service
        self._authenticator = authenticator
        self._record = record

    def answer(self, scope: Scope) -> tuple[Message, Message] | None:
        """The answer to an HTTP request, if it may go this way."""
        began = time.perf_counter()
        path, headers = self._job_id.fullmatch(scope["path"]), dict(scope["headers"])
        is_plain = scope["method"] == "GET" and not scope["root_path"] and ORDINARY.isdisjoint(headers)
        if path is None or path.lastindex is None or not is_plain or len(headers) < len(scope["headers"]):
            return None
        row, user = self._rows[path.lastindex - 1], self._authenticator.known(scope, headers)
        told = user and self._service.told(user, path[path.lastindex], row)
        if not user or not told:
            return None
        telling, look = told
        body, hint = telling.form.body(look).encode(), telling.hint(look.now)
        draft = begin(scope, headers, time.time())
        draft.action, draft.dialect, draft.looks, draft.status, draft.hint = "look", row.name, telling.looks, OK, hint
        draft.took = time.perf_counter() - began
        self._record(user, draft)
        log(scope, user, OK, draft.took)
        head = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"vary", b"Prefer"),
            (b"etag", telling.form.tag.encode()),
        ]
        if hint is not None:
            head += [(name.encode(), value.encode()) for name, value in advice(hint).items()]
        return (
            {"type": "http.response.start", "status": OK, "headers": head},
            {"type": "http.response.body", "body": body},
        )
