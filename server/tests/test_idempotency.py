"""Idempotency keys: the fingerprint of a submission tells a retry from a reused key, across versions too."""

import asyncio
import json

import pytest

from translation_server.core.fingerprint import fingerprint
from translation_server.core.job import Fate, Job, State
from translation_server.storage import Idempotency, open_store

KEYED = {"Idempotency-Key": "k"}

FORMER = (
    ({}, "02bd3e46a12b28e094642ed9fbb4c28f39a8111d966871f96367f0aa109bfc24"),
    ({"simulate": {}}, "02bd3e46a12b28e094642ed9fbb4c28f39a8111d966871f96367f0aa109bfc24"),
    ({"video_length": 5}, "bf19f93bb227023140486387b951fc078cf8b03e8c46f200f120c5d4f432bacc"),
    (
        {"simulate": {"delay": 3, "outcome": "error", "message": "no speech", "paused": True}},
        "4c1f11ac8721025d526395e09ca321100b8fe3c3c6d86d585941c3c6201be9ae",
    ),
    (
        {"job_id": "mine", "source_language": "en", "target_language": "Español"},
        "29add42ff8f916195b121605ea316b83978d0fccefdb414f507fcd1c6996c9d6",
    ),
)
"""Bodies, and their fingerprints as they were before there were fingerprints of documents."""

BODY = {"target_language": "es", "video_length": 5, "simulate": {"delay": 3}}


def accept(ordinal):
    return Job("first", "admin", ordinal, 1000.0, Fate(1e9, State.COMPLETED))


@pytest.fixture
def upgraded(start, tmp_path):
    """Starts a server on an older database, in which the key belongs to a job with the given fingerprint."""
    url = f"sqlite:///{tmp_path}/older.db"

    async def submit(stored):
        store = open_store(url)
        await store.add("admin", accept, Idempotency("k", stored))
        await store.close()

    def upgraded(stored):
        asyncio.run(submit(bytes.fromhex(stored)))
        return start(database_url=url)

    return upgraded


@pytest.mark.parametrize(("body", "stored"), FORMER, ids=str)
def test_retry_after_an_upgrade_finds_its_job(upgraded, body, stored):
    api, route = upgraded(stored), "/translate" if "job_id" in body else "/start"
    again = api.post(route, json=body, headers=KEYED)
    assert (again.status_code, again.json()["job_id"]) == (202, "first")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert api.post(route, json=body | {"target_language": "fr"}, headers=KEYED).status_code == 422


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (BODY, "4aa08a682e88591ba69569d32c85b9b0fd39c16838a8502469b4114c68e9be0e"),
    ],
    ids=str,
)
def test_fingerprint_stays_the_same_in_every_version(upgraded, body, stored):
    assert fingerprint(body).hex() == stored
    assert upgraded(stored).post("/start", json=body, headers=KEYED).json()["job_id"] == "first"


@pytest.mark.parametrize(
    ("again", "status"),
    [
        ('{ "simulate": {"delay": 3.0},\n "video_length": 5.0, "target_language": "\\u0065s"}', 202),
        (json.dumps(BODY | {"source_language": None, "simulate": {"delay": 3, "paused": None}}), 202),
        (json.dumps(BODY | {"video_length": 5.5}), 422),
        (json.dumps(BODY | {"source_language": "en"}), 422),
        (json.dumps(BODY | {"simulate": {"delay": 3, "paused": True}}), 422),
        (json.dumps(BODY | {"simulate": {"delay": 3, "paused": False}}), 422),
        ("", 422),
    ],
)
def test_equal_documents_are_retries_however_they_are_written(api, again, status):
    assert api.post("/start", json=BODY, headers=KEYED).status_code == 202
    answer = api.post("/jobs", content=again, headers=KEYED | {"Content-Type": "application/json"})
    assert (answer.status_code, len(api.get("/jobs").json()["jobs"])) == (status, 1)
    assert ("Idempotency-Replayed" in answer.headers) == (status == 202)


def test_fields_that_the_server_does_not_know_count_for_the_fingerprint(start, own_dialect):
    api = start(dialects=own_dialect())
    one, other = ({"video_url": f"https://example.com/{name}.mp4", "language": "es"} for name in ("one", "other"))
    first, again, reused = (api.post("/own/tasks", json=body, headers=KEYED) for body in (one, one, other))
    assert (first.status_code, again.json(), reused.status_code) == (202, first.json(), 422)
