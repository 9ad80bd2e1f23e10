"""Dialects from TOML files: each file describes one API."""

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from translation_server.config.dialect_answers import Table, answer_of, headers_of, parsed, place_of
from translation_server.config.dialect_checks import (
    action_of,
    form_of,
    operations_of,
    parameter_names,
    parameters,
    phases,
)
from translation_server.config.dialect_format import take_file
from translation_server.config.dialect_shapes import FormatError, below
from translation_server.config.webhook_formats import webhook_format
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
    IN_PATH,
    UNPAGED,
    Action,
    Answer,
    Operation,
    Paging,
    RequestPattern,
    Where,
)
from translation_server.core.dialects.template import (
    Names,
    Node,
    Placeholder,
    names,
    overlaid,
    value_at,
)
from translation_server.core.dialects.webhooks import EVENT_NAMES
from translation_server.core.job import NATIVE, State
from translation_server.core.media.samples import SAMPLES

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

SAMPLE_TYPES = tuple(name.rpartition(".")[2] for name in SAMPLES)
"""The types of the server's own output files."""

WITHOUT_JOB_BODY = frozenset({"delete", "list", "batch_poll", "download"})
"""The actions whose answers do not show the job's body unless a file says so."""


def shipped() -> list[str]:
    """Returns the names of the APIs that are shipped."""
    return sorted(one.name.removesuffix(".toml") for one in CATALOGUE.iterdir() if one.name.endswith(".toml"))


def source(name: str) -> str:
    """Returns the text of the file of an API that is shipped."""
    return (CATALOGUE / f"{name}.toml").read_text(encoding="utf-8")


