"""The client with httpx2 and with httpx: its connections, a caller's `http_client`, and mocks in the place of both."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import httpx2
import pytest

from tests.blocking import open_client
from tests.ports import free_port
from translation_client import State, Status, TransportError
from translation_client.core.builtin_dialects import START
from translation_client.http_library import library_of

HERE = Path(__file__).parent
LOGIN = {"username": "admin", "password": "secretpassword"}
BASIC = "Basic YWRtaW46c2VjcmV0cGFzc3dvcmQ="

RUN = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1]), None))
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""

MOCKED = """
import pytest, respx
from translation_client import AsyncClient, Client
from translation_client.http_library import httpx

assert httpx.__name__ == "LIBRARY"
JOB = {"job_id": "j1", "status": "completed", "result": "completed"}
LOGIN = {"username": "admin", "password": "secretpassword"}
URL = "http://jobs.example"


def poll():
    with Client(URL, **LOGIN) as client:
        assert client.wait("j1").id == "j1"


async def poll_async():
    async with AsyncClient(URL, **LOGIN) as client:
        assert (await client.wait("j1")).id == "j1"
"""

PYTEST_HTTPX = """

def test_sync(httpx_mock):
    httpx_mock.add_response(url=URL + "/status/j1", json=JOB)
    poll()
    assert httpx_mock.get_request().headers["Authorization"].startswith("Basic ")


async def test_async(httpx_mock):
    httpx_mock.add_response(url=URL + "/status/j1", json=JOB)
    await poll_async()
    assert httpx_mock.get_request().headers["Authorization"].startswith("Basic ")


def test_timeout(httpx_mock):
    httpx_mock.add_exception(httpx.ReadTimeout("slow"))
    httpx_mock.add_response(json=JOB)
    with Client(URL, **LOGIN, initial_delay=0.01) as client:
        assert client.status("j1").id == "j1"
"""

RESPX = """

@pytest.mark.parametrize("using", ["httpcore", "httpx"])
def test_respx_sync(using):
    with respx.mock(using=using) as mock:
        route = mock.get(URL + "/status/j1").respond(json=JOB)
        poll()
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_respx_async(using):
    with respx.mock(using=using) as mock:
        route = mock.get(URL + "/status/j1").respond(json=JOB)
        await poll_async()
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")
"""

PYTEST_HTTPX2 = """

def test_sync(httpx2_mock):
    route = httpx2_mock.get(URL + "/status/j1").respond(json=JOB)
    poll()
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")


async def test_async(httpx2_mock):
    route = httpx2_mock.get(URL + "/status/j1").respond(json=JOB)
    await poll_async()
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")
"""


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    return {"httpx": httpx, "httpx2": httpx2}[request.param]


@pytest.fixture
def given(kind, library):
    """Opens a client around an `http_client` of either library."""

    def open_(url, **options):
        headers = {"X-Team": "video", "Connection": "close"}
        http = (library.Client if kind == "sync" else library.AsyncClient)(headers=headers, trust_env=False)
        return open_client(kind, url, http_client=http, initial_delay=0.01, **options)

    return open_


def test_given_client_of_either_library_waits(given, server, job):
    server.says((503, None), (200, job()), (200, job("completed")))
    with given(server.url, **LOGIN) as client:
        assert client.wait(job()["job_id"]).state is State.COMPLETED
    assert {request.headers["x-team"] for request in server.requests} == {"video"}
    assert {request.headers["authorization"] for request in server.requests} == {BASIC}


@pytest.mark.parametrize(
    ("auth", "header"), [("Authorization: Bearer {token}", "authorization"), ("X-Api-Key: {token}", "x-api-key")]
)
def test_given_client_of_either_library_sends_tokens(given, server, job, auth, header):
    server.says((200, job("completed")))
    with given(server.url, dialect=replace(START, auth=auth), token="secret") as client:
        client.status(job()["job_id"])
    assert server.requests[0].headers[header.lower()].endswith("secret")


def test_given_client_of_either_library_signs(given, server, job):
    server.says((202, job()))
    with given(server.url, dialect=replace(START, auth="sigv4"), **LOGIN) as client:
        client.start(source_language="en")
    assert server.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=admin/")


def test_given_client_of_either_library_gets_our_errors(given, listen, tmp_path):
    port = free_port()
    with given(f"http://127.0.0.1:{port}", max_retries=0) as client, pytest.raises(TransportError, match="refused"):
        client.status("j1")
    with (
        listen(lambda _, over: over.wait()) as url,
        given(url, max_retries=0, request_timeout=0.1) as client,
        pytest.raises(TransportError, match="did not answer in full"),
    ):
        client.status("j1")
    final = Status("j1", State.COMPLETED, output={"video_url": f"http://{'x' * 80}.example/f"})
    with given("http://jobs.example", max_retries=0) as client, pytest.raises(TransportError, match="be reached"):
        client.download(final, tmp_path / "file")


def test_subclass_of_a_client_has_the_library_of_its_base(library):
    class Http(library.Client):
        pass

    with Http() as http:
        assert library_of(http) is library


def run_pytest(absent, *arguments):
    """Runs tests in a process that cannot import some modules."""
    command = [sys.executable, "-c", RUN, json.dumps(absent), *map(str, arguments)]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("absent", "tests"),
    [(["httpx2"], PYTEST_HTTPX + RESPX), ([], PYTEST_HTTPX2)],
    ids=["pytest-httpx and respx", "pytest-httpx2"],
)
@pytest.mark.takes(10)
def test_mocks_see_the_requests_of_both_clients(tmp_path, absent, tests):
    (tmp_path / "test_mocked.py").write_text(MOCKED.replace("LIBRARY", "httpx" if absent else "httpx2") + tests)
    run_pytest(absent, "-c", HERE.parents[1] / "pyproject.toml", tmp_path)


@pytest.mark.takes(60)
def test_client_keeps_its_deadlines_without_httpx2():
    """The tests of real sockets run a second time, where httpx2 cannot be imported."""
    run_pytest(["httpx2"], HERE / "test_transport.py")
