"""Finds dialects by name, and reads them from TOML files in the format of the server's setting `DIALECTS`.

A file describes one API, with a dialect for each of its kinds of jobs; `docs/dialects.md` describes the format.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.dialects import (
    ANSWER_NAMES,
    IN_PATH,
    LIST_NAMES,
    PAGINGS,
    REQUEST_FIELDS,
    REQUEST_NAMES,
    Action,
    Answer,
    Dialect,
    IdPlace,
    Operation,
    SharedCode,
)
from translation_client.core.distinct import indistinct
from translation_client.core.status import State
from translation_client.core.templates import Node, Placeholder, fits, overlaid, parse, paths
from translation_client.core.webhook_forms import Signature, UrlPlace, WebhookForm
from translation_client.dialect_checks import action_of, operations_of, parameter_names, parameters, phases
from translation_client.dialect_format import KIND, take_file
from translation_client.dialect_shapes import FormatError, below
from translation_client.dialect_webhooks import DELIVERY_NAMES, EVENT_NAMES, SIGNATURE_TEXTS, body_layers

DialectLike: TypeAlias = Dialect | str | PathLike[str]
"""A dialect, the name of a built-in or shipped one, or the path of a file; `openai#video` for one of several kinds."""

WITHOUT_JOB_BODY = ("delete", "list", "batch_poll", "download")  # their answers show no job by default
WITHOUT_BODY = (204, 205, 304)
ERROR_NAMES = ("detail", "reason", "field", "title", "status_code", "error_type", "error_id", "path", "now")
HINT_NAMES = ("retry_after",)
DELIVERED_NAMES = (*ANSWER_NAMES, *EVENT_NAMES)
ONE_OF_SEVERAL = re.compile(rf"(.+)#({KIND.pattern})", re.DOTALL)

Table: TypeAlias = Mapping[str, Any]
"""A table of a file in its normal form, see `dialect_format`."""

CATALOGUE = resources.files("translation_client.catalogue")

RESERVED = frozenset(
    {
        *(
            path.split("/")[1]
            for dialect in DIALECTS.values()
            for one in dialect.operations
            for _, path in one.requests
        ),
        *("dashboard", "docs", "events", "files", "livez", "metrics", "native", "openapi.json", "readyz", "sandbox"),
        *DIALECTS,
    }
)
"""The names and the first segments of paths that this project's server has itself."""


def shipped() -> list[str]:
    """Returns the names of the APIs that are shipped."""
    return sorted(one.name.removesuffix(".toml") for one in CATALOGUE.iterdir() if one.name.endswith(".toml"))


def find_dialect(dialect: DialectLike) -> Dialect:
    """Finds a dialect.

    Raises:
        ValueError: There is none, or its file is unusable; one line with the file, the place and the mistake.
    """
    if isinstance(dialect, Dialect):
        return dialect
    text = fspath(dialect)
    if text in DIALECTS:
        return DIALECTS[text]
    match = ONE_OF_SEVERAL.fullmatch(text)
    path, kind = match.groups() if match else (text, None)
    dialects = _read(path)
    if kind is None and len(dialects) == 1:
        return next(iter(dialects.values()))
    if kind in dialects:
        return dialects[kind]
    raise ValueError(f"dialect {text}: choose one of {', '.join(f'{path}#{each}' for each in dialects)}")


