"""Dialects from TOML files: each file describes one API."""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from translation_server.config.dialect_tables import (
    ApiTable,
    DownloadTable,
    FixedTable,
    KindTable,
    ListTable,
    OperationTable,
    StatesTable,
    SubmitTable,
    WhereTable,
)
from translation_server.core.dialects.builtin import DIALECTS, INPUT_NAMES
from translation_server.core.dialects.dialect import (
    ERROR_NAMES,
    HINT_NAMES,
    JOB_NAMES,
    LIST_NAMES,
    REQUEST_NAMES,
    Api,
    Dialect,
    DialectError,
    ErrorFormat,
)
from translation_server.core.dialects.distinct import indistinct
from translation_server.core.dialects.operations import (
    UNPAGED,
    Action,
    Answer,
    IdPlace,
    Operation,
    Paging,
    RequestPattern,
    Where,
)
from translation_server.core.dialects.routes import routes
from translation_server.core.dialects.template import Names, Node, TemplateError, overlaid, parse, value_at
from translation_server.core.job import NATIVE, State
from translation_server.validation import field_errors, summary, unknown_field

NAME = re.compile(r"[a-z][a-z0-9-]*")

BUILTIN = frozenset(
    {
        *(pattern.path.split("/")[1] for dialect in DIALECTS for one in dialect.operations for pattern in one.requests),
        *(dialect.name for dialect in DIALECTS),
        NATIVE,
    }
)
"""The names and the first segments of paths of the built-in dialects."""

CATALOGUE = resources.files("translation_server.catalogue")
"""The folder of the dialects that are shipped."""

ACTIONS: tuple[Action, ...] = ("submit", "poll", "result", "cancel", "delete", "list", "batch_poll", "download")

WITHOUT_BODY = frozenset({204, 205, 304})
"""The status codes of answers without a body."""

WITHOUT_JOB_BODY = frozenset({"delete", "list", "batch_poll", "download"})
"""The actions whose answers do not show the job's body unless a file says so."""


def shipped() -> list[str]:
    """Returns the names of the APIs that are shipped."""
    return sorted(one.name.removesuffix(".toml") for one in CATALOGUE.iterdir() if one.name.endswith(".toml"))


def source(name: str) -> str:
    """Returns the text of the file of an API that is shipped."""
    return (CATALOGUE / f"{name}.toml").read_text(encoding="utf-8")


def read_dialects(listed: str, taken: Collection[str]) -> tuple[Dialect, ...]:
    """Reads the dialects of APIs: one for each kind of job.

    Args:
        listed: the names of shipped APIs, ``all`` for all of them, and the paths of TOML files, separated by commas.
        taken: the first segments of the paths of other routes.

    Raises:
        DialectError: a file cannot be read, or an API cannot be served; one line with the file and the place.
    """
    names = [one.strip() for one in listed.split(",") if one.strip()]
    expanded = [name for one in names for name in (shipped() if one == "all" else [one])]
    files: dict[str, Traversable] = {}
    for one in dict.fromkeys(expanded):
        known = one in shipped()
        if not known and "." not in one and "/" not in one:
            raise DialectError(
                f"DIALECTS={one}: no such API is shipped: there are {', '.join(shipped())}, or name a file"
            )
        path: Traversable = CATALOGUE / f"{one}.toml" if known else Path(one)
        name = path.name.rpartition(".")[0]
        if name in files:
            raise DialectError(f"DIALECTS={one}: there are two APIs of the name {name}")
        files[name] = path
    dialects = [dialect for path in files.values() for dialect in read_api(path, taken)]
    try:
        routes([*DIALECTS, *dialects])
    except DialectError as error:
        raise DialectError(f"DIALECTS={listed}: {error}") from None
    return tuple(dialects)


def read_api(path: Traversable, taken: Collection[str]) -> tuple[Dialect, ...]:
    """Reads the file of one API."""
    where, name = f"DIALECTS={path}", path.name.rpartition(".")[0]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DialectError(f"{where}: cannot be read as TOML: {error}") from None
    if not NAME.fullmatch(name) or name in BUILTIN or name in taken:
        raise DialectError(f"{where}: must have a name of its own, in lower case: it is the name of the API")
    try:
        dialects = _dialects(name, ApiTable.model_validate(table), taken)
        routes(dialects)
    except ValidationError as error:
        raise DialectError(f"{where}: {summary(field_errors(error, 'the file'))}") from None
    except DialectError as error:
        raise DialectError(f"{where}: {error}") from None
    except RecursionError:
        raise DialectError(f"{where}: is nested too deeply") from None
    return dialects


