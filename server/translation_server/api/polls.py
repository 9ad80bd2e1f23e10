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
from translation_server.api.request_record import Record, begin, log, record_of
from translation_server.core.dialects.dialect import Dialect, Route
from translation_server.core.job import JobSnapshot
from translation_server.service.job_cache import RenderedJob, render_job
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
        snapshots = [
            route for route in routes if route.method == "GET"
        ]  # in the framework's order: the first that fits
        paths = (re.escape(route.path).replace(re.escape("{job_id}"), "([^/]+)") for route in snapshots)
        self._dialects = [route.dialects[0] for route in snapshots if route.action == "poll"]
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
        dialect, user, job_id = found
        record = record_of(scope)
        record.action, record.dialect, record.wait = "poll", dialect.name, wait
        if not (told := self._service.told(user, job_id, dialect) or await self._read(user, job_id, dialect)):
            return None
        rendering, snapshot = told
        asked = wanted(wait, [] if tags is None else [tags.decode("latin-1")])
        if seconds := asked.held_for(rendering.form.tag):
            async with leaving_with_the_client(receive):
                snapshot = await self._service.hold(snapshot, seconds, dialect.changes_at)
            rendering = render_job(dialect, snapshot, await self._service.sandboxes.of(user))
        record.snapshots, record.hint = (snapshot,), rendering.hint(snapshot.now)
        more = advice(record.hint) + ages(rendering.sandbox.clock, self._service.real, snapshot)
        return render(rendering.form, snapshot, more, asked)

    def _answer(self, scope: Scope) -> Answer | None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        if not PLAIN.isdisjoint(headers) or not (found := self._found(scope, headers)):
            return None
        dialect, user, job_id = found
        if not (told := self._service.told(user, job_id, dialect)):
            return None
        rendering, snapshot = told
        hint = rendering.hint(snapshot.now)
        more = advice(hint) + ages(rendering.sandbox.clock, self._service.real, snapshot)
        answer = render(rendering.form, snapshot, more)
        record = begin(scope, headers, time.time())
        record.action, record.dialect, record.snapshots, record.status, record.hint = (
            "poll",
            dialect.name,
            rendering.snapshots,
            OK,
            hint,
        )
        record.took = time.perf_counter() - began
        log(scope, user, OK, record.took)
        self._record(user, record)  # last, so that what fails before is noted by the ordinary way alone
        return answer

    async def _read(self, user: str, job_id: str, dialect: Dialect) -> tuple[RenderedJob, JobSnapshot] | None:
        """What is told of a job that has to be read first; None where something may go wrong."""
        if (await self._service.sandboxes.of(user)).settings.faults:
            return None
        await self._service.snapshot(user, job_id)
        return self._service.told(user, job_id, dialect)

    def _found(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Dialect, str, str] | None:
        """The row, the user and the job's id, if it is a look at a job by somebody who is known."""
        path = self._job_id.fullmatch(scope["path"])
        if path is None or path.lastindex is None or scope["method"] != "GET" or scope["root_path"]:
            return None
        if scope["query_string"] or not BODY.isdisjoint(headers) or not self._boundary.knows(headers.get(b"host")):
            return None
        dialect, user = self._dialects[path.lastindex - 1], self._authenticator.known(scope, headers)
        if user is None or len(headers) < len(scope["headers"]):
            return None
        return dialect, user, path[path.lastindex]
