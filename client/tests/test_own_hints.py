"""Answers that say when to poll next, in the headers of an API of its own."""

import json

import pytest

from tests.custom_dialect import TASK, custom_dialect
from translation_client import Client
from translation_client.core.decode import read_job
from translation_client.core.effects import Reply
from translation_server import TranslationServer

MS = {"X-Poll-After-Ms": "{retry_after | ms}"}


@pytest.mark.parametrize(
    ("hints", "headers", "seconds"),
    [
        (MS, {"x-poll-after-ms": "2500"}, 2.5),
        (MS, {"x-poll-after-ms": "2500", "retry-after": "9"}, 2.5),
        (MS, {"x-poll-after-ms": "soon", "retry-after": "9"}, 9),
        (MS, {"retry-after": "9"}, 9),
        (MS, {}, None),
        ({"X-Poll": "after {retry_after} s"}, {"x-poll": "after 7 s"}, 7),
        ({"X-Poll": "after {retry_after} s"}, {"x-poll": "7"}, None),
        ({"X-Poll": "{retry_after}"}, {"x-poll": "7"}, 7),
        ({"X-Poll": "{retry_after}"}, {"x-poll": "-7"}, 0),
        ({"X-Poll": "{retry_after}"}, {"x-poll": "1e99"}, 86_400),
        ({"X-Poll": "soon"}, {"x-poll": "soon"}, None),
        ({}, {"retry-after": "9"}, 9),
    ],
)
def test_hint_is_read_from_the_headers_of_the_api(hints, headers, seconds):
    dialect = custom_dialect(api={"hints": hints})
    body = json.dumps({"task": {"id": "a", "state": "queued"}}).encode()
    assert read_job(dialect, Reply(200, headers, body, at=0.0), "a").status.hint == seconds


def test_times_in_milliseconds_are_read_as_seconds():
    task = TASK["body"]["task"] | {"took": "{elapsed_time | ms}"}
    body = json.dumps({"task": {"id": "a", "state": "queued", "took": 1500}}).encode()
    status = read_job(custom_dialect(body={"task": task}), Reply(200, {}, body, at=0.0), "a").status
    assert status.elapsed == 1.5


def test_client_follows_the_hint_of_openai():
    with (
        TranslationServer(60, 0, dialects="openai", username="admin", password="secret") as server,
        Client(f"{server.url}/openai/v1", dialect="openai#video", token="secret") as client,
    ):
        assert 0 < client.status(client.start(input={"prompt": "a cat"}).id).hint <= 60
