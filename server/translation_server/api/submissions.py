"""Submissions: the input of a job, its idempotency key, and its fingerprint."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from translation_server.api.bodies import is_form, read_document
from translation_server.api.context import RequestContext, context_of
from translation_server.api.disconnect import cancelled_on_disconnect
from translation_server.api.preferences import hint_headers, wall_elapsed
from translation_server.api.problems import NOTHING_SIMULATED, invalid
from translation_server.api.request_identity import id_value, record_submission, route_of
from translation_server.api.schemas import MAX_BATCH, SubmissionBody
from translation_server.api.submitted_webhooks import submitted_webhook
from translation_server.api.views import record_hint, view_of
from translation_server.core.dialects.builtin import NATIVE_API, NATIVE_NAMES
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.ids import new_id
from translation_server.core.dialects.routes import Route
from translation_server.core.dialects.template import paths, read, to_json, value_at
from translation_server.core.fingerprint import fingerprint, former_fingerprint
from translation_server.core.webhooks import Webhook
from translation_server.service.jobs import Service
from translation_server.service.submitter import Accepted
from translation_server.storage import Idempotency
from translation_server.validation import field_errors, unknown_field

SIMULATE = "simulate"
NUMBERS = ("video_length",)  # the fields that are numbers, which forms have as texts


@dataclass(frozen=True, slots=True)
class ReceivedSubmission:
    """A submission as it was received."""

    input: Mapping[str, Any]  # the body in the wire format with the parameters of the query, without secrets
    values: Mapping[str, object]  # the values of the native fields
    body: SubmissionBody  # the same as a model
    echo: Mapping[str, object]  # the values that the answers of its API repeat

    def idempotency(self, key: str | None, whole: Mapping[str, Any], number: int) -> Idempotency | None:
        """Returns the key, if there is one, with the fingerprints that distinguish the submission from others.

        ``whole`` is everything that the caller has sent; ``number`` is that of the job among the jobs of one
        submission.
        """
        if not key:
            return None
        own = f"{key}\0{number}" if number else key
        return Idempotency(own, fingerprint(whole), former_fingerprint(self.values))


class SubmitEndpoint:
    """Accepts jobs, in every dialect; ``random(n)`` returns n random bytes, for their ids."""

    def __init__(self, service: Service, random: Callable[[int], bytes]) -> None:
        self._service = service
        self._random = random

    async def answer(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Response:
        """Accepts a job. Some APIs hold the answer until the job ends or the wait is over.

        Others split a submission: its jobs are accepted one after another. With the same idempotency key, a retry finds
        those that were accepted before.
        """
        context, dialect, service = context_of(request), route.dialects[0], self._service
        document = await read_document(request, route.operation.accepts)
        chosen_id = await id_value(request, route, parameters)
        parts = _parts(document, route.operation.split)
        received = [_received(request, route, part, parameters, chosen_id) for part in parts]
        if received[0].body.simulate and not service.sandboxes.changeable:
            raise invalid([{"field": SIMULATE, "message": NOTHING_SIMULATED}])
        webhook = await submitted_webhook(request, service, dialect, document, received[0].body.webhook)
        await record_submission(request, parameters)
        whole = {**received[0].input, **document}
        accepted = [
            await self._accept(context, dialect, one, one.idempotency(context.record.key, whole, number), webhook)
            for number, one in enumerate(received)
        ]
        snapshots, replayed = [one.snapshot for one in accepted], all(one.replayed for one in accepted)
        context.record.snapshots, context.record.replayed = snapshots, replayed
        [snapshot, *others] = snapshots
        wait = context.record.wait if context.record.wait == 0 or route.operation.wait else None
        if wait:
            async with cancelled_on_disconnect(request.receive):
                snapshot = await service.hold(snapshot, wait, lambda snapshot: snapshot.job.due_at)
            context.record.snapshots = [snapshot, *others]
        view = view_of(request.scope, dialect, self._service.files)
        partial = dialect.partial_body(snapshot, view, route.operation)
        clock = await record_hint(request, service, dialect, snapshot)
        headers = list(partial.headers)
        if dialect.api is NATIVE_API and (location := dialect.location(snapshot.job.id)):
            headers.append((b"location", location.encode()))
        headers += hint_headers(context.record.hint, partial.hints)
        headers += wall_elapsed(clock, service.wall_time, snapshot)
        if replayed:
            headers.append((b"idempotency-replayed", b"true"))
        if wait is not None:
            headers.append((b"preference-applied", b"wait=%d" % wait))
        text = partial.complete(snapshot)
        if others:
            bodies = [dialect.partial_body(one, view, route.operation).complete(one) for one in others]
            text = to_json(reduce(_joined, map(json.loads, [text, *bodies])))
        return json_response(text, partial.code, headers)

    async def _accept(
        self,
        context: RequestContext,
        dialect: Dialect,
        received: ReceivedSubmission,
        idempotency: Idempotency | None,
        webhook: Webhook | None,
    ) -> Accepted:
        """Accepts a job; it is on disk when this returns."""
        fields = received.body
        made_id = None if fields.job_id or dialect.api is NATIVE_API else new_id(dialect.id, self._random)
        return await self._service.submit(
            context.user,
            fields.submission(),
            api=dialect.api.name,
            kind=dialect.kind,
            idempotency=idempotency,
            job_id=fields.job_id or made_id,
            chosen=made_id is None,
            fate_override=fields.simulate.fate_override() if fields.simulate else None,
            job_input=received.input,
            echo=received.echo,
            webhook=webhook,
        )


def json_response(text: str, code: int = HTTPStatus.OK, headers: list[tuple[bytes, bytes]] | None = None) -> Response:
    """Returns a response with JSON text as its body, or without one."""
    has_type = any(name == b"content-type" for name, _ in headers or ())
    response = Response(text or None, code, media_type="application/json" if text and not has_type else None)
    response.raw_headers[:0] = headers or []
    return response


def _parts(document: Mapping[str, Any], path: str | None) -> list[Mapping[str, Any]]:
    """Returns one submission for each item of the list at this path.

    Raises:
        Problem: 422 if it is no list, or has too many items.
    """
    if path is None or (items := value_at(document, path)) is None:
        return [document]
    if not isinstance(items, list) or len(items) > MAX_BATCH:
        raise invalid([{"field": path, "message": f"must be a list of 1 to {MAX_BATCH} items"}])
    if not items:
        return [_with(document, path.split("."), None)]  # as if there were no list
    return [_with(document, path.split("."), [item]) for item in items]


def _with(document: Mapping[str, Any], path: Sequence[str], value: object) -> Mapping[str, Any]:
    """Returns a document with another value at the end of a path of keys."""
    [key, *rest] = path
    return {**document, key: _with(document[key], rest, value) if rest else value}


def _joined(one: Any, other: Any) -> Any:  # noqa: ANN401 - JSON values
    """Returns the answers about two jobs as one: with the items of both in its arrays."""
    match one, other:
        case dict(), dict():
            return {key: _joined(value, other.get(key)) for key, value in one.items()}
        case list(), list():
            return one + other
    return one


def _received(
    request: Request, route: Route, document: Mapping[str, Any], parameters: Mapping[str, str], chosen_id: object
) -> ReceivedSubmission:
    """Returns a submission; ``chosen_id`` is the value at the place of the job's id.

    Raises:
        Problem: 422 if it is not valid in the dialect, or repeats in the body what the query has.
    """
    query: Mapping[str, Any] = _query(request)
    dialect, place = route.dialects[0], route.operation.job_id
    values, unknown = read(dialect.send, document)
    fields = {name: path for name, path in paths(dialect.send).items() if name in NATIVE_NAMES}
    if SIMULATE in unknown and not dialect.refuses_unknown:  # the simulator's own field, in any API
        values[SIMULATE], fields[SIMULATE] = document[SIMULATE], SIMULATE
    for name in {SIMULATE, *(NUMBERS if is_form(request) else ())} & values.keys():
        values[name] = _from_form(values[name])
    errors = [
        {"field": first, "message": f"is required, or {' or '.join(others)}" if others else "is required"}
        for first, *others in dialect.required
        if all(value_at(document, path) is None for path in (first, *others))
    ]
    if chosen_id is not None:
        values["job_id"], fields["job_id"] = place.read(chosen_id, parameters) or "", place.name
    try:
        validated = SubmissionBody.model_validate(values)
    except ValidationError as error:
        raise invalid(errors + field_errors(error, "body", fields)) from None
    if dialect.refuses_unknown:
        key = dialect.api.idempotency
        known = [*dialect.fields, *([key.name] if key and key.source == "body" else ())]
        refused = _unknown(unknown, known, document)
        errors += [{"field": field, "message": unknown_field(dialect.fields)} for field in refused]
    if dialect.api is NATIVE_API:
        validated = validated.model_copy(update=query)
    errors += [{"field": name, "message": "comes in the query and in the body"} for name in query.keys() & document]
    if errors:
        raise invalid(errors)
    sent = {name: value for name, value in document.items() if name != SIMULATE or dialect.api is NATIVE_API}
    stored = {**document, **query}
    if validated.webhook is not None:
        stored |= {"webhook": validated.webhook.model_dump(exclude={"secret"}, exclude_unset=True)}
    if dialect.webhook and dialect.webhook.caller_header:
        stored = _without(stored, dialect.webhook.caller_header.value.split("."))
    echo = {name: _echoed(name, sent, query, parameters) for name in dialect.echoed}
    echo = {name: value_at(dialect.defaults, name) if value is None else value for name, value in echo.items()}
    return ReceivedSubmission(
        stored,
        values,
        validated,
        {name: value for name, value in echo.items() if value is not None},
    )


def _without(document: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Returns a document without the value at a path, which is a secret."""
    name, *inner = path
    others = {other: value for other, value in document.items() if other != name}
    if inner and isinstance(document.get(name), Mapping):
        others[name] = _without(document[name], inner)
    return others


