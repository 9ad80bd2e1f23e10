"""Traces of flows by OpenTelemetry. Only imported where its environment variables ask for it."""

import os
from dataclasses import replace

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer_provider, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from translation_client.core.effects import Effect, Failure, Flow, Input, Listen, Reply, Send, WaitFailed
from translation_client.core.status import Status

SERVICE = "translation-client"


class Tracing:
    """Makes a span of each flow, with its requests and statuses as events.

    The spans go to the provider of the program that uses the client, or else where the environment says.
    """

    def __init__(self) -> None:
        found = get_tracer_provider()
        provider = found if isinstance(found, TracerProvider) else _provider()
        self._tracer = provider.get_tracer(SERVICE)

    def traced(self, flow: Flow) -> Flow:
        """Returns a flow that does the same within a span. Its requests carry the span as `traceparent`."""
        span = self._tracer.start_span(f"translation {getattr(flow, '__name__', 'flow')}", kind=SpanKind.CLIENT)
        result: Input | None = None
        try:
            while True:
                effect = flow.send(result) if result else next(flow)
                result = yield _noted(span, effect)
                _note_input(span, effect, result)
        except (StopIteration, GeneratorExit):  # the flow has ended, or the caller needs no more
            return
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            flow.close()
            span.end()


def _noted(span: Span, effect: Effect) -> Effect:
    """Adds an effect to a span; returns a request with the span as its `traceparent`."""
    match effect:
        case Status():
            span.set_attribute("translation.job.id", effect.id)
            span.add_event("status", {"translation.job.id": effect.id, "translation.job.state": str(effect.state)})
        case WaitFailed():
            span.add_event("wait failed", {"translation.job.id": effect.id, "error.type": type(effect.error).__name__})
        case Send() if not effect.is_address:
            headers = dict(effect.headers)
            TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
            return replace(effect, headers=headers)
    return effect


def _note_input(span: Span, effect: Effect, result: Input) -> None:
    """Adds the answer to a request to a span."""
    request = effect.send if isinstance(effect, Listen) else effect
    if not isinstance(request, Send):
        return
    facts: dict[str, str | int] = {"http.request.method": request.method}
    if not request.is_address:
        facts["url.path"] = request.path
    match result:
        case Reply():
            facts["http.response.status_code"] = result.code
        case Failure():
            facts["error.type"] = result.why
    span.add_event("poll" if request.only_reads else "request", facts)


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    own_name = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": SERVICE}
    provider = TracerProvider(resource=Resource.create(own_name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
