"""The scenarios: a naive poller fails in each of them, and our client passes with a clean report card.

All scenarios run side by side, each in a sandbox of its own, from the first test on.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from translation_client import JobTimeout, Report, Sandbox, State, TranslationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCENARIOS = ["perfect", "flaky", "overloaded", "outage", "slow-network", "liar", "stuck"]
CLIENTS = ["sync", "async"]
JOBS = 6
PATIENCE = 5.0  # seconds that the naive poller would wait for a word; it has no patience of its own
OPTIONS: dict[str, Any] = {"timeout": 240, "request_timeout": 20, "max_retries": 20}
"""What a client of ours is given: time that a busy machine may need, and more tries than an outage lasts."""

HANGING = {"slow-network": {"request_timeout": 4, "long_poll": 2}}
"""Options for the scenarios in which some requests hang, and the poll that hangs is a long poll."""


def naive(sandbox: Sandbox) -> list[str]:
    """What is written in five minutes: submit, then look ten times a second until it is no longer pending."""
    with httpx.Client(base_url=sandbox.url, auth=(str(sandbox.username), str(sandbox.password)), timeout=3) as http:
        ends = []
        until = time.monotonic() + PATIENCE
        for _ in range(JOBS):
            job_id = http.post("/start").json()["job_id"]
            while (status := http.get(f"/status/{job_id}").json()["status"]) == "pending":
                assert time.monotonic() < until, "it would wait for ever"
                time.sleep(0.1)
            ends.append(status)
    return ends


def sync(sandbox: Sandbox, **options: Any) -> list[str]:
    with sandbox.client(**OPTIONS | options) as client, ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(lambda _: client.run().state, range(JOBS)))


def asynchronous(sandbox: Sandbox, **options: Any) -> list[str]:
    async def together() -> list[str]:
        async with sandbox.async_client(**OPTIONS | options) as client:
            return [final.state for final in await asyncio.gather(*(client.run() for _ in range(JOBS)))]

    return asyncio.run(together())


def spend(url: str, scenario: str, name: str, work: Callable[[Sandbox], list[str]]) -> tuple[object, Report]:
    """The result of some work in a scenario, and its report card; only the durations differ between runs."""
    with Sandbox(url, username=f"{scenario}-{name}", password="x") as sandbox:
        sandbox.reset()
        sandbox.set(
            delay={"kind": "uniform", "min": 0.2, "max": 0.6}, error_probability=0, seed="a day", scenario=scenario
        )
        try:
            return work(sandbox), sandbox.report()
        except (httpx.HTTPError, ValueError, KeyError, AssertionError, TranslationError) as error:
            return error, sandbox.report()


@pytest.fixture(autouse=True)
def _no_error_goes_unseen() -> None:
    """The naive poller looks at no status, which is what is wrong with it."""


@pytest.fixture(scope="module")
def spent(translation_server) -> Iterator[Mapping[tuple[str, str], Future[Any]]]:
    """All scenarios, running."""
    work = {"sync": sync, "async": asynchronous}
    with ThreadPoolExecutor(24) as pool:
        yield {
            (scenario, name): pool.submit(
                spend, translation_server.url, scenario, name, partial(does, **HANGING.get(scenario, {}))
            )
            for scenario in SCENARIOS
            if scenario != "stuck"
            for name, does in work.items()
        } | {
            (scenario, "naive"): pool.submit(spend, translation_server.url, scenario, "naive", naive)
            for scenario in SCENARIOS
        }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_naive_poller_fails(spent, scenario):
    """It breaks off, is wrong, waits for ever, or is told by its card what is wrong with it."""
    end, report = spent[scenario, "naive"].result(300)
    assert end != ["completed"] * JOBS or report.warnings


@pytest.mark.parametrize("scenario", ["flaky", "overloaded", "outage", "slow-network", "liar", "stuck"])
def test_a_naive_poller_fails_to_say_how_its_jobs_ended(spent, scenario):
    assert spent[scenario, "naive"].result(300)[0] != ["completed"] * JOBS


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario != "stuck"])
def test_our_client_passes_with_a_clean_card(spent, scenario, client):
    end, report = spent[scenario, client].result(300)
    assert end == ["completed"] * JOBS
    assert report.warnings == ()
    assert report.raw["overall"]["jobs"] == JOBS


def test_our_client_leaves_a_stuck_job_in_time_and_takes_it_up_again(translation_server):
    with Sandbox(translation_server.url, username="stuck-ours", password="x") as sandbox:
        sandbox.reset()
        sandbox.set(delay={"kind": "fixed", "seconds": 0.2}, seed="a day", scenario="stuck")
        with sandbox.client(timeout=2, request_timeout=1) as client:
            with pytest.raises(JobTimeout) as left:
                client.run()
            sandbox.unpause(left.value.job_id)
            assert client.resume(left.value.token, timeout=60).state is State.COMPLETED
        assert sandbox.report().warnings == ()
