"""The index of the server, and the page of the dashboard with its files."""

from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from translation_server.api.own_routes import OwnRoute
from translation_server.api.preferences import accepted, values_of
from translation_server.api.problems import Problem
from translation_server.version import __version__

FILES = {file.name: file for file in (Path(__file__).parent / "static").iterdir()}
PAGE = "dashboard.html"

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'"
)
"""The page may load files of this server only, and has no inline script."""

HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}


class DashboardApi:
    """The routes of the page; ``read_only`` leaves out its controls."""

    def __init__(self, *, read_only: bool = False) -> None:
        self._read_only = read_only

    @OwnRoute("GET", "/")
    async def index(self, request: Request) -> Response:
        """Leads a browser to the dashboard, and any other client to what there is."""
        if accepted(values_of(request, "accept"), ["application/json", "text/html"]) == "text/html":
            return RedirectResponse("dashboard")
        index = {"name": "translation-server", "version": __version__, "dashboard": "dashboard", "docs": "docs"}
        return JSONResponse(index | {"openapi": "openapi.json"})

    @OwnRoute("GET", "/dashboard")
    async def page(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the page."""
        text = FILES[PAGE].read_text(encoding="utf-8")
        if self._read_only:
            text = text.replace("<html ", "<html data-read-only ", 1)
        return HTMLResponse(text, headers=HEADERS)

    @OwnRoute("GET", "/dashboard/{name}")
    async def file(self, request: Request, name: str) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns a file of the page."""
        if name not in FILES or name == PAGE:
            raise Problem(HTTPStatus.NOT_FOUND, "The dashboard has no such file.")
        return FileResponse(FILES[name], headers=HEADERS)
