"""Both clients under every kind of fault, at every kind of request.

All cases start with the first test and run at the same time, each in its own sandbox; each test waits for its case.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.blocking import blocking
from translation_client import AuthenticationError, NotFound, Report, State, TranslationError
from translation_client.testing import sandbox_on
from translation_server.core.faults.rules import REQUEST_KINDS

ENDLESS = ("hang", "wrong-type")  # faults after which a client waits until its timeout
FAULTS = {kind: {"kind": kind} for kind in (*ENDLESS, *REQUEST_KINDS)} | {
    "status": {"kind": "status", "code": 503},
    "status-429": {"kind": "status", "code": 429, "retry_after": 1},
    "latency": {"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.1}},
    "drip": {"kind": "drip", "rate": 2000},
    "hang": {"kind": "hang", "seconds": 5},
}
ROUTES = {"submit": "submit", "poll": "poll", "long-poll": "poll", "events": "events", "batch_poll": "batch_poll"}
CLIENTS = ["sync", "async"]

# The exceptions that end a wait at once: refused credentials, and a submission that is answered 404.
REFUSED = {("unauthorized", route): AuthenticationError for route in ROUTES} | {("not-found", "submit"): NotFound}


@dataclass(frozen=True)
class Outcome:
    """The result of a case."""

    ends: list[object]
    jobs: list[str]
    report: Report


def case(url, fault, route, client_kind):
    """Starts a job under a fault, and waits for its end."""
    options = {"request_timeout": 3 if fault in ENDLESS else 60, "timeout": 240}
    if route in {"poll", "batch_poll"}:
        options["long_poll"] = 0
    many = route in {"events", "batch_poll"}
    with sandbox_on(url) as sandbox:
        rule = FAULTS[fault] | {"route": [ROUTES[route]], "times": 2}
        sandbox.set(delay={"kind": "fixed", "seconds": 0.3}, faults=[rule])

        is_async = client_kind == "async"
        with blocking(sandbox.async_client(**options)) if is_async else sandbox.client(**options) as client:
            try:
                ends = list(client.wait_all([client.start().id]).values()) if many else [client.run()]
            except TranslationError as error:
                ends = [error]
        sandbox.faults()
        with sandbox.client() as client:
            report, jobs = sandbox.report(), [job.id for job in client.list()]
    return Outcome(ends, jobs, report)


@pytest.fixture(scope="module")
def cases(translation_server):
    """All cases, running."""
    with ThreadPoolExecutor(24) as pool:
        yield {
            (fault, route, client_kind): pool.submit(case, translation_server.url, fault, route, client_kind)
            for fault in FAULTS
            for route in ROUTES
            for client_kind in CLIENTS
        }


@pytest.mark.parametrize("client_kind", CLIENTS)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", FAULTS)
def test_wait_under_a_fault_ends_with_the_right_status_or_exception(cases, fault, route, client_kind):
    outcome = cases[fault, route, client_kind].result(300)
    [end] = outcome.ends
    if expected := REFUSED.get((fault, route)):
        assert isinstance(end, expected), end
    else:
        assert getattr(end, "state", end) is State.COMPLETED
        assert [end.id] == outcome.jobs
    # Many cases run at once, so a slow machine makes the client late.
    assert [finding for finding in outcome.report.warnings if finding.rule != "late"] == []


def test_no_connection_stays_open(cases, translation_server):
    for case in cases.values():
        case.result(300)
    until = time.monotonic() + 60
    server = translation_server._running.server  # noqa: SLF001 - the only count of connections
    while server.server_state.connections:
        assert time.monotonic() < until
        time.sleep(0.05)
