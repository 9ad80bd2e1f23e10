"""Point it at the server: `replicate.Client(api_token="secretpassword", base_url="http://127.0.0.1:8000/replicate")`.

Covered: run with FileOutput (which needs HTTPS), predictions of versions, models and deployments; sync and async;
the check of webhooks.
Version: replicate 1.0.7.
"""

import httpx
import pytest
import replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.webhook import InvalidSignatureError, Webhooks

from tests.receivers import receiving
from tests.sdks.conftest import KEY

MODEL, VERSION = "owner/model", "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


@pytest.fixture
def url(secure_url):
    return secure_url


@pytest.fixture
def client(url, monkeypatch):
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
    return replicate.Client(api_token=KEY, base_url=f"{url}/replicate")


def test_run_returns_the_output(client):
    output = client.run(MODEL, input={"prompt": "A cat"})
    assert isinstance(output, FileOutput)
    assert output.read()[4:8] == b"ftyp"
    assert b"".join(output) == output.read()


async def test_run_returns_the_output_async(client):
    output = await client.async_run(MODEL, input={"prompt": "A cat"})
    assert (await output.aread())[4:8] == b"ftyp"


def test_run_over_plain_http_returns_the_url(plain_url, monkeypatch):
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
    client = replicate.Client(api_token=KEY, base_url=f"{plain_url}/replicate")
    assert client.run(MODEL, input={}).startswith(plain_url)


def test_prediction_of_a_version_succeeds(client):
    prediction = client.predictions.create(version=VERSION, input={"prompt": "A cat"})
    assert (prediction.status, prediction.version) == ("starting", VERSION)
    assert (prediction.input, prediction.output, prediction.error) == ({"prompt": "A cat"}, None, None)
    prediction.wait()
    assert (prediction.status, prediction.progress.percentage) == ("succeeded", 1)
    assert prediction.completed_at >= prediction.started_at >= prediction.created_at
    assert prediction.metrics["predict_time"] > 0
    assert client.predictions.get(prediction.id).output == prediction.output


@pytest.mark.parametrize(("wait", "applied"), [(True, 60), (30, 30)])
def test_prediction_is_awaited_by_the_server(client, sandbox, wait, applied):
    prediction = client.predictions.create(version=VERSION, input={"prompt": "A cat"}, wait=wait)
    assert (prediction.status, prediction.error) == ("succeeded", None)
    [record] = sandbox.requests()
    assert (record["action"], record["wait"]) == ("submit", applied)


def test_prediction_of_a_model_succeeds(client):
    prediction = client.models.predictions.create(MODEL, input={"prompt": "A cat"})
    prediction.wait()
    assert (prediction.status, prediction.model, prediction.version) == ("succeeded", MODEL, "hidden")


def test_prediction_of_a_deployment_succeeds(client):
    prediction = client.deployments.predictions.create("owner/deployment", input={"prompt": "A cat"})
    prediction.wait()
    assert prediction.status == "succeeded"


async def test_prediction_succeeds_async(client):
    prediction = await client.predictions.async_create(version=VERSION, input={"prompt": "A cat"})
    await prediction.async_wait()
    assert prediction.status == "succeeded"


def test_failed_prediction_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    with pytest.raises(ModelError) as caught:
        client.run(MODEL, input={"prompt": "A cat"})
    prediction = caught.value.prediction
    assert (prediction.status, prediction.output) == ("failed", None)
    assert str(caught.value) == sandbox.job(prediction.id)["error_message"]


def test_prediction_is_cancelled(client, sandbox):
    sandbox.change_sandbox(paused=True)
    prediction = client.predictions.create(version=VERSION, input={})
    prediction.cancel()
    assert prediction.status == "canceled"
    prediction.reload()
    assert prediction.status == "canceled"
    prediction.wait()


async def test_prediction_is_cancelled_async(client, sandbox):
    sandbox.change_sandbox(paused=True)
    prediction = await client.predictions.async_create(version=VERSION, input={})
    await prediction.async_cancel()
    assert prediction.status == "canceled"


def test_predictions_are_listed_page_by_page(client):
    made = [client.predictions.create(version=VERSION, input={"n": n}).id for n in range(102)]
    pages = list(replicate.pagination.paginate(client.predictions.list))
    assert [prediction.id for page in pages for prediction in page] == made[::-1]
    assert len(pages) == 2


def test_wrong_token_is_refused(url):
    with pytest.raises(ReplicateError) as caught:
        replicate.Client(api_token="wrong", base_url=f"{url}/replicate").run(MODEL, input={})
    assert (caught.value.status, caught.value.title) == (401, "Unauthorized")
    assert caught.value.detail


def test_unknown_id_is_not_found(client):
    for call in (client.predictions.get, client.predictions.cancel):
        with pytest.raises(ReplicateError) as caught:
            call("0" * 26)
        assert caught.value.status == 404
        assert caught.value.detail


def test_missing_field_is_refused(client):
    with pytest.raises(ReplicateError) as caught:
        client.predictions.create(version=VERSION, input=None)
    assert caught.value.status == 422
    assert "input" in caught.value.detail


def test_client_gets_there_when_the_server_is_overloaded(client, sandbox):
    rules = [{"kind": "status", "code": code, "probability": 0.2, "route": ["poll"]} for code in (429, 503)]
    sandbox.change_sandbox(seed=1, faults=rules)
    for _ in range(5):
        client.run(MODEL, input={"prompt": "A cat"}, wait=False)
    sandbox.set_faults()
    assert any(record["faults"] for record in sandbox.requests())


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(client, sandbox):
    """The client repeats what was refused, but neither a request whose connection broke nor a submission."""

    def insisting(call):
        while True:
            try:
                return call()
            except (ReplicateError, httpx.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        prediction = insisting(lambda: client.predictions.create(version=VERSION, input={}))
        insisting(prediction.wait)
        assert prediction.status == "succeeded"
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_webhook_is_validated(client):
    with receiving() as receiver:
        prediction = client.predictions.create(
            version=VERSION, input={}, webhook=receiver.url, webhook_events_filter=["start", "completed"]
        )
        received = receiver.take(2)
    secret = client.webhooks.default.secret()
    for one in received:
        Webhooks.validate(headers=one.headers, body=one.text, secret=secret, tolerance=60)
    assert [(one.body["id"], one.body["status"]) for one in received] == [
        (prediction.id, "starting"),
        (prediction.id, "succeeded"),
    ]
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=received[0].headers, body=received[1].text, secret=secret)
