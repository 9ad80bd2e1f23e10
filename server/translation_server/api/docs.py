"""The API's own documentation: the OpenAPI document, and a page that shows it."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

from translation_server.api.documentation import TITLE
from translation_server.api.own_routes import OwnRoute


class Docs:
    """The routes of the documentation."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document)

    @OwnRoute("GET", "/openapi.json")
    async def openapi(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Returns the OpenAPI document."""
        return Response(self._document, media_type="application/json")

    @OwnRoute("GET", "/docs")
    async def page(self, request: Request) -> Response:
        """Returns the page."""
        return get_swagger_ui_html(openapi_url=f"{request.scope['root_path']}/openapi.json", title=TITLE)
