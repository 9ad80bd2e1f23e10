"""Finds dialects by name, and reads them from TOML files in the format of the server's setting `DIALECTS`.

A file describes one API, with a dialect for each of its kinds of jobs; `docs/dialects.md` describes the format.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.dialects import (
    ANSWER_NAMES,
    ECHOED_FIELDS,
    FORM,
    IDEMPOTENCY_KEY,
    IN_PATH,
    LIST_NAMES,
    NAMED,
    PAGINGS,
    PARAMETER,
    REQUEST_FIELDS,
    Action,
    Answer,
    Dialect,
    IdPlace,
    Operation,
    indistinct,
    is_word,
)
from translation_client.core.status import State
from translation_client.core.templates import Node, overlaid, parse

DialectLike: TypeAlias = Dialect | str | PathLike[str]
"""A dialect, the name of a built-in or shipped one, or the path of a file; `openai#video` for one of several kinds."""

ACTIONS: tuple[Action, ...] = ("submit", "poll", "result", "cancel", "delete", "list", "batch_poll", "download")
WITHOUT_JOB_BODY = ("delete", "list", "batch_poll", "download")  # whose answers do not show the job unless told
WITH_ID = ("poll", "result", "cancel", "delete", "download")  # whose requests have the id of a job
FRAMING = ("connection", "content-length", "transfer-encoding")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MEDIA_KINDS = ("json", "form", "multipart", "any")
WITHOUT_BODY = (204, 205, 304)

API_KEYS = ("mount", "auth", "idempotency", "hints", "error", "job", "fixed")
ANSWER_KEYS = ("code", "headers", "body")
OPERATION_KEYS = (*ANSWER_KEYS, "when", "request", "where", "job_id", "accepts")
PAGE_KEYS = ("size", *PAGINGS, "order", "default", "ignore")
MORE_KEYS = {
    "submit": ("wait",),
    "list": ("page", "ids", "item"),
    "batch_poll": ("page", "ids", "item"),
    "download": ("file",),
}
KIND_KEYS = (
    *("id", "words", "send", "unknown_fields", "required", "defaults", "output", "body", "when"),
    *ACTIONS,
)
ERROR_KEYS = ("body", "headers", "types", "when")
ERROR_NAMES = ("detail", "title", "status_code", "error_type", "field", "error_id")

ERROR_CODE = re.compile(r"[45]\d\d")
NAME = re.compile(r"[a-z][a-z0-9-]*")
KIND = re.compile(r"[a-z][a-z0-9_-]*")
ONE_OF_SEVERAL = re.compile(rf"(.+)#({KIND.pattern})", re.DOTALL)
ID_PART = re.compile(r"\{(?:uuid|(hex|digits|base62):(\d{1,3}))\}")
CHOICES = {"hex": 16, "digits": 10, "base62": 62}  # how many characters each random part of an id is chosen from
MIN_CHOICES = 10**12
MAX_ID = 1000
MOUNT = re.compile(r"(/[A-Za-z0-9_.~-]+)+")
PATH = re.compile(r"/|(/([A-Za-z0-9_.~!$&'()*+,;=:@-]|\{[a-z_]\w*(:path|=[A-Za-z0-9_.~*/-]+)?\})+)+/?")

CATALOGUE = resources.files("translation_client.catalogue")

RESERVED = frozenset(
    {
        *(
            path.split("/")[1]
            for dialect in DIALECTS.values()
            for one in dialect.operations
            for _, path in one.requests
        ),
        *("docs", "events", "files", "livez", "native", "openapi.json", "readyz", "sandbox"),
        *DIALECTS,
    }
)
"""The names and the first segments of paths that this project's server has itself."""


class _FileError(ValueError):
    """What is wrong with a file, and where."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)


def shipped() -> list[str]:
    """Returns the names of the APIs that are shipped."""
    return sorted(one.name.removesuffix(".toml") for one in CATALOGUE.iterdir() if one.name.endswith(".toml"))


def find_dialect(dialect: DialectLike) -> Dialect:
    """Finds a dialect.

    Raises:
        ValueError: There is none, or its file is unusable; one line with the file, the place and what is wrong.
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
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"dialect {path}: cannot be read as TOML: {error}") from None
    name = file.name.rpartition(".")[0]
    try:
        return read_api(name, table)
    except ValueError as error:
        raise ValueError(f"dialect {path}: {error}") from None
    except RecursionError:
        raise ValueError(f"dialect {path}: is nested too deeply") from None


def read_api(name: str, table: Mapping[str, Any]) -> dict[str, Dialect]:
    """Returns the dialects of an API by the kinds of its jobs; ``table`` is what a file would hold.

    Raises:
        ValueError: It is unusable; the message says which part, and why.
    """
    return _Api(name, table).dialects()


