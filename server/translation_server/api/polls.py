"""The fast lane: a look whose answer is at hand is given at once, past the framework.

The law of this file: what goes this way is answered as it would be the ordinary way. Whatever is no look at a job, has
to be read first, or may go wrong goes the ordinary way, which brings it to hand. A look that is to be held is read
first here: those that wait in the framework take half as much memory again.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence

from starlette.types import Receive, Scope

from translation_server.api.auth.authenticator import Anyone, Authenticator
from translation_server.api.disconnect import leaving_with_the_client
from translation_server.api.origins import Boundary
from translation_server.api.poll_response import OK, Answer, render
from translation_server.api.preferences import advice, ages, fits, preferred_wait, wanted
from translation_server.api.request_record import Record, begin, draft_of, log
from translation_server.core.dialects.dialect import Dialect, Route
from translation_server.core.job import Look
from translation_server.service.job_cache import Telling, tell
from translation_server.service.jobs import Service

logger = logging.getLogger(__name__)

PLAIN = frozenset({b"prefer", b"if-none-match", b"simulate-fault"})
"""The headers that a plain look has not."""

BODY = frozenset({b"content-length", b"transfer-encoding"})
"""The headers of a request with a body, which is refused by the framework; one in chunks may turn out to be none."""


class Lane:
    """Answers looks, in every wire format.

    Args:
        routes: all routes; those that look at a job by its id are heeded.
        service: where the looks come from.
        boundary: knows which hosts are ours.
        authenticator: knows who sends a request.
        record: takes note of it.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        service: Service,
        boundary: Boundary,
        authenticator: Authenticator | Anyone,
        record: Record,
    ) -> None:
        looks = [route for route in routes if route.method == "GET"]  # in the framework's order: the first that fits
        paths = (re.escape(route.path).replace(re.escape("{job_id}"), "([^/]+)") for route in looks)
        self._rows = [route.rows[0] for route in looks if route.action == "look"]
        self._job_id = re.compile("|".join(paths))
        self._service = service
        self._boundary = boundary
        self._authenticator = authenticator
        self._record = record

    def answer(self, scope: Scope) -> Answer | None:
        """The answer to an HTTP request, if it is a plain look that may go this way.

        One that fails goes the ordinary way, where whatever goes wrong is told: it has been noted nowhere yet.
        """
        try:
            return self._answer(scope)
        except Exception:
            logger.exception("%s %s goes the ordinary way", scope["method"], scope["path"])
            return None

    async def held(self, scope: Scope, receive: Receive) -> Answer | None:
        """The answer to a look that is to be held, if it may go this way, as soon as it is due.

        Raises:
            ClientDisconnect: the client has left.
            JobNotFound: there is no such job, or no longer.
            StoreError: it cannot be read.
        """
        headers = dict(scope["headers"])
        prefer, tags = headers.get(b"prefer", b""), headers.get(b"if-none-match")
        if not (fits([prefer]) and fits([tags or b""])):
            return None
        wait = preferred_wait([prefer.decode("latin-1")])
        if wait is None or b"simulate-fault" in headers or not (found := self._found(scope, headers)):
            return None
        row, user, job_id = found
        draft = draft_of(scope)
        draft.action, draft.dialect, draft.wait = "look", row.name, wait
        if not (told := self._service.told(user, job_id, row) or await self._read(user, job_id, row)):
            return None
        telling, look = told
        asked = wanted(wait, [] if tags is None else [tags.decode("latin-1")])
        if seconds := asked.held_for(telling.form.tag):
            async with leaving_with_the_client(receive):
                look = await self._service.hold(look, seconds, row.changes_at)
            telling = tell(row, look, await self._service.worlds.of(user))
        draft.looks, draft.hint = (look,), telling.hint(look.now)
        more = advice(draft.hint) + ages(telling.world.clock, self._service.real, look)
        return render(telling.form, look, more, asked)

    def _answer(self, scope: Scope) -> Answer | None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        if not PLAIN.isdisjoint(headers) or not (found := self._found(scope, headers)):
            return None
        row, user, job_id = found
        if not (told := self._service.told(user, job_id, row)):
            return None
        telling, look = told
        hint = telling.hint(look.now)
        more = advice(hint) + ages(telling.world.clock, self._service.real, look)
        answer = render(telling.form, look, more)
        draft = begin(scope, headers, time.time())
        draft.action, draft.dialect, draft.looks, draft.status, draft.hint = "look", row.name, telling.looks, OK, hint
        draft.took = time.perf_counter() - began
        log(scope, user, OK, draft.took)
        self._record(user, draft)  # last, so that what fails before is noted by the ordinary way alone
        return answer

    async def _read(self, user: str, job_id: str, row: Dialect) -> tuple[Telling, Look] | None:
        """What is told of a job that has to be read first; None where something may go wrong."""
        if (await self._service.worlds.of(user)).sandbox.faults:
            return None
        await self._service.look(user, job_id)
        return self._service.told(user, job_id, row)

    def _found(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Dialect, str, str] | None:
        """The row, the user and the job's id, if it is a look at a job by somebody who is known."""
        path = self._job_id.fullmatch(scope["path"])
        if path is None or path.lastindex is None or scope["method"] != "GET" or scope["root_path"]:
            return None
        if scope["query_string"] or not BODY.isdisjoint(headers) or not self._boundary.knows(headers.get(b"host")):
            return None
        row, user = self._rows[path.lastindex - 1], self._authenticator.known(scope, headers)
        if user is None or len(headers) < len(scope["headers"]):
            return None
        return row, user, path[path.lastindex]
