"""Endpoints in the sandboxes of their callers, where things go wrong."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from translation_server.api.bodies import Endpoint, body_of, refused
from translation_server.api.disconnect import leaving_with_the_client
from translation_server.api.faults import responses
from translation_server.api.preferences import preferred_wait, values_of
from translation_server.api.problems import EXPECTED, Problem, answer_to, invalid
from translation_server.api.request_record import record_of
from translation_server.api.submissions import recognize
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.faults.false_answers import false_answer
from translation_server.core.faults.rules import Action, FaultContext, Firing, Latency, Rule
from translation_server.core.job import JobSnapshot
from translation_server.documents import FAULT
from translation_server.service.jobs import Service

NOTHING_SIMULATED = "this server simulates nothing (SANDBOX=off)"


class Simulator:
    """Puts endpoints into the sandboxes.

    Args:
        service: where the sandboxes are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def endpoint(self, action: Action, dialects: Sequence[Dialect], endpoint: Endpoint) -> Endpoint:
        """The endpoint in the sandbox of its caller, where things go wrong."""

        @wraps(endpoint)
        async def simulated(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
            record = record_of(request.scope)
            asked: Action = "batch_poll" if action == "list" and "job_id" in request.query_params else action
            record.action = asked
            record.dialect = dialects[0].name
            record.wait = preferred_wait(values_of(request, "prefer"))
            fault = None
            for firing in await self._firings(request, asked, dialects, arguments.get("job_id")):
                if isinstance(firing.rule, Latency):
                    record.faults += (firing.rule.kind,)
                    await self._rest(request, firing.rule.seconds(firing.entropy))
                else:
                    fault = firing
            if fault is None:
                return await endpoint(request, **arguments)
            return await self._affected(request, fault, lambda: endpoint(request, **arguments))

        return simulated

    async def _affected(self, request: Request, fault: Firing, answer: Callable[[], Awaitable[Response]]) -> Response:
        """What comes of a request that a fault strikes."""
        record, rule = record_of(request.scope), fault.rule
        if refusal := responses.instead(rule):
            record.faults += (rule.kind,)
            record.hint = responses.hint_of(refusal)
            if record.action == "submit":
                with suppress(Problem):  # what is wrong with it is not what it is told
                    recognize(request, await body_of(request))
            return refusal
        request.scope["lie"] = rule
        try:
            try:
                answered = await answer()
            except EXPECTED as error:
                answered = answer_to(error, request.scope)
            if affected := responses.draw_faults(answered, fault, self._service.rest):
                record.faults += (rule.kind,)
        finally:
            if rule.kind not in record.faults:  # as when a held look ends with nothing to lie about
                await self._service.faults.not_fired(request.scope["user"], fault)
        if affected and responses.hides(rule):
            record.snapshots = ()
        return affected or answered

    async def _rest(self, request: Request, seconds: float) -> None:
        """Lets time pass, unless the client leaves meanwhile."""
        if record_of(request.scope).action == "submit":
            with suppress(Problem):  # what is wrong with the body is told later; now it must not be missed
                await body_of(request)
        async with leaving_with_the_client(request.receive):
            await self._service.rest(seconds)

    async def _firings(
        self, request: Request, action: Action, dialects: Sequence[Dialect], job_id: str | None
    ) -> Sequence[Firing]:
        """What goes wrong with a request: what its headers ask for, else what its caller's sandbox has."""
        own = [_asked_for(text) for text in values_of(request, "simulate-fault") if text]
        if not self._service.sandboxes.changeable:
            if own:
                raise invalid([{"field": "Simulate-Fault", "message": NOTHING_SIMULATED}])
            return ()
        names = frozenset(dialect.name for dialect in dialects)
        method = "HEAD" if request.scope["head"] else request.method
        asked = FaultContext(action, names, method, long_poll=bool(record_of(request.scope).wait))
        return await self._service.faults.draw_faults(request.scope["user"], asked, job_id, own=own)


def _asked_for(text: str) -> Rule:
    """The fault that a request's own header asks for: a kind, or a rule as JSON.

    Raises:
        Problem: 422 for what is neither.
    """
    try:
        return FAULT.validate_json(text if text.startswith("{") else to_json({"kind": text}))
    except ValidationError as error:
        raise refused(error, "Simulate-Fault") from None


def told(request: Request, dialect: Dialect, *snapshots: JobSnapshot) -> list[tuple[Dialect, JobSnapshot]]:
    """What is told instead of looks, and in which format: the truth, unless a fault has it that it is a lie."""
    record = record_of(request.scope)
    rule: Rule | None = request.scope.get("lie")
    if rule is None:
        record.snapshots = snapshots
        return [(dialect, snapshot) for snapshot in snapshots]
    said = [false_answer(rule, dialect, snapshot) for snapshot in snapshots]
    record.snapshots = [snapshot for snapshot, one in zip(snapshots, said, strict=True) if one == (dialect, snapshot)]
    if len(record.snapshots) < len(snapshots):
        record.faults += (rule.kind,)
    return said


def is_hidden(request: Request) -> bool:
    """Whether a fault keeps what the answer tells of jobs from the client."""
    rule: Rule | None = request.scope.get("lie")
    return rule is not None and responses.hides(rule)
