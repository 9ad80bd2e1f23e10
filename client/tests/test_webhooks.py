"""Receiving webhooks: verified deliveries, forged ones, and repeated ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import stat
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.conftest import serving
from tests.receivers import receiving
from translation_client import Client, Sandbox, State
from translation_client.webhooks import Deduplicator, UnverifiedWebhook, WebhookEvent, WebhookInProgress, verify

if TYPE_CHECKING:
    from pathlib import Path

SECRET, OTHER = "whsec_c2VjcmV0", "whsec_b3RoZXI="
JOB = {"job_id": "j1", "status": "error", "result": "error", "progress": 1.0, "error_message": "no sound"}


def delivery(
    body: object = None, *, secret: str = SECRET, at: float | None = None, event_id: str = "msg_1"
) -> tuple[dict[str, str], bytes]:
    """Returns the headers and the body of a delivery, signed by the library of Standard Webhooks."""
    event = {"type": "job.error", "timestamp": "2026-01-02T03:04:05.000Z", "data": JOB} if body is None else body
    text = event if isinstance(event, str) else json.dumps(event)
    sent = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    signature = Webhook(secret).sign(event_id, sent, text)
    headers = {"webhook-id": event_id, "webhook-timestamp": str(int(sent.timestamp())), "webhook-signature": signature}
    return headers, text.encode()


class TestVerify:
    def test_genuine_delivery_is_an_event_with_the_job(self) -> None:
        headers, body = delivery()
        event = verify({name.title(): value for name, value in headers.items()}, body, SECRET)
        assert event == WebhookEvent("msg_1", "job.error", "2026-01-02T03:04:05.000Z", event.status, json.loads(body))
        assert event.status
        assert (event.status.id, event.status.state, event.status.error) == ("j1", State.ERROR, "no sound")

    def test_event_without_a_job_has_no_status(self) -> None:
        event = verify(*delivery({"type": "ping", "timestamp": "2026-01-02T03:04:05.000Z", "data": {}}), SECRET)
        assert (event.type, event.status) == ("ping", None)

    def test_other_apis_may_name_the_headers_otherwise_and_post_what_a_poll_shows(self) -> None:
        headers, body = delivery({"id": "p1", "status": "failed", "error": "no sound", "output": None})
        others = {name.replace("webhook-", "svix-"): value for name, value in headers.items()}
        event = verify(others, body, SECRET, dialect="replicate", prefix="Svix-")
        assert (event.id, event.type, event.raw["id"]) == ("msg_1", "job.error", "p1")
        assert event.status
        assert (event.status.id, event.status.state, event.status.error) == ("p1", State.ERROR, "no sound")
        assert datetime.fromisoformat(event.timestamp).timestamp() == int(headers["webhook-timestamp"])
        with pytest.raises(UnverifiedWebhook, match="svix-id is missing"):
            verify(headers, body, SECRET, dialect="replicate", prefix="svix-")
        with pytest.raises(UnverifiedWebhook, match="is not a job of the dialect 'replicate"):
            verify(*delivery({"id": 7}), SECRET, dialect="replicate")

    def test_one_of_several_secrets_and_signatures_is_enough(self) -> None:
        headers, body = delivery(secret=OTHER)
        headers["webhook-signature"] = f"v1a,abc v1,bad {headers['webhook-signature']}"
        assert verify(headers, body, [SECRET, OTHER]).id == "msg_1"

    def test_secret_without_its_prefix_is_the_same(self) -> None:
        assert verify(*delivery(), SECRET.removeprefix("whsec_")).id == "msg_1"

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"webhook-id": "msg_2"}, "no signature fits"),
            ({"webhook-signature": "v1,AAAA"}, "no signature fits"),
            ({"webhook-signature": "v1,\u00e4"}, "no signature fits"),
            ({"webhook-signature": ","}, "no signature fits"),
            ({"webhook-signature": ""}, "webhook-signature is missing"),
            ({"webhook-id": ""}, "webhook-id is missing"),
            ({"webhook-timestamp": "soon"}, "webhook-timestamp is not a number"),
            ({"webhook-timestamp": "9" * 5000}, "webhook-timestamp is not a number"),
            ({"webhook-timestamp": "\u0661"}, "webhook-timestamp is not a number"),
            ({"webhook-timestamp": "0"}, "s old; 300 s are allowed"),
            ({"webhook-timestamp": "99999999999"}, "s ahead; 300 s are allowed"),
        ],
    )
    def test_forged_headers_are_refused(self, change: dict[str, str], why: str) -> None:
        headers, body = delivery()
        with pytest.raises(UnverifiedWebhook, match=why):
            verify(headers | change, body, SECRET)

    def test_changed_body_is_refused(self) -> None:
        headers, body = delivery()
        with pytest.raises(UnverifiedWebhook, match="no signature fits"):
            verify(headers, body + b" ", SECRET)

    @pytest.mark.parametrize("seconds", [-301, 301])
    def test_delivery_outside_of_the_tolerance_is_refused_although_it_is_signed(self, seconds: float) -> None:
        sent = delivery(at=time.time() + 2 * seconds)
        with pytest.raises(UnverifiedWebhook, match="300 s are allowed"):
            verify(*sent, SECRET)
        assert verify(*sent, SECRET, tolerance=3600).id == "msg_1"

    @pytest.mark.parametrize("body", ["", "{", "[]", "[" * 100_000, '{"type": 1, "timestamp": ""}'])
    def test_signed_body_that_is_no_event_is_refused(self, body: str) -> None:
        with pytest.raises(UnverifiedWebhook, match="must be a JSON object"):
            verify(*delivery(body), SECRET)

    @pytest.mark.parametrize("data", [None, [], {}, {"job_id": "j1"}])
    def test_signed_event_without_a_job_of_the_dialect_is_refused(self, data: object) -> None:
        event = {"type": "job.completed", "timestamp": "2026-01-02T03:04:05.000Z", "data": data}
        with pytest.raises(UnverifiedWebhook, match="is not a job of the dialect 'start'"):
            verify(*delivery(event), SECRET)

    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", [], [SECRET, "no"]])
    def test_unusable_secret_is_a_value_error(self, secret: Any) -> None:
        with pytest.raises(ValueError, match="secret must be"):
            verify(*delivery(), secret)

    @given(
        headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text())
    )
    def test_no_headers_of_a_stranger_raise_anything_else(self, headers: dict[str, str]) -> None:
        with pytest.raises(UnverifiedWebhook):
            verify(headers, b"{}", SECRET)


def hmac_of(text: str, secret: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class TestFormsOfApis:
    def heygen(self, *, key: str = "s", sent: float = 0.0, **data: object) -> tuple[dict[str, str], bytes]:
        name = "success" if "url" in data else "fail"
        text = json.dumps(
            {"event_type": f"video_translate.{name}", "created_at": "2026-01-02T03:04:05Z", "event_data": data}
        )
        headers = {"Heygen-Event-Id": "e1", "Heygen-Timestamp": str(int(sent or time.time()))}
        return headers | {"Heygen-Signature": hmac_of(text, key)}, text.encode()

    def test_hmac_in_a_header_of_the_api_is_checked(self) -> None:
        sent = self.heygen(video_translate_id="t1", url="https://example.com/a.mp4")
        event = verify(*sent, ["other", "s"], dialect="heygen")
        assert (event.id, event.type, event.timestamp) == ("e1", "video_translate.success", "2026-01-02T03:04:05Z")
        assert event.status
        assert (event.status.id, event.status.state) == ("t1", State.COMPLETED)
        assert event.status.output == "https://example.com/a.mp4"
        failed = verify(*self.heygen(video_translate_id="t1", message="no sound"), "s", dialect="heygen")
        assert failed.status
        assert (failed.status.state, failed.status.error) == (State.ERROR, "no sound")

    def test_hmac_of_a_text_with_the_time_is_checked(self) -> None:
        now = int(time.time())
        text = json.dumps({"id": "whe_1", "type": "index.task.failed", "data": {"id": "t1", "status": "failed"}})
        headers = {"tl-signature": f"t={now},v1={hmac_of(f'{now}.{text}', 's')}"}
        event = verify(headers, text.encode(), "s", dialect="twelvelabs")
        assert event.status
        assert (event.id, event.type, event.status.state) == ("1", "index.task.failed", State.ERROR)
        changed = {"tl-signature": headers["tl-signature"].replace(f"t={now}", f"t={now + 1}")}
        for wrong, why in (
            (changed, "no signature fits"),
            ({"tl-signature": "v1=abc"}, "not of the API's form"),
            ({}, "tl-signature is missing"),
        ):
            with pytest.raises(UnverifiedWebhook, match=why):
                verify(wrong, text.encode(), "s", dialect="twelvelabs")

    def test_forged_old_and_changed_deliveries_are_refused(self) -> None:
        headers, body = self.heygen(video_translate_id="t1", url="u")
        for forged in (
            (headers, body + b" "),
            (headers | {"Heygen-Signature": "0" * 64}, body),
            (headers | {"Heygen-Signature": "\u00e4"}, body),
            (headers, b"\xff" + body),
            self.heygen(key="other", video_translate_id="t1", url="u"),
        ):
            with pytest.raises(UnverifiedWebhook, match="no signature fits"):
                verify(*forged, "s", dialect="heygen")
        for sent in (time.time() - 400, time.time() + 400):
            with pytest.raises(UnverifiedWebhook, match="300 s are allowed"):
                verify(*self.heygen(sent=sent, video_translate_id="t1", url="u"), "s", dialect="heygen")
        with pytest.raises(UnverifiedWebhook, match="is not a number of seconds"):
            verify(headers | {"Heygen-Timestamp": "soon"}, body, "s", dialect="heygen")

    def test_url_may_be_signed(self, tmp_path: Path) -> None:
        path = tmp_path / "renders.toml"
        path.write_text("""
