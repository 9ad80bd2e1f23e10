"""Errors whose answers have the status code of other errors: the API's own code says what is meant."""

import json

import pytest

from tests.custom_dialect import custom_dialect
from translation_client.core.effects import Reply
from translation_client.core.refusals import understood
from translation_client.dialect_files import find_dialect


def reply(code, body):
    return Reply(code, {}, body, 0.0)


@pytest.mark.parametrize(
    ("api", "code", "kind", "meant"),
    [
        ("aws-transcribe", 400, "NotFoundException", 404),
        ("aws-transcribe", 400, "LimitExceededException", 429),
        ("aws-transcribe", 400, "BadRequestException", 400),
        ("aws-transcribe", 200, "NotFoundException", 200),
        ("aws-mediaconvert", 400, "NotFoundException", 400),
    ],
)
def test_the_code_in_the_body_decides_which_status_code_is_meant(api, code, kind, meant):
    body = json.dumps({"__type": kind, "Message": "why"}).encode()
    assert understood(find_dialect(api), reply(code, body)) == reply(meant, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b"{}"])
def test_an_answer_without_such_a_code_keeps_its_status_code(body):
    assert understood(find_dialect("aws-transcribe"), reply(400, body)).code == 400


@pytest.mark.parametrize(("code", "same"), [("404", False), ("422", True), ("409", True), ("429", False)])
def test_errors_that_mean_the_same_keep_their_status_code(code, same):
    error = {"body": {"kind": "{error_type}"}, "when": {code: {"code": 400, "body": {"kind": "own"}}}}
    dialect = custom_dialect(api={"error": error})
    assert (understood(dialect, reply(400, b'{"kind": "own"}')).code == 400) is same
