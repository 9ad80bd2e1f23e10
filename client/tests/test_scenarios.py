"""The scenarios: in each, a naive poller fails, and this library's client completes its jobs without warnings.

In `lossy-webhooks`, which serves all requests, a naive receiver of webhooks does.
All scenarios run concurrently, each in a sandbox of its own.
"""

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from tests.receivers import receiving
from translation_client import JobTimeout, Sandbox, State, TranslationError
from translation_client.receivers import Listener

SCENARIOS = ["perfect", "flaky", "overloaded", "outage", "slow-network", "liar", "stuck"]
WEBHOOKS = "lossy-webhooks"
CLIENTS = ["sync", "async"]
JOBS = 6
SEED = 69  # with this seed, a fault hits one of the naive poller's first three jobs in each scenario with random faults
PATIENCE = 5.0  # seconds; without this limit, the naive poller would wait for ever
OPTIONS = {"timeout": 240, "request_timeout": 20, "max_retries": 20}
"""The client's options: enough time for a busy machine, and more retries than an outage lasts."""

HANGING = {"slow-network": {"request_timeout": 4, "long_poll": 2}}
"""More options for scenarios in which long polls hang."""


def naive(sandbox):
    """Polls ten times a second until the job is no longer pending, without any error handling."""
    with httpx.Client(base_url=sandbox.url, auth=(str(sandbox.username), str(sandbox.password)), timeout=3) as http:
        ends = []
        until = time.monotonic() + PATIENCE
        for _ in range(JOBS):
            job_id = http.post("/start").json()["job_id"]
            while (status := http.get(f"/status/{job_id}").json()["status"]) == "pending":
                assert time.monotonic() < until, "the job is still pending"
                time.sleep(0.1)
            ends.append(status)
    return ends


def sync(sandbox, **options):
    with sandbox.client(**OPTIONS | options) as client, ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(lambda _: client.run().state, range(JOBS)))


def asynchronous(sandbox, **options):
    async def together():
        async with sandbox.async_client(**OPTIONS | options) as client:
            return [final.state for final in await asyncio.gather(*(client.run() for _ in range(JOBS)))]

    return asyncio.run(together())


def naive_receiver(sandbox):
    """Believes each delivery, and counts it as the end of its job."""
    with (
        receiving() as receiver,
        httpx.Client(base_url=sandbox.url, auth=(str(sandbox.username), str(sandbox.password)), timeout=30) as http,
    ):
        body = {"webhook": {"url": receiver.url, "secret": "whsec_c2VjcmV0"}}
        ids = [http.post("/start", json=body).raise_for_status().json()["job_id"] for _ in range(JOBS)]
        jobs = [received.body["data"] for received in receiver.take(JOBS)]
        until = time.monotonic() + 6 * PATIENCE
        while not sandbox.report().warnings and time.monotonic() < until:
            time.sleep(0.1)
        return Counter({(job_id, "completed"): 1 for job_id in ids}), Counter(
            (job["job_id"], job["status"]) for job in jobs
        )


def sync_receiver(sandbox):
    with Listener() as receiver, sandbox.client(**OPTIONS) as client, ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(lambda _: client.run(webhook=receiver).state, range(JOBS)))


def async_receiver(sandbox):
    async def together():
        with Listener() as receiver:
            async with sandbox.async_client(**OPTIONS) as client:
                runs = (client.run(webhook=receiver) for _ in range(JOBS))
                return [final.state for final in await asyncio.gather(*runs)]

    return asyncio.run(together())


def run_in_sandbox(url, scenario, client, work):
    """Returns the result of some work in a scenario, and its report card. Every run has the same fates and faults."""
    with Sandbox(url, username=f"{scenario}-{client}", password="x") as sandbox:
        sandbox.reset()
        sandbox.set(
            delay={"kind": "uniform", "min": 0.2, "max": 0.6}, error_probability=0, seed=SEED, scenario=scenario
        )
        try:
            return work(sandbox), sandbox.report()
        except (httpx.HTTPError, ValueError, KeyError, AssertionError, TranslationError) as error:
            return error, sandbox.report()


@pytest.fixture(autouse=True)
def _check_that_errors_are_noticed():
    """Replaces the fixture that fails for unread errors; the naive poller reads none."""


@pytest.fixture(scope="module")
def results(translation_server):
    """Starts all clients in all scenarios."""
    work = {"sync": sync, "async": asynchronous}
    with ThreadPoolExecutor(27) as pool:
        yield (
            {
                (scenario, name): pool.submit(
                    run_in_sandbox, translation_server.url, scenario, name, partial(run, **HANGING.get(scenario, {}))
                )
                for scenario in SCENARIOS
                if scenario != "stuck"
                for name, run in work.items()
            }
            | {
                (scenario, "naive"): pool.submit(run_in_sandbox, translation_server.url, scenario, "naive", naive)
                for scenario in SCENARIOS
            }
            | {
                (WEBHOOKS, name): pool.submit(run_in_sandbox, translation_server.url, WEBHOOKS, name, run)
                for name, run in (("sync", sync_receiver), ("async", async_receiver), ("naive", naive_receiver))
            }
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_naive_poller_fails_or_gets_warnings(results, scenario):
    """The poller stops with an error, sees a wrong outcome, waits for ever, or gets warnings."""
    end, report = results[scenario, "naive"].result(300)
    assert end != ["completed"] * JOBS or report.warnings


@pytest.mark.parametrize("scenario", ["flaky", "overloaded", "outage", "slow-network", "liar", "stuck"])
def test_naive_poller_does_not_see_all_jobs_complete(results, scenario):
    assert results[scenario, "naive"].result(300)[0] != ["completed"] * JOBS


def test_naive_receiver_counts_ends_that_are_none(results):
    (real, counted), report = results[WEBHOOKS, "naive"].result(300)
    assert counted != real
    assert "accepted-forgeries" in {finding.rule for finding in report.warnings}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", [*(scenario for scenario in SCENARIOS if scenario != "stuck"), WEBHOOKS])
def test_client_completes_all_jobs_without_warnings(results, scenario, client):
    end, report = results[scenario, client].result(300)
    assert end == ["completed"] * JOBS
    assert report.warnings == ()
    assert report.raw["overall"]["jobs"] == JOBS


def test_client_times_out_on_a_stuck_job_and_resumes_it(translation_server):
    with Sandbox(translation_server.url, username="stuck-ours", password="x") as sandbox:
        sandbox.reset()
        sandbox.set(delay={"kind": "fixed", "seconds": 0.2}, seed=SEED, scenario="stuck")
        with sandbox.client(timeout=2, request_timeout=1) as client:
            with pytest.raises(JobTimeout) as raised:
                client.run()
            sandbox.unpause(raised.value.job_id)
            assert client.resume(raised.value.token, timeout=60).state is State.COMPLETED
        assert sandbox.report().warnings == ()
