"""Traces of requests by OpenTelemetry."""

import subprocess
import sys

import pytest

from tests.examples import CREDENTIALS
from tests.processes import begin, refusal
from tests.spans import exporter
from translation_server.app import is_tracing_on

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, PARENT = "ab" * 16, "cd" * 8
OFF = """
import sys
from translation_server.app import create_app
from translation_server.config.settings import Settings
create_app(Settings(_env_file=None, auth="off", database_url="memory:", metrics="on", dialects=""))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "prometheus_client"))])
"""

WITHOUT_SDK = """
import sys
sys.modules["opentelemetry.sdk"] = None
from translation_server.__main__ import main
main()
"""


@pytest.fixture
def spans(monkeypatch):
    """Turns traces on; returns a function that returns the spans that were made since."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    exporter().clear()
    return exporter().get_finished_spans


def test_requests_are_spans_by_the_semantic_conventions(start, spans):
    api = start()
    job_id = api.submit()
    assert api.get(f"/status/{job_id}", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).status_code == 200
    assert api.get("/nowhere?token=secret").status_code == 404
    submission, poll, unknown = spans()
    assert [span.name for span in (submission, poll, unknown)] == ["POST /start", "GET /status/{job_id}", "GET"]
    assert {span.kind.name for span in spans()} == {"SERVER"}
    assert f"{poll.context.trace_id:032x}" == TRACE
    assert f"{poll.parent.span_id:016x}" == PARENT
    assert submission.parent is None
    assert dict(poll.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/status/{job_id}",
        "url.path": f"/status/{job_id}",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": api.base_url.port,
        "client.address": "127.0.0.1",
        "user_agent.original": api.headers["User-Agent"],
        "translation.job.id": job_id,
    }
    assert submission.attributes["translation.job.id"] == job_id
    assert "secret" not in str(unknown.attributes)


def test_a_failed_request_is_an_error_with_its_fault(start, spans):
    api = start()
    assert api.get("/jobs", headers={"Simulate-Fault": '{"kind": "status", "code": 500}'}).status_code == 500
    [span] = spans()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "500")
    assert span.attributes["translation.faults"] == ("status",)


def test_spans_do_not_have_the_signature_of_a_file(start, spans):
    api = start(max_delay=0, dialects="runway")
    headers = {"Authorization": f"Bearer {':'.join(CREDENTIALS)}", "X-Runway-Version": "2024-11-06"}
    body = {"promptText": "a fox", "ratio": "1280:720", "model": "veo3", "duration": 8}
    task = api.post("/runway/v1/text_to_video", json=body, headers=headers, auth=None)
    assert task.status_code == 200, task.text
    [url] = api.get(f"/runway/v1/tasks/{task.json()['id']}", headers=headers, auth=None).json()["output"]
    assert api.get(url).status_code == 200
    assert spans()[-1].name == "GET /files/{token}/{name}"
    assert url.split("/")[4] not in str(spans()[-1].attributes)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({ENDPOINT: "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_variables_of_opentelemetry_turn_traces_on(environment, expected):
    assert is_tracing_on(environment) is expected


def test_nothing_is_imported_while_it_is_off():
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_traces_without_their_packages_are_refused_in_one_line(tmp_path):
    process = begin(tmp_path, [sys.executable, "-c", WITHOUT_SDK], PORT="0", **{ENDPOINT: "http://x"})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra translation-server[otel]: " in refusal(process)
