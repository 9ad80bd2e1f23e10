"""Traces of requests by OpenTelemetry. Only imported where its environment variables ask for it."""

import os
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, get_tracer_provider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from translation_server.api.request_record import RecordBuilder
from translation_server.version import __version__

SERVICE = "translation-server"
MAX_JOBS = 20  # how many jobs of an answer a span names


class Tracing:
    """Makes a span of each request, named after the template of its route.

    The spans go to the provider of the program that this server is part of, or else where the environment says.
    """

    def __init__(self) -> None:
        found = get_tracer_provider()
        provider = found if isinstance(found, TracerProvider) else _provider()
        self._tracer = provider.get_tracer(SERVICE, __version__)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request within a span, which continues the trace of its `traceparent`."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(scope["method"], parent, SpanKind.SERVER) as span:
            scope["trace_id"] = f"{span.get_span_context().trace_id:032x}"
            await app(scope, receive, send)
            if span.is_recording():
                template, record = scope.get("served", ("", None))
                span.update_name(f"{scope['method']} {template}".strip())
                span.set_attributes(dict(_of_request(scope, headers)) | dict(_of_answer(template, record)))
                if record and record.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)


def _of_request(scope: Scope, headers: dict[str, str]) -> Iterable[tuple[str, Any]]:
    """Yields attributes of a request, by the semantic conventions; the query is left out, as it may have a token."""
    yield "http.request.method", scope["method"]
    yield "url.scheme", scope["scheme"]
    yield "network.protocol.version", scope["http_version"]
    if scope["server"]:
        yield "server.address", scope["server"][0]
        if scope["server"][1]:
            yield "server.port", scope["server"][1]
    if scope["client"]:
        yield "client.address", scope["client"][0]
    if agent := headers.get("user-agent"):
        yield "user_agent.original", agent


def _of_answer(template: str, record: RecordBuilder | None) -> Iterable[tuple[str, Any]]:
    """Yields attributes of an answer; the path is that of the request log, which has no signatures."""
    if template:
        yield "http.route", template
    if record:
        yield "url.path", record.path
        if record.status:
            yield "http.response.status_code", record.status
        if record.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield "error.type", str(record.status)
        if record.faults:
            yield "translation.faults", record.faults
        jobs = [snapshot.job.id for snapshot in record.snapshots[:MAX_JOBS]]
        if jobs:
            yield "translation.job.id", jobs[0] if len(jobs) == 1 else jobs


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    own_name = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": SERVICE}
    provider = TracerProvider(resource=Resource.create(own_name | {"service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
