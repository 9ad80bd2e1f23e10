"""Point it at the server: `client_options={"api_endpoint": "http://127.0.0.1:8000/google-videointelligence", …}`.

With `transport="rest"`, and an API key or credentials with a token.
Covered: `annotate_video`, its operation with `result`, `cancel` and `metadata`; get, list and delete of operations.
Not covered: gRPC, which is the client's default, and all features but a label. Filters of lists are refused.
Version: google-cloud-videointelligence 2.21.0.
"""

import pytest
from google.api_core import exceptions, retry
from google.cloud.videointelligence import Feature, VideoIntelligenceServiceClient
from google.oauth2.credentials import Credentials

from tests.sdks.conftest import KEY
from translation_client import Client, State

REQUEST = {"input_uri": "gs://bucket/cat.mp4", "features": [Feature.LABEL_DETECTION]}
PLACE = "projects/123456789012/locations/us-west1"
UNKNOWN = f"{PLACE}/operations/1"
BRISK = retry.Retry(retry.if_exception_type(Exception), initial=0.05, maximum=0.2, timeout=60)


def client_of(url, *, credentials=None, **options):
    options["api_endpoint"] = f"{url}/google-videointelligence"
    return VideoIntelligenceServiceClient(transport="rest", client_options=options, credentials=credentials)


@pytest.fixture
def client(url):
    return client_of(url, api_key=KEY)


@pytest.fixture
def operations(client):
    return client.transport.operations_client


def test_result_is_awaited(client):
    operation = client.annotate_video(REQUEST)
    [result] = operation.result(timeout=60).annotation_results
    assert result.input_uri == REQUEST["input_uri"]
    assert result.segment_label_annotations[0].entity.description == "simulated label"
    assert operation.metadata.annotation_progress[0].progress_percent == 100
    assert (operation.done(), operation.cancelled()) == (True, False)


def test_token_is_accepted(url):
    operation = client_of(url, credentials=Credentials(KEY)).annotate_video(REQUEST)
    assert operation.result(timeout=60).annotation_results


def test_failed_job_is_raised(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    with pytest.raises(exceptions.InternalServerError, match="simulated failure"):
        client.annotate_video(REQUEST).result(timeout=60)


def test_job_is_cancelled(client, sandbox):
    sandbox.change_sandbox(paused=True)
    operation = client.annotate_video(REQUEST)
    assert operation.cancel() is True
    assert operation.cancelled() is True
    with pytest.raises(exceptions.Cancelled):
        operation.result(timeout=60)


def test_operations_are_listed_and_deleted(client, operations):
    names = [client.annotate_video(REQUEST).operation.name for _ in range(3)]
    assert all(name.startswith(f"{PLACE}/operations/") for name in names)
    listed = operations.list_operations(name=PLACE, filter_="", page_size=2)
    assert [one.name for one in listed] == names[::-1]
    operations.delete_operation(names[0])
    with pytest.raises(exceptions.NotFound):
        operations.get_operation(names[0])
    assert operations.get_operation(names[1]).name == names[1]


def test_missing_field_is_refused(client):
    with pytest.raises(exceptions.BadRequest, match="features"):
        client.annotate_video({"input_uri": "gs://bucket/cat.mp4"})


def test_wrong_key_is_refused(url):
    client = client_of(url, api_key="wrong")
    with pytest.raises(exceptions.Unauthorized):
        client.annotate_video(REQUEST)


def test_unknown_id_is_not_found(operations):
    for call in (operations.get_operation, operations.cancel_operation, operations.delete_operation):
        with pytest.raises(exceptions.NotFound):
            call(UNKNOWN)


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    """The client repeats requests as it is told to."""
    sandbox.change_sandbox(scenario="flaky", seed=1)
    started = [client.annotate_video(REQUEST, retry=BRISK) for _ in range(3)]
    assert all(one.result(timeout=60, retry=BRISK, polling=BRISK).annotation_results for one in started)
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_our_client_waits_for_its_job(client, url):
    operation = client.annotate_video(REQUEST)
    with Client(f"{url}/google-videointelligence", dialect="google-videointelligence", token=KEY) as ours:
        final = ours.wait(operation.operation.name, timeout=60)
    assert (final.id, final.state) == (operation.operation.name, State.COMPLETED)
