"""The API's own documentation: the OpenAPI document, and a page on which Swagger UI shows it.

The page needs no other host: Swagger UI comes from an installed package. It works behind any prefix, since all its
references are relative, and nothing in it comes from the request.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import distribution
from typing import Any

from fastapi import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from translation_server.api.documentation import TITLE
from translation_server.api.own_routes import OwnRoute

PACKAGE = distribution("fastapi-offline")  # only its files are used
FOLDER = f"/docs/{PACKAGE.version}"  # a new version has new paths, so its files can be cached for ever
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"

START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null})'
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{FOLDER[1:]}/{STYLE}">
</head>
<body>
<div id="page"></div>
<script src="{FOLDER[1:]}/{SCRIPT}"></script>
<script>{START}</script>
</body>
</html>
"""

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "img-src 'self' data:; style-src 'self'; "
    f"script-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(START.encode()).digest()).decode()}'"
)
"""The page may load and run only files of this server and its own inline script."""


class Docs:
    """The routes of the documentation; ``describe`` returns the OpenAPI document, which takes a while."""

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._describe = describe

    @cached_property
    def _document(self) -> str:
        return json.dumps(self._describe())

    @OwnRoute("GET", "/openapi.json")
    async def openapi(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the OpenAPI document."""
        return Response(self._document, media_type="application/json")

    @OwnRoute("GET", "/docs")
    async def page(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the page."""
        return HTMLResponse(PAGE, headers={"Cache-Control": "no-cache", "Content-Security-Policy": POLICY})

    @OwnRoute("GET", f"{FOLDER}/{SCRIPT}")
    async def script(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the program of Swagger UI."""
        return _file(SCRIPT, "text/javascript")

    @OwnRoute("GET", f"{FOLDER}/{STYLE}")
    async def style(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the style sheet of Swagger UI."""
        return _file(STYLE, "text/css")


def _file(name: str, media_type: str) -> Response:
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    path = PACKAGE.locate_file(f"fastapi_offline/static/{name}")
    return FileResponse(str(path), headers=headers, media_type=media_type)
