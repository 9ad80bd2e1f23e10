"""Answers that refuse: the exceptions have the API's own text and code."""

import json

import pytest

from tests.custom_dialect import custom_dialect
from translation_client import (
    AuthenticationError,
    Client,
    InvalidRequest,
    NotFound,
    ProtocolError,
    State,
    TransportError,
)
from translation_client.core.builtin_dialects import START
from translation_client.core.effects import Reply
from translation_client.core.refusals import refusal

OWN = custom_dialect(api={"error": {"body": {"fault": {"why": "{detail}", "of": "{error_type}", "at": "{field}"}}}})
FORM = custom_dialect(api={"error": {"body": {"detail": "{detail}"}}})
MANY = custom_dialect(
    api={
        "error": {
            "body": {"error": "{detail}", "code": "{error_type}"},
            "when": {
                "404": {"body": {"code": "gone"}},
                "422": {"body": {"error": "Invalid", "issues": [{"path": ["{field}"], "message": "{detail}"}]}},
            },
        }
    }
)
LOC = {"loc": ["body", "input", "prompt"], "msg": "field required", "type": "missing"}


@pytest.mark.parametrize(
    ("dialect", "status", "body", "kind", "message", "code"),
    [
        (OWN, 401, {"fault": {"why": "Bad key", "of": "auth"}}, AuthenticationError, "401 Bad key. Check the ", "auth"),
        (OWN, 403, {"fault": {"why": "No", "of": 7}}, AuthenticationError, "403 No. Log in as", "7"),
        (OWN, 404, {"fault": {"why": "Gone", "of": "lost"}}, NotFound, "404 Gone. Check the job's id", "lost"),
        (OWN, 422, {"fault": {"why": "Too long", "at": "text"}}, InvalidRequest, "422 Too long. Correct", None),
        (OWN, 402, {"fault": {"why": "Pay", "of": "credit"}}, InvalidRequest, "402 Pay. Correct", "credit"),
        (OWN, 402, None, ProtocolError, "expected a success, but the answer was 402", None),
        (OWN, 404, {"title": "Not Found", "detail": "A proxy's"}, NotFound, "404 Not Found. A proxy's. Check", None),
        (OWN, 400, {"fault": "text"}, InvalidRequest, "400 without a reason. Correct", None),
        (FORM, 422, {"detail": [LOC]}, InvalidRequest, "422 input.prompt: field required. Correct", None),
        (MANY, 400, {"error": "Invalid", "issues": [{"path": ["a"], "message": "b"}]}, InvalidRequest, "400 b.", None),
        (MANY, 429, {"error": "Slow down", "code": "limit"}, InvalidRequest, "429 Slow down. Correct", "limit"),
        (
            START,
            422,
            {"title": "No", "errors": [{"field": "a", "message": "b"}]},
            InvalidRequest,
            "422 No. a: b.",
            None,
        ),
    ],
)
def test_exception_has_the_text_and_the_code_of_the_api(dialect, status, body, kind, message, code):
    error = refusal(dialect, Reply(status, {}, json.dumps(body).encode(), 0.0))
    assert type(error) is kind
    assert str(error).startswith(message)
    assert getattr(error, "code", None) == code


LISTED = custom_dialect(
    api={"error": {"body": {"errors": [{"code": "{error_type}", "message": "{detail}", "at": ["{field}"]}]}}}
)


@pytest.mark.parametrize(
    ("errors", "message", "expected"),
    [
        ([], "400 without a reason. ", ()),
        ([{"code": 7, "message": "b"}], "400 b. Correct", ()),
        ([{"code": 7, "message": "b", "at": ["a"]}], "400 b. Correct", ({"field": "a", "message": "b"},)),
        (
            [{"code": 7, "message": "b", "at": ["a"]}, {"code": 8, "message": "d"}],
            "400 b. d. Correct",
            ({"field": "a", "message": "b"}, {"field": None, "message": "d"}),
        ),
        ([{"code": 7, "message": "b"}, 5], "400 b. Correct", ({"field": None, "message": "b"},)),
    ],
)
def test_errors_in_a_list_are_listed(errors, message, expected):
    error = refusal(LISTED, Reply(400, {}, json.dumps({"errors": errors}).encode(), 0.0))
    assert str(error).startswith(message)
    assert (error.errors, error.code) == (expected, "7" if errors else None)


def test_wrong_fields_are_listed():
    own = refusal(OWN, Reply(422, {}, b'{"fault": {"why": "Too long", "at": "text"}}', 0.0))
    assert own.errors == ({"field": "text", "message": "Too long"},)
    many = refusal(MANY, Reply(400, {}, b'{"error": "Invalid", "issues": [{"path": ["a"], "message": "b"}]}', 0.0))
    assert many.errors == ({"field": "a", "message": "b"},)
    form = refusal(FORM, Reply(422, {}, json.dumps({"detail": [LOC]}).encode(), 0.0))
    assert form.errors == (LOC | {"field": "input.prompt", "message": "field required"},)


def test_failed_start_of_an_api_without_idempotency_keys_says_so(server):
    server.says((503, None))
    dialect = custom_dialect(api={"idempotency": "none"})
    refused = pytest.raises(TransportError, match="A job may exist: this API has no idempotency keys")
    with Client(server.url, dialect=dialect, max_retries=0) as client, refused:
        client.start()


def test_wait_after_a_cancellation_does_not_sleep_until_an_old_hint(server, job):
    server.says((202, job(), {"Retry-After": "600"}), (200, job("cancelled")))
    with Client(server.url) as client:
        started = client.start()
        client.cancel(started.id)
        assert client.wait(started.id, timeout=60).state is State.CANCELLED
    assert server.asked[1:] == [f"DELETE /jobs/{started.id}", f"GET /status/{started.id}"]


def test_a_token_where_the_server_takes_a_password_hints_at_the_mount():
    dialect = custom_dialect("X-Api-Key: {token}", api={"mount": "/mine/v1"})
    error = refusal(dialect, Reply(401, {"www-authenticate": 'Basic realm="translation"'}, b'{"title": "No"}', 0.0))
    address = "the server's address: it is that of the API, which is below /mine/v1 on our server"
    assert str(error) == f"401 No. Check {address}."
