"""The route of files: downloads by signed URLs, which need no credentials."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.responses import Response

from translation_server.api.context import context_of
from translation_server.api.faults.simulator import Simulator
from translation_server.api.file_response import send_file
from translation_server.api.openapi import IF_NONE_MATCH, IF_RANGE, RANGE, TEXT, Part, error_references, error_response
from translation_server.api.own_routes import OwnRoute, add_own_routes
from translation_server.api.problems import expired_url
from translation_server.service.files import FILES
from translation_server.service.jobs import Service

BYTES: Part = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
FILE_HEADERS: Part = {
    name: {"description": description, "schema": TEXT}
    for name, description in (
        ("Accept-Ranges", "`bytes`"),
        ("Cache-Control", "`private`"),
        ("Content-Disposition", "the file's name"),
        ("ETag", "changes with the file's content"),
        ("X-Content-Type-Options", "`nosniff`"),
    )
}
OF_API: Part = {"*/*": {"example": {"error": "This URL has expired."}}}  # an error in the form of the job's API
REFUSED = error_response(HTTPStatus.FORBIDDEN)
PART_HEADERS: Part = {"Content-Range": {"description": "which bytes, and how many the file has", "schema": TEXT}}


class FileApi:
    """The route of files; ``dialect`` is the name of the wire format that its requests count as."""

    def __init__(self, service: Service, simulator: Simulator, dialect: str) -> None:
        self._service = service
        self._simulator = simulator
        self._dialect = dialect

    def add_to(self, app: FastAPI) -> None:
        """Adds the route to an application."""
        names = (self._dialect,)
        add_own_routes(app, self, lambda action, endpoint: self._simulator.endpoint(action, names, endpoint))

    @OwnRoute(
        "GET",
        f"{FILES}{{token}}/{{name}}",
        {"description": "The file.", "headers": FILE_HEADERS, "content": BYTES},
        action="download",
        is_signed=True,
        headers=(RANGE, IF_RANGE, IF_NONE_MATCH),
        responses={
            "206": {"description": "A part of it.", "headers": FILE_HEADERS | PART_HEADERS, "content": BYTES},
            "304": {"description": "The file has not changed.", "headers": FILE_HEADERS},
            **error_references(HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
            "403": REFUSED | {"content": REFUSED["content"] | OF_API},
        },
    )
    async def download(self, request: Request, token: str, name: str) -> Response:  # noqa: ARG002 - both are in the grant
        """Sends an output file of a job. The URL is signed and expires."""
        context = context_of(request)
        grant, owner = context.grant, context.user
        if grant is None or grant.expires <= await self._service.virtual_time(owner):
            raise expired_url(request.scope)
        job_id, api, kind = grant.job
        await self._service.snapshot(owner, job_id, api=api, kind=kind)
        return await send_file(request, self._service.files, grant.name)
