"""Point httpx at it: `Client(base_url="http://127.0.0.1:8000/heygen", headers={"X-Api-Key": "secretpassword"})`.

There is no official client for Python, so httpx asks here as the API's reference says.
Covered: creating translations into several languages, getting, listing and deleting them, their statuses, languages,
webhooks; and of `heygen-v2`, whose service has ended, creating and getting. Not covered: batches, renames, captions,
proofreads.
Version: the API's reference of November 2026.
"""

import time

import httpx
import pytest

from tests.receivers import receiving
from tests.sdks.conftest import KEY

TRANSLATIONS = "/v3/video-translations"
VIDEO = {"video": {"type": "url", "url": "https://example.com/a.mp4"}, "title": "A video"}
LANGUAGES = ["Spanish (Spain)", "French", "German"]
ENDED = {"completed", "success", "failed"}


@pytest.fixture
def client(url):
    with httpx.Client(base_url=f"{url}/heygen", headers={"X-Api-Key": KEY}) as client:
        yield client


def create(client, *languages, key=None):
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post(TRANSLATIONS, json=VIDEO | {"output_languages": languages}, headers=headers)
    return answer.raise_for_status().json()["data"]["video_translation_ids"]


def ended(client, path):
    """Polls until the translation has ended."""
    while (data := client.get(path).raise_for_status().json()["data"])["status"] not in ENDED:
        time.sleep(0.02)
    return data


def statuses(client, *ids):
    answer = client.get(f"{TRANSLATIONS}/statuses", params={"video_translation_ids": ",".join(ids)})
    return [(one["video_id"], one["status"]) for one in answer.raise_for_status().json()["data"]]


def test_each_language_has_a_translation(client):
    ids = create(client, *LANGUAGES)
    assert len(set(ids)) == len(LANGUAGES)
    done = [ended(client, f"{TRANSLATIONS}/{one}") for one in ids]
    assert [(one["id"], one["output_language"], one["title"]) for one in done] == [
        (*pair, "A video") for pair in zip(ids, LANGUAGES, strict=True)
    ]
    assert {one["status"] for one in done} == {"completed"}
    assert len({one["video_url"] for one in done}) == len(LANGUAGES)
    assert httpx.get(done[0]["video_url"]).content[4:8] == b"ftyp"


def test_pending_translation_has_no_url(client, sandbox):
    sandbox.change_sandbox(paused=True)
    [job_id] = create(client, "French")
    data = client.get(f"{TRANSLATIONS}/{job_id}").json()["data"]
    assert (data["status"], data["video_url"], data["failure_message"]) == ("pending", None, None)


def test_statuses_of_many_come_in_one_answer(client, sandbox):
    done = create(client, "French", "German")
    for one in done:
        ended(client, f"{TRANSLATIONS}/{one}")
    sandbox.change_sandbox(paused=True)
    [queued] = create(client, "French")
    sandbox.change_sandbox(paused=False, after_polls=4)
    [processing] = create(client, "French")
    for _ in range(2):
        client.get(f"{TRANSLATIONS}/{processing}")
    asked = [done[1], "unknown", queued, processing, done[0]]
    expected = ["completed", "not_found", "queued", "processing", "completed"]
    assert sorted(statuses(client, *asked)) == sorted(zip(asked, expected, strict=True))


def test_failed_translation_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    [job_id] = create(client, "French")
    data = ended(client, f"{TRANSLATIONS}/{job_id}")
    assert (data["status"], data["video_url"]) == ("failed", None)
    assert data["failure_message"] == sandbox.job(job_id)["error_message"]
    assert statuses(client, job_id) == [(job_id, "failed")]


def test_repeated_submission_makes_no_second_translations(client):
    ids = create(client, *LANGUAGES, key="a")
    assert create(client, *LANGUAGES, key="a") == ids
    again = client.post(
        TRANSLATIONS, json=VIDEO | {"output_languages": LANGUAGES[:1]}, headers={"Idempotency-Key": "a"}
    )
    assert again.status_code >= 400
    assert len(client.get(TRANSLATIONS).json()["data"]) == len(LANGUAGES)