def _read(path: str) -> dict[str, Dialect]:
    """Returns the dialects of a file by the kinds of their jobs."""
    file = CATALOGUE / f"{path}.toml" if path in shipped() else Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = ", ".join((*DIALECTS, *shipped()))
        raise ValueError(f"dialect {path}: is neither one of {names} nor a file") from None
    except OSError as error:
        raise ValueError(f"dialect {path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"dialect {path}: cannot be read as TOML: {error}") from None
    name = file.name.rpartition(".")[0]
    try:
        return read_api(name, table)
    except ValueError as error:
        raise ValueError(f"dialect {path}: {error}") from None


def read_api(name: str, table: Mapping[str, Any]) -> dict[str, Dialect]:
    """Returns the dialects of an API by the kinds of its jobs; ``table`` is the content of its file.

    Raises:
        ValueError: The table is unusable; the message says which part, and why.
    """
    file = take_file(name, table, RESERVED)
    for fixed, one in file["fixed"].items():
        own = [name for _, path in one["request"] for name in parameter_names(path)]
        _check_parameters(own, REQUEST_NAMES, f"fixed.{fixed}.request")
        known = (*REQUEST_NAMES, *own)
        _answer([({**one, "when": {}}, f"fixed.{fixed}")], known)
    hints = _headers(file["hints"] or {}, HINT_NAMES, "hints")
    errors = [] if file["error"] is None else _errors(file["error"])
    return {
        kind: _dialect(f"{name}#{kind}" if len(file["job"]) > 1 else name, job, file, hints, errors, f"job.{kind}")
        for kind, job in file["job"].items()
    }


def _errors(table: Table) -> list[Node]:
    """Returns the templates of errors' bodies; the general one comes last."""
    _headers(table["headers"], ERROR_NAMES, "error.headers")
    general, particular = _parsed(table["body"], ERROR_NAMES, "error.body"), []
    for code, one in table["when"].items():
        where = f"error.when.{code}"
        _headers(one["headers"], ERROR_NAMES, f"{where}.headers")
        if one["body"] is not None:
            particular.append(overlaid(general, _parsed(one["body"], ERROR_NAMES, f"{where}.body")))
    return [*particular, general]


def _shared_codes(table: Table) -> list[SharedCode]:
    """Returns the errors that share a status code with another error, and are recognised by their bodies."""
    found = []
    for code, one in table["when"].items():
        if one["body"] is None or one["code"] in {None, int(code)}:
            continue
        body = _parsed(one["body"], ERROR_NAMES, f"error.when.{code}.body")
        if not fits(body, {}):
            found.append(SharedCode(int(code), one["code"], body))
    return found


def _dialect(  # noqa: PLR0913, PLR0917 - all that a file says of a kind of job
    name: str, job: Table, file: Table, hints: Mapping[str, Node], errors: Sequence[Node], place: str
) -> Dialect:
    own = parameters(job)
    _check_parameters(own, ANSWER_NAMES if job["webhook"] is None else DELIVERED_NAMES, f"{place}.submit.request")
    known = (*ANSWER_NAMES, *own)
    words = {**job["words"], "cancelled": job["words"]["cancelled"] or job["words"]["error"]}
    dialect = Dialect(
        name=name,
        mount=file["mount"],
        words={state: tuple(words[state]) for state in State},
        operations=[_operation(name, one, job, known, place) for name, one in operations_of(job).items()],
        send=_parsed(job["send"], REQUEST_FIELDS, f"{place}.send"),
        certain=_certain(job, known, place),
        auth=file["auth"][0],
        idempotency=_place(file["idempotency"]),
        hints=hints,
        error=errors,
        shared_codes=_shared_codes(file["error"]) if file["error"] else (),
        webhook=None if job["webhook"] is None else _webhook(job, [*known, *EVENT_NAMES], place),
    )
    _check_bodies(dialect, place)
    return dialect


def _webhook(job: Table, known: Sequence[str], place: str) -> WebhookForm | None:
    """Returns the webhooks of a kind of job; None if it has no events."""
    webhook, headers = job["webhook"], dict[str, Node]()
    for table, where in webhook["tables"]:
        headers |= _headers(table["headers"], DELIVERY_NAMES, f"{where}.headers")
        for key, names in SIGNATURE_TEXTS.items():
            _parsed((table["signature"] or {}).get(key) or "", names, f"{where}.signature.{key}")
    layers = body_layers(job, place)
    for word in phases(job):
        _answer(layers, known, State.PENDING, word)
    bodies = {state: _answer(layers, known, state).body for state in State}
    if not webhook["events"]:
        return None
    url = _place(webhook["url"])
    return WebhookForm(
        bodies=bodies,
        events=webhook["events"],
        url=UrlPlace(url.source, url.name) if url else None,
        headers=headers,
        signature=_signature(webhook["signature"]) if webhook["signature"] else None,
    )


def _signature(table: Table) -> Signature:
    given: dict[str, Any] = {key: value for key, value in table.items() if value is not None}
    texts = {key: parse(given[key], names) for key, names in SIGNATURE_TEXTS.items() if key in given}
    return Signature(**given | texts)


def _certain(job: Table, known: Sequence[str], place: str) -> frozenset[str]:
    """Returns the names, of `output` and `error_code`, that no completed, or failed, job lacks."""
    values = {
        "output": _parsed(job["output"], known, f"{place}.output"),
        "error_code": job["defaults"].get("error_code"),
    }
    return frozenset(name for name, value in values.items() if value is not None)


def _check_parameters(own: Sequence[str], fields: Sequence[str], place: str) -> None:
    """Checks that no parameter of a path has the name of a field."""
    if taken := [name for name in own if name in fields]:
        raise FormatError(place, f"the parameter {taken[0]} needs another name: a field is called so")


def _check_bodies(dialect: Dialect, place: str) -> None:
    """Checks that the answers show what clients need: the job's id, its state, and the jobs of a list."""
    shown = {
        one.action: [
            paths([answer.body, [*answer.headers.values()]]) for state in State for answer in one.answers_for(state)
        ]
        for one in dialect.operations
    }
    if "job_id" not in dialect.request_fields and not all("job_id" in one for one in shown["submit"]):
        raise FormatError(f"{place}.submit.body", "must hold {job_id}, here or in a header: clients need it to poll")
    polled = [answer.body for state in State for answer in dialect.poll.answers_for(state)]
    if not all(isinstance(body, Mapping | Placeholder) or body in ("", None) for body in polled):
        raise FormatError(f"{place}.poll.body", "must be an object, or a placeholder alone, in every state")
    _check_states(dialect, dialect.poll, f"{place}.poll")
    for one in dialect.operations:
        if one.action in {"list", "batch_poll"}:
            _check_list(dialect, one, f"{place}.{one.action}")


def _check_states(dialect: Dialect, operation: Operation, place: str) -> None:
    """Checks that clients can tell the states of jobs apart in polls, or in the items of a list."""
    if alike := indistinct(dialect, operation):
        problem = f"{alike[0]} and {alike[1]} are answered alike, so no client could tell them apart"
        needed = "words, fields or codes" if operation is dialect.poll else "words or fields"
        where = "here" if State.PENDING in alike or operation.action == "list" else "here or in result"
        raise FormatError(place, f"{problem}: give them other {needed}, {where}")


def _check_list(dialect: Dialect, operation: Operation, place: str) -> None:
    if operation.each:
        items = [paths(answer.body) for state in State for answer in operation.each.answers_for(state)]
        if not all("job_id" in one for one in items) or not any("status" in one for one in items):
            raise FormatError(f"{place}.item", "must hold {job_id} and {status}")
    for state in State:
        if any("jobs" not in paths(answer.body) for answer in operation.answers_for(state)):
            raise FormatError(f"{place}.body", "must hold {jobs}")
        for answer in dialect.poll.answers_for(state):
            shown = answer.body
            for key in operation.item:
                shown = shown.get(key) if isinstance(shown, Mapping) else None
            if operation.item and not isinstance(shown, Mapping):
                raise FormatError(
                    f"{place}.item", f"must be the path of an object in the body of the poll, {state} too"
                )
            if operation.each is None and "job_id" not in paths(shown):
                raise FormatError(f"{place}.body", "{jobs} are bodies of polls, which must hold {job_id} then")
    _check_states(dialect, operation, place)


def _operation(name: str, table: Table, job: Table, known: Sequence[str], place: str) -> Operation:
    action: Action = action_of(name)
    tables = [(table, f"{place}.{name}")]
    if action not in WITHOUT_JOB_BODY and table["body"] is None:
        tables.insert(0, ({"code": None, "headers": {}, "body": job["body"], "when": job["when"]}, place))
    item = table.get("item")
    each = _each(table, known, f"{place}.{name}", phases(job)) if isinstance(item, Mapping) else None
    own = [name for _, path in table["request"] for name in parameter_names(path)]
    if action in {"list", "batch_poll"}:
        _check_parameters(own, LIST_NAMES, f"{place}.{name}.request")
    names = [*LIST_NAMES, *own] if action in {"list", "batch_poll"} else known
    page = table.get("page", {})
    paging = next((one for one in PAGINGS if page.get(one)), "cursor")
    return Operation(
        action=action,
        requests=table["request"],
        answers={state: _answer(tables, names, state) for state in State},
        phases={
            word: _answer(tables, names, State.PENDING, word)
            for word in phases(job)
            if any(word in one["when"] for one, _ in tables)
        },
        headers=table["where"]["header"],
        query=table["where"]["query"],
        body=table["where"]["body"],
        accepts=table["accepts"],
        job_id=_place(table["job_id"]) or IN_PATH,
        cursor=page.get(paging),
        paging=paging,
        ids=table.get("ids"),
        separator=table.get("separator"),
        item=tuple(item.split(".")) if item and not each else (),
        each=each,
        missing=_parsed(table.get("missing"), ("job_id",), f"{place}.{name}.missing"),
    )


def _each(table: Table, known: Sequence[str], place: str, words: Sequence[str]) -> Operation:
    """Returns an operation whose answers are the items of a list."""
    own = {
        state: _parsed(one["item"], known, f"{below(f'{place}.when', state)}.item")
        for state, one in table["when"].items()
        if one["item"] is not None
    }
    item = _parsed(table["item"], known, f"{place}.item")

    def answer(*states: str) -> Answer:
        body = item
        for state in states:
            body = overlaid(body, own.get(state, {}))
        return Answer(body=body)

    answers = {state: answer(state) for state in State}
    phases = {word: answer(State.PENDING, word) for word in words if word in own}
    return Operation(action="view", requests=(), answers=answers, phases=phases)


def _answer(tables: Sequence[tuple[Table, str]], known: Sequence[str], *states: str) -> Answer:
    """Returns the answer for a state, or for a state and a word.

    Later tables are merged into earlier ones, and within a table, the parts for the state and the word into the rest.
    """
    code, body = 200, None
    headers: dict[str, Node] = {}
    for table, place in tables:
        of_states = [
            (table["when"][state], below(f"{place}.when", state)) for state in states if state in table["when"]
        ]
        for layer, where in ((table, place), *of_states):
            code = layer["code"] or code
            headers |= _headers(layer["headers"], known, f"{where}.headers")
            if layer["body"] is not None:
                parsed = _parsed(layer["body"], known, f"{where}.body")
                body = parsed if body is None else overlaid(body, parsed)
    if code in WITHOUT_BODY and body is not None and body != "":
        raise FormatError(tables[-1][1], f'an answer with {code} has no body: write body = ""')
    return Answer(code, headers, body)


def _place(table: Table | None) -> IdPlace | None:
    """Returns the place in a request of an id, or of an idempotency key."""
    if table is None:
        return None
    [(source, name)] = [(key, table[key]) for key in ("query", "header", "body") if table.get(key) is not None]
    return IdPlace(source, name, table.get("text", "{job_id}"))


def _headers(headers: Mapping[str, str], known: Sequence[str], where: str) -> dict[str, Node]:
    return {name: _parsed(value, known, f"{where}.{name}") for name, value in headers.items()}


def _parsed(template: object, known: Sequence[str], where: str) -> Node:
    try:
        return parse(template, known)
    except ValueError as error:
        raise FormatError(where, str(error)) from None
