"""Point it at the server: `DocumentIntelligenceClient("http://127.0.0.1:8000", AzureKeyCredential("secretpassword"))`.

Covered: begin_analyze_document with its poller, of a URL and of bytes, and delete_analyze_result; sync and async.
Version: azure-ai-documentintelligence 1.0.2 with azure-core 1.41.0.
"""

import io

import pytest
from azure.ai.documentintelligence import DocumentIntelligenceClient
from azure.ai.documentintelligence.aio import DocumentIntelligenceClient as AsyncDocumentIntelligenceClient
from azure.ai.documentintelligence.models import AnalyzeDocumentRequest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from tests.sdks.conftest import KEY

MODEL, DOCUMENT = "prebuilt-layout", AnalyzeDocumentRequest(url_source="https://example.com/document.pdf")
OPTIONS = {"polling_interval": 0.02, "retry_backoff_factor": 0.01}


@pytest.fixture
def client(url, sandbox):
    sandbox.change_sandbox(hints="none")  # hints are whole seconds
    with DocumentIntelligenceClient(url, AzureKeyCredential(KEY), **OPTIONS) as client:
        yield client


@pytest.fixture
async def async_client(url, sandbox):
    sandbox.change_sandbox(hints="none")
    async with AsyncDocumentIntelligenceClient(url, AzureKeyCredential(KEY), **OPTIONS) as client:
        yield client


def test_document_is_analyzed(client):
    poller = client.begin_analyze_document(MODEL, DOCUMENT)
    assert poller.details["operation_id"]
    result = poller.result()
    assert (poller.status(), result.model_id, result.api_version) == ("succeeded", MODEL, "2024-11-30")
    assert result.content
    assert [page.page_number for page in result.pages] == [1]
    assert " ".join(word.content for word in result.pages[0].words) == result.content
    assert result.pages[0].lines[0].content == result.content


async def test_document_is_analyzed_async(async_client):
    poller = await async_client.begin_analyze_document(MODEL, DOCUMENT)
    assert (await poller.result()).content


@pytest.mark.parametrize("body", [AnalyzeDocumentRequest(bytes_source=b"document"), io.BytesIO(b"document")])
def test_bytes_are_analyzed(client, body):
    poller = client.begin_analyze_document(MODEL, body)
    assert poller.result().content


def test_poller_goes_on_from_a_token(client):
    token = client.begin_analyze_document(MODEL, DOCUMENT).continuation_token()
    poller = client.begin_analyze_document(MODEL, DOCUMENT, continuation_token=token)
    assert poller.result().content


def test_client_follows_the_hints(client, sandbox):
    sandbox.change_sandbox(hints="exact", delay={"kind": "fixed", "seconds": 1})
    client.begin_analyze_document(MODEL, DOCUMENT).result()
    polls = [record for record in sandbox.requests() if record["action"] == "poll"]
    assert 0 < len(polls) < 5


def test_failed_analysis_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    poller = client.begin_analyze_document(MODEL, DOCUMENT)
    with pytest.raises(HttpResponseError) as caught:
        poller.result()
    assert (poller.status(), caught.value.error.code) == ("failed", "InternalServerError")
    assert caught.value.error.message == sandbox.job(poller.details["operation_id"])["error_message"]


async def test_failed_analysis_says_why_async(async_client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    poller = await async_client.begin_analyze_document(MODEL, DOCUMENT)
    with pytest.raises(HttpResponseError) as caught:
        await poller.result()
    assert caught.value.error.message


def test_cancelled_analysis_is_an_error(client, sandbox):
    """The client cannot cancel, but it knows the word."""
    sandbox.change_sandbox(paused=True)
    poller = client.begin_analyze_document(MODEL, DOCUMENT)
    assert sandbox.delete(f"/jobs/{poller.details['operation_id']}").status_code == 200
    with pytest.raises(HttpResponseError):
        poller.result()
    assert poller.status() == "canceled"


def test_deleted_result_is_gone(client):
    poller = client.begin_analyze_document(MODEL, DOCUMENT)
    poller.result()
    client.delete_analyze_result(MODEL, poller.details["operation_id"])
    with pytest.raises(ResourceNotFoundError):
        client.delete_analyze_result(MODEL, poller.details["operation_id"])


def test_wrong_key_is_an_authentication_error(url):
    client = DocumentIntelligenceClient(url, AzureKeyCredential("wrong"))
    with client, pytest.raises(ClientAuthenticationError) as caught:
        client.begin_analyze_document(MODEL, DOCUMENT)
    assert (caught.value.status_code, caught.value.error.code) == (401, "401")
    assert caught.value.error.message


async def test_wrong_key_is_an_authentication_error_async(url):
    async with AsyncDocumentIntelligenceClient(url, AzureKeyCredential("wrong")) as client:
        with pytest.raises(ClientAuthenticationError):
            await client.begin_analyze_document(MODEL, DOCUMENT)


def test_unknown_result_is_not_found(client):
    with pytest.raises(ResourceNotFoundError) as caught:
        client.delete_analyze_result(MODEL, "00000000-0000-4000-8000-000000000000")
    assert (caught.value.error.code, bool(caught.value.error.message)) == ("NotFound", True)


def test_missing_source_is_a_bad_request(client):
    with pytest.raises(HttpResponseError) as caught:
        client.begin_analyze_document(MODEL, AnalyzeDocumentRequest())
    assert (caught.value.status_code, caught.value.error.code) == (400, "InvalidRequest")
    assert "urlSource" in caught.value.error.message


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        assert client.begin_analyze_document(MODEL, DOCUMENT).result().content
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
