"""Report cards of clients that no one here wrote, and of ours, in the same scenarios: the faults come from one seed.

    python benchmarks/report_cards.py                      every client in every scenario: two minutes or so
    python benchmarks/report_cards.py --client requests    only this one; --scenario likewise; both can be given again
    python benchmarks/report_cards.py --request-log        also every request, to check the cards against
    python benchmarks/report_cards.py --write              also puts the cards into docs/report-card.md

Each client does its jobs one after another, as the same user with the same seed, so the nth look at the nth job meets
the same fault, whoever looks and whenever it is run. The clients' own random pauses differ, and times with them.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from translation_client import TranslationError
from translation_client.sandbox import Sandbox
from translation_client.testing import PASSWORD, server

PAGE = Path(__file__).parent.parent / "docs" / "report-card.md"
BEGIN, END = "<!-- cards:begin -->", "<!-- cards:end -->"

SCENARIOS = ["perfect", "flaky", "overloaded", "outage"]
SEED = "2"
"""The smallest number with which one in ten submissions loses its answer in `flaky`, as expected."""
JOBS = 10
DELAY = {"kind": "uniform", "min": 3, "max": 7}  # seconds, as .env.example has it
TIMEOUT = 10.0  # seconds for one request
PATIENCE = 60.0  # seconds for one job

LEFT_OUT = ("keys", "busiest second", "credentials", "not modified")
"""The lines of a card that the page does without; it says so."""

Run = Callable[[Mapping[str, Any]], str]
"""Runs the job that a body asks for, and returns its last status."""


@contextmanager
def with_requests(sandbox: Sandbox) -> Iterator[Run]:
    """A session of requests with urllib3's Retry, and a loop that sleeps for a second."""
    retry = urllib3.Retry(
        total=5, backoff_factor=1, status_forcelist=[429, 502, 503, 504], allowed_methods=["GET", "POST"]
    )
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.auth = (sandbox.username or "", sandbox.password or "")

        def run(body: Mapping[str, Any]) -> str:
            answer = session.post(f"{sandbox.url}/start", json=body, timeout=TIMEOUT)
            answer.raise_for_status()
            job_id = answer.json()["job_id"]
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                answer = session.get(f"{sandbox.url}/status/{job_id}", timeout=TIMEOUT)
                answer.raise_for_status()
                if (status := answer.json()["status"]) != "pending":
                    return str(status)
                time.sleep(1)
            raise TimeoutError

        yield run


@contextmanager
def with_tenacity(sandbox: Sandbox) -> Iterator[Run]:
    """Tenacity around httpx: whatever fails is tried again, and so is a look that finds the job pending."""
    auth = (sandbox.username or "", sandbox.password or "")
    wait = tenacity.wait_exponential_jitter(initial=1, max=10)
    stop = tenacity.stop_after_delay(PATIENCE)
    failed = tenacity.retry_if_exception_type(httpx.HTTPError)
    pending = tenacity.retry_if_result(lambda status: status == "pending")
    with httpx.Client(base_url=sandbox.url, auth=auth, timeout=TIMEOUT) as client:

        def start(body: Mapping[str, Any]) -> str:
            return str(client.post("/start", json=body).raise_for_status().json()["job_id"])

        def snapshot(job_id: str) -> str:
            return str(client.get(f"/status/{job_id}").raise_for_status().json()["status"])

        starting = tenacity.Retrying(retry=failed, wait=wait, stop=stop)
        waiting = tenacity.Retrying(retry=failed | pending, wait=wait, stop=stop)
        yield lambda body: str(waiting(snapshot, starting(start, body)))


@contextmanager
def with_ours(sandbox: Sandbox) -> Iterator[Run]:
    """The client of this project, as it comes."""
    with sandbox.client(timeout=PATIENCE, request_timeout=TIMEOUT) as client:
        yield lambda body: str(client.run(**body).state)


CLIENTS = {"requests": with_requests, "tenacity": with_tenacity, "ours": with_ours}

NAMES = {
    "requests": f"requests {version('requests')} with the Retry of urllib3 {version('urllib3')}",
    "tenacity": f"tenacity {version('tenacity')} around httpx {version('httpx')}",
    "ours": "the client of this project",
}


class Card(NamedTuple):
    """How a client's jobs ended in a scenario, and the report card of the client."""

    client: str
    scenario: str
    ends: Counter[str]
    text: str
    request_log: list[Mapping[str, Any]]


def card(client: str, scenario: str) -> Card:
    """Let a client do its jobs in a scenario, on its own server: fates and faults depend on the user's name too."""
    ends = Counter[str]()
    with server() as running, Sandbox(running.url, username="peer", password=PASSWORD) as sandbox:
        sandbox.set(scenario=scenario, seed=SEED, delay=DELAY)
        with CLIENTS[client](sandbox) as run:
            for number in range(JOBS):
                body = {"target_language": "es", "video_length": 60 + number}
                try:
                    ends[run(body)] += 1
                except (requests.RequestException, tenacity.RetryError, TranslationError, TimeoutError) as error:
                    ends[type(error).__name__] += 1
        return Card(client, scenario, ends, sandbox.report_as("text/plain"), list(sandbox.requests()))


def excerpt(text: str) -> str:
    """A card without the lines that are left out, and without the ids of jobs."""
    recorded = "\n".join(line for line in text.strip().splitlines() if not line.startswith(LEFT_OUT))
    return re.sub(r"\s+Jobs:(\s+[0-9a-f-]{36},?)+", "", recorded)


def shown(made: Card) -> str:
    """A card under its heading, in Markdown."""
    ends = ", ".join(f"{many} {end}" for end, many in made.ends.most_common())
    return f"#### {NAMES[made.client]}, {made.scenario}\n\n```text\nthe jobs         {ends}\n{excerpt(made.text)}\n```"


def request_log(made: Card) -> str:
    """The requests of a card, a line for each."""
    return "\n".join(json.dumps(asked) for asked in made.request_log)


def main() -> int:
    """Run the clients, print their cards, and put them into the page."""
    parser = argparse.ArgumentParser(description="Let clients wait in several scenarios, and print their report cards.")
    parser.add_argument("--client", action="append", choices=CLIENTS, help="only this one (default all)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one (default all)")
    parser.add_argument("--request-log", action="store_true", help="also print every request")
    parser.add_argument("--write", action="store_true", help="also put the cards into docs/report-card.md")
    options = parser.parse_args()
    if options.write and (options.client or options.scenario):
        parser.error("--write puts all cards into the page, not some of them")
    pairs = [(client, scenario) for client in options.client or CLIENTS for scenario in options.scenario or SCENARIOS]
    with ThreadPoolExecutor(len(pairs)) as pool:
        cards = list(pool.map(lambda pair: card(*pair), pairs))
    for made in cards:
        print(shown(made), end="\n\n")
        if options.request_log:
            print(request_log(made), end="\n\n")
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page = "\n\n".join(map(shown, cards))
        PAGE.write_text(f"{before}{BEGIN}\n\n{page}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
