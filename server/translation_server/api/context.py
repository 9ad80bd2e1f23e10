"""The context of a request while the server answers it."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection
from starlette.types import Scope

from translation_server.api.request_record import RecordBuilder

if TYPE_CHECKING:
    from translation_server.api.problems import Problem
    from translation_server.api.schemas import Query
    from translation_server.core.dialects.dialect import Api
    from translation_server.core.dialects.routes import Route
    from translation_server.core.faults.rules import FaultRule
    from translation_server.service.files import Grant


@dataclass(slots=True)
class RequestContext:
    """The state of one request.

    Attributes:
        record: What the request log will say of it.
        is_head: Whether it is a HEAD request. The routes see it as a GET.
        transport: Its connection, if the host of the application reveals it.
        max_body: How many bytes its body may have.
        max_upload: How many bytes its body may have if it is a form with files, or a file.
        user: The caller's name; empty until the credentials are verified.
        grant: What its signed URL allows, if it has one.
        query: The parameters of its target, as the route's model.
        body: Its body once it was read, or why the server refuses to read it.
        document: The fields in its body once they were read, or why the server refuses to read them.
        route: The dialect's route that serves it; None for the framework's routes.
        api: The API below whose mount its path is; None for the native one.
        job_api: The API of the job whose file its signed URL is, if that is served.
        fault: The fault rule that changes the answer, if one fired.
    """

    record: RecordBuilder
    is_head: bool
    transport: asyncio.Transport | None
    max_body: int
    max_upload: int
    user: str = ""
    grant: "Grant | None" = None
    query: "Query | None" = None
    body: "bytes | Problem | None" = None
    document: "dict[str, Any] | Problem | None" = None
    route: "Route | None" = None
    api: "Api | None" = None
    job_api: "Api | None" = None
    fault: "FaultRule | None" = None


def context_of(request: HTTPConnection | Scope) -> RequestContext:
    """The context of a request that has passed the middleware."""
    context: RequestContext = request["context"]
    return context
