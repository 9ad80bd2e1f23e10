"""The operations of dialects besides submissions and polls: cancel, delete, list, batch poll and fixed answers."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import product
from math import ceil
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from translation_server.api.addresses import base_url
from translation_server.api.bodies import read_document
from translation_server.api.context import context_of
from translation_server.api.faults.simulator import apply_false_answer, count_polls
from translation_server.api.file_response import send_file
from translation_server.api.preferences import hint_headers
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import MAX_BATCH
from translation_server.api.submissions import json_response
from translation_server.api.views import record_hint, view_of
from translation_server.core.dialects.dialect import Dialect, Word, header_lines, is_text, plain_text
from translation_server.core.dialects.operations import REFUSED, Paging
from translation_server.core.dialects.routes import Route
from translation_server.core.dialects.template import ValueOf, fill, names, to_json, value_at
from translation_server.core.job import JobSnapshot, State
from translation_server.service.jobs import Service
from translation_server.service.positioned_lists import ALL, Accepts, Filter

COUNTED = frozenset({"count", "offset", "page", "pages"})
"""The names in the template of a list whose values are known only after the caller's jobs were counted."""

ORDERS: Mapping[str, bool] = {"asc": True, "ascending": True, "desc": False, "descending": False}
"""The values of the parameter for the order, and whether the oldest job comes first."""

MAX_DIGITS = 10


