"""Report cards of popular clients and of ours, in the same scenarios with the same seed.

    python benchmarks/report_cards.py                      every client in every scenario: two minutes or so
    python benchmarks/report_cards.py --client requests    only this one; --scenario likewise; both can be repeated
    python benchmarks/report_cards.py --request-log        also every request, to check the cards against
    python benchmarks/report_cards.py --write              also writes the cards into docs/report-card.md

Each client runs its jobs one after another, as the same user with the same seed. The nth poll of the nth job therefore
meets the same fault, whichever client sends it. The clients' own random delays differ, and so do the times.
"""

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NamedTuple

import httpx
import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from tables import write
from translation_client import TranslationError
from translation_client.sandbox import Sandbox
from translation_client.testing import PASSWORD, server

SCENARIOS = ["perfect", "flaky", "overloaded", "outage"]
SEED = 5
"""The smallest number with which one of ten submissions in `flaky` loses its answer, to a closed connection."""
JOBS = 10
DELAY = {"kind": "uniform", "min": 3, "max": 7}  # seconds, as .env.example has it
TIMEOUT = 10.0  # seconds for one request
JOB_TIMEOUT = 60.0  # seconds for one job

OMITTED = ("keys", "busiest second", "credentials", "not modified")
"""The lines of a card that the page omits; it says so."""

Run = Callable[[Mapping[str, Any]], str]
"""Submits a body, waits for the job and returns its last status."""


@contextmanager
def with_requests(sandbox: Sandbox) -> Iterator[Run]:
    """Waits with a session of requests with urllib3's Retry, and a loop that sleeps for a second."""
    retry = urllib3.Retry(
        total=5, backoff_factor=1, status_forcelist=[429, 502, 503, 504], allowed_methods=["GET", "POST"]
    )
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.auth = (sandbox.username or "", sandbox.password or "")

        def run(body: Mapping[str, Any]) -> str:
            response = session.post(f"{sandbox.url}/start", json=body, timeout=TIMEOUT)
            response.raise_for_status()
            job_id = response.json()["job_id"]
            give_up_at = time.monotonic() + JOB_TIMEOUT
            while time.monotonic() < give_up_at:
                response = session.get(f"{sandbox.url}/status/{job_id}", timeout=TIMEOUT)
                response.raise_for_status()
                if (status := response.json()["status"]) != "pending":
                    return str(status)
                time.sleep(1)
            raise TimeoutError

        yield run


@contextmanager
def with_tenacity(sandbox: Sandbox) -> Iterator[Run]:
    """Waits with tenacity around httpx, which retries failed requests, and polls while the job is pending."""
    auth = (sandbox.username or "", sandbox.password or "")
    wait = tenacity.wait_exponential_jitter(initial=1, max=10)
    stop = tenacity.stop_after_delay(JOB_TIMEOUT)
    failed = tenacity.retry_if_exception_type(httpx.HTTPError)
    pending = tenacity.retry_if_result(lambda status: status == "pending")
    with httpx.Client(base_url=sandbox.url, auth=auth, timeout=TIMEOUT) as client:

        def start(body: Mapping[str, Any]) -> str:
            return str(client.post("/start", json=body).raise_for_status().json()["job_id"])

        def poll(job_id: str) -> str:
            return str(client.get(f"/status/{job_id}").raise_for_status().json()["status"])

        starting = tenacity.Retrying(retry=failed, wait=wait, stop=stop)
        waiting = tenacity.Retrying(retry=failed | pending, wait=wait, stop=stop)
        yield lambda body: str(waiting(poll, starting(start, body)))


@contextmanager
def with_ours(sandbox: Sandbox) -> Iterator[Run]:
    """Waits with the client of this project and its defaults."""
    with sandbox.client(timeout=JOB_TIMEOUT, request_timeout=TIMEOUT) as client:
        yield lambda body: str(client.run(**body).state)


CLIENTS = {"requests": with_requests, "tenacity": with_tenacity, "ours": with_ours}

NAMES = {
    "requests": f"requests {version('requests')} with the Retry of urllib3 {version('urllib3')}",
    "tenacity": f"tenacity {version('tenacity')} around httpx {version('httpx')}",
    "ours": "the client of this project",
}


class Card(NamedTuple):
    """How a client's jobs ended in a scenario, its report card, and its requests."""

    client: str
    scenario: str
    ends: Counter[str]
    text: str
    request_log: list[Mapping[str, Any]]

    def __str__(self) -> str:
        """Returns the card in Markdown, without the omitted lines and the job ids."""
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.most_common())
        lines = "\n".join(line for line in self.text.strip().splitlines() if not line.startswith(OMITTED))
        text = re.sub(r"\s+Jobs:(\s+[0-9a-f-]{36},?)+", "", lines)
        return f"#### {NAMES[self.client]}, {self.scenario}\n\n```text\nthe jobs         {ends}\n{text}\n```"


def make_card(client: str, scenario: str) -> Card:
    """Runs a client's jobs in a scenario, on a server of its own."""
    ends = Counter[str]()
    with server() as running, Sandbox(running.url, username="peer", password=PASSWORD) as sandbox:
        sandbox.set(scenario=scenario, seed=SEED, delay=DELAY)
        with CLIENTS[client](sandbox) as run:
            for index in range(JOBS):
                body = {"target_language": "es", "video_length": 60 + index}
                try:
                    ends[run(body)] += 1
                except (requests.RequestException, tenacity.RetryError, TranslationError, TimeoutError) as error:
                    ends[type(error).__name__] += 1
        return Card(client, scenario, ends, sandbox.report_as("text/plain"), list(sandbox.requests()))


def main() -> None:
    """Runs the clients, prints their cards, and writes them into the page if asked to."""
    parser = argparse.ArgumentParser(description="Run clients in several scenarios, and print their report cards.")
    parser.add_argument("--client", action="append", choices=CLIENTS, help="only this one (default all)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one (default all)")
    parser.add_argument("--request-log", action="store_true", help="also print every request")
    parser.add_argument("--write", action="store_true", help="also write the cards into docs/report-card.md")
    options = parser.parse_args()
    if options.write and (options.client or options.scenario):
        parser.error("--write writes all cards; choose neither client nor scenario")
    pairs = [(client, scenario) for client in options.client or CLIENTS for scenario in options.scenario or SCENARIOS]
    with ThreadPoolExecutor(len(pairs)) as pool:
        cards = list(pool.map(lambda pair: make_card(*pair), pairs))
    for card in cards:
        print(card, end="\n\n")
        if options.request_log:
            print(*map(json.dumps, card.request_log), sep="\n", end="\n\n")
    if options.write:
        write("report-card.md", "cards", "\n\n".join(map(str, cards)))


if __name__ == "__main__":
    main()