[job.render]
words = { pending = "busy", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}" }
submit.request = "POST /renders"
poll.request = "GET /renders/{job_id}"

[job.render.webhook]
events = { completed = "done" }

[job.render.webhook.signature]
secret = "s"
header = "X-Sign"
text = "{url}|{body}"
value = "sha256={signature}"
encoding = "base64"
""")
        text = json.dumps({"id": "r1", "state": "done"})
        digest = hmac.digest(b"s", f"http://a/|{text}".encode(), "sha256")
        headers = {"X-Sign": f"sha256={base64.b64encode(digest).decode()}"}
        event = verify(headers, text.encode(), "s", dialect=path, url="http://a/")
        assert (event.id, event.type, event.status and event.status.id) == ("r1:completed", "job.completed", "r1")
        for url, why in (("http://b/", "no signature fits"), (None, "lacks a value that is signed")):
            with pytest.raises(UnverifiedWebhook, match=why):
                verify(headers, text.encode(), "s", dialect=path, url=url)

    @pytest.mark.parametrize(
        ("dialect", "body", "expected"),
        [
            ("assemblyai", {"transcript_id": "t1", "status": "error"}, ("job.error", "t1", State.ERROR)),
            ("fal", {"request_id": "r1", "status": "OK", "payload": {"n": 1}}, ("OK", "r1", State.COMPLETED)),
            ("fal", {"request_id": "r1", "status": "ERROR", "payload": {}}, ("ERROR", "r1", State.ERROR)),
            ("runpod", {"id": "r1", "status": "COMPLETED", "output": 1}, ("job.completed", "r1", State.COMPLETED)),
            ("luma#image", {"id": "g1", "state": "dreaming"}, ("job.pending", "g1", State.PENDING)),
            ("luma#image", {"id": "g1", "state": "failed", "failure_reason": "dark"}, ("job.error", "g1", State.ERROR)),
        ],
    )
    def test_form_of_unsigned_deliveries_is_checked(
        self, dialect: str, body: dict[str, object], expected: tuple[str, str, State]
    ) -> None:
        event = verify({}, json.dumps(body).encode(), None, dialect=dialect)
        assert event.status
        assert (event.type, event.status.id, event.status.state) == expected
        assert event.id == f"{expected[1]}:{expected[2]}"
        for wrong in ("{", "[]", '{"status": "COMPLETED"}'):
            with pytest.raises(UnverifiedWebhook):
                verify({}, wrong.encode(), None, dialect=dialect)
        with pytest.raises(ValueError, match="signs no webhooks"):
            verify({}, json.dumps(body).encode(), SECRET, dialect=dialect)

    @pytest.mark.parametrize("secret", [None, [], "", ["", "s"]])
    def test_signed_api_needs_a_secret(self, secret: Any) -> None:
        with pytest.raises(ValueError, match="secret must be"):
            verify(*self.heygen(video_translate_id="t1", url="u"), secret, dialect="heygen")

    def test_event_of_another_kind_of_job_has_no_status(self) -> None:
        body = {"object": "event", "id": "evt_1", "type": "batch.completed", "created_at": 0, "data": {"id": "b1"}}
        sent = delivery(body)
        event = verify(*sent, SECRET, dialect="openai#response")
        assert (event.id, event.type, event.status) == ("msg_1", "batch.completed", None)
        of_kind = verify(*sent, SECRET, dialect="openai#batch")
        assert of_kind.status
        assert (of_kind.status.id, of_kind.status.state) == ("b1", State.COMPLETED)
        assert of_kind.timestamp == "1970-01-01T00:00:00+00:00"
        cancelled = verify(*delivery(body | {"type": "batch.cancelled"}), SECRET, dialect="openai#batch")
        assert cancelled.status
        assert cancelled.status.state is State.CANCELLED


class TestDeduplicator:
    @pytest.fixture(params=["memory", "file"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
        return tmp_path / "events.db" if request.param == "file" else None

    def test_event_is_new_once(self, path: Path | None) -> None:
        seen = Deduplicator(path)
        found = []
        for event_id in ("a", "b", "a", "a"):
            with seen.once(event_id) as is_new:
                found.append(is_new)
        assert found == [True, True, False, False]

    def test_event_whose_handling_failed_is_new_again(self, path: Path | None) -> None:
        seen = Deduplicator(path)
        with pytest.raises(ZeroDivisionError), seen.once("a"):
            _ = 1 / 0
        with seen.once("a") as is_new:
            assert is_new

    def test_repeated_event_stays_handled_if_its_block_fails(self, path: Path | None) -> None:
        seen = Deduplicator(path)
        with seen.once("a"):
            pass
        with pytest.raises(ZeroDivisionError), seen.once("a"):
            _ = 1 / 0
        with seen.once("a") as is_new:
            assert not is_new

    def test_event_in_progress_is_refused_until_its_lease_is_over(self, path: Path | None) -> None:
        now = [1000.0]
        seen = Deduplicator(path, lease=60, clock=lambda: now[0])
        with seen.once("a") as is_new:
            assert is_new
            with pytest.raises(WebhookInProgress, match="event a is being handled"), seen.once("a"):
                pass
            now[0] += 61
            with seen.once("a") as is_taken_over:  # the first one counts as abandoned
                assert is_taken_over
        with seen.once("a") as is_new:
            assert not is_new

    def test_ids_are_stored_for_a_while(self, path: Path | None) -> None:
        now = [1000.0]
        seen = Deduplicator(path, keep=10, clock=lambda: now[0])
        for seconds, expected in [(0, True), (9, False), (2, True)]:
            now[0] += seconds
            with seen.once("a") as is_new:
                assert is_new is expected

    def test_exactly_one_of_many_threads_handles_an_event(self, path: Path | None) -> None:
        seen, handled, start = Deduplicator(path), [], threading.Barrier(8)

        def receive() -> None:
            start.wait()
            for number in range(20):
                try:
                    with seen.once(str(number)) as is_new:
                        if is_new:
                            handled.append(number)
                except WebhookInProgress:
                    pass

        threads = [threading.Thread(target=receive) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(handled) == list(range(20))

    def test_file_outlives_the_process_and_is_private(self, tmp_path: Path) -> None:
        path = tmp_path / "events.db"
        first = Deduplicator(path)
        with first.once("a"):
            pass
        first.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        second = Deduplicator(path)
        with second.once("a") as is_new:
            assert not is_new

    def test_unusable_file_is_a_value_error(self, tmp_path: Path) -> None:
        text = tmp_path / "text"
        text.write_text("no database" * 100)
        for path in (text, tmp_path, tmp_path / "no" / "folder", "a\0b", ""):
            with pytest.raises(ValueError, match="path must be an SQLite database"):
                Deduplicator(path)

    @pytest.mark.parametrize(
        "other",
        [
            "TABLE events (x)",
            "TABLE events (id TEXT, at REAL, is_done INTEGER)",
            "TABLE events (id TEXT PRIMARY KEY, at REAL, is_done INTEGER, more TEXT NOT NULL)",
            "VIEW events AS SELECT 1 AS id, 2 AS at, 3 AS is_done",
        ],
    )
    def test_file_of_another_program_is_refused_at_once_and_stays_as_it_is(self, tmp_path: Path, other: str) -> None:
        path = tmp_path / "other.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"CREATE {other}")
        before = path.read_bytes()
        with pytest.raises(ValueError, match=r"path must be an SQLite database .*: its table events is not"):
            Deduplicator(path)
        assert path.read_bytes() == before

    def test_old_ids_are_found_by_an_index_also_in_files_of_earlier_versions(self, tmp_path: Path) -> None:
        path = tmp_path / "events.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, at REAL NOT NULL, is_done INTEGER NOT NULL)")
            database.execute("INSERT INTO events VALUES ('a', 1000, 1)")
        for _ in range(2):
            seen = Deduplicator(path, clock=lambda: 1001)
            with seen.once("a") as is_new:
                assert not is_new
            seen.close()
        with closing(sqlite3.connect(path)) as database:
            plan = database.execute("EXPLAIN QUERY PLAN DELETE FROM events WHERE at < 1").fetchall()
        assert "INDEX" in str(plan)


def test_deliveries_of_the_real_server_are_verified(tmp_path: Path) -> None:
    login = {"username": "admin", "password": "-"}
    with (
        receiving() as receiver,
        serving(tmp_path, AUTH="off") as url,
        Client(url, **login) as client,
        Sandbox(url, **login) as sandbox,
    ):
        sandbox.set(webhook={"url": receiver.url, "secret": [SECRET, OTHER], "events": ["started", "completed"]})
        job = client.start()
        for delivered, state in zip(receiver.take(2), (State.PENDING, State.COMPLETED), strict=True):
            event = verify(delivered.headers, delivered.text.encode(), OTHER)
            assert event.status
            assert (event.status.id, event.status.state) == (job.id, state)
