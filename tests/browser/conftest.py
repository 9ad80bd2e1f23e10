"""A browser, and the dashboard of a server in it. `make browser` runs these tests."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.api import Api
from tests.processes import ENVIRONMENT, MODULE, Server
from translation_server import TranslationServer

CREDENTIALS = ("admin", "secretpassword")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="session")
def browser():
    """Runs Chromium."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("Chromium is not installed, and REQUIRE_BROWSER=1")
        pytest.skip("Chromium is not installed: install it, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root otherwise
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def server():
    """Runs a server whose jobs stay pending."""
    with TranslationServer(1000, 0, username=CREDENTIALS[0], password=CREDENTIALS[1]) as running:
        yield running


@pytest.fixture
def run(tmp_path):
    """Starts servers with settings of their own; each is a process, and `client` calls it."""
    with ExitStack() as running:

        def run(**settings):
            stderr = running.enter_context((tmp_path / f"{len(settings)}.log").open("w"))
            environment = os.environ | ENVIRONMENT | {"PORT": "0", "DATABASE_URL": "memory:", "DIALECTS": ""} | settings
            process = running.enter_context(subprocess.Popen(MODULE, cwd=tmp_path, env=environment, stderr=stderr))
            running.callback(process.kill)
            server = Server(process, Path(stderr.name))
            running.enter_context(server.client)
            return server

        yield run


@pytest.fixture
def api(server):
    """Yields a client of the server."""
    with Api(base_url=server.url, auth=CREDENTIALS, timeout=60) as client:
        yield client


@pytest.fixture
def context(browser):
    """Yields a context of the browser that knows the password."""
    username, password = CREDENTIALS
    made = browser.new_context(
        http_credentials={"username": username, "password": password}, viewport={"width": 1280, "height": 720}
    )
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context, server):
    """Opens the dashboard; fails the test if the page has an error or loads anything from elsewhere."""
    opened, problems, url = context.new_page(), [], server.url
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(url) or problems.append(request.url))
    opened.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
    opened.goto(f"{url}/")
    opened.get_by_text("Connected", exact=True).wait_for()
    yield opened
    assert problems == []


@pytest.fixture
def screenshot(page, tmp_path):
    """Takes a screenshot; the pages of the documentation get it if SCREENSHOTS=1."""

    def take(name):
        folder = DOCS if os.environ.get("SCREENSHOTS") == "1" else tmp_path
        page.screenshot(path=folder / f"dashboard-{name}.png")

    return take