def read_dialects(
    listed: str, taken: Collection[str], file_types: Collection[str] = SAMPLE_TYPES
) -> tuple[Dialect, ...]:
    """Reads the dialects of APIs: one for each kind of job.

    Args:
        listed: the names of shipped APIs, ``all`` for all of them, and the paths of TOML files, separated by commas.
        taken: the first segments of the paths of other routes.
        file_types: the types and the names of the existing output files.

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
            raise DialectError(f"DIALECTS={one}: two APIs have the name {name}")
        files[name] = path
    dialects = tuple(dialect for path in files.values() for dialect in read_api(path, taken, file_types))
    apis = {dialect.api.name: dialect.api for dialect in dialects}
    for name in sorted(apis, key=shipped().__contains__):
        if problem := next(filter(None, (_overlap(apis[name], dialects, other) for other in apis.values())), None):
            raise DialectError(f"DIALECTS={files[name]}: {problem}")
    return dialects


def _overlap(api: Api, dialects: Iterable[Dialect], other: Api) -> str | None:
    """Returns what is wrong if requests of an API are at the mount of another one, which has its own callers."""
    if other is api or not f"{other.mount}/".startswith(f"{api.mount}/"):
        return None
    if other.mount == api.mount:
        remedy = "choose another one, or describe both in one file, as two kinds of job"
        return f"mount: {api.mount} is the mount of {other.name}, too: {remedy}"
    kinds = [one for one in dialects if one.api is api]
    operations = [(f"job.{kind.kind}.{one.action}", one) for kind in kinds for one in kind.operations]
    operations += [("fixed", one) for one in api.fixed]
    for place, operation in operations:
        for pattern in operation.requests:
            if _leads_below(mounted := api.mount + pattern.path, other.mount):
                problem = f"{pattern.method} {mounted} is below the mount of {other.name}"
                return f"{place}: {problem}: choose another path or another mount"
    return None


def _leads_below(path: str, mount: str) -> bool:
    """Returns whether a request with a path can be at a mount, or below it."""
    segments, of_mount = form_of(path).split("/"), mount.split("/")
    for mine, other in zip(segments, of_mount, strict=False):
        if " ** " in mine:
            return True
        if mine != other and " * " not in mine:
            return False
    return len(segments) >= len(of_mount)


def read_api(
    path: Traversable, taken: Collection[str], file_types: Collection[str] = SAMPLE_TYPES
) -> tuple[Dialect, ...]:
    """Reads the file of one API."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DialectError(f"DIALECTS={path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DialectError(f"DIALECTS={path}: cannot be read as TOML: {error}") from None
    try:
        dialects = dialects_of(path.name.rpartition(".")[0], table, taken)
        for dialect in dialects:
            _check_file_types(dialect, file_types)
    except DialectError as error:
        raise DialectError(f"DIALECTS={path}: {error}") from None
    return dialects


def _check_file_types(dialect: Dialect, known: Collection[str]) -> None:
    """Checks that the output files in answers exist. Only the server can check this; a client gets their URLs."""
    named = {f"{{file_url:{kind}}}": kind for kind in dialect.file_types}
    named |= {f"{one.action}.file": one.file for one in dialect.operations if one.file}
    for place, kind in named.items():
        if kind not in known:
            types = ", ".join(one for one in known if "." not in one)
            raise DialectError(
                f"job.{dialect.kind}: {place}: there is no file of the type {kind}; the types are {types}, "
                "and those of your files in OUTPUT_FILES"
            )


def dialects_of(name: str, table: Table, taken: Collection[str]) -> tuple[Dialect, ...]:
    """Returns the dialects of an API; ``table`` is the content of its file.

    Raises:
        DialectError: it cannot be served; one line with the place in the file.
    """
    try:
        return _dialects(name, table, BUILTIN.union(taken))
    except FormatError as error:
        raise DialectError(str(error)) from None


def _dialects(name: str, table: Table, reserved: Collection[str]) -> tuple[Dialect, ...]:
    file = take_file(name, table, reserved)
    api = Api(
        name=name,
        mount=file["mount"],
        auth=tuple(file["auth"]),
        idempotency=place_of(file["idempotency"]),
        hints=None if file["hints"] is None else headers_of(file["hints"], HINT_NAMES, "hints"),
        error=None if file["error"] is None else _error(file["error"]),
        fixed=tuple(_fixed(one, f"fixed.{fixed}") for fixed, one in file["fixed"].items()),
    )
    return tuple(_dialect(api, kind, job) for kind, job in file["job"].items())


def _dialect(api: Api, kind: str, job: Table) -> Dialect:
    place = f"job.{kind}"
    own = parameters(job)
    _check_parameters(
        own, JOB_NAMES if job["webhook"] is None else {**JOB_NAMES, **EVENT_NAMES}, f"{place}.submit.request"
    )
    known: Names = {**JOB_NAMES, **dict.fromkeys(own)}
    words = {**job["words"], "cancelled": job["words"]["cancelled"] or job["words"]["error"]}
    dialect = Dialect(
        name=api.name,
        api=api,
        kind=kind,
        words={state: tuple(words[state]) for state in State},
        operations=tuple(_operation(name, one, job, known, place) for name, one in operations_of(job).items()),
        send=parsed(job["send"], INPUT_NAMES, f"{place}.send"),
        refuses_unknown=job["unknown_fields"] == "refuse",
        required=tuple(map(tuple, job["required"])),
        defaults=job["defaults"],
        id=job["id"],
        output=parsed(job["output"], known, f"{place}.output"),
        webhook=webhook_format(job, known, place),
    )
    _check_bodies(dialect, place)
    return dialect


def _check_parameters(own: Iterable[str], fields: Collection[str], place: str) -> None:
    """Checks that no parameter of a path has the name of a field."""
    if taken := [name for name in own if name in fields]:
        raise FormatError(place, f"the parameter {taken[0]} needs another name: a field is called so")


def _readable(node: Node) -> set[str]:
    """Returns the names of the placeholders that clients read."""
    return names(node, in_queries=False)


def _check_bodies(dialect: Dialect, place: str) -> None:
    """Checks that the answers show what clients need: the job's id, its state, and the jobs of a list."""
    shown = {
        one.action: [
            _readable(answer.body) | _readable(answer.headers) for state in State for answer in one.answers_for(state)
        ]
        for one in dialect.operations
    }
    submit = next(one for one in dialect.operations if one.action == "submit")
    chosen = submit.job_id.source != "path" or any("job_id" in one.parameters for one in submit.requests)
    if not chosen and "job_id" not in _readable(dialect.send) and not all("job_id" in one for one in shown["submit"]):
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
        items = [_readable(answer.body) for state in State for answer in operation.each.answers_for(state)]
        if not all("job_id" in one for one in items) or not any("status" in one for one in items):
            raise FormatError(f"{place}.item", "must hold {job_id} and {status}")
    for state in State:
        if any("jobs" not in _readable(answer.body) for answer in operation.answers_for(state)):
            raise FormatError(f"{place}.body", "must hold {jobs}")
        for answer in dialect.poll.answers_for(state):
            shown: Any = answer.body if operation.item is None else value_at(answer.body, operation.item)
            if operation.item is not None and not isinstance(shown, Mapping):
                raise FormatError(
                    f"{place}.item", f"must be the path of an object in the body of the poll, {state} too"
                )
            if operation.each is None and "job_id" not in _readable(shown):
                raise FormatError(f"{place}.body", "{jobs} are bodies of polls, which must hold {job_id} then")
    _check_states(dialect, operation, place)


def _operation(name: str, table: Table, job: Table, known: Names, place: str) -> Operation:
    action: Action = action_of(name)
    tables = [(table, f"{place}.{name}")]
    if action not in WITHOUT_JOB_BODY and table["body"] is None:
        tables.insert(0, ({"code": None, "headers": {}, "body": job["body"], "when": job["when"]}, place))
    item = table.get("item")
    each = _each(table, known, f"{place}.{name}", phases(job)) if isinstance(item, Mapping) else None
    own = dict.fromkeys(name for _, path in table["request"] for name in parameter_names(path))
    if action in {"list", "batch_poll"}:
        _check_parameters(own, LIST_NAMES, f"{place}.{name}.request")
    allowed = {**LIST_NAMES, **own} if action in {"list", "batch_poll"} else known
    return Operation(
        action=action,
        requests=tuple(RequestPattern(*request) for request in table["request"]),
        answers={state: answer_of(tables, allowed, state) for state in State},
        phases={
            word: answer_of(tables, allowed, State.PENDING, word)
            for word in phases(job)
            if any(word in one["when"] for one, _ in tables)
        },
        where=_where(table["where"]),
        job_id=place_of(table["job_id"]) or IN_PATH,
        accepts=tuple(table["accepts"]),
        paging=Paging(**table["page"]) if action == "list" else UNPAGED,
        ids=table.get("ids"),
        item=None if each else item,
        all_kinds=table.get("kinds") == "all",
        each=each,
        file=table.get("file"),
        missing=parsed(table.get("missing"), {"job_id": None}, f"{place}.{name}.missing"),
        split=table.get("split"),
        wait=table.get("wait"),
    )


def _each(table: Table, known: Names, place: str, words: Sequence[str]) -> Operation:
    """Returns an operation whose answers look like the items of a list."""
    own = {
        state: parsed(one["item"], known, f"{below(f'{place}.when', state)}.item")
        for state, one in table["when"].items()
        if one["item"] is not None
    }
    item = parsed(table["item"], known, f"{place}.item")

    def answer(*states: str) -> Answer:
        body = item
        for state in states:
            body = overlaid(body, own.get(state, {}))
        return Answer(body=body)

    answers = {state: answer(state) for state in State}
    phases: dict[object, Answer] = {word: answer(State.PENDING, word) for word in words if word in own}
    return Operation(action="view", requests=(), answers=answers, phases=phases)


def _where(table: Table) -> Where:
    headers = {name.lower(): value for name, value in table["header"].items()}
    return Where(headers, table["query"], table["body"])


def _fixed(table: Table, where: str) -> Operation:
    own = dict.fromkeys(name for _, path in table["request"] for name in parameter_names(path))
    _check_parameters(own, REQUEST_NAMES, f"{where}.request")
    known: Names = {**REQUEST_NAMES, **own}
    answer = answer_of([({**table, "when": {}}, where)], known)
    return Operation(
        action="fixed",
        requests=tuple(RequestPattern(*request) for request in table["request"]),
        answers=dict.fromkeys(State, answer),
        where=_where(table["where"]),
        accepts=tuple(table["accepts"]),
    )


def _error(table: Table) -> ErrorFormat:
    types = {int(code): word for code, word in table["types"].items() if code != "default"}
    body = parsed(table["body"], ERROR_NAMES, "error.body")
    headers = headers_of(table["headers"], ERROR_NAMES, "error.headers")
    when: dict[int, Answer] = {}
    for code, one in table["when"].items():
        where = f"error.when.{code}"
        own = {} if one["body"] is None else parsed(one["body"], ERROR_NAMES, f"{where}.body")
        own_headers = headers_of(one["headers"], ERROR_NAMES, f"{where}.headers")
        when[int(code)] = Answer(one["code"] or int(code), headers | own_headers, overlaid(body, own))
    return ErrorFormat(Answer(headers=headers, body=body), when, types, table["types"].get("default"))
