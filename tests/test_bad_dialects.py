"""Every key of a dialect file with every kind of wrong value: server and client refuse it with the same words."""

import copy
import datetime as dt
import json
from collections.abc import Mapping

import pytest

from translation_client.dialect_files import read_api
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import dialects_of
from translation_server.config.dialect_format import FILE, JOB, MAX_DEPTH, OPERATIONS, PAGE, SIGNATURE
from translation_server.config.dialect_format import WEBHOOK as WEBHOOK_SHAPE
from translation_server.core.dialects.dialect import DialectError

ANSWER = {"code": 202, "headers": {"X-Job": "{job_id}"}, "when": {"error": {"code": 203, "body": {"x": "{omit}"}}}}
REQUEST = {"where": {"header": {"X-A": "a"}, "query": {"b": "b"}, "body": {"c.d": 1}}, "accepts": ["json", "form"]}
ABOUT = {**ANSWER, **REQUEST, "job_id": {"body": "id", "text": "jobs/{job_id}"}}
WEBHOOK = {
    "url": {"header": "X-Callback"},
    "filter": {"query": "events", "default": ["done"]},
    "events": {"started": "begun", "progress": "going", "completed": ["done", "end"], "error": "end"},
    "caller_header": {"name": "hook.header", "value": "hook.value"},
    "headers": {"X-Delivery": "{delivery_id}"},
    "body": {"id": "{job_id}", "type": "{event}", "at": "{event_at | unix}"},
    "when": {"error": {"body": {"why": "{error_message}"}}, "queued": {"body": {"is": "{status}"}}},
    "signature": {
        "secret": "a_secret",
        "header": "X-Signature",
        "text": "{timestamp}.{body}",
        "value": "t={timestamp},v1={signature}",
        "encoding": "base64",
    },
}
ITEM = {"name": "{job_id}", "is": "{status}"}
GOOD = {
    "mount": "/luma/v1",
    "auth": ["Authorization: Bearer {token}", "basic"],
    "idempotency": {"header": "X-Key"},
    "hints": {"X-Wait": "{retry_after | ms}"},
    "error": {
        "body": {"why": "{detail}"},
        "headers": {"X-Id": "{error_id}"},
        "types": {"404": "none", "default": "other"},
        "when": {"422": {"code": 400, "body": {"field": "{field}"}, "headers": {"X-Why": "{title}"}}},
    },
    "webhook": {**WEBHOOK, "signature": {"secret": "whsec_c2VjcmV0", "prefix": "svix-"}},
    "fixed": {"models": {**REQUEST, "request": "GET /models/{name}", "code": 201, "headers": {}, "body": ["{name}"]}},
    "job": {
        "task": {
            "id": "task_{hex:32}",
            "words": {"pending": ["queued", "busy"], "completed": True, "error": 3, "cancelled": "gone"},
            "send": {"to": "{target_language}"},
            "unknown_fields": "refuse",
            "required": ["to", ["a", "b"]],
            "defaults": {"input": {"a": 1}, "owner": "me", "error_code": 5},
            "output": {"url": "{file_url:mp4}"},
            "body": {"data": {"id": "{job_id}", "state": "{status}", "of": "{owner}", "done": "{progress | percent}"}},
            "when": {"queued": {"headers": {}, "body": {"data": {"place": "{queue_position}"}}}},
            "submit": {
                **ANSWER,
                **REQUEST,
                "request": ["POST /{owner}/tasks"],
                "job_id": {"query": "id"},
                "wait": 5,
                "split": "to",
            },
            "poll": {**ANSWER, "request": "GET /{owner}/tasks/{job_id}"},
            "result": {**ABOUT, "request": "POST /result", "body": "{output}"},
            "cancel": {**ABOUT, "request": "POST /cancel", "body": ""},
            "delete": {**ANSWER, "request": "DELETE /tasks/{job_id}", "body": {"gone": True}},
            "list": {
                "request": "GET /tasks",
                "kinds": "all",
                "item": "data",
                "page": {
                    "size": "limit",
                    "cursor": "after",
                    "order": "order",
                    "status": "is",
                    "default": 10,
                    "filter": {"owner": "owner", "for": "input.for"},
                    "ignore": "x",
                },
                "body": {"data": "{jobs}", "next": "{next}"},
            },
            "batch_poll": {
                "request": "GET /batch",
                "ids": "id",
                "separator": ",",
                "item": ITEM,
                "missing": {"id": "{job_id}", "state": "unknown"},
                "body": ["{jobs}"],
            },
            "download": {**ABOUT, "request": "GET /file", "file": "mp4"},
            "webhook": WEBHOOK,
            "view": {"words": {**ABOUT, "request": "GET /words/{job_id}", "body": {"words": "{output}"}}},
        }
    },
}
WRONG = (
    *(
        5,
        1.5,
        True,
        dt.date(2026, 1, 1),
        "",
        "?",
        "{nope}",
        "{job_id | nope}",
        "{job_id | unix}",
        "{job_id",
        [],
        {},
        [5],
        [[]],
    ),
    *({"unknown": 1}, {"a b": "x"}, {"{x}": "x"}, {"body": "{nope}"}, ["{nope}"]),
)


