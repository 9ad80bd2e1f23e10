"""Webhooks of the shipped APIs: what a receiver gets, in the form of each API's documentation.

Those with an official client are in `tests/sdks`, too. That of replicate is only there.
"""

import hashlib
import hmac
import json
import time
from datetime import datetime
from typing import Any, NamedTuple

import httpx
import pytest
from standardwebhooks import Webhook

from tests.receivers import receiving

SECRET = "whsec_c2ltdWxhdGVkIHNlY3JldA=="
OUTPUT = {"simulate": {"delay": 0, "outcome": "completed", "output": {"made": "this"}}}
FAILS = {"simulate": {"delay": 0, "outcome": "error", "message": "It is too dark."}}
AGED = {"simulate": {"delay": 1000, "outcome": "completed"}}


class Api(NamedTuple):
    """A submission to an API, and the place of its webhook's URL; None if only the sandbox has one."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    url: str | None
    form: bool = False


ASSEMBLYAI = Api("/assemblyai/v2/transcript", {"Authorization": "secretpassword"}, {"audio_url": "a"}, "webhook_url")
RUNPOD = Api("/runpod/v2/any/run", {"Authorization": "Bearer secretpassword"}, {"input": {}}, "webhook")
FAL = Api("/fal/fal-ai/any", {"Authorization": "Key secretpassword"}, {"prompt": "A cat"}, "?fal_webhook")
HEYGEN = Api(
    "/heygen/v3/video-translations",
    {"X-Api-Key": "secretpassword"},
    {"video": {"type": "url", "url": "a"}, "output_languages": ["French"], "callback_id": "mine"},
    "callback_url",
)
LUMA = Api(
    "/luma/dream-machine/v1/generations",
    {"Authorization": "Bearer secretpassword"},
    {"prompt": "A cat"},
    "callback_url",
)
TWELVELABS = Api(
    "/twelvelabs/v1.3/tasks", {"x-api-key": "secretpassword"}, {"index_id": "i", "video_url": "a"}, None, True
)
OPENAI = {"Authorization": "Bearer secretpassword"}
VIDEO = Api("/openai/v1/videos", OPENAI, {"prompt": "A cat"}, None)
RESPONSE = Api("/openai/v1/responses", OPENAI, {"model": "gpt-5", "background": True}, None)
BATCH = Api(
    "/openai/v1/batches", OPENAI, {"input_file_id": "f", "endpoint": "/v1/responses", "completion_window": "24h"}, None
)


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def server(start):
    return start(dialects="all")


@pytest.fixture
def submit(server, receiver):
    """Submits a job whose webhooks go to the receiver; returns the answer."""

    def submit(api, simulate, **more):
        body, params = api.body | simulate | more, {}
        if api.url is None:
            change = server.patch("/sandbox", json={"webhook": {"url": receiver.url}})
            assert change.status_code == 200, change.text
        elif api.url.startswith("?"):
            params = {api.url[1:]: receiver.url}
        else:
            body |= {api.url: receiver.url}
        sent: dict[str, Any] = {"json": body}
        if api.form:
            fields = {name: (None, json.dumps(one) if isinstance(one, dict) else one) for name, one in body.items()}
            sent = {"files": fields}
        answer = httpx.post(server.base_url.join(api.path), params=params, headers=api.headers, timeout=60, **sent)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    return submit


def signed_with_hmac(key, text):
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_assemblyai_posts_the_id_and_the_status_with_the_header_of_the_caller(submit, receiver):
    own = {"webhook_auth_header_name": "X-My-Secret", "webhook_auth_header_value": "mine"}
    for simulate, status in ((OUTPUT, "completed"), (FAILS, "error")):
        created = submit(ASSEMBLYAI, simulate, **own)
        [received] = receiver.take()
        assert received.body == {"transcript_id": created["id"], "status": status}
        assert received.headers["x-my-secret"] == "mine"
        assert not [name for name in received.headers if "signature" in name]


def test_value_of_the_callers_header_is_never_shown(server, submit, receiver):
    own = {"webhook_auth_header_name": "X-My-Secret", "webhook_auth_header_value": "mine-alone"}
    created = submit(ASSEMBLYAI, OUTPUT, **own)
    assert receiver.take()[0].headers["x-my-secret"] == "mine-alone"
    for path in (f"/sandbox/jobs/{created['id']}", "/sandbox/webhooks", "/sandbox/requests"):
        answer = server.get(path)
        assert (answer.status_code, "mine-alone" in answer.text) == (200, False), path
    [delivery] = server.get("/sandbox/webhooks").json()["deliveries"]
    assert delivery["attempts"][0]["request"]["headers"]["x-my-secret"] == "(not shown)"
    assert server.get(f"/sandbox/jobs/{created['id']}").json()["input"]["webhook_auth_header_name"] == "X-My-Secret"


@pytest.mark.parametrize(("simulate", "word"), [(OUTPUT, "COMPLETED"), (FAILS, "FAILED")])
def test_runpod_posts_what_its_status_shows(server, submit, receiver, simulate, word):
    created = submit(RUNPOD, simulate)
    [received] = receiver.take()
    shown = httpx.get(server.base_url.join(f"/runpod/v2/any/status/{created['id']}"), headers=RUNPOD.headers).json()
    assert received.body == shown
    assert received.body["status"] == word


def test_fal_posts_the_payload(submit, receiver):
    created = submit(FAL, OUTPUT)
    ids = {"request_id": created["request_id"], "gateway_request_id": created["request_id"]}
    assert receiver.take()[0].body == ids | {"status": "OK", "payload": {"made": "this"}, "error": None}
    submit(FAL, FAILS)
    failed = receiver.take()[0].body
    assert (failed["status"], failed["error"]) == ("ERROR", "Invalid status code: 422")
    assert failed["payload"]["detail"][0]["msg"] == "It is too dark."


def test_heygen_posts_a_signed_event_for_each_language(submit, receiver):
    created = submit(HEYGEN, OUTPUT, output_languages=["French", "German"])["data"]["video_translation_ids"]
    received = receiver.take(2)
    data = {one.body["event_data"]["output_language"]: one.body["event_data"] for one in received}
    assert [data[language]["video_translate_id"] for language in ("French", "German")] == created
    assert data["French"]["url"] == {"made": "this"}
    assert data["French"]["callback_id"] == "mine"
    for one in received:
        assert one.body["event_type"] == "video_translate.success"
        assert one.body["event_id"] == one.headers["heygen-event-id"]
        assert abs(int(one.headers["heygen-timestamp"]) - time.time()) < 60
        assert one.headers["heygen-signature"] == signed_with_hmac("simulated-secret", one.text)
    submit(HEYGEN, FAILS)
    failed = receiver.take()[0].body
    assert failed["event_type"] == "video_translate.fail"
    assert failed["event_data"]["message"] == "It is too dark."
    assert "url" not in failed["event_data"]


def test_luma_posts_every_update(server, submit, receiver):
    submit(LUMA, AGED)
    [begun] = receiver.take()
    server.set_clock(advance=1000)
    [ended] = receiver.take()
    assert [one.body["state"] for one in (begun, ended)] == ["dreaming", "completed"]
    assert begun.body["id"] == ended.body["id"]
    assert (begun.body["assets"], list(ended.body["assets"])) == (None, ["video"])
    submit(LUMA, {"simulate": FAILS["simulate"] | {"delay": 1000}})
    server.set_clock(advance=1000)
    assert [one.body["failure_reason"] for one in receiver.take(2)] == [None, "It is too dark."]


@pytest.mark.parametrize(("simulate", "end"), [(OUTPUT, "completed"), (FAILS, "failed")])
def test_luma_posts_each_state_of_a_job_that_ends_at_once(submit, receiver, simulate, end):
    submit(LUMA, simulate)
    assert [one.body["state"] for one in receiver.take(2)] == ["dreaming", end]
    assert receiver.is_quiet()


@pytest.mark.parametrize(("simulate", "word"), [(OUTPUT, "ready"), (FAILS, "failed")])
def test_twelvelabs_posts_a_signed_event(submit, receiver, simulate, word):
    created = submit(TWELVELABS, simulate)
    [received] = receiver.take()
    assert received.body["type"] == f"index.task.{word}"
    assert received.body["id"].startswith("whe_")
    assert datetime.fromisoformat(received.body["created_at"])
    assert (received.body["data"]["id"], received.body["data"]["status"]) == (created["_id"], word)
    at, signature = (part.partition("=")[2] for part in received.headers["tl-signature"].split(","))
    assert signature == signed_with_hmac("simulated-secret", f"{at}.{received.text}")


@pytest.mark.parametrize(
    ("api", "simulate", "event"),
    [
        (VIDEO, OUTPUT, "video.completed"),
        (VIDEO, FAILS, "video.failed"),
        (RESPONSE, OUTPUT, "response.completed"),
        (RESPONSE, FAILS, "response.failed"),
        (BATCH, OUTPUT, "batch.completed"),
        (BATCH, FAILS, "batch.failed"),
    ],
)
def test_openai_posts_a_signed_event(submit, receiver, api, simulate, event):
    created = submit(api, simulate)
    [received] = receiver.take()
    body = {"object": "event", "type": event, "data": {"id": created["id"]}}
    assert received.body == body | {"id": received.body["id"], "created_at": received.body["created_at"]}
    assert abs(received.body["created_at"] - time.time()) < 60
    Webhook(SECRET).verify(received.text, received.headers)


def test_openai_posts_cancellations_of_responses(server, submit, receiver):
    created = submit(RESPONSE, AGED)
    httpx.post(server.base_url.join(f"/openai/v1/responses/{created['id']}/cancel"), headers=OPENAI).raise_for_status()
    assert receiver.take()[0].type == "response.cancelled"
