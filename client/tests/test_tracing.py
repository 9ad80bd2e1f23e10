"""Traces of waits by OpenTelemetry."""

import subprocess
import sys

import httpx
import pytest

from tests.spans import exporter
from translation_client import Client, NotFound
from translation_server import TranslationServer

OFF = """
import sys
from translation_client import Client
with Client("http://127.0.0.1:9"):
    print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.fixture
def spans(monkeypatch):
    """Turns traces on; returns a function that returns the spans that were made since."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    exporter().clear()
    return exporter().get_finished_spans


def test_a_wait_is_a_span_with_its_polls_as_events(spans):
    with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url) as client:
        job = client.start()
        client.wait(job.id)
    submission, wait = spans()
    assert [span.name for span in (submission, wait)] == ["translation submit", "translation watch"]
    assert {span.kind.name for span in spans()} == {"CLIENT"}
    assert wait.attributes["translation.job.id"] == job.id
    polls = [event for event in wait.events if event.name == "poll"]
    assert polls
    assert all(event.attributes["http.response.status_code"] == 200 for event in polls)
    states = [event.attributes["translation.job.state"] for event in wait.events if event.name == "status"]
    assert states[-1] == "completed"


def test_requests_carry_the_span_of_their_wait(spans):
    seen = []

    def answer(request):
        seen.append(request.headers["traceparent"])
        return httpx.Response(200, json={"job_id": "j", "status": "completed"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http, Client("http://x", http_client=http) as client:
        client.run()
    [span] = spans()
    assert span.name == "translation run"
    parent = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}"
    assert {sent.rpartition("-")[0] for sent in seen} == {parent}


def test_a_failed_wait_is_an_error(spans):
    with TranslationServer() as server, Client(server.url) as client, pytest.raises(NotFound):
        client.wait("unknown")
    [span] = spans()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "NotFound")


def test_nothing_is_imported_while_it_is_off():
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
