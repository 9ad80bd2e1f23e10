"""Point it at the server: `ElevenLabs(api_key="secretpassword", base_url="http://127.0.0.1:8000/elevenlabs")`.

Covered: dubbing of files and URLs, the dubbed file, lists, deletions and errors; sync and async. The client has no
function that waits for a dubbing.
Version: elevenlabs 2.78.0.
"""

import time

import httpx
import pytest
from elevenlabs import AsyncElevenLabs, ElevenLabs, NotFoundError
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import TooEarlyError, UnprocessableEntityError

from tests.sdks.conftest import KEY

URL = "https://example.com/video.mp4"


@pytest.fixture
def client(url):
    return ElevenLabs(api_key=KEY, base_url=f"{url}/elevenlabs")


def create(client, **options):
    return client.dubbing.create(source_url=URL, source_lang="en", target_lang="es", **options).dubbing_id


def wait(client, dubbing_id):
    while (dubbing := client.dubbing.get(dubbing_id)).status == "dubbing":
        time.sleep(0.02)
    return dubbing


def test_a_video_at_a_url_is_dubbed_and_downloaded(client):
    dubbing = wait(client, create(client, name="A video"))
    assert (dubbing.status, dubbing.error, dubbing.name) == ("dubbed", None, "A video")
    assert (dubbing.source_language, dubbing.target_languages) == ("en", ["es"])
    assert dubbing.created_at.tzinfo
    assert b"".join(client.dubbing.audio.get(dubbing.dubbing_id, "es"))[4:8] == b"ftyp"


def test_a_file_is_dubbed(client):
    made = client.dubbing.create(file=("a.mp4", b"video", "video/mp4"), target_lang="es")
    assert made.expected_duration_sec > 0
    assert wait(client, made.dubbing_id).status == "dubbed"


async def test_a_video_is_dubbed_and_downloaded_async(client, url):
    async_client = AsyncElevenLabs(api_key=KEY, base_url=f"{url}/elevenlabs")
    made = await async_client.dubbing.create(source_url=URL, target_lang="es")
    wait(client, made.dubbing_id)
    assert (await async_client.dubbing.get(made.dubbing_id)).status == "dubbed"
    assert b"".join([piece async for piece in async_client.dubbing.audio.get(made.dubbing_id, "es")])[4:8] == b"ftyp"


def test_a_pending_dubbing_has_no_file(client, sandbox):
    sandbox.change_sandbox(paused=True)
    dubbing_id = create(client)
    assert client.dubbing.get(dubbing_id).source_language is None
    with pytest.raises(TooEarlyError) as caught:
        b"".join(client.dubbing.audio.get(dubbing_id, "es"))
    assert caught.value.body["detail"]["status"] == "dubbing_not_dubbed"


def test_a_failed_dubbing_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    dubbing = wait(client, create(client))
    assert dubbing.status == "failed"
    assert dubbing.error == sandbox.job(dubbing.dubbing_id)["error_message"]
    with pytest.raises(NotFoundError):
        b"".join(client.dubbing.audio.get(dubbing.dubbing_id, "es"))


def test_dubbings_are_listed_page_by_page(client):
    made = [create(client) for _ in range(3)]
    page = client.dubbing.list(page_size=2)
    assert ([one.dubbing_id for one in page.dubs], page.has_more) == (made[:0:-1], True)
    page = client.dubbing.list(page_size=2, cursor=page.next_cursor)
    assert ([one.dubbing_id for one in page.dubs], page.has_more, page.next_cursor) == (made[:1], False, None)
    page = client.dubbing.list(order_direction="ASCENDING")
    assert [one.dubbing_id for one in page.dubs] == made
    assert client.dubbing.list(dubbing_status="failed").dubs == []


def test_a_deleted_dubbing_is_gone(client):
    dubbing_id = create(client)
    assert client.dubbing.delete(dubbing_id).status == "ok"
    assert client.dubbing.list().dubs == []
    with pytest.raises(ApiError) as caught:
        client.dubbing.get(dubbing_id)
    assert caught.value.status_code == 404


def test_a_wrong_key_is_refused(url):
    """Of its error classes, the client has those that the specification of a request names: here, none for 401."""
    with pytest.raises(ApiError) as caught:
        create(ElevenLabs(api_key="wrong", base_url=f"{url}/elevenlabs"))
    assert caught.value.status_code == 401
    assert caught.value.body["detail"]["status"] == "invalid_api_key"


def test_an_unknown_id_is_not_found(client):
    for call in (client.dubbing.get, client.dubbing.delete):
        with pytest.raises(ApiError) as caught:
            call("unknown")
        assert (caught.value.status_code, caught.value.body["detail"]["status"]) == (404, "dubbing_not_found")
    with pytest.raises(NotFoundError):
        b"".join(client.dubbing.audio.get("unknown", "es"))


def test_missing_fields_are_refused(client):
    with pytest.raises(ApiError) as caught:
        client.dubbing.create(target_lang="es")
    assert caught.value.status_code == 422
    assert caught.value.body["detail"][0]["loc"] == ["body", "source_url"]


def test_a_refused_submission_is_repeated_without_its_fields(client, sandbox):
    """This is so in the client: it gives up on a submission that it could have repeated."""
    sandbox.set_faults({"kind": "status", "code": 503, "route": ["submit"], "times": 1})
    with pytest.raises(UnprocessableEntityError):
        create(client)
    assert [record["status"] for record in sandbox.requests()] == [503, 422]


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(client, sandbox):
    """The client repeats what was refused, but no request whose connection broke."""

    def insisting(call):
        while True:
            try:
                return call()
            except (ApiError, httpx.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        dubbing_id = insisting(lambda: create(client))
        assert insisting(lambda dubbing_id=dubbing_id: wait(client, dubbing_id)).status == "dubbed"
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