def refusal_of_server(table):
    try:
        dialects_of("luma", table, OWN_NAMES)
    except DialectError as error:
        return str(error)
    return None


def refusal_of_client(table):
    try:
        read_api("luma", table)
    except ValueError as error:
        return str(error)
    return None


def places(value, path=()):
    yield path
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from places(each, (*path, key))


def replaced(path, value):
    table = copy.deepcopy(GOOD)
    inner = table
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return table


@pytest.mark.parametrize("place", ["body", "output", "defaults", "send"])
@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]])
def test_no_file_is_nested_too_deeply(place, wrap):
    def nested(levels):
        value = "x"
        for _ in range(levels):
            value = wrap(value)
        table = copy.deepcopy(GOOD)
        table["job"]["task"][place]["input"] = {"of": value}
        return table

    around = 5  # levels: the file, the kinds of job, the kind, the place, the value
    assert refusal_of_server(nested(MAX_DEPTH - around)) is refusal_of_client(nested(MAX_DEPTH - around)) is None
    for levels in (MAX_DEPTH - around + 1, 300, 100_000):
        refused = f"is nested too deeply: at most {MAX_DEPTH} levels"
        assert refusal_of_server(nested(levels)) == refusal_of_client(nested(levels)) == refused


def test_the_good_file_has_every_key():
    task = GOOD["job"]["task"]
    assert (set(GOOD), set(task)) == (set(FILE.keys), set(JOB.keys))
    assert {key for name in OPERATIONS for key in task[name]} == {
        key for one in OPERATIONS.values() for key in one.keys
    }
    assert set(task["list"]["page"]) | {"offset", "number"} == set(PAGE.keys)
    assert set(WEBHOOK) == set(WEBHOOK_SHAPE.keys)
    assert {*WEBHOOK["signature"], *GOOD["webhook"]["signature"]} == set(SIGNATURE.keys)
    assert refusal_of_server(GOOD) is refusal_of_client(GOOD) is None


@pytest.mark.parametrize("path", list(places(GOOD))[1:], ids=".".join)
def test_server_and_client_refuse_the_same_values_with_the_same_words(path):
    refusals = {}
    for wrong in WRONG:
        refusal = refusal_of_server(replaced(path, wrong))
        assert refusal == refusal_of_client(replaced(path, wrong))
        refusals[json.dumps(wrong, default=str)] = refusal
    assert any(refusals.values())
    assert not any("\n" in refusal for refusal in refusals.values() if refusal)


@pytest.mark.parametrize("path", [path for path in places(GOOD) if path], ids=".".join)
def test_server_and_client_need_the_same_keys(path):
    table = copy.deepcopy(GOOD)
    inner = table
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    assert refusal_of_server(table) == refusal_of_client(table)
