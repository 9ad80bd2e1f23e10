"""Runs the jobs of one client in a process of its own: in each scenario, ten jobs that begin within two seconds.

Some clients cannot be stopped while they wait, so the process exits with them.
"""

import logging
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sdk_drivers import COMPLETED, TIMEOUT, Run
from sdk_table import SDKS
from translation_client import Sandbox

SEED = 5  # as in `report_cards.py`
STAGGER = 0.2  # seconds between the beginnings of two jobs
SCENARIO_STAGGER = 1.0  # seconds between the beginnings of two scenarios, so that clients start one after another
UNPAUSE_AFTER = 30.0  # seconds after which the jobs of `stuck` go on
OURS, THEIRS = "ours", "theirs"
RETURNED = "returned"  # the first word for a call that returned something other than an end
STILL_WAITING = f"still waiting after {TIMEOUT:.0f} s"


class Settings(NamedTuple):
    """How many jobs each scenario has, and the shortest and longest duration of a job, in seconds."""

    jobs: int = 10
    min_delay: float = 20.0
    max_delay: float = 40.0


SETTINGS = Settings()


class Task(NamedTuple):
    """What one process does: a client's number in the table, whose client runs there, and the scenarios."""

    sdk: int
    whose: str
    scenarios: Sequence[str]
    url: str
    settings: Settings

    def user(self, scenario: str) -> str:
        """Returns the user whose sandbox a scenario has."""
        return f"{self.whose}-{self.sdk}-{scenario}"


class Call(NamedTuple):
    """What a caller saw of a job: when it began, on the wall clock; when the client returned, and what it said."""

    name: str
    began: float
    returned: float | None
    said: str


def name_of(number: int) -> str:
    """Returns the name that marks a submission, so that its jobs can be found later."""
    return f"job-{number:02}"


def run(task: Task) -> Mapping[str, list[Call]]:
    """Runs a task in a process of its own, and returns the calls by their scenarios.

    Raises:
        RuntimeError: the process ended without a result.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(task, sending))
    process.start()
    sending.close()
    try:
        calls: Mapping[str, list[Call]] = receiving.recv()
    except EOFError:
        raise RuntimeError(f"{SDKS[task.sdk].name}: the process ended without a result") from None
    finally:
        process.join()
    return calls


def _main(task: Task, results: Connection) -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # some clients print
    sdk = SDKS[task.sdk]
    open_client = sdk.open if task.whose == THEIRS else sdk.api.open
    clients = {scenario: open_client(task.url, task.user(scenario)) for scenario in task.scenarios}
    with ThreadPoolExecutor(len(clients)) as scenarios:
        begun = []
        for scenario, client in clients.items():
            begun.append(scenarios.submit(_run_scenario, task, scenario, client))
            time.sleep(SCENARIO_STAGGER)
        results.send({scenario: calls.result() for scenario, calls in zip(clients, begun, strict=True)})
    results.close()
    os._exit(0)  # some clients still wait


def _run_scenario(task: Task, scenario: str, client: Run) -> list[Call]:
    settings = task.settings
    delay = {"kind": "uniform", "min": settings.min_delay, "max": settings.max_delay}
    callers = ThreadPoolExecutor(settings.jobs)
    with Sandbox(task.url, username=task.user(scenario), password="any") as sandbox:
        sandbox.set(scenario=scenario, seed=SEED, delay=delay, error_probability=0)
        unpause = threading.Timer(UNPAUSE_AFTER, _unpause, [sandbox])
        if scenario == "stuck":
            unpause.start()
        waits = list[tuple[str, float, Future[tuple[float, str]]]]()
        for number in range(1, settings.jobs + 1):
            name = name_of(number)
            waits.append((name, time.time(), callers.submit(_call, client, name)))
            time.sleep(STAGGER)
        calls = [_result(*wait) for wait in waits]
        unpause.cancel()
        return calls


def _call(client: Run, name: str) -> tuple[float, str]:
    try:
        word = client(name)
    except Exception as error:  # noqa: BLE001 - which one it is, is the result
        return time.time(), type(error).__name__
    return time.time(), COMPLETED if word == COMPLETED else f"{RETURNED} “{word}”"


def _result(name: str, began: float, wait: Future[tuple[float, str]]) -> Call:
    try:
        returned, said = wait.result(max(0.0, began + TIMEOUT - time.time()))
    except NotYetError:
        return Call(name, began, None, STILL_WAITING)
    return Call(name, began, returned, said)


def _unpause(sandbox: Sandbox) -> None:
    """Unpauses the jobs of a sandbox, and lets later ones start unpaused."""
    sandbox.set(paused=False)
    records: Sequence[Mapping[str, Any]] = list(sandbox.requests())
    for job_id in {job["job_id"] for record in records for job in record["jobs"] if job["state"] == "pending"}:
        sandbox.unpause(job_id)