class _Api:
    """Reads the tables of a file."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self._name, self._table = name, table

    def dialects(self) -> dict[str, Dialect]:
        """Returns the dialects by the kinds of their jobs."""
        if not NAME.fullmatch(self._name) or self._name in RESERVED:
            raise _FileError("", "must have a name of its own, in lower case: it is the name of the API")
        _check_keys(self._table, API_KEYS, "")
        mount = self._table.get("mount", f"/{self._name}")
        if not isinstance(mount, str) or not MOUNT.fullmatch(mount) or mount.split("/")[1] in RESERVED:
            raise _FileError("mount", f"must be a path that the server does not have itself, not {mount!r}")
        kinds = _table(self._table, "job", "")
        if not kinds:
            raise _FileError("job", "is required: a table for each kind of job, such as [job.task]")
        for name in _table(self._table, "fixed", ""):
            _check_keys(_table(self._table["fixed"], name, "fixed"), OPERATION_KEYS, f"fixed.{name}")
        auth, error = self._auth(), self._error()
        dialects = {kind: self._dialect(kind, auth, error) for kind in kinds}
        _check_clashes(mount, dialects.values())
        return dialects

    def _auth(self) -> str:
        forms = _one_or_more(self._table.get("auth", "basic"))
        for form in forms:
            if form not in NAMED and not (isinstance(form, str) and FORM.fullmatch(form)):
                forms = 'a form such as "Authorization: Bearer {token}", "X-Api-Key: {token}"'
                problem = f'must be "basic", "sigv4", or {forms}'
                raise _FileError("auth", f'{form!r} {problem} or "?key={{token}}"')
        return str(forms[0])

    def _error(self) -> tuple[Node, ...]:
        table = _table(self._table, "error", "")
        _check_keys(table, ERROR_KEYS, "error")
        if not table:
            return ()
        bodies = [_parsed(table.get("body"), ERROR_NAMES, "error.body")]
        for code, own in _table(table, "when", "error").items():
            where = f"error.when.{code}"
            if not ERROR_CODE.fullmatch(code):
                raise _FileError(where, "must be a status code from 400 to 599")
            _check_keys(_table(table["when"], code, "error.when"), ANSWER_KEYS, where)
            bodies.append(overlaid(bodies[0], _parsed(own.get("body", {}), ERROR_NAMES, f"{where}.body")))
        return tuple(bodies)

    def _dialect(self, kind: str, auth: str, error: tuple[Node, ...]) -> Dialect:
        place = f"job.{kind}"
        table = _table(self._table["job"], kind, "job")
        if not KIND.fullmatch(kind):
            raise _FileError(place, "must have a name in lower case")
        _check_keys(table, KIND_KEYS, place)
        words = _words(_table(table, "words", place), f"{place}.words")
        _check_keys(_table(table, "when", place), (*State, *_phases(table)), f"{place}.when")
        for action in ("submit", "poll"):
            if action not in table:
                raise _FileError(f"{place}.{action}", "is required")
        parameters = {
            name
            for request in _one_or_more(_table(table, "submit", place).get("request", ()))
            for name, _ in PARAMETER.findall(str(request))
        }
        if taken := sorted(parameters.intersection(ANSWER_NAMES) - {"job_id"}):
            problem = f"the parameter {taken[0]} needs another name: a field is called so"
            raise _FileError(f"{place}.submit.request", problem)
        known = (*ANSWER_NAMES, *sorted(parameters - {"job_id"}))
        _check_keys(
            _table(table, "defaults", place), ("input", "query", *sorted(parameters - {"job_id"})), f"{place}.defaults"
        )
        _check_id(table.get("id", "{uuid}"), f"{place}.id")
        _parsed(table.get("output"), known, f"{place}.output")
        own = {name: f"{{{name}}}" for name in ECHOED_FIELDS}
        dialect = Dialect(
            name=f"{self._name}#{kind}" if len(self._table["job"]) > 1 else self._name,
            words=words,
            operations=[_operation(action, table, known, place) for action in ACTIONS if action in table],
            send=_parsed(table.get("send", own), REQUEST_FIELDS, f"{place}.send"),
            auth=auth,
            idempotency=self._idempotency(),
            error=error,
        )
        for operation in dialect.operations:
            if operation.item and not _is_object(dialect.poll.answers[State.PENDING].body, operation.item):
                problem = "must be the path of an object in the body of the poll"
                raise _FileError(f"{place}.{operation.action}.item", problem)
        if shared := indistinct(dialect):
            one, other = shared
            problem = f"{one} and {other} are answered alike, so no client could tell them apart"
            raise _FileError(f"{place}.poll", f"{problem}: give them other words, fields or codes, here or in result")
        return dialect

    def _idempotency(self) -> IdPlace | None:
        given = self._table.get("idempotency")
        match given:
            case None:
                return IDEMPOTENCY_KEY
            case "none":
                return None
            case {"header": str(name), **more} if not more:
                return IdPlace("header", name)
            case {"body": str(name), **more} if not more:
                return IdPlace("body", name)
        raise _FileError("idempotency", 'must be "none", or have one of header and body')


def _operation(action: Action, kind: Mapping[str, Any], known: Sequence[str], place: str) -> Operation:
    where = f"{place}.{action}"
    table = _table(kind, action, place)
    _check_keys(table, (*OPERATION_KEYS, *MORE_KEYS.get(action, ())), where)
    requests = [_request(one, f"{where}.request") for one in _one_or_more(table.get("request", ()))]
    if not requests:
        raise _FileError(f"{where}.request", "is required")
    id_place = _id_place(table, where)
    in_all_paths = all("job_id" in dict(PARAMETER.findall(path)) for _, path in requests)
    if action not in {"submit", "list", "batch_poll"} and id_place is IN_PATH and not in_all_paths:
        raise _FileError(f"{where}.request", "must hold {job_id}, or job_id must say where the id is")
    if action == "batch_poll" and "ids" not in table:
        raise _FileError(where, "needs ids, the query parameter with the ids")
    accepts = _one_or_more(table.get("accepts", "json"))
    if unknown := [one for one in accepts if one not in MEDIA_KINDS]:
        raise _FileError(f"{where}.accepts", f"must be {', '.join(MEDIA_KINDS)}, not {unknown[0]!r}")
    _check_keys(_table(table, "when", where), (*State, *_phases(kind)), f"{where}.when")
    tables = [(table, where)]
    if action not in WITHOUT_JOB_BODY and "body" not in table:
        tables.insert(0, ({key: kind[key] for key in ("body", "when") if key in kind}, place))
    names = (*known, *LIST_NAMES) if action in {"list", "batch_poll"} else known
    others = _table(table, "where", where)
    page = _table(table, "page", where)
    _check_keys(page, PAGE_KEYS, f"{where}.page")
    if len(pagings := [one for one in PAGINGS if one in page]) > 1:
        raise _FileError(f"{where}.page", "must have one of cursor, offset and number")
    [paging] = pagings or ["cursor"]
    return Operation(
        action=action,
        requests=requests,
        answers={state: _answer(tables, names, state) for state in State},
        phases={
            word: _answer(tables, names, State.PENDING, word)
            for word in _phases(kind)
            if any(word in one.get("when", ()) for one, _ in tables)
        },
        headers=_table(others, "header", f"{where}.where"),
        query=_table(others, "query", f"{where}.where"),
        body=_table(others, "body", f"{where}.where"),
        accepts=accepts,
        job_id=id_place,
        cursor=page.get(paging),
        paging=paging,
        ids=table.get("ids"),
        item=tuple(table["item"].split(".")) if isinstance(table.get("item"), str) else (),
    )


def _phases(kind: Mapping[str, Any]) -> list[str]:
    """Returns the words for pending by which a file can tell what is different."""
    words = kind.get("words", {}).get(State.PENDING, ())
    return [word for word in _one_or_more(words) if isinstance(word, str) and word not in set(State)]


def _answer(tables: Sequence[tuple[Mapping[str, Any], str]], known: Sequence[str], *names: str) -> Answer:
    """Returns the answer in a state, or in one and with a word in it.

    Each table, and what it says of the state and of the word, is laid over the ones before it.
    """
    code, body = 200, None
    headers: dict[str, Node] = {}
    for table, place in tables:
        states = _table(table, "when", place)
        of_states = [(_table(states, name, f"{place}.when"), f"{place}.when.{name}") for name in names]
        for layer, where in ((table, place), *of_states):
            if layer is not table:
                _check_keys(layer, ANSWER_KEYS, where)
            code = layer.get("code", code)
            if type(code) is not int or not 200 <= code <= 599:  # noqa: PLR2004 - the range of all status codes
                raise _FileError(f"{where}.code", "must be a status code from 200 to 599")
            for name, value in _table(layer, "headers", where).items():
                if name.lower() in FRAMING:
                    raise _FileError(f"{where}.headers", f"the server sets {name}")
                headers[name] = _parsed(value, known, f"{where}.headers.{name}")
            if "body" in layer:
                parsed = _parsed(layer["body"], known, f"{where}.body")
                body = parsed if body is None else overlaid(body, parsed)
    if code in WITHOUT_BODY and body is not None and body != "":
        raise _FileError(tables[-1][1], f'an answer with {code} has no body: write body = ""')
    return Answer(code, headers, body)


def _request(request: object, place: str) -> tuple[str, str]:
    method, _, path = request.partition(" ") if isinstance(request, str) else ("", "", "")
    if method not in METHODS or not PATH.fullmatch(path):
        example = 'a method and a path such as "POST /tasks", with {name} for a parameter'
        raise _FileError(place, f"must be {example}; not {request!r}")
    names = [name for name, _ in PARAMETER.findall(path)]
    if len(names) > len(set(names)):
        raise _FileError(place, f"{request!r} has a parameter twice")
    if len(re.findall(r":path\}|\*\*", path)) > 1:
        raise _FileError(place, f"{request!r} may have one parameter of several segments")
    wildcards = re.sub(r"\{\w+(?::path|=([^{}]+))?\}", lambda found: found[1] or "*", path)
    if any(len(re.findall(r"\*\*?", segment)) > 1 for segment in wildcards.split("/")):
        raise _FileError(place, f"{request!r} may have one parameter in each segment")
    return method, path


def _id_place(table: Mapping[str, Any], place: str) -> IdPlace:
    where = _table(table, "job_id", place)
    if not where:
        return IN_PATH
    _check_keys(where, ("query", "header", "body", "text"), f"{place}.job_id")
    sources = [source for source in ("query", "header", "body") if source in where]
    if len(sources) != 1:
        raise _FileError(f"{place}.job_id", "must have one of query, header and body")
    text = where.get("text", "{job_id}")
    if not isinstance(text, str) or text.count("{job_id}") != 1:
        raise _FileError(f"{place}.job_id", "text must hold {job_id} once")
    return IdPlace(sources[0], where[sources[0]], text)


def _words(table: Mapping[str, Any], place: str) -> dict[State, tuple[Any, ...]]:
    _check_keys(table, tuple(State), place)
    if not table:
        return {state: (state.value,) for state in State}
    words = {}
    for state in State:
        listed = table.get(state, table.get(State.ERROR) if state is State.CANCELLED else None)
        words[state] = tuple(_one_or_more(() if listed is None else listed))
        if not words[state] or not all(is_word(word) and word != "" for word in words[state]):
            raise _FileError(f"{place}.{state}", "must be a word, or several")
    return words


def _check_id(template: object, place: str) -> None:
    if not isinstance(template, str) or re.search(r"[{}]", ID_PART.sub("", template)):
        parts = "{uuid}, {hex:32}, {digits:19} and {base62:24}"
        raise _FileError(place, f"{template!r}: the random parts of an id are {parts}")
    if len(template) > MAX_ID:
        raise _FileError(place, f"must have {MAX_ID} characters at most")
    choices = 1
    for kind, length in ID_PART.findall(template):
        choices *= CHOICES[kind] ** int(length) if kind else 2**122
    if choices < MIN_CHOICES:
        raise _FileError(place, f"{template!r}: needs a random part of at least 12 digits")


def _check_clashes(mount: str, dialects: Iterable[Dialect]) -> None:
    """Checks that no two operations have the same requests; kinds of jobs may share those that have a job's id."""
    seen: dict[tuple[str, str, str], tuple[Dialect, object]] = {}
    for dialect in dialects:
        for operation in dialect.operations:
            for method, path in operation.requests:
                others = repr(sorted({**operation.headers, **operation.query, **operation.body}.items()))
                key = method, PARAMETER.sub("{}", path), others
                shared = (operation.action, path, operation.job_id) if operation.action in WITH_ID else None
                other = seen.setdefault(key, mine := (dialect, shared))
                if other is not mine and (shared is None or other[1] != shared or other[0] is dialect):
                    raise _FileError("", f"{method} {mount}{path} is taken by another operation: choose another path")


def _is_object(node: Node, path: Sequence[str]) -> bool:
    """Returns whether a template has an object at a path."""
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return isinstance(node, Mapping)


def _check_keys(table: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    if unknown := [key for key in table if key not in known]:
        where = f"{place}.{unknown[0]}" if place else unknown[0]
        raise _FileError(where, f"there is no such field; the fields are {', '.join(known)}")


def _table(table: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    """Returns a table in a table; an empty one if there is none."""
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise _FileError(f"{place}.{key}" if place else key, "must be a table")
    return found


def _one_or_more(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _parsed(template: object, known: Sequence[str], place: str) -> Node:
    try:
        return parse(template, known)
    except ValueError as error:
        raise _FileError(place, str(error)) from None
