"""Point it at the server: `deepl.DeepLClient("secretpassword", server_url="http://127.0.0.1:8000/deepl/")`.

Covered: translate_document, its steps one by one, and errors. The client asks every five seconds, so jobs end at once
but for one. The slash at the end of the address is needed.
Version: deepl 1.32.0.
"""

import io

import deepl
import pytest

from tests.sdks.conftest import KEY

UNKNOWN = deepl.DocumentHandle("0" * 32, "0" * 64)


@pytest.fixture
def client(url):
    return deepl.DeepLClient(KEY, server_url=f"{url}/deepl/")


@pytest.fixture
def quick(sandbox):
    """The sandbox, whose jobs end at once."""
    sandbox.change_sandbox(delay={"kind": "fixed", "seconds": 0})
    return sandbox


def upload(client):
    return client.translate_document_upload(b"Hello!", filename="a.txt", source_lang="EN", target_lang="DE")


def translate(client):
    """Returns the status of a document at its end, and the translated document."""
    translated = io.BytesIO()
    return client.translate_document(b"Hello!", translated, filename="a.txt", target_lang="DE"), translated.getvalue()


def test_a_document_is_awaited_and_downloaded(client):
    status, translated = translate(client)
    assert (status.done, status.ok, status.billed_characters) == (True, True, 50_000)
    assert translated


@pytest.mark.usefixtures("quick")
def test_a_document_is_translated_from_file_to_file(client, tmp_path):
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("Hello!")
    assert client.translate_document_from_filepath(source, target, target_lang="DE").done
    assert target.read_bytes()


def test_a_pending_document_is_not_ready(client, sandbox, monkeypatch):
    monkeypatch.setattr(deepl.http_client, "max_network_retries", 0)  # the client's own setting
    sandbox.change_sandbox(paused=True)
    handle = upload(client)
    assert (len(handle.document_id), len(handle.document_key)) == (32, 64)
    status = client.translate_document_get_status(handle)
    assert (status.status, status.billed_characters) == (deepl.DocumentStatus.Status.QUEUED, None)
    with pytest.raises(deepl.exceptions.DocumentNotReadyException):
        client.translate_document_download(handle)


def test_a_failed_document_says_why(client, quick):
    quick.change_sandbox(error_probability=1)
    with pytest.raises(deepl.DocumentTranslationException) as caught:
        translate(client)
    message = quick.job(caught.value.document_handle.document_id)["error_message"]
    assert f"Error occurred while translating document: {message}" in str(caught.value)
    assert client.translate_document_get_status(caught.value.document_handle).error_message == message


def test_a_wrong_key_is_refused(url):
    client = deepl.DeepLClient("wrong", server_url=f"{url}/deepl/")
    with pytest.raises(deepl.AuthorizationException, match="credentials") as caught:
        upload(client)
    assert caught.value.http_status_code == 403


def test_an_unknown_document_is_not_found(client):
    for call in (client.translate_document_wait_until_done, client.translate_document_download):
        with pytest.raises(deepl.DeepLException, match="Not found") as caught:
            call(UNKNOWN)
        assert caught.value.http_status_code == 404


def test_client_gets_there_when_the_server_is_flaky(client, quick):
    quick.change_sandbox(scenario="flaky", seed=1)
    assert [translate(client)[0].done for _ in range(3)] == [True] * 3
    quick.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in quick.requests())