def test_translations_are_listed_page_by_page_and_deleted(client):
    ids = [*create(client, *LANGUAGES), *create(client, *LANGUAGES)]
    listed, token = [], None
    while token or not listed:
        page = client.get(TRANSLATIONS, params={"limit": 4} | ({"token": token} if token else {})).json()
        listed += page["data"]
        token = page["next_token"]
        assert page["has_more"] is bool(token)
    assert [one["id"] for one in listed] == ids[::-1]
    assert client.delete(f"{TRANSLATIONS}/{ids[0]}").json() == {"data": {"id": ids[0]}}
    assert client.get(f"{TRANSLATIONS}/{ids[0]}").status_code == 404


def test_wrong_keys_unknown_ids_and_missing_fields_are_refused(client, url):
    wrong = httpx.get(f"{url}/heygen{TRANSLATIONS}", headers={"X-Api-Key": "wrong"})
    unknown = client.get(f"{TRANSLATIONS}/unknown")
    missing = client.post(TRANSLATIONS, json=VIDEO)
    empty = client.post(TRANSLATIONS, json=VIDEO | {"output_languages": []})
    refused = [(one.status_code, one.json()["error"]["code"]) for one in (wrong, unknown, missing, empty)]
    assert refused == [(401, "unauthorized"), (404, "not_found"), *[(400, "invalid_parameter")] * 2]
    assert {one.json()["error"]["param"] for one in (missing, empty)} == {"output_languages"}


def test_languages_are_listed(client):
    assert "English" in client.get(f"{TRANSLATIONS}/languages").json()["data"]["languages"]


def test_caller_gets_there_when_the_server_is_flaky_and_it_goes_on(client, sandbox):
    def insisting(call, *arguments, **options):
        while True:
            try:
                return call(client, *arguments, **options)
            except (httpx.HTTPError, ValueError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for number in range(3):
        ids = insisting(create, *LANGUAGES, key=str(number))
        assert [insisting(ended, f"{TRANSLATIONS}/{one}")["status"] for one in ids] == ["completed"] * 3
    sandbox.change_sandbox(scenario="perfect")
    assert len(sandbox.get("/jobs").json()["jobs"]) == 3 * len(LANGUAGES)
    assert any(record["faults"] for record in sandbox.requests())


@pytest.mark.parametrize(("failures", "status"), [(0, "success"), (1, "failed")])
def test_translation_of_version_2_ends(url, sandbox, failures, status):
    sandbox.change_sandbox(error_probability=failures)
    body = {"video_url": "https://example.com/a.mp4", "output_language": "French"}
    with httpx.Client(base_url=f"{url}/heygen-v2/v2", headers={"X-Api-Key": KEY}) as client:
        job_id = client.post("/video_translate", json=body).json()["data"]["video_translate_id"]
        data = ended(client, f"/video_translate/{job_id}")
        assert (data["status"], bool(data["url"]), bool(data["message"])) == (status, not failures, bool(failures))
        assert client.get("/video_translate/unknown").status_code == 404
        assert client.post("/video_translate", json={}).status_code == 400
    assert httpx.post(f"{url}/heygen-v2/v2/video_translate", json=body).status_code == 401


def test_webhook_shows_the_translation(client):
    with receiving() as receiver:
        body = VIDEO | {"output_languages": ["French"], "callback_url": receiver.url, "callback_id": "mine"}
        answer = client.post(TRANSLATIONS, json=body).raise_for_status().json()
        [received] = receiver.take()
    data = received.body["event_data"]
    assert received.body["event_type"] == "video_translate.success"
    assert ([data["video_translate_id"]], data["callback_id"]) == (answer["data"]["video_translation_ids"], "mine")
    assert httpx.get(data["url"]).content[4:8] == b"ftyp"
