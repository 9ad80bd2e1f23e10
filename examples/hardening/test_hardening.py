"""Runs both clients in every scenario. The naive one fails; the hardened one succeeds with a clean report card."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the folder of the two clients

import hardened
import naive

from translation_client.sandbox import Sandbox
from translation_client.testing import PASSWORD

SCENARIOS = {
    "perfect": None,  # it raises nothing, but its report card has warnings
    "flaky": (KeyError, httpx.TransportError),
    "overloaded": (KeyError, httpx.TransportError),
    "outage": (KeyError, httpx.TransportError),
    "slow-network": None,
    "liar": (KeyError, httpx.TransportError),
}
"""What the naive client raises in each scenario. It never returns from `stuck`, which has tests of its own below."""

CLIENTS = {"naive": naive, "hardened": hardened}

JOBS = 5
SEED = 69
"""With this seed, a submission of the first five hangs in `slow-network` and fails in `flaky` and `overloaded`."""
SPEED = 8
"""How fast the sandbox's time runs: an outage of eight seconds takes one."""
PROMPTLY = 60
"""How long a client may take to return on a very busy machine, in seconds."""


@contextmanager
def sandbox_in(url, scenario, client):
    """Yields a sandbox in a scenario, with short jobs and with a seed, so every run has the same faults."""
    with Sandbox(url, username=f"{client} in {scenario}", password=PASSWORD) as sandbox:
        sandbox.speed(SPEED)
        sandbox.set(scenario=scenario, delay={"kind": "fixed", "seconds": 1.5 * SPEED}, seed=SEED)
        yield sandbox


def run(client, sandbox, jobs=JOBS, **options):
    """Runs jobs concurrently. Returns each job's final status, or the exception that the client raised."""

    def job(number):
        body = {"target_language": "es", "video_length": 60 + number}
        try:
            return client.translate(sandbox.url, (sandbox.username, sandbox.password), body, **options)["status"]
        except Exception as error:  # noqa: BLE001 - the tests check which one it is
            return error

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(job, range(jobs)))


def run_in(url, scenario, client):
    """Runs one client's jobs in one scenario. Returns how they ended, and the client's report card."""
    with sandbox_in(url, scenario, client) as sandbox:
        if (scenario, client) == ("outage", "naive"):
            sandbox.clock(advance=2, frozen=True)  # the middle of the outage, however busy the machine is
        return run(CLIENTS[client], sandbox), sandbox.report()


@pytest.fixture(scope="module")
def results(translation_server):
    """Runs both clients in every scenario, all at the same time: sandboxes do not affect each other."""
    hardened.LONGEST_PAUSE = 2.5  # `liar` sends a Retry-After of a day
    hardened.REQUEST_TIMEOUT = 5.0  # a busy machine may take longer than two seconds
    with ThreadPoolExecutor(len(SCENARIOS) * len(CLIENTS)) as pool:
        yield {
            (scenario, client): pool.submit(run_in, translation_server.url, scenario, client)
            for scenario in SCENARIOS
            for client in CLIENTS
        }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_naive_client_fails_or_has_warnings(results, scenario):
    ends, card = results[scenario, "naive"].result()
    raised = [end for end in ends if isinstance(end, Exception)]
    if expected := SCENARIOS[scenario]:
        assert raised
        assert all(isinstance(end, expected) for end in raised), raised
    assert "early-polls" in [finding.rule for finding in card.warnings] or raised


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_hardened_client_succeeds_without_warnings(results, scenario):
    ends, card = results[scenario, "hardened"].result()
    assert ends == ["completed"] * JOBS
    assert card.warnings == (), card
    assert card.raw["overall"]["jobs"] == JOBS


def test_the_naive_client_never_returns_from_stuck_jobs(translation_server):
    with sandbox_in(translation_server.url, "stuck", "naive") as sandbox, ThreadPoolExecutor() as pool:
        job = pool.submit(run, naive, sandbox, jobs=1)
        time.sleep(1)
        assert not job.done()
        with sandbox.client() as client:
            for pending in client.list():
                sandbox.finish(pending)  # else its thread would never end


def test_the_hardened_client_keeps_its_deadline_with_stuck_jobs(translation_server):
    hardened.REQUEST_TIMEOUT = 1.0
    with sandbox_in(translation_server.url, "stuck", "hardened") as sandbox:
        began = time.monotonic()
        assert {type(end) for end in run(hardened, sandbox, timeout=0.5)} == {TimeoutError}
        assert time.monotonic() - began < PROMPTLY
        assert sandbox.report().warnings == ()
