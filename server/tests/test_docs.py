"""The page that documents the API, without any other host."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from translation_server.app import assemble
from translation_server.core.sandbox import SandboxSettings
from translation_server.storage.memory import MemoryStore


class References(HTMLParser):
    """What a page refers to, and its inline scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.scripts: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.references += [value or "" for name, value in attributes if name in {"src", "href", "action"}]

    def handle_data(self, data: str) -> None:
        if self._tag == "script" and data.strip():
            self.scripts.append(data)


def files_of(page: str) -> list[str]:
    """Returns the references of a page to files."""
    return [reference for reference in References(page).references if not reference.startswith("data:")]


def test_page_and_its_files_come_from_this_server(api):
    page = api.get("/docs").text
    assert "//" not in page
    kinds = {}
    for reference in files_of(page):
        answer = api.get(urljoin("/docs", reference))
        assert answer.status_code == 200
        kinds[answer.headers["Content-Type"]] = answer.text
    assert set(kinds) == {"text/css; charset=utf-8", "text/javascript; charset=utf-8"}
    assert all(url.startswith("data:") for url in re.findall(r"url\(['\"]?([^)]+)", kinds["text/css; charset=utf-8"]))
    assert "@import" not in kinds["text/css; charset=utf-8"]


def test_page_may_load_and_run_only_what_this_server_sends(api):
    answer = api.get("/docs")
    directives = dict(directive.split(" ", 1) for directive in answer.headers["Content-Security-Policy"].split("; "))
    [script] = References(answer.text).scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert directives.pop("script-src") == f"'self' 'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert {source for sources in directives.values() for source in sources.split()} <= {"'none'", "'self'", "data:"}


def test_files_are_cached_for_ever_and_the_page_is_not(api):
    page = api.get("/docs")
    assert page.headers["Cache-Control"] == "no-cache"
    for reference in files_of(page.text):
        assert api.get(f"/{reference}").headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert re.search(r"/\d[\d.]+/", reference)  # a new version has new paths


def test_page_and_its_files_need_credentials_and_are_not_recorded(api):
    for path in ("docs", *files_of(api.get("/docs").text)):
        assert api.get(f"/{path}", auth=None).status_code == 401
        assert api.head(f"/{path}").status_code == 200
    assert api.requests() == []


@pytest.mark.anyio
async def test_page_works_below_a_prefix():
    app = Starlette(routes=[Mount("/some/prefix", assemble(MemoryStore(), SandboxSettings, None))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        page = await client.get("/some/prefix/docs")
        for reference in (*files_of(page.text), "openapi.json"):
            answer = await client.get(urljoin("/some/prefix/docs", reference))
            assert answer.status_code == 200
        servers = answer.json()["servers"]
    assert [urljoin("/some/prefix/openapi.json", server["url"]) for server in servers] == ["/some/prefix/"]
