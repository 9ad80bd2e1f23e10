"""Servers for the official clients of other APIs: one with plain HTTP, and one with TLS for those that insist on it.

`make sdks` runs these tests, in a virtual environment of their own. It ends with a row for each client, which says how
many tests of each kind passed; the name of a test says its kind.
"""

import collections
import re
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme
import uvicorn

from tests.api import Api
from translation_server import TranslationServer

USERNAME, KEY = "admin", "secretpassword"  # an API's key is the user's password
OPTIONS = {"username": USERNAME, "password": KEY, "dialects": "all"}
KINDS = {  # the word in a test's name, by the head of its column
    "failed": "fail",
    "cancelled": "cancel",
    "listed": "list",
    "wrong key": "wrong",
    "unknown id": "unknown",
    "flaky": "flaky",
}
REST = "other cases"
PAGE = Path(__file__).parents[2] / "docs/apis.md"


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


def pytest_terminal_summary(terminalreporter):
    """Prints the table of clients and kinds of cases; a dash is what the API or its client does not have."""
    table = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            client, case = client_and_case(report.nodeid)
            for kind in [kind for kind, word in KINDS.items() if word in case.lower()] or [REST]:
                table[client][kind][outcome] += 1
    terminalreporter.section("cases by client")
    terminalreporter.write_line(" " * 35 + "".join(f"{head:<14}" for head in (*KINDS, REST)))
    for client, kinds in sorted(table.items()):
        cells = [
            ", ".join(f"{number} {outcome}" for outcome, number in kinds[kind].items()) or "-"
            for kind in (*KINDS, REST)
        ]
        terminalreporter.write_line(f"{client:<35}" + "".join(f"{cell:<14}" for cell in cells))


def client_and_case(nodeid):
    """Returns the name of a client and of a case; `node/` has the cases of the clients for Node."""
    if named := re.search(r"test_(node|documented_lines)\.py::test_\w+\[([\w-]+)-(\w+)\]", nodeid):
        return f"{named[2]} ({'Node' if named[1] == 'node' else 'Python'})", named[3]
    module, case = re.search(r"test_(\w+)\.py::test_(\w+)", nodeid).groups()
    return f"{module.replace('_', '-')} (Python)", case


def documented_apis():
    """Returns the names of the APIs in the table of `docs/apis.md`."""
    return re.findall(r"^\| `([\w-]+)` \|", PAGE.read_text(), re.MULTILINE)


def documented_lines(api, language):
    """Returns the lines that the table has for an API: code, and settings of the environment."""
    cell = re.search(rf"^\| `{api}` \| (.*?) \| ", PAGE.read_text(), re.MULTILINE)[1]
    python, _, node = cell.partition("<br>Node: ")
    return re.findall(r"`([^`]+)`", {"Python": python, "Node": node}[language])