def _dialects(name: str, table: ApiTable, taken: Collection[str]) -> tuple[Dialect, ...]:
    mount = table.mount or f"/{name}"
    if (first := mount.split("/")[1]) in BUILTIN or first in taken:
        raise DialectError(f"mount: {mount} is a path of every server: choose another one")
    api = Api(
        name=name,
        mount=mount,
        auth=tuple(table.auth),
        idempotency=None if table.idempotency == "none" else _idempotency(table),
        hints=None if table.hints is None else _headers(table.hints, HINT_NAMES, "hints"),
        error=_error(table),
        fixed=tuple(_fixed(one, f"fixed.{fixed}") for fixed, one in table.fixed.items()),
    )
    return tuple(_dialect(api, kind, one) for kind, one in table.job.items())


def _dialect(api: Api, kind: str, table: KindTable) -> Dialect:
    place = f"job.{kind}"
    words = {
        State.PENDING: table.words.pending,
        State.COMPLETED: table.words.completed,
        State.ERROR: table.words.error,
        State.CANCELLED: table.words.cancelled or table.words.error,
    }
    _check_states(table, table, place)
    parameters = {name for request in table.submit.request for name in RequestPattern(*request.split()).parameters} - {
        "job_id"
    }
    if taken := sorted(parameters & JOB_NAMES.keys()):
        raise DialectError(f"{place}.submit.request: the parameter {taken[0]} needs another name: a field is called so")
    known: Names = {**JOB_NAMES, **dict.fromkeys(sorted(parameters))}
    sources = ("input", "query", *sorted(parameters))
    if unknown := [name for name in table.defaults if name not in sources]:
        raise DialectError(
            f"{place}.defaults.{unknown[0]}: there is no such field; the fields are {', '.join(sources)}"
        )
    dialect = Dialect(
        name=api.name,
        api=api,
        kind=kind,
        words={state: tuple(listed) for state, listed in words.items()},
        operations=tuple(
            _operation(action, found, table, known, place)
            for action in ACTIONS
            if (found := getattr(table, action)) is not None
        ),
        send=_parsed(table.send, INPUT_NAMES, f"{place}.send"),
        refuses_unknown=table.unknown_fields == "refuse",
        required=tuple(map(tuple, table.required)),
        defaults=table.defaults,
        id=table.id,
        output=_parsed(table.output, known, f"{place}.output"),
    )
    for operation in dialect.operations:
        item = operation.item
        if item is not None and not isinstance(value_at(dialect.poll.answer.body, item), Mapping):
            raise DialectError(
                f"{place}.{operation.action}.item: must be the path of an object in the body of the poll"
            )
    if shared := indistinct(dialect):
        one, other = shared
        raise DialectError(
            f"{place}.poll: {one} and {other} are answered alike, so no client could tell them apart: "
            "give them other words, fields or codes, here or in result"
        )
    return dialect


def _operation(action: Action, table: OperationTable, kind: KindTable, known: Names, place: str) -> Operation:
    where = f"{place}.{action}"
    listed = isinstance(table, ListTable)
    allowed: Names = {**known, **LIST_NAMES} if listed else known
    with_id = action not in {"submit", "list", "batch_poll"}
    patterns = tuple(RequestPattern(*request.split()) for request in table.request)
    if with_id and table.job_id is None and any("job_id" not in pattern.parameters for pattern in patterns):
        raise DialectError(f"{where}.request: must hold {{job_id}}, or job_id must say where the id is")
    if action == "batch_poll" and isinstance(table, ListTable) and table.ids is None:
        raise DialectError(f"{where}: needs ids, the query parameter with the ids")
    _check_states(table, kind, where)
    tables: list[tuple[StatesTable, str]] = [(table, where)]
    if action not in WITHOUT_JOB_BODY and table.body is None:
        tables.insert(0, (StatesTable(body=kind.body, when=kind.when), place))
    return Operation(
        action=action,
        requests=patterns,
        answers={state: _answer(tables, allowed, state) for state in State},
        phases={
            word: _answer(tables, allowed, State.PENDING, word)
            for word in _phases(kind)
            if any(word in table.when for table, _ in tables)
        },
        where=_where(table.where),
        job_id=_id_place(table),
        accepts=tuple(table.accepts),
        paging=Paging(**table.page.model_dump()) if isinstance(table, ListTable) else UNPAGED,
        ids=table.ids if isinstance(table, ListTable) else None,
        item=table.item if isinstance(table, ListTable) else None,
        file=table.file if isinstance(table, DownloadTable) else None,
        wait=table.wait if isinstance(table, SubmitTable) else None,
    )


