"""Point it at the server: `client_options={"api_endpoint": "http://127.0.0.1:8000/google-speech", …}`.

With `transport="rest"`, and an API key or credentials with a token.
Covered: version 1, `long_running_recognize` with the operation's `result` and `metadata`; `get_operation`,
`list_operations`. The API has no cancel and no delete of operations over HTTP.
Not covered: gRPC, which is the client's default; `recognize`; versions 1p1beta1 and 2. Filters of lists are refused.
Version: google-cloud-speech 2.41.0.
"""

import pytest
from google.api_core import exceptions, retry
from google.cloud.speech import RecognitionAudio, RecognitionConfig, SpeechClient
from google.oauth2.credentials import Credentials

from tests.sdks.conftest import KEY
from translation_client import Client, State

URI = "gs://bucket/speech.flac"
REQUEST = {"config": RecognitionConfig(language_code="en-US"), "audio": RecognitionAudio(uri=URI)}
BRISK = retry.Retry(retry.if_exception_type(Exception), initial=0.05, maximum=0.2, timeout=60)


def client_of(url, *, credentials=None, **options):
    options["api_endpoint"] = f"{url}/google-speech"
    return SpeechClient(transport="rest", client_options=options, credentials=credentials)


@pytest.fixture
def client(url):
    return client_of(url, api_key=KEY)


def test_result_is_awaited(client):
    operation = client.long_running_recognize(**REQUEST)
    assert operation.operation.name.isdecimal()
    result = operation.result(timeout=60)
    assert result.results[0].alternatives[0].transcript == "a simulated transcript"
    assert result.results[0].language_code == "en-US"
    assert result.total_billed_time.total_seconds() == 1
    assert (operation.metadata.progress_percent, operation.metadata.uri) == (100, URI)


def test_audio_may_be_sent(client):
    request = REQUEST | {"audio": RecognitionAudio(content=b"RIFF")}
    assert client.long_running_recognize(**request).result(timeout=60).results


def test_token_is_accepted(url):
    operation = client_of(url, credentials=Credentials(KEY)).long_running_recognize(**REQUEST)
    assert operation.result(timeout=60).results


def test_failed_job_is_raised(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    with pytest.raises(exceptions.InternalServerError, match="simulated failure"):
        client.long_running_recognize(**REQUEST).result(timeout=60)


def test_operations_are_listed(client):
    names = [client.long_running_recognize(**REQUEST).operation.name for _ in range(3)]
    first = client.list_operations({"page_size": 2})
    assert [one.name for one in first.operations] == names[:0:-1]
    rest = client.list_operations({"page_size": 2, "page_token": first.next_page_token})
    assert ([one.name for one in rest.operations], rest.next_page_token) == ([names[0]], "")
    assert client.get_operation({"name": names[0]}).name == names[0]


def test_wrong_key_is_refused(url):
    client = client_of(url, api_key="wrong")
    with pytest.raises(exceptions.Unauthorized):
        client.long_running_recognize(**REQUEST)


def test_unknown_id_is_not_found(client):
    with pytest.raises(exceptions.NotFound):
        client.get_operation({"name": "1"})


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    """The client repeats requests as it is told to."""
    sandbox.change_sandbox(scenario="flaky", seed=1)
    started = [client.long_running_recognize(**REQUEST, retry=BRISK) for _ in range(3)]
    assert all(one.result(timeout=60, retry=BRISK, polling=BRISK).results for one in started)
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_our_client_waits_for_its_job(client, url):
    operation = client.long_running_recognize(**REQUEST)
    with Client(f"{url}/google-speech", dialect="google-speech", token=KEY) as ours:
        final = ours.wait(operation.operation.name, timeout=60)
    assert (final.id, final.state) == (operation.operation.name, State.COMPLETED)
