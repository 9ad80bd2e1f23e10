"""Endpoints in the sandboxes of their callers, where fault rules apply."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from translation_server.api.bodies import Endpoint, read_document
from translation_server.api.context import context_of
from translation_server.api.disconnect import cancelled_on_disconnect
from translation_server.api.faults import responses
from translation_server.api.preferences import preferred_wait, values_of
from translation_server.api.problems import EXPECTED, NOTHING_SIMULATED, Problem, api_of, invalid, response_to
from translation_server.api.request_identity import record_submission
from translation_server.core.dialects.builtin import NATIVE_API
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.faults.false_answers import false_answer
from translation_server.core.faults.rules import (
    REQUEST_KINDS,
    Action,
    FaultContext,
    FaultRule,
    Firing,
    Latency,
    WrongType,
)
from translation_server.core.job import JobKey, JobSnapshot
from translation_server.documents import FAULT
from translation_server.service.jobs import Service
from translation_server.validation import field_errors


class Simulator:
    """Applies the fault rules of callers to endpoints.

    Args:
        service: where the sandboxes are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def endpoint(self, action: Action, dialects: Sequence[str], endpoint: Endpoint) -> Endpoint:
        """Returns the endpoint with the fault rules of its caller applied.

        Args:
            action: what requests of this endpoint ask for.
            dialects: the names of the wire formats that they may be in.
            endpoint: answers them.
        """

        @wraps(endpoint)
        async def simulated(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
            record = context_of(request).record
            record.action = "batch_poll" if action == "list" and "job_id" in request.query_params else action
            record.dialect = dialects[0]
            route = context_of(request).route
            record.wait = preferred_wait(values_of(request, "prefer"), route.operation.wait if route else None)
            fault = None
            for firing in await self._firings(request, record.action, dialects, _job_of(request, arguments)):
                if isinstance(firing.rule, Latency):
                    record.faults += (firing.rule.kind,)
                    await self._delay(request, firing.rule.seconds(firing.entropy))
                else:
                    fault = firing
            if fault is None:
                return await endpoint(request, **arguments)
            return await self._faulty(request, fault, arguments, lambda: endpoint(request, **arguments))

        return simulated

    async def _faulty(
        self,
        request: Request,
        fault: Firing,
        arguments: Mapping[str, Any],
        answer: Callable[[], Awaitable[Response]],
    ) -> Response:
        """Returns the response to a request for which a fault rule fired."""
        context, rule = context_of(request), fault.rule
        record = context.record
        if refusal := responses.instead(rule, request.scope):
            record.faults += (rule.kind,)
            record.hint = responses.hint_of(refusal)
            if record.action == "submit":
                with suppress(Problem):  # the fault hides the error of the submission
                    await record_submission(request, arguments["parameters"])
            return refusal
        context.fault = rule
        faulty = None
        try:
            try:
                response = await answer()
            except EXPECTED as error:
                response = response_to(error, request.scope)
            api = api_of(request.scope) or NATIVE_API
            if faulty := responses.apply_fault(response, fault, self._service.sleep, api):
                record.faults += (rule.kind,)
        finally:
            if rule.kind not in record.faults:  # for example when it can change none of the jobs that a long poll shows
                await self._service.faults.not_fired(context.user, fault)
        if faulty and responses.hides(rule):
            record.snapshots = ()
            record.hidden_status = response.status_code
        return faulty or response

    async def _delay(self, request: Request, seconds: float) -> None:
        """Delays an answer, unless the client disconnects meanwhile."""
        if route := context_of(request).route:
            with suppress(Problem):  # the body is read now: afterwards it is gone; its errors are reported later
                await read_document(request, route.operation.accepts)
        async with cancelled_on_disconnect(request.receive):
            await self._service.sleep(seconds)

    async def _firings(
        self, request: Request, action: Action, dialects: Sequence[str], job: JobKey | None
    ) -> Sequence[Firing]:
        """Returns the rules that fire: those of the Simulate-Fault headers, or else those of the caller's sandbox."""
        own = [_rule_of(text) for text in values_of(request, "simulate-fault") if text]
        if not self._service.sandboxes.changeable:
            if own:
                raise invalid([{"field": "Simulate-Fault", "message": NOTHING_SIMULATED}])
            return ()
        context = context_of(request)
        method = "HEAD" if context.is_head else request.method
        facts = FaultContext(action, frozenset(dialects), method, long_poll=bool(context.record.wait))
        return await self._service.faults.draw_faults(context.user, facts, job, own=own)


def _job_of(request: Request, arguments: Mapping[str, str]) -> JobKey | None:
    """Returns the job that a request is about, from its path or its signed URL."""
    context = context_of(request)
    if context.grant:
        return context.grant.job
    owned = context.route.dialects[0].owned if context.route and context.route.dialects else {}
    return JobKey(arguments["job_id"], **owned) if "job_id" in arguments else None


def _rule_of(text: str) -> FaultRule:
    """Returns the fault rule of a Simulate-Fault header: a kind, or a rule as JSON.

    Raises:
        Problem: 422 for anything else.
    """
    try:
        rule = FAULT.validate_json(text if text.startswith("{") else to_json({"kind": text}))
    except ValidationError as error:
        raise invalid(field_errors(error, "Simulate-Fault")) from None
    if rule.kind not in REQUEST_KINDS:
        raise invalid([{"field": "Simulate-Fault", "message": f"must be a fault of requests; {rule.kind} is not"}])
    return rule


def apply_false_answer(
    request: Request, dialects: Sequence[Dialect], *snapshots: JobSnapshot
) -> list[tuple[Dialect, JobSnapshot]]:
    """Returns the snapshots of jobs to show, with their wire formats: the true ones, unless a fault rule changes them.

    The format is the one of the job's kind; without a kind, it is the first.
    """
    context = context_of(request)
    record, rule = context.record, context.fault
    true = [
        (next((one for one in dialects[1:] if one.kind == snapshot.job.kind), dialects[0]), snapshot)
        for snapshot in snapshots
    ]
    if rule is None:
        record.snapshots = snapshots
        return true
    shown = [false_answer(rule, *one) for one in true]
    record.snapshots = [snapshot for snapshot, one, other in zip(snapshots, shown, true, strict=True) if one == other]
    if len(record.snapshots) < len(snapshots):
        record.faults += (rule.kind,)
    return shown


async def count_polls(
    request: Request, service: Service, dialect: Dialect, snapshots: list[JobSnapshot]
) -> list[JobSnapshot]:
    """Counts a poll for each of the jobs that end after polls; returns the new snapshots of all jobs.

    A HEAD does not count, and a poll does not count for a job that a fault hides or shows falsely. Whether a fault does
    so depends on the job before this poll, so rules for ended jobs do not prevent a job from ending.
    """
    context = context_of(request)
    counting = [
        snapshot
        for snapshot in snapshots
        if snapshot.job.ends_after_polls and not (context.is_head or _makes_unusable(context.fault, dialect, snapshot))
    ]
    counted = {job.job.key: job for job in await asyncio.gather(*map(service.count_poll, counting))} if counting else {}
    return [counted.get(snapshot.job.key, snapshot) for snapshot in snapshots]


def _makes_unusable(rule: FaultRule | None, dialect: Dialect, snapshot: JobSnapshot) -> bool:
    """Whether an answer with this fault hides the job or shows it falsely."""
    if rule is None:
        return False
    hidden = responses.hides(rule) or isinstance(rule, WrongType)
    return hidden or false_answer(rule, dialect, snapshot) != (dialect, snapshot)


def is_hidden(request: Request) -> bool:
    """Whether a fault hides the jobs of the answer from the client."""
    rule = context_of(request).fault
    return rule is not None and responses.hides(rule)
