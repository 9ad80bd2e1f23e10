"""A naive client fails in each scenario; the hardened one gets through with a clean report card."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # where the two clients are

import hardened
import naive

from translation_client.sandbox import Sandbox
from translation_client.testing import PASSWORD

SCENARIOS = {
    "perfect": None,  # it gets through; what is wrong with it stands on its card
    "flaky": (KeyError, httpx.TransportError),
    "overloaded": (KeyError, httpx.TransportError),
    "outage": (KeyError, httpx.TransportError),
    "slow-network": None,
    "liar": (KeyError, httpx.TransportError),
}
"""What the naive client raises in each scenario. In `stuck`, at the end of this file, it never returns."""

CLIENTS = {"naive": naive, "hardened": hardened}

JOBS = 5
SPEED = 8
"""How fast time runs in the sandbox: an outage of eight seconds takes one."""
SOON = 60
"""Seconds: on any machine, however busy."""


@contextmanager
def sandbox_in(url, scenario, who):
    """A sandbox in that scenario, with short jobs. Its name and its seed give the same faults in every run."""
    with Sandbox(url, username=f"{who} on a day {scenario}", password=PASSWORD) as sandbox:
        sandbox.speed(SPEED)
        sandbox.set(scenario=scenario, delay={"kind": "fixed", "seconds": 1.5 * SPEED}, seed="a client")
        yield sandbox


def run(client, sandbox, jobs=JOBS, **options):
    """What became of some jobs at once: for each its last status, or what was raised."""

    def job(number):
        body = {"target_language": "es", "video_length": 60 + number}
        try:
            return client.translate(sandbox.url, (sandbox.username, sandbox.password), body, **options)["status"]
        except Exception as error:  # noqa: BLE001 - whatever it is
            return error

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(job, range(jobs)))


def spend(url, scenario, who):
    """How the jobs of one client ended in one scenario, and the client's report card."""
    with sandbox_in(url, scenario, who) as sandbox:
        if (scenario, who) == ("outage", "naive"):
            sandbox.clock(advance=2, frozen=True)  # in the midst of it, however busy this machine is
        return run(CLIENTS[who], sandbox), sandbox.report()


@pytest.fixture(scope="module")
def spent(translation_server):
    """Every scenario with both clients, all at the same time: sandboxes do not affect each other."""
    hardened.LONGEST_PAUSE = 2.5  # the liar asks for a day
    hardened.REQUEST_TIMEOUT = 5.0  # or a busy machine is taken for one that hangs
    with ThreadPoolExecutor(len(SCENARIOS) * len(CLIENTS)) as pool:
        yield {
            (scenario, who): pool.submit(spend, translation_server.url, scenario, who)
            for scenario in SCENARIOS
            for who in CLIENTS
        }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_naive_client_fails_or_gets_warnings_on_its_card(spent, scenario):
    ends, card = spent[scenario, "naive"].result()
    raised = [end for end in ends if isinstance(end, Exception)]
    if expected := SCENARIOS[scenario]:
        assert raised
        assert all(isinstance(end, expected) for end in raised), raised
    assert "early-polls" in [finding.rule for finding in card.warnings] or raised


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_hardened_client_gets_through_with_a_clean_card(spent, scenario):
    ends, card = spent[scenario, "hardened"].result()
    assert ends == ["completed"] * JOBS
    assert card.warnings == (), card
    assert card.raw["overall"]["jobs"] == JOBS


def test_on_a_day_without_end_the_naive_client_never_returns(translation_server):
    with sandbox_in(translation_server.url, "stuck", "naive") as sandbox, ThreadPoolExecutor() as pool:
        job = pool.submit(run, naive, sandbox, jobs=1)
        time.sleep(1)
        assert not job.done()
        with sandbox.client() as client:
            for pending in client.list():
                sandbox.finish(pending)  # or it would go on for ever


def test_on_a_day_without_end_the_hardened_client_keeps_its_deadline(translation_server):
    hardened.REQUEST_TIMEOUT = 1.0
    with sandbox_in(translation_server.url, "stuck", "hardened") as sandbox:
        began = time.monotonic()
        assert {type(end) for end in run(hardened, sandbox, timeout=0.5)} == {TimeoutError}
        assert time.monotonic() - began < SOON
        assert sandbox.report().warnings == ()
