"""Servers for the official clients of other APIs: one with plain HTTP, and one with TLS for those that insist on it.

`make sdks` runs these tests, in a virtual environment of their own.
"""

import ssl
import threading
import time

import pytest
import trustme
import uvicorn

from tests.api import Api
from translation_server import TranslationServer

USERNAME, KEY = "admin", "secretpassword"  # an API's key is the user's password
OPTIONS = {"username": USERNAME, "password": KEY, "dialects": "all"}


@pytest.fixture(scope="module")
def plain_url():
    """The address of a server. Each module has its own, because ten wrong keys within a minute lock an address out."""
    with TranslationServer(0.1, 0, **OPTIONS) as server:
        yield server.url


@pytest.fixture(scope="module")
def secure_url(tmp_path_factory):
    """The address of a server with TLS, whose certificate this process trusts."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate, trusted = folder / "server.pem", folder / "authority.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    app = TranslationServer(0.1, 0, **OPTIONS).app
    options = {"ssl_certfile": certificate, "log_config": None, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(trusted))
        yield f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def url(plain_url):
    """The address of the server that a test uses; modules whose client needs TLS choose the other one."""
    return plain_url


@pytest.fixture(autouse=True)
def sandbox(url):
    """The sandbox on that server, which is empty again after the test."""
    verify = ssl.create_default_context() if url.startswith("https:") else False
    with Api(base_url=url, auth=(USERNAME, KEY), verify=verify) as api:
        yield api
        assert api.post("/sandbox/reset").status_code == 200
