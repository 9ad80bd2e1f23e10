"""The format of dialect files: the keys of a file, and the values that each may have.

The client's `dialect_format.py` is a copy of the server's, by `make generate`: both take the same files, and refuse all
others with the same words.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from translation_server.config.dialect_checks import (
    PAGINGS,
    STATES,
    check_kind,
    check_requests,
    form_of,
    parameter_names,
    phases,
)
from translation_server.config.dialect_shapes import (
    REQUIRED,
    FormatError,
    Shape,
    matching,
    must,
    number,
    several,
    table,
    tables,
    text,
    value_of,
    word_of,
)
from translation_server.config.dialect_texts import (
    DOTTED,
    DOTTED_PATH,
    HEADER_VALUE,
    PLAIN,
    TEXT,
    take_default,
    template,
    without_twins,
)
from translation_server.config.dialect_webhooks import EVENTS, check_events, merged_webhook

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NATIVE_FIELDS = ("source_language", "target_language", "video_length", "simulate")
SPECIAL = ("omit", "null")  # names that every template may use

NAME = re.compile(r"[a-z][a-z0-9-]*")
KIND = re.compile(r"[a-z][a-z0-9_-]*")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
MOUNT = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9_.~-]+)+")
PATH = re.compile(r"/|(/([A-Za-z0-9_.~!$&'()*+,;=:@-]|\{[a-z_]\w*(:path|=[A-Za-z0-9_.~*/-]+)?\})+)+/?")
FORM = re.compile(r"[A-Za-z][A-Za-z0-9-]*: ([A-Za-z][\w-]* )?\{token\}|\?[\w.-]+=\{token\}")
ID_CHARS = "-._~!$&'()*+,;=:@/"  # besides letters and digits: what a path may hold as it is (RFC 3986, section 3.3)
ID_CONSTANT = re.compile(rf"[A-Za-z0-9{re.escape(ID_CHARS)}]*")
ID_PART = re.compile(r"\{(?:uuid|(hex|HEX|digits|base62):(\d{1,3}))\}")
CHOICES = {"hex": 16, "HEX": 16, "digits": 10, "base62": 62}  # how many characters a random part of an id is drawn from
MIN_CHOICES = 10**12  # so that no two jobs get the same id
MAX_ID = 1000
MAX_DEPTH = 100  # levels of tables and lists


def take_file(name: str, table: Mapping[str, Any], reserved: Collection[str]) -> Mapping[str, Any]:
    """Returns the tables of a file with all their keys; a value that may be one or several is a list.

    Args:
        name: The name of the file, without its ending.
        table: The content of the file.
        reserved: The names, and first segments of paths, that the server has itself.

    Raises:
        FormatError: There is a mistake in it.
    """
    if not NAME.fullmatch(name):
        needed = "lower-case letters, digits and hyphens, and begin with a letter, as dream-machine.toml does"
        raise FormatError("", f"the name of the file is the name of the API: it must have {needed}")
    if name in reserved:
        raise FormatError("", f"the name of the file is the name of the API: {name} is one of the server's own")
    _check_depth(table)
    taken: Mapping[str, Any] = FILE.take(table, "")
    mount = taken["mount"] or f"/{name}"
    if mount.split("/")[1] in reserved:
        raise FormatError("mount", f"{mount} is a path of every server: choose another one")
    jobs = {}
    for kind, job in taken["job"].items():
        check_kind(job, f"job.{kind}")
        states = [*STATES, *phases(job)]
        webhook = merged_webhook(taken["webhook"], job["webhook"], f"job.{kind}.webhook", states)
        jobs[kind] = {**job, "webhook": webhook}
    check_requests(taken)
    check_events({**taken, "job": jobs})
    return {**taken, "mount": mount, "job": jobs}


def _check_depth(table: Mapping[str, Any]) -> None:
    """Checks that the values in a file are not nested too deeply to be rendered."""
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, Mapping) else each for each in level]
        level = [value for values in inner for value in values if isinstance(value, Mapping | list)]
    if level:
        raise FormatError("", f"is nested too deeply: at most {MAX_DEPTH} levels")


def _take_request(value: object, place: str) -> tuple[str, str]:
    method, _, path = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if method not in METHODS or not PATH.fullmatch(path):
        raise must(place, REQUEST.needed, value)
    if len(parameter_names(path)) > len(set(parameter_names(path))):
        raise FormatError(place, f"{value!r} has a parameter twice")
    if special := [name for name in parameter_names(path) if name in SPECIAL]:
        raise FormatError(place, f"the parameter {special[0]} needs another name: templates use this one")
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise FormatError(place, f"{value!r} may not have the segments . and .., which clients resolve")
    if len(re.findall(r":path\}|\*\*", path)) > 1:
        raise FormatError(place, f"{value!r} may have one parameter of several segments")
    if any(len(re.findall(r"\*\*?", segment)) > 1 for segment in form_of(path).split("/")):
        raise FormatError(place, f"{value!r} may have one parameter in each segment")
    return method, path


def _take_id(value: object, place: str) -> str:
    if not isinstance(value, str) or not ID_CONSTANT.fullmatch(ID_PART.sub("", value)):
        raise must(place, ID.needed, value)
    parts = ID_PART.findall(value)
    length = len(ID_PART.sub("", value)) + sum(int(count) if kind else 36 for kind, count in parts)
    choices = (CHOICES[kind] ** int(count) if kind else 2**122 for kind, count in parts)
    if length > MAX_ID or math.prod(choices) < MIN_CHOICES:  # the product of thousands of parts would take minutes
        raise FormatError(place, f"needs a random part of at least 12 digits, and {MAX_ID} characters at most")
    if not {"", ".", ".."}.isdisjoint(value.split("/")):
        raise FormatError(place, f"{value!r} may not have empty segments, nor . and .., which clients resolve")
    return value


def _take_key(value: object, place: str) -> object:
    if value == "none":
        return None
    if not isinstance(value, Mapping):
        raise must(place, KEY.needed, value)
    return KEY_PLACE.take(value, place)


NAMED = "a name without {…}"
IN_LOWER_CASE = "lower-case letters, digits, - and _, and begin with a letter"
ANY = template("a template")
FIELD_PATH = text("the dotted path of a field", re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"))
QUERY_NAME = text("the name of a query parameter", PLAIN)
OBJECT = template("a table", lambda value: isinstance(value, Mapping))._replace(schema={"type": "object"})
CODE = number("a status code from 200 to 599", 200, 599)
STATUS_CODE = "a status code from 400 to 599"
ERROR_CODE = number(STATUS_CODE, 400, 599)
WORD = value_of(
    "a text without {…}, a whole number, true or false",
    lambda value: PLAIN.fullmatch(value) if isinstance(value, str) else type(value) in {bool, int},
    schema={"type": ["string", "integer", "boolean"]},
)
HEADERS = without_twins(tables(HEADER_VALUE, HEADER_NAME, "headers by their names", {}, key="the name of a header"))
REQUEST = Shape(
    f'{", ".join(METHODS[:-1])} or {METHODS[-1]}, and a path such as "/tasks", with {{name}} for a parameter',
    _take_request,
    schema={"type": "string", "pattern": f"^({'|'.join(METHODS)}) /"},
)
ID = Shape(
    "a text with random parts, of {uuid}, {hex:32}, {digits:19} and {base62:24}, "
    f"between them letters, digits and any of {ID_CHARS}",
    _take_id,
    "{uuid}",
    schema={"type": "string"},
)
AUTH = value_of(
    '"basic", "sigv4", or a form such as "Authorization: Bearer {token}", "X-Api-Key: {token}" or "?key={token}"',
    lambda value: isinstance(value, str) and (value in {"basic", "sigv4"} or FORM.fullmatch(value)),
    schema={"anyOf": [{"enum": ("basic", "sigv4")}, matching(FORM)]},
)
HEADER = text("the name of a header", HEADER_NAME)
ID_TEXT = re.compile(r"(?:[^{}]|\{(?!job_id\})\w+\})*\{job_id\}(?:[^{}]|\{(?!job_id\})\w+\})*")
ID_PLACE = table(
    {
        "query": TEXT,
        "header": HEADER,
        "body": DOTTED,
        "text": text("a text with {job_id} once", ID_TEXT, "{job_id}"),
    },
    one_of=("query", "header", "body"),
)
WHERE = table(
    {
        "header": without_twins(tables(TEXT, HEADER_NAME, "headers by their names", {}, key="the name of a header")),
        "query": tables(TEXT, PLAIN, "parameters by their names", {}, key=NAMED),
        "body": tables(WORD, DOTTED_PATH, "fields by their paths", {}, key=DOTTED.needed),
    }
)
ANSWER_KEYS = {"code": CODE, "headers": HEADERS, "body": ANY}
WHEN = tables(table(ANSWER_KEYS), PLAIN, "states", {}, key=NAMED)
REQUEST_KEYS = {
    **ANSWER_KEYS,
    "request": several(REQUEST),
    "where": WHERE._replace(default=WHERE.take({}, "")),
    "accepts": several(word_of("json", "untyped", "form", "multipart", "any"), ["json"]),
}
OPERATION_KEYS = {**REQUEST_KEYS, "when": WHEN, "job_id": ID_PLACE}
FILTERED_BY = text(
    'a value of the submission, such as "input.purpose", or a parameter of its path',
    re.compile(r"(input|query)(\.[^.{}]+)+|[a-z_]\w*"),
)
PAGE = table(
    {
        "size": QUERY_NAME,
        **dict.fromkeys(PAGINGS, QUERY_NAME),
        "order": QUERY_NAME,
        "status": QUERY_NAME,
        "default": number("a whole number from 1 to 100", 1, 100, 20),
        "filter": tables(FILTERED_BY, PLAIN, "values of the submission by parameters", {}, key=NAMED),
        "ignore": several(QUERY_NAME, []),
    },
    at_most=PAGINGS,
)
OPERATION = table(OPERATION_KEYS)
ITEM = template(
    "the path of an object in the body of the poll, or a template",
    lambda value: isinstance(value, Mapping) or (isinstance(value, str) and DOTTED_PATH.fullmatch(value)),
)
MISSING = template(
    'a table with "{job_id}" and a text without {…}, which no job has there',
    lambda value: (
        isinstance(value, Mapping)
        and "{job_id}" in value.values()
        and any(isinstance(one, str) and PLAIN.fullmatch(one) for one in value.values())
    ),
)
LIST_KEYS = {
    **OPERATION_KEYS,
    "item": ITEM,
    "when": tables(table({**ANSWER_KEYS, "item": OBJECT}), PLAIN, "states", {}, key=NAMED),
}
FILE_TYPE = text('the type of a file, such as "mp4", or its name', re.compile(r"[\w.-]+"), REQUIRED)
OPERATIONS = {
    "submit": table(
        {**OPERATION_KEYS, "wait": number("a whole number of seconds from 1 to 60", 1, 60), "split": FIELD_PATH},
        REQUIRED,
    ),
    "poll": OPERATION._replace(default=REQUIRED),
    "result": OPERATION,
    "cancel": OPERATION,
    "delete": OPERATION,
    "list": table(
        {**LIST_KEYS, "page": PAGE._replace(default=PAGE.take({}, "")), "kinds": word_of("own", "all", default="own")}
    ),
    "batch_poll": table(
        {**LIST_KEYS, "ids": QUERY_NAME._replace(default=REQUIRED), "separator": word_of(","), "missing": MISSING}
    ),
    "download": table({**OPERATION_KEYS, "file": FILE_TYPE}),
}
SECRET = text("a text of printable ASCII", re.compile(r"[!-~]{1,200}"), REQUIRED)
SIGNATURE = table(
    {
        "secret": SECRET,
        "prefix": text("how the names of its headers begin", HEADER_NAME),
        "header": HEADER,
        "text": HEADER_VALUE,
        "value": HEADER_VALUE,
        "encoding": word_of("hex", "base64"),
    }
)
PLACE_KEYS = {"query": TEXT, "header": HEADER, "body": DOTTED}
WEBHOOK = table(
    {
        "url": table(PLACE_KEYS, one_of=tuple(PLACE_KEYS)),
        "filter": table({**PLACE_KEYS, "default": several(TEXT, None)}, one_of=tuple(PLACE_KEYS)),
        "events": tables(
            several(TEXT),
            re.compile("|".join(EVENTS)),
            "the API's words by events",
            None,
            key=f"one of {', '.join(EVENTS)}",
        ),
        "caller_header": table({"name": DOTTED._replace(default=REQUIRED), "value": DOTTED._replace(default=REQUIRED)}),
        "headers": HEADERS,
        "body": ANY,
        "when": tables(table({"body": ANY}), PLAIN, "states", {}, key=NAMED),
        "signature": SIGNATURE,
    }
)
WORDS = several(WORD)
JOB = table(
    {
        "id": ID,
        "words": table(
            {**dict.fromkeys(STATES[:3], WORDS), "cancelled": WORDS._replace(default=None)},
            {state: [state] for state in STATES},
        ),
        "send": OBJECT._replace(default={name: f"{{{name}}}" for name in NATIVE_FIELDS}),
        "unknown_fields": word_of("accept", "refuse", default="accept"),
        "required": several(several(DOTTED), []),
        "defaults": tables(Shape("any value", take_default), PLAIN, "values", {}, key=NAMED),
        "output": ANY,
        "body": ANY,
        "when": WHEN,
        **OPERATIONS,
        "webhook": WEBHOOK,
        "view": tables(OPERATION, KIND, "requests about a job by names in lower case", {}, key=IN_LOWER_CASE),
    }
)
KEY_PLACE = table({"header": HEADER, "body": DOTTED}, one_of=("header", "body"))
KEY = Shape(
    '"none", { header = "Idempotency-Key" } or { body = "key" }',
    _take_key,
    {"header": "Idempotency-Key", "body": None},
    schema={"anyOf": [{"const": "none"}, KEY_PLACE.schema]},
)
CODES = re.compile(r"[45]\d\d")
FILE = table(
    {
        "mount": text('a path such as "/luma/v1", without a slash at its end', MOUNT),
        "auth": several(AUTH, ["basic"]),
        "idempotency": KEY,
        "hints": HEADERS._replace(default=None),
        "error": table(
            {
                "body": ANY._replace(default=REQUIRED),
                "headers": HEADERS,
                "types": tables(
                    TEXT,
                    re.compile(r"[45]\d\d|default"),
                    'words by status codes, or "default"',
                    {},
                    key=f'{STATUS_CODE}, or "default"',
                ),
                "when": tables(
                    table({**ANSWER_KEYS, "code": ERROR_CODE}), CODES, "answers by status codes", {}, key=STATUS_CODE
                ),
            }
        ),
        "webhook": WEBHOOK,
        "job": tables(JOB, KIND, "kinds of jobs by their names in lower case, such as [job.task]", key=IN_LOWER_CASE),
        "fixed": tables(table(REQUEST_KEYS), KIND, "requests by names in lower case", {}, key=IN_LOWER_CASE),
    }
)
