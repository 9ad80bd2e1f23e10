"""What each named day does to a naive client, and that the hardened one has a clean report card at its end."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # where the two clients are

import hardened
import naive

from translation_client.sandbox import Sandbox
from translation_client.testing import PASSWORD

DAYS = {
    "perfect": None,  # it gets through; what is wrong with it stands on its card
    "flaky": (KeyError, httpx.TransportError),
    "overloaded": (KeyError, httpx.TransportError),
    "outage": (KeyError, httpx.TransportError),
    "slow-network": None,
    "liar": (KeyError, httpx.TransportError),
}
"""What the naive client raises on each day. On `stuck`, at the end of this file, it never returns."""

JOBS = 12
SOON = 30  # seconds: on any machine, however busy
SPEED = 8
"""How fast time runs in the sandbox: an outage of eight seconds takes one."""


@pytest.fixture
def today(translation_server, request, day, monkeypatch):
    """A sandbox on that day, with short jobs. By its name and seed, every run of a test meets the same faults."""
    monkeypatch.setattr(hardened, "LONGEST_PAUSE", 2.5)  # the liar asks for a day
    with Sandbox(translation_server.url, username=request.node.name, password=PASSWORD) as sandbox:
        sandbox.speed(SPEED)
        sandbox.set(day=day, delay={"kind": "fixed", "seconds": 0.4 * SPEED}, seed="hardening")
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


@pytest.mark.parametrize("day", DAYS)
def test_the_naive_client_fails_or_is_told_so_by_its_card(today, day):
    ends = run(naive, today)
    raised = [end for end in ends if isinstance(end, Exception)]
    if expected := DAYS[day]:
        assert raised
        assert all(isinstance(end, expected) for end in raised), raised
    assert "early-looks" in [finding.rule for finding in today.report().warnings] or raised


@pytest.mark.parametrize("day", DAYS)
def test_the_hardened_client_gets_through_with_a_clean_card(today):
    assert run(hardened, today) == ["completed"] * JOBS
    card = today.report()
    assert card.warnings == (), card
    assert card.raw["overall"]["jobs"] == JOBS


@pytest.mark.parametrize("day", ["stuck"])
def test_on_a_day_without_end_the_naive_client_never_returns(today):
    with ThreadPoolExecutor() as pool:
        job = pool.submit(run, naive, today, jobs=1)
        time.sleep(2)
        assert not job.done()
        with today.client() as client:
            for pending in client.list():
                today.finish(pending)  # or it would go on for ever


@pytest.mark.parametrize("day", ["stuck"])
def test_the_hardened_client_keeps_its_deadline(today):
    began = time.monotonic()
    assert {type(end) for end in run(hardened, today, timeout=1.5)} == {TimeoutError}
    assert time.monotonic() - began < SOON
    assert today.report().warnings == ()
