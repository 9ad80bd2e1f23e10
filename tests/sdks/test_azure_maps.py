"""Point it at the server: `MapsRouteClient(AzureKeyCredential("secretpassword"), endpoint="http://127.0.0.1:8000/azure-maps")`.

Covered: begin_get_route_matrix_batch, of a query and of an id, and its poller, which follows `Location`; async too.
Version: azure-maps-route 1.0.0b3 with azure-core 1.41.0.
"""

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.maps.route import MapsRouteClient
from azure.maps.route.aio import MapsRouteClient as AsyncMapsRouteClient
from azure.maps.route.models import GeoJsonMultiPoint, RouteMatrixQuery

from tests.sdks.conftest import KEY

QUERY = RouteMatrixQuery(
    origins=GeoJsonMultiPoint(coordinates=[[4.8, 52.3]]), destinations=GeoJsonMultiPoint(coordinates=[[4.9, 52.4]])
)
OPTIONS = {"polling_interval": 0.02, "retry_backoff_factor": 0.01}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def endpoint(url):
    return f"{url}/azure-maps"


@pytest.fixture
def client(endpoint):
    with MapsRouteClient(AzureKeyCredential(KEY), endpoint=endpoint, **OPTIONS) as client:
        yield client


@pytest.fixture
async def async_client(endpoint):
    async with AsyncMapsRouteClient(AzureKeyCredential(KEY), endpoint=endpoint, **OPTIONS) as client:
        yield client


def submitted(sandbox):
    """Returns the id of the only job, which no answer but its address has."""
    [job] = sandbox.get("/jobs").json()["jobs"]
    return job["job_id"]


def test_matrix_is_calculated(client, sandbox):
    poller = client.begin_get_route_matrix_batch(query=QUERY)
    result = poller.result()
    assert (poller.status(), result.summary.successful_routes, result.summary.total_routes) == ("Succeeded", 1, 1)
    [[cell]] = result.matrix
    summary = cell.response.summary
    assert cell.status_code == 200
    assert (summary.arrival_time - summary.departure_time).total_seconds() == summary.travel_time_in_seconds
    polls = [record for record in sandbox.requests() if record["action"] == "poll"]
    assert {record["path"] for record in polls} == {f"/azure-maps/route/matrix/{submitted(sandbox)}"}
    assert {record["status"] for record in polls} == {202, 200}


async def test_matrix_is_calculated_async(async_client):
    poller = await async_client.begin_get_route_matrix_batch(query=QUERY)
    assert (await poller.result()).matrix


def test_matrix_is_found_by_its_id(client, sandbox):
    client.begin_get_route_matrix_batch(query=QUERY, polling=False)
    poller = client.begin_get_route_matrix_batch(matrix_id=submitted(sandbox))
    assert poller.result().matrix


def test_poller_goes_on_from_a_token(client):
    token = client.begin_get_route_matrix_batch(query=QUERY).continuation_token()
    poller = client.begin_get_route_matrix_batch(query=QUERY, continuation_token=token)
    assert poller.result().matrix


def test_failed_matrix_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    poller = client.begin_get_route_matrix_batch(query=QUERY)
    with pytest.raises(HttpResponseError) as caught:
        poller.result()
    assert (poller.status(), caught.value.status_code, caught.value.error.code) == ("Failed", 400, "400 BadRequest")
    assert caught.value.error.message == sandbox.job(submitted(sandbox))["error_message"]


async def test_failed_matrix_says_why_async(async_client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    poller = await async_client.begin_get_route_matrix_batch(query=QUERY)
    with pytest.raises(HttpResponseError) as caught:
        await poller.result()
    assert caught.value.error.message


def test_cancelled_matrix_is_an_error(client, sandbox):
    """The API cannot cancel."""
    sandbox.change_sandbox(paused=True)
    poller = client.begin_get_route_matrix_batch(query=QUERY)
    assert sandbox.delete(f"/jobs/{submitted(sandbox)}").status_code == 200
    with pytest.raises(HttpResponseError):
        poller.result()
    assert poller.status() == "Failed"


def test_wrong_key_is_an_authentication_error(endpoint):
    client = MapsRouteClient(AzureKeyCredential("wrong"), endpoint=endpoint)
    with client, pytest.raises(ClientAuthenticationError) as caught:
        client.begin_get_route_matrix_batch(query=QUERY)
    assert (caught.value.status_code, caught.value.error.code) == (401, "Unauthorized")
    assert caught.value.error.message


async def test_wrong_key_is_an_authentication_error_async(endpoint):
    async with AsyncMapsRouteClient(AzureKeyCredential("wrong"), endpoint=endpoint) as client:
        with pytest.raises(ClientAuthenticationError):
            await client.begin_get_route_matrix_batch(query=QUERY)


def test_unknown_matrix_is_not_found(client):
    with pytest.raises(ResourceNotFoundError) as caught:
        client.begin_get_route_matrix_batch(matrix_id=UNKNOWN)
    assert (caught.value.error.code, bool(caught.value.error.message)) == ("404 NotFound", True)


def test_missing_destinations_are_a_bad_request(client):
    with pytest.raises(HttpResponseError) as caught:
        client.begin_get_route_matrix_batch(query=RouteMatrixQuery(origins=QUERY.origins))
    assert (caught.value.status_code, caught.value.error.code) == (400, "400 BadRequest")
    assert "destinations" in caught.value.error.message


def test_client_gets_there_when_the_server_is_flaky(client, sandbox):
    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        assert client.begin_get_route_matrix_batch(query=QUERY).result().matrix
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
