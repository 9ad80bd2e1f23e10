"""The official clients of APIs on the server's scenarios: how well each one waits for its jobs.

    make bad-days                                           all of them, written into docs/sdks-on-bad-days.md
    .venv-sdks/bin/python benchmarks/sdks.py                all of them: ten minutes or so
    .venv-sdks/bin/python benchmarks/sdks.py --sdk openai   only this one; --scenario likewise; both can be repeated
    … --json FILE                                           also writes all results with their request logs
    … --read FILE                                           reads them instead of running anything
    … --trace openai flaky                                  also prints the requests of this one, a JSON line for each
    … --write                                               also writes the page

Each client runs ten jobs in each scenario, in a sandbox of its own with the same seed, and so does our client in the
same API. Every number is checked against the request log; the exit status is 1 where two differ.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import unittest.mock
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sdk_page
from sdk_results import Result, collect, disagreements, read
from sdk_runs import OURS, SETTINGS, THEIRS, Settings, Task, run
from sdk_table import SDKS
from translation_server import TranslationServer

SCENARIOS = ["perfect", "flaky", "overloaded", "outage", "slow-network", "liar", "stuck"]
"""Without `lossy-webhooks`: it serves all requests, and no official client waits for webhooks."""

PROCESSES = 10  # at a time
SCENARIOS_AT_A_TIME = 2  # of clients that poll ten times a second


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """Runs two servers with all APIs, in processes of their own, and yields their addresses; the second has HTTPS.

    This process and those that it starts trust the second one's certificate.
    """
    import trustme

    with tempfile.TemporaryDirectory() as folder:
        certificate, trusted = Path(folder, "server.pem"), Path(folder, "authority.pem")
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        authority.cert_pem.write_to_path(trusted)
        trust = unittest.mock.patch.dict(os.environ, SSL_CERT_FILE=str(trusted))
        with trust, _served(_serve) as url, _served(_serve_securely, certificate) as secure_url:
            yield url, secure_url


@contextmanager
def _served(serve: Callable[..., None], *arguments: object) -> Iterator[str]:
    """Runs a server in a process until the end, and yields its address."""
    context = multiprocessing.get_context("spawn")
    own_end, server_end = context.Pipe()
    process = context.Process(target=serve, args=(server_end, *arguments))
    process.start()
    try:
        yield own_end.recv()
    finally:
        process.terminate()
        process.join()


def _serve(address: Connection) -> None:
    with TranslationServer(dialects="all") as running:
        address.send(running.url)
        threading.Event().wait()


def _serve_securely(address: Connection, certificate: Path) -> None:
    import uvicorn

    app = TranslationServer(dialects="all").app
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None, ssl_certfile=certificate))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    address.send(f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}")
    thread.join()


def tasks(
    sdks: Sequence[int], scenarios: Sequence[str], url: str, secure_url: str, settings: Settings = SETTINGS
) -> list[Task]:
    """Returns what the processes have to do, those first that put most load on the machine."""
    found = []
    for number in sorted(sdks, key=lambda number: not SDKS[number].secure):
        secure = SDKS[number].secure
        size = SCENARIOS_AT_A_TIME if secure else len(scenarios)
        for start in range(0, len(scenarios), size):
            some = scenarios[start : start + size]
            found.append(Task(number, THEIRS, some, secure_url if secure else url, settings))
        found.append(Task(number, OURS, scenarios, url, settings))
    return found


def measure(task: Task) -> list[Result]:
    """Runs a task and returns its results."""
    name, began = SDKS[task.sdk].name, time.monotonic()
    calls = run(task)
    results = [collect(task, scenario, calls[scenario]) for scenario in task.scenarios]
    took = time.monotonic() - began
    print(f"{took:4.0f} s: {name}, {task.whose}: {', '.join(task.scenarios)}", file=sys.stderr)
    return results


def measure_all(sdks: Sequence[int], scenarios: Sequence[str], settings: Settings = SETTINGS) -> list[Result]:
    """Runs clients in scenarios, several at a time."""
    with servers() as (url, secure_url), ThreadPoolExecutor(PROCESSES) as processes:
        results = processes.map(measure, tasks(sdks, scenarios, url, secure_url, settings))
        return [result for some in results for result in some]


def main() -> int:
    """Runs the clients, prints the page's tables, and writes them if asked to."""
    names = {sdk.name: number for number, sdk in enumerate(SDKS)}
    parser = argparse.ArgumentParser(description="Run official clients in several scenarios.")
    parser.add_argument("--sdk", action="append", choices=names, help="only this one (default all)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one (default all)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all results, with their request logs")
    parser.add_argument("--read", metavar="FILE", type=Path, help="read such results instead of running anything")
    parser.add_argument("--trace", nargs=2, metavar=("SDK", "SCENARIO"), help="also print the requests of this one")
    parser.add_argument("--write", action="store_true", help="also write docs/sdks-on-bad-days.md")
    options = parser.parse_args()
    if options.write and (options.sdk or options.scenario):
        parser.error("--write writes all clients; choose neither client nor scenario")
    began = time.time()
    if options.read:
        document: Mapping[str, Any] = json.loads(options.read.read_text(encoding="utf-8"))
    else:
        sdks = [names[name] for name in options.sdk or names]
        results = measure_all(sdks, options.scenario or SCENARIOS)
        document = {"began": began, "results": [result.as_json() for result in results]}
    results = [read(one) for one in document["results"]]
    if options.json:
        options.json.write_text(json.dumps(document), encoding="utf-8")
    page = sdk_page.render(results, began=document["began"])
    print(*page.values(), sep="\n\n")
    if options.trace:
        sdk, scenario = options.trace
        for result in results:
            if (result.sdk, result.scenario) == (sdk, scenario) and result.whose == THEIRS:
                print(*map(json.dumps, result.records), sep="\n")
    wrong = [
        f"{result.sdk}, {result.whose}, {result.scenario}: {line}"
        for result in results
        for line in disagreements(result)
    ]
    print(*wrong, sep="\n", file=sys.stderr)
    if options.write and not wrong:
        sdk_page.write_page(page)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