def _phases(kind: KindTable) -> list[str]:
    """Returns the words for pending by which a file can tell what is different."""
    return [word for word in kind.words.pending if isinstance(word, str) and word not in set(State)]


def _check_states(table: StatesTable | KindTable, kind: KindTable, place: str) -> None:
    allowed = [*map(str, State), *_phases(kind)]
    if unknown := [one for one in table.when if one not in allowed]:
        raise DialectError(f"{place}.when.{unknown[0]}: {unknown_field(allowed)}")


def _answer(tables: Sequence[tuple[StatesTable, str]], known: Names, *states: str) -> Answer:
    """Returns the answer for a state, or for one and a word in it.

    Each table, and what it says of the state and of the word, is laid over the ones before it.
    """
    code, body = 200, None
    headers: dict[str, Node] = {}
    for table, place in tables:
        of_states = [(table.when.get(state), f"{place}.when.{state}") for state in states]
        for layer, where in ((table, place), *of_states):
            if layer is None:
                continue
            code = layer.code or code
            headers |= _headers(layer.headers, known, f"{where}.headers")
            if layer.body is not None:
                parsed = _parsed(layer.body, known, f"{where}.body")
                body = parsed if body is None else overlaid(body, parsed)
    if code in WITHOUT_BODY and body is not None and body != "":
        raise DialectError(f'{tables[-1][1]}: an answer with {code} has no body: write body = ""')
    return Answer(code, headers, "" if body is None else body)


def _where(table: WhereTable) -> Where:
    headers = {name.lower(): value for name, value in table.header.items()}
    return Where(headers, table.query, table.body)


def _fixed(table: FixedTable, where: str) -> Operation:
    patterns = tuple(RequestPattern(*request.split()) for request in table.request)
    known: Names = {**REQUEST_NAMES, **dict.fromkeys(name for one in patterns for name in one.parameters)}
    answer = Answer(
        table.code or 200,
        _headers(table.headers, known, f"{where}.headers"),
        "" if table.body is None else _parsed(table.body, known, f"{where}.body"),
    )
    return Operation(
        action="fixed",
        requests=patterns,
        answers=dict.fromkeys(State, answer),
        where=_where(table.where),
        accepts=tuple(table.accepts),
    )


def _id_place(table: OperationTable) -> IdPlace:
    if table.job_id is None:
        return IdPlace()
    [(source, name)] = [
        (source, name) for source in ("query", "header", "body") if (name := getattr(table.job_id, source)) is not None
    ]
    return IdPlace(source, name.lower() if source == "header" else name, table.job_id.text)


def _idempotency(table: ApiTable) -> IdPlace:
    place = table.idempotency
    if isinstance(place, str) or (place.header is None) == (place.body is None):
        raise DialectError('idempotency: must be "none", or have one of header and body')
    return IdPlace("header", place.header) if place.header else IdPlace("body", str(place.body))


def _error(table: ApiTable) -> ErrorFormat | None:
    if table.error is None:
        return None
    types = {int(code): word for code, word in table.error.types.items() if code != "default"}
    body = _parsed(table.error.body, ERROR_NAMES, "error.body")
    headers = _headers(table.error.headers, ERROR_NAMES, "error.headers")
    when: dict[int, Answer] = {}
    for text, one in table.error.when.items():
        where = f"error.when.{text}"
        own = {} if one.body is None else _parsed(one.body, ERROR_NAMES, f"{where}.body")
        when[int(text)] = Answer(
            one.code or int(text),
            headers | _headers(one.headers, ERROR_NAMES, f"{where}.headers"),
            overlaid(body, own),
        )
    return ErrorFormat(Answer(headers=headers, body=body), when, types, table.error.types.get("default"))


def _headers(headers: Mapping[str, str], known: Names, where: str) -> dict[str, Node]:
    return {name: _parsed(value, known, f"{where}.{name}") for name, value in headers.items()}


def _parsed(template: Any, known: Names, where: str) -> Node:  # noqa: ANN401 - a value of TOML
    try:
        return parse(template, known)
    except TemplateError as error:
        raise DialectError(f"{where}: {error}") from None
