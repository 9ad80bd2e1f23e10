"""The golden transcripts of the shipped APIs, replayed against a live server."""

import json
import re

import pytest

from tests.golden import FOLDER, GoldenServer, transcripts
from tools.record_transcripts import record
from translation_server.config.dialect_files import shipped
from translation_server.core.job import State

TRANSCRIPTS = transcripts()


def exchanges(api, kind=None):
    """Returns the exchanges of an API; with a kind, those of its jobs and those that concern no job."""
    stories = TRANSCRIPTS[api]["stories"]
    return [one for story in stories if story.get("kind", kind) == kind or not kind for one in story["exchanges"]]


@pytest.mark.parametrize("api", TRANSCRIPTS)
def test_server_answers_as_the_transcript_says(api):
    with GoldenServer(api).running() as server:
        for number, story in enumerate(TRANSCRIPTS[api]["stories"], 1):
            server.begin(story, f"{api} {number}")
            for exchange in story["exchanges"]:
                reply = server.play(exchange)
                place = story.get("kind"), story["story"], exchange["request"]
                assert json.dumps(reply) == json.dumps(exchange["reply"]), place  # with all types, and in their order


def test_recorded_transcripts_are_fresh():
    """One of them is enough: all replies are compared above."""
    assert (FOLDER / "heygen.json").read_text(encoding="utf-8") == record("heygen"), "run `make generate`"


def test_every_shipped_api_and_kind_has_a_transcript():
    assert sorted(TRANSCRIPTS) == shipped()
    described = {
        (api, story.get("kind"))
        for api, transcript in TRANSCRIPTS.items()
        for story in transcript["stories"]
        if story["story"] != "fixed"
    }
    assert described == {(api, dialect.kind) for api in shipped() for dialect in GoldenServer(api).dialects}


@pytest.mark.parametrize("api", TRANSCRIPTS)
def test_transcript_has_every_request_of_the_api(api):
    for dialect in (server := GoldenServer(api)).dialects:
        asked = [
            (one["operation"], one["request"]["method"], one["request"]["path"]) for one in exchanges(api, dialect.kind)
        ]
        for operation in [*dialect.operations, *server.dialects[0].api.fixed]:
            for pattern in operation.requests:
                found = [path for name, method, path in asked if (name, method) == (operation.action, pattern.method)]
                assert any(fits(pattern, path) for path in found), (dialect.kind, operation.action, pattern)


def fits(pattern, path):
    return re.fullmatch(pattern.expression, path)


@pytest.mark.parametrize("api", TRANSCRIPTS)
def test_transcript_shows_every_word_and_refusals(api):
    for dialect in GoldenServer(api).dialects:
        stories = {
            one["story"]: one["exchanges"] for one in TRANSCRIPTS[api]["stories"] if one.get("kind") == dialect.kind
        }
        polls = [one["means"] for story in stories.values() for one in story if one["operation"] == "poll"]
        assert {"completed", "error", "pending"} <= {means.get("state") for means in polls}
        pending = [one["means"].get("state") for one in stories["completed"] if one["operation"] == "poll"].count(
            "pending"
        )
        assert pending == len(dialect.words[State.PENDING]) * len(dialect.poll.requests)
        codes = [one["reply"]["code"] for one in stories["refused"]]
        assert {401, 403} & {*codes}
        assert len(codes) == 3 + bool(dialect.required)
