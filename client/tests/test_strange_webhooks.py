"""Whatever is posted to a receiver, `verify` returns an event or raises UnverifiedWebhook."""

from __future__ import annotations

import base64
import hmac
import json
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client.dialect_files import find_dialect
from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookEvent, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "whsec_c2VjcmV0"
APIS = ["start", "assemblyai", "fal", "heygen", "luma#video", "openai#response", "replicate", "runpod", "twelvelabs"]
NAMES = [
    *("webhook-id", "webhook-timestamp", "webhook-signature"),
    *("heygen-event-id", "heygen-timestamp", "heygen-signature", "tl-signature"),
]
LONE = b"m\xff".decode(errors="surrogateescape")  # as aiohttp passes on a header that is not UTF-8
ANY_TEXT = st.text(st.characters(exclude_categories=[]))
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400)])
TIMES = NUMBERS | ANY_TEXT | st.sampled_from(["\u00b2", "9" * 400, "9" * 5000, "1e400", "nan", LONE, "\ud800"])
KEYS = st.sampled_from(
    [
        *("id", "status", "state", "error", "output", "logs", "progress", "created_at", "completed_at", "timestamp"),
        *("type", "event_type", "event", "data", "event_data", "video_translate_id", "url", "message", "object"),
        *("request_id", "transcript_id", "payload", "job_id", "elapsed_time", "failure_reason", "metrics"),
    ]
)
WORDS = st.sampled_from(
    [
        *("completed", "COMPLETED", "succeeded", "error", "failed", "ERROR", "OK", "dreaming", "job.completed"),
        *("video_translate.success", "response.completed", "batch.failed", "index.task.ready"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | TIMES | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=8),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES | WORDS)


def signed(dialect: str, body: bytes) -> tuple[dict[str, str], str | None]:
    """Returns the headers of a genuine delivery, and the secret that signed it."""
    form, now = find_dialect(dialect).webhook, str(int(time.time()))
    if form and not form.signature:
        return {}, None
    if not form or not form.signature or not form.signature.header:
        secret = form.signature.secret if form and form.signature else SECRET
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.digest(key, f"m.{now}.".encode() + body, "sha256")
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        return dict(zip(names, ("m", now, f"v1,{base64.b64encode(digest).decode()}"), strict=True)), secret
    secret = form.signature.secret
    if dialect == "heygen":
        return {"Heygen-Signature": hmac.digest(secret.encode(), body, "sha256").hex()}, secret
    return {
        "TL-Signature": f"t={now},v1={hmac.digest(secret.encode(), f'{now}.'.encode() + body, 'sha256').hex()}"
    }, secret


def verified(dialect: str, document: Mapping[str, Any], **headers: str) -> WebhookEvent:
    """Verifies a genuine delivery with further headers."""
    body = json.dumps(document).encode()
    genuine, secret = signed(dialect, body)
    return verify(genuine | headers, body, secret, dialect=dialect)


class TestHeaders:
    @pytest.mark.parametrize("text", [LONE, "\ud800", "v1,\udcff"])
    @pytest.mark.parametrize("dialect", APIS)
    def test_text_that_utf8_cannot_encode_is_refused(self, dialect: str, text: str) -> None:
        headers, secret = signed(dialect, b"{}")
        for name in headers or NAMES:
            with pytest.raises(UnverifiedWebhook):
                verify(headers | {name: text}, b"{}", secret, dialect=dialect)

    @pytest.mark.parametrize("value", [None, ["a", "b"], b"m"])
    def test_header_that_is_no_text_is_missing(self, value: Any) -> None:
        headers, secret = signed("start", b"{}")
        for name in headers:
            with pytest.raises(UnverifiedWebhook, match=f"the header {name} is missing"):
                verify(headers | {name: value}, b"{}", secret)
        with pytest.raises(UnverifiedWebhook, match="the body must"):
            verify(headers | {"x-other": value}, b"{}", secret)

    @given(
        dialect=st.sampled_from(APIS),
        headers=st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, ANY_TEXT),
        body=st.binary(),
        is_signed=st.booleans(),
    )
    def test_no_headers_and_no_body_raise_anything_else(
        self, dialect: str, headers: dict[str, str], body: bytes, *, is_signed: bool
    ) -> None:
        genuine, secret = signed(dialect, body)
        with pytest.raises(UnverifiedWebhook):
            verify((genuine | headers) if is_signed else headers, body, secret, dialect=dialect)

    @given(dialect=st.sampled_from(APIS), secret=ANY_TEXT | st.lists(ANY_TEXT | st.none() | st.binary()) | st.binary())
    def test_unusable_secret_is_the_only_value_error(self, dialect: str, secret: Any) -> None:
        try:
            with pytest.raises(UnverifiedWebhook):
                verify(signed(dialect, b"{}")[0], b"{}", secret, dialect=dialect)
        except ValueError as error:
            assert str(error).startswith("secret must be")  # noqa: PT017 - there may be another exception

    def test_url_that_utf8_cannot_encode_is_refused(self) -> None:
        with pytest.raises(UnverifiedWebhook):
            verify(signed("heygen", b"{}")[0], b"[]", "s", dialect="heygen", url="http://a/\ud800")


class TestBodies:
    @given(dialect=st.sampled_from(APIS), document=DOCUMENTS)
    def test_no_signed_body_raises_anything_else(self, dialect: str, document: dict[str, Any]) -> None:
        with suppress(UnverifiedWebhook):
            event = verified(dialect, document)
            with Deduplicator().once(event.id) as is_new:
                assert is_new

    @pytest.mark.parametrize("time_", [10**400, -1, 1e300, float("nan"), "\u00b2", "9" * 400, "soon", "", True, [], {}])
    def test_job_at_a_strange_time_has_the_time_of_its_delivery(self, time_: object) -> None:
        body = {"id": "e", "type": "response.completed", "created_at": time_, "data": {"id": "r1"}}
        event = verified("openai#response", body)
        assert event.status
        assert event.status.id == "r1"
        assert abs(datetime.fromisoformat(event.timestamp).timestamp() - time.time()) < 300
        heygen = {
            "event_type": "video_translate.success",
            "created_at": time_,
            "event_data": {"video_translate_id": "t"},
        }
        sent = verified("heygen", heygen, **{"Heygen-Timestamp": str(int(time.time()) - 100)})
        assert 90 < time.time() - datetime.fromisoformat(sent.timestamp).timestamp() < 300

    @pytest.mark.parametrize(
        ("time_", "expected"),
        [
            (0, "1970-01-01T00:00:00+00:00"),
            (1.5, "1970-01-01T00:00:01.500000+00:00"),
            ("90", "1970-01-01T00:01:30+00:00"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ],
    )
    def test_time_has_the_form_of_rfc_3339(self, time_: object, expected: str) -> None:
        body = {"id": "e", "type": "response.completed", "created_at": time_, "data": {"id": "r1"}}
        assert verified("openai#response", body).timestamp == expected

    def test_id_that_utf8_cannot_encode_is_stored_all_the_same(self) -> None:
        body = {"event_type": "video_translate.success", "event_data": {"video_translate_id": "t"}}
        event = verified("heygen", body, **{"Heygen-Event-Id": LONE})
        with Deduplicator().once(event.id) as is_new:
            assert is_new
