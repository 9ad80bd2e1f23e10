"""The server's HTTP protocol: uvicorn's with limits, which answers cached polls without starting a task.

It also answers polls whose bytes were parsed before, without parsing them again; see `polls`.
"""

from typing import TYPE_CHECKING, Any

from translation_server.api.cycle import respond, response_bytes
from translation_server.api.limited_protocol import SLICE, LimitedProtocol

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from translation_server.api.polls import Poll, PollEndpoint


class HttpProtocol(LimitedProtocol):
    """uvicorn's HTTP protocol with limits, which answers cached polls without starting a task.

    The application's attribute ``polls``, if there is one, answers them; its ``serve_uncached`` answers all other
    requests. Without it, a task answers each request.
    """

    def __init__(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **options)
        self._polls: PollEndpoint | None = getattr(self.app, "polls", None)
        self._repeatable: MutableMapping[bytes, Poll] = self._polls.repeatable if self._polls else {}
        self._answered: list[Poll] = []  # the polls in the bytes received last that were answered from the cache

    def data_received(self, data: bytes) -> None:
        was_idle = self._is_idle()
        if was_idle and self._answer_repeated(self._repeatable.get(data)):
            return
        self._answered.clear()
        super().data_received(data)
        if len(self._answered) == 1 and len(data) <= SLICE and was_idle and self._is_idle():
            self._repeatable[data] = self._answered[0]

    def _is_idle(self) -> bool:
        """Whether all that was received is answered, and the connection stays open."""
        cycle = self.cycle
        return (
            cycle is not None
            and cycle.response_complete
            and cycle.keep_alive
            and self.scope is self._complete
            and not (self._in_body or self._unparsed or self._ended or self.surplus or self.flow.write_paused)
            and not self.transport.is_closing()
        )

    def _answer_repeated(self, poll: "Poll | None") -> bool:
        """Answers a poll whose bytes were parsed before; returns False if it has to be parsed again."""
        if poll is None or self._polls is None or poll.address != (self.client and self.client[0]):
            return False
        if (answer := self._polls.answer_from_cache(poll)) is None:
            return False
        self.transport.write(response_bytes(answer, self.server_state.default_headers))
        self.server_state.total_requests += 1
        self._guard.waiting.pop(self, None)
        self._become_idle()
        return True

    def _start_asgi_task(self, cycle: "RequestResponseCycle", app: Any) -> None:  # noqa: ANN401 - any application
        waits = self.flow.write_paused or self.pipeline  # a cached response would start the next one: a deep recursion
        last = not cycle.keep_alive  # a task waits while the input behind the last request is dropped
        if self._polls is not None and not (waits or last):
            poll = self._polls.read(cycle.scope)  # type: ignore[arg-type]  # uvicorn's own type of scopes
            if poll and (answer := self._polls.answer_from_cache(poll)):
                self._running = cycle
                respond(cycle, answer)
                self._answered.append(poll)
                return
            app = app.serve_uncached
        super()._start_asgi_task(cycle, app)