def _unknown(paths: Iterable[str], fields: Sequence[str], document: Mapping[str, Any]) -> Iterator[str]:
    """Yields the paths that are not fields. An object with some fields is searched for others."""
    for path in paths:
        if path in fields:
            continue
        inner = value_at(document, path)
        if isinstance(inner, Mapping) and any(field.startswith(f"{path}.") for field in fields):
            yield from _unknown([f"{path}.{name}" for name in inner], fields, document)
        else:
            yield path


def _from_form(value: object) -> object:
    """Returns the value of a field that comes as JSON, or as the text of JSON, as forms have it."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _query(request: Request) -> dict[str, Any]:
    """Returns the query: on a native route, the parameters of its model; on others all parameters but tokens."""
    if (model := context_of(request).query) is not None:
        return model.model_dump(exclude_unset=True)
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    tokens = route_of(request).api.token_parameters
    return {name: values if len(values) > 1 else values[0] for name, values in query.items() if name not in tokens}


def _echoed(name: str, document: Mapping[str, Any], query: Mapping[str, Any], parameters: Mapping[str, str]) -> object:
    source, _, path = name.partition(".")
    match source:
        case "input":
            return value_at(document, path) if path else document
        case "query":
            return query.get(path)
        case _:
            return parameters.get(name)