class Operations:
    """Answers the operations of the APIs that files describe."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def cancel(self, request: Request, route: Route, job_id: str) -> Response:
        """Cancels a pending job, unless the file says that it is refused; one that has ended stays as it is."""
        [dialect] = route.dialects
        if refused := await self._refused(request, dialect, job_id, route):
            return refused
        snapshot = await self._service.cancel(context_of(request).user, job_id, **dialect.owned)
        [(shown_in, shown)] = apply_false_answer(request, [dialect], snapshot)
        return await self._answer(request, shown_in, shown, route, done=True)

    async def delete(self, request: Request, route: Route, job_id: str) -> Response:
        """Hides a job from its API, and cancels it if it is pending, unless the file says that it is refused."""
        [dialect] = route.dialects
        if refused := await self._refused(request, dialect, job_id, route):
            return refused
        snapshot = await self._service.delete(context_of(request).user, job_id, **dialect.owned)
        context_of(request).record.snapshots = [snapshot]
        return await self._answer(request, dialect, snapshot, route, done=True)

    async def download(self, request: Request, route: Route, job_id: str) -> Response:
        """Returns a file of a completed job."""
        [dialect] = route.dialects
        if refused := await self._refused(request, dialect, job_id, route):
            return refused
        snapshot = await self._service.snapshot(context_of(request).user, job_id, **dialect.owned)
        context_of(request).record.snapshots = [snapshot]
        name = self._service.files.library.name_of(route.operation.file or "")
        if snapshot.state is not State.COMPLETED or name is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"The job is {dialect.word(snapshot)}: it has no file.")
        return await send_file(request, self._service.files, name)

    async def list(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Response:
        """Lists the caller's jobs of the kind, or of all kinds, newest first unless the caller asks otherwise."""
        [dialect, *_], paging, owner = route.dialects, route.operation.paging, context_of(request).user
        owned = {"api": dialect.api.name} if route.operation.all_kinds else dialect.owned
        asked = await _asked(request, route)
        _refuse_unknown(asked, route)
        limit, oldest_first = _whole(asked, paging.size, paging.default, 1, MAX_BATCH), _oldest_first(asked, paging)
        after = None
        if last_id := asked.get(paging.cursor or ""):
            after = await self._service.ordinal(owner, last_id, **owned)
        only = _filter(request, {**parameters, **asked}, route)
        answer = route.operation.answer
        counted = bool((names(answer.body) | names(answer.headers)) & COUNTED)
        if not (only is not ALL or oldest_first or paging.offset or paging.number or counted):
            page = await self._service.page(
                owner, limit=limit, after=after, api=dialect.api.name, kind=owned.get("kind")
            )
            has_more = page.next is not None
            more = {"limit": limit}
            return self._listed(request, route, page.snapshots, parameters, has_more=has_more, more=more)
        start = _whole(asked, paging.offset, 0) + limit * (_whole(asked, paging.number, 1, 1) - 1)
        found = await self._service.lists.page(
            owner,
            limit=limit,
            start=start,
            after=after,
            oldest_first=oldest_first,
            only=only,
            counted=counted,
            **owned,
        )
        end = found.start + len(found.snapshots)
        numbers = {
            "limit": limit,
            "count": found.count,
            "offset": found.start,
            "page": found.start // limit + 1,
            "pages": ceil(found.count / limit),
        }
        has_more = end < found.count and bool(found.snapshots)
        if has_more and not paging.cursor:
            numbers["next"] = numbers["page"] + 1 if paging.number else end
        return self._listed(request, route, found.snapshots, parameters, has_more=has_more, more=numbers)

    async def batch_poll(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Response:
        """Polls several jobs at once; ids without a job are left out, or come last."""
        [dialect], name = route.dialects, route.operation.ids or ""
        ids = [one for text in request.query_params.getlist(name) for one in text.split(",") if one]
        if not 0 < len(ids) <= MAX_BATCH:
            raise invalid([{"field": name, "message": f"must have 1 to {MAX_BATCH} ids"}])
        found, missing = await self._service.snapshots(context_of(request).user, ids, **dialect.owned)
        snapshots = await count_polls(request, self._service, dialect, found)
        return self._listed(request, route, snapshots, parameters, missing=missing, has_more=False)

    async def fixed(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Response:
        """Answers a request that concerns no job."""
        document = await read_document(request, route.operation.accepts)

        def value_of(name: str) -> object:
            source, _, path = name.partition(".")
            match source:
                case "base_url":
                    return base_url(request.scope) + route.api.mount
                case "input":
                    return value_at(document, path) if path else document
                case "query":
                    return request.query_params.get(path)
            return parameters.get(name)

        return _filled(route, value_of)

    async def _refused(self, request: Request, dialect: Dialect, job_id: str, route: Route) -> Response | None:
        """Returns the answer that refuses a request because of the job's state; None if the file has none."""
        if not any(answer.code >= REFUSED for answer in route.operation.all_answers):
            return None
        snapshot = await self._service.snapshot(context_of(request).user, job_id, **dialect.owned)
        if route.operation.answer_for(snapshot.state, dialect.word(snapshot)).code < REFUSED:
            return None
        context_of(request).record.snapshots = [snapshot]
        return await self._answer(request, dialect, snapshot, route)

    async def _answer(
        self, request: Request, dialect: Dialect, snapshot: JobSnapshot, route: Route, *, done: bool = False
    ) -> Response:
        """Returns the answer about a job; ``done`` says that it was changed, so that the answer refuses nothing."""
        operation = dialect.operation(route.action)
        if done and operation and snapshot.state is State.CANCELLED:
            operation = operation.without_refusal(State.CANCELLED)
        partial = dialect.partial_body(snapshot, view_of(request.scope, dialect, self._service.files), operation)
        await record_hint(request, self._service, dialect, snapshot)
        headers = [*partial.headers, *hint_headers(context_of(request).record.hint, partial.hints)]
        return json_response(partial.complete(snapshot), partial.code, headers)

    def _listed(  # noqa: PLR0913 - the options are keywords
        self,
        request: Request,
        route: Route,
        snapshots: Sequence[JobSnapshot],
        parameters: Mapping[str, str],
        *,
        has_more: bool,
        missing: Sequence[str] = (),
        more: Mapping[str, int] = {},
    ) -> Response:
        [dialect, *_] = route.dialects
        view = view_of(
            request.scope, next((one for one in route.dialects if one.absolute_states), dialect), self._service.files
        )
        item, each = route.operation.item, route.operation.each
        bodies = [
            json.loads(shown_in.partial_body(shown, view, each).complete(shown))
            for shown_in, shown in apply_false_answer(request, route.dialects, *snapshots)
        ]
        jobs = [body if item is None else value_at(body, item) for body in bodies]
        if (template := route.operation.missing) is not None:
            jobs += [fill(template, {"job_id": job_id}.get) for job_id in missing]
        values: dict[str, Any] = {
            **parameters,
            "jobs": jobs,
            "first_id": snapshots[0].job.id if snapshots else None,
            "last_id": snapshots[-1].job.id if snapshots else None,
            "next": snapshots[-1].job.id if has_more else None,
            "has_more": has_more,
            "listed": len(jobs),
            "base_url": base_url(request.scope) + dialect.api.mount,
            **more,
        }
        return _filled(route, lambda name: values[name] if name in values else _queried(request, name))


def _queried(request: Request, name: str) -> object:
    """Returns the value of `query.NAME`: a list if the parameter is repeated, None if it is missing."""
    values = request.query_params.getlist(name.partition(".")[2])
    return values if len(values) > 1 else values[0] if values else None


def _filled(route: Route, value_of: ValueOf) -> Response:
    answer = route.operation.answers[State.PENDING]
    text = "" if answer.body == "" else answer.render(value_of, ()).complete(value_of)
    headers = header_lines(answer.headers, value_of)
    return json_response(plain_text(text) if is_text(headers) else text, answer.code, headers)


async def _asked(request: Request, route: Route) -> Mapping[str, str]:
    """Returns the parameters of a list: those of the query and, unless the method is GET, the fields of the body."""
    if request.method == "GET":
        return request.query_params
    document = await read_document(request, route.operation.accepts)
    fields = {name: value for name, value in document.items() if value is not None}
    texts = {name: value if isinstance(value, str) else to_json(value) for name, value in fields.items()}
    return {**texts, **request.query_params}


def _refuse_unknown(asked: Mapping[str, str], route: Route) -> None:
    """Refuses parameters that have no effect on a list, because their caller expects another page.

    Raises:
        Problem: 422 if there are any.
    """
    [dialect, *_], operation = route.dialects, route.operation
    paging, where = operation.paging, operation.where
    named = paging.size, paging.cursor, paging.offset, paging.number, paging.order, paging.status, *paging.filter
    selecting = (*where.query, *(path.partition(".")[0] for path in where.body))
    allowed = [name for name in (*named, *paging.ignore, *selecting) if name]
    shown = dialect.echoed | names(operation.answer.body) | names(operation.answer.headers)
    repeated = {name.removeprefix("query.") for name in shown if name.startswith("query.")}
    known = {*allowed, *dialect.api.token_parameters, *repeated}
    message = f"is not a parameter of this list; its parameters are {', '.join(allowed) or 'none'}"
    if unknown := [name for name in asked if name not in known]:
        raise invalid([{"field": name, "message": message} for name in unknown])


def _filter(request: Request, asked: Mapping[str, str], route: Route) -> Filter:
    """Returns the filter of a list's jobs, by their states and by the values of their submissions."""
    by_word = _by_word(request, asked, route)
    wanted = [
        (name, text)
        for parameter, name in route.operation.paging.filter.items()
        if parameter in asked
        for text in (request.query_params.getlist(parameter) or [asked[parameter]])
    ]
    if not wanted:
        return by_word

    def accepting(has_word: Accepts | None) -> Accepts:
        def accepts(snapshot: JobSnapshot) -> bool:
            echo = snapshot.job.echo
            return (not has_word or has_word(snapshot)) and all(_matches(echo.get(name), text) for name, text in wanted)

        return accepts

    return {state: accepting(has_word) for state, has_word in by_word.items()}


def _matches(value: object, text: str) -> bool:
    """Whether a value is this text, an object has the text's `key=value`, or an array has an item that matches."""
    match value:
        case Mapping():
            key, _, wanted = text.partition("=")
            return key in value and _matches(value[key], wanted)
        case list():
            return any(_matches(one, text) for one in value)
    return value is not None and text == (value if isinstance(value, str) else to_json(value))


def _by_word(request: Request, asked: Mapping[str, str], route: Route) -> Filter:
    """Returns the filter for words of states. Callers repeat the parameter, or separate words by commas.

    Raises:
        Problem: 422 for a word that no state has.
    """
    name = route.operation.paging.status
    if name is None or name not in asked:
        return ALL
    texts = request.query_params.getlist(name) or [asked[name]]
    wanted = {word for text in texts for word in text.split(",")}
    dialects = {dialect.kind: dialect for dialect in route.dialects}
    states_of_words: dict[str, set[State]] = {}
    for dialect, state in product(dialects.values(), State):
        for word in dialect.words[state]:
            states_of_words.setdefault(_text_of(word), set()).add(state)
    if not wanted <= states_of_words.keys():
        raise invalid([{"field": name, "message": f"must be one of {', '.join(states_of_words)}"}])
    states = set().union(*(states_of_words[word] for word in wanted))

    def has_word(snapshot: JobSnapshot) -> bool:
        return _text_of(dialects[snapshot.job.kind].word(snapshot)) in wanted

    def words(state: State) -> set[str]:
        return {_text_of(word) for dialect in dialects.values() for word in dialect.words[state]}

    return {state: None if words(state) <= wanted else has_word for state in states}


def _text_of(word: Word) -> str:
    return word if isinstance(word, str) else to_json(word)


def _oldest_first(asked: Mapping[str, str], paging: Paging) -> bool:
    order = asked.get(paging.order or "", "desc").lower()
    if order not in ORDERS:
        raise invalid([{"field": paging.order or "", "message": "must be asc or desc, or ascending or descending"}])
    return ORDERS[order]


def _whole(asked: Mapping[str, str], name: str | None, default: int, least: int = 0, most: int = 10**9) -> int:
    """Returns a whole number from a parameter."""
    text = asked.get(name or "")
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and least <= int(text) <= most):
        raise invalid([{"field": name or "", "message": f"must be a whole number from {least} to {most}"}])
    return int(text)
