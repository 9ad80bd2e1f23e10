"""Our client with a job of every kind of every shipped API: under every kind of fault, and in every scenario.

The async client meets each kind of job with each fault and each scenario. The sync client, which runs the same flows,
meets each kind of job and each fault, but not all pairs. A new API or a new kind of fault joins by itself.

The server has a process of its own. The cases of a class start with its first test and run at the same time, each in
its own sandbox; each test waits for its case.
"""

# ruff: noqa: PT017, RET503 - the work is awaited in a loop of tries

import asyncio
import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from tests.processes import MODULE, wait_until
from tests.shipped import KINDS, Kind
from translation_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    JobTimeout,
    NotFound,
    Sandbox,
    State,
    TranslationError,
    TransportError,
)
from translation_client.testing import sandbox_on
from translation_server.core.faults.rules import APPLICABILITY, REQUEST_KINDS
from translation_server.core.report.answers import BROKEN
from translation_server.core.scenarios import SCENARIOS

FAULTS = {kind: {"kind": kind} for kind in REQUEST_KINDS} | {
    "status": {"kind": "status", "code": 503},
    "status-429": {"kind": "status", "code": 429, "retry_after": 1},
    "latency": {"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.05}},
    "drip": {"kind": "drip", "rate": 20_000},
    "hang": {"kind": "hang", "seconds": 0.2},
}
"""The fault rules, without their routes."""

WITHOUT_JOB = {"submit", "list", "download"}  # the routes on which a 404 is final
LOST = BROKEN | {"status"}  # the faults after which a client does not know whether a job exists
CLIENTS = ("async", "sync")
FAULTS_OF_SYNC = 3  # how many faults and scenarios the sync client meets with each kind of job
TIMEOUT = 120  # seconds; no wait comes near it
PARTS = 4  # into which the faults are divided: their cases run at the same time
TOGETHER = 40  # how many cases run at the same time
SETTINGS = {"AUTH": "off", "DIALECTS": "all", "DATABASE_URL": "memory:", "MIN_DELAY": "0.3", "MAX_DELAY": "0.3"}
OPTIONS = {
    None: {"request_timeout": 30},
    "outage": {"max_retries": 20},
    "slow-network": {"request_timeout": 4, "long_poll": 2, "max_retries": 20},
    "stuck": {"request_timeout": 5, "long_poll": 0, "max_retries": 20},
}
"""The client's options under faults, and in some scenarios."""

BY_SPEED = {
    None: {"late"},
    "slow-network": {"late", "polls-after-end"},
    "stuck": {"late", "polls-after-end", "early-polls"},
}
"""The findings that a slow machine causes, so that they are not judged: the processes of the test share its cores. In
two scenarios the client does not wait long for answers: one that comes too late shows the end to the card alone. A job
that is stuck is waited for twice, and each wait begins with a poll: early ones are many where there are few others."""


def refusal(fault, route):
    """Returns the exception that a fault at a route causes at once; None if the client goes on."""
    if fault in {"unauthorized", "expired"}:
        return AuthenticationError
    return NotFound if fault == "not-found" and route in WITHOUT_JOB else None


class Awaited:
    """A sync client, whose methods are awaited while threads run them."""

    def __init__(self, client, pool):
        self._client, self._pool = client, pool
        self.file_urls = client.file_urls

    def __getattr__(self, name):
        return partial(self._run, getattr(self._client, name))

    async def _run(self, work, *args, **options):
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **options))

    async def list(self):
        for job in await self._run(lambda: [*self._client.list()]):
            yield job


@dataclass
class Case:
    """A client of an API in a sandbox."""

    kind: Kind
    client: AsyncClient | Awaited
    sandbox: Sandbox
    fault: str | None = None
    starts: int = 0  # how many keys there should be
    accepted: int = 0  # how many jobs the server should have
    affected: set = field(default_factory=set)  # which faults should have fired at which routes

    async def set(self, **settings):
        await asyncio.to_thread(self.sandbox.set, **settings)

    async def spoil(self, fault):
        """Has the fault spoil the first requests of each route that it can affect."""
        self.fault = fault
        rule = FAULTS.get(fault)
        routes = APPLICABILITY[rule["kind"]].routes if rule else ()
        sends_hint = fault != "huge-retry-after" or self.kind.served.sends_hints
        self.routes = self.kind.routes & {*routes} if sends_hint else set()
        self.affected |= {(rule["kind"], route) for route in self.routes}
        nth = {"submit": [1]}
        await self.set(
            faults=[rule | {"route": [route], "nth": nth.get(route, [1, 2])} for route in sorted(self.routes)]
        )

    async def expecting(self, route, work):
        """Returns the result of some work, which is repeated while the fault makes it fail."""
        error = refusal(self.fault, route) if route in self.routes else None
        for tries in count():
            try:
                result = await work()
            except TranslationError as raised:
                assert error is not None, f"{self.fault} {route}: {raised!r}"
                assert isinstance(raised, error), f"{self.fault} {route}: {raised!r}"
                assert tries < 10, raised
            else:
                assert tries or not error, f"{self.fault} {route}: not refused"
                return result

    async def start(self):
        self.starts += 1
        job = await self.client.start(input=self.kind.input())
        self.accepted += 1
        return job

    async def first(self):
        """Starts the first job under the fault.

        Without keys, a client must not repeat a submission whose answer was lost, but look for its job.
        """
        is_whole = self.fault == "truncate" and not self.kind.submit_has_body  # nothing was cut off
        if self.kind.read.idempotency or self.fault not in LOST or is_whole:
            return await self.expecting("submit", self.start)
        with raises(TransportError, "A job may exist: this API has no idempotency keys"):
            await self.start()
        if self.fault not in BROKEN:
            return await self.start()
        self.accepted += 1
        return await asyncio.to_thread(newest, self.sandbox)

    async def ended(self, job, *states):
        final = await self.expecting("poll", partial(self.client.wait, job.id, timeout=TIMEOUT))
        assert final.id == job.id
        assert final.state in states, f"{self.fault}: {final}"
        return final

    def failed(self, state):
        """Returns how a job that is in this state may be shown: a bare answer may lack what tells which it is."""
        return {State.ERROR, State.CANCELLED} if self.fault == "no-details" and not self.kind.has_cancelled else {state}


class raises:  # noqa: N801 - as in pytest, but for an assertion in a thread of its own
    """Checks that an exception with a text is raised."""

    def __init__(self, error, text):
        self._error, self._text = error, text

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _):
        assert error is not None, f"not raised: {self._text}"
        return isinstance(error, self._error) and self._text in str(error)


def newest(sandbox):
    """Returns the newest job on the server."""
    return next(iter(jobs_of(sandbox)), None)


async def go_through(case, faults, folder):
    """Sends every request that our client has for the kind of job, under one fault after another."""
    await case.set(after_polls=2, error_probability=0)
    for fault in faults:
        await case.spoil(fault)
        await one_fault(case, folder / "file")
    await asyncio.to_thread(check, case)


async def one_fault(case, path):
    kind, client = case.kind, case.client
    final = await case.ended(await case.first(), State.COMPLETED)
    if urls := client.file_urls(final):
        download = partial(client.download, final, path, url=urls[0], timeout=TIMEOUT)
        assert (await case.expecting("download", download)).stat().st_size
    if kind.has("list"):

        async def listed():
            return [job.id async for job in client.list()]

        assert final.id in await case.expecting("list", listed)
    if kind.has("cancel"):
        job = await case.start()
        cancelled = await case.expecting("cancel", partial(client.cancel, job.id))
        if cancelled.state is State.PENDING:
            cancelled = await case.ended(job, *case.failed(State.CANCELLED))
        assert cancelled.state in case.failed(State.CANCELLED), cancelled
    if kind.has("batch_poll"):
        jobs = [(await case.start()).id for _ in range(2)]
        ends = await case.expecting("batch_poll", partial(client.wait_all, jobs, timeout=TIMEOUT))
        assert [end.state for end in ends.values()] == [State.COMPLETED] * 2, ends
    if case.fault is None or APPLICABILITY[FAULTS[case.fault]["kind"]].states is not None:
        await case.set(error_probability=1)
        await case.ended(await case.start(), *case.failed(State.ERROR))
        await case.set(error_probability=0)


def check(case):
    """Checks that every fault has spoiled every route, that no job was started twice, and what the card says."""
    requests = [*case.sandbox.requests()]
    fired = {(fault, request["action"]) for request in requests for fault in request["faults"]}
    assert fired >= case.affected, f"{case.affected - fired}\n{shown(requests)}"
    warnings = {finding.rule for finding in case.sandbox.report().warnings} - BY_SPEED[None]
    if ("unauthorized", "result") in case.affected:  # the wait ended at the result, and began again
        warnings -= {"polls-after-end"}
    assert not warnings, f"{warnings}\n{shown(requests)}"
    keys = [request["key"] for request in requests if request["action"] == "submit"]
    assert len({*keys} - {None}) == (case.starts if case.kind.read.idempotency else 0), keys
    assert sum(1 for _ in jobs_of(case.sandbox)) == case.accepted


def shown(requests):
    """Returns a request log, one request a line."""
    names = ("action", "status", "faults", "took", "hint", "wait", "path", "key", "jobs")
    return "\n".join(
        f"{request['at'] % 1000:.3f} " + " ".join(f"{name}={request.get(name)}" for name in names)
        for request in requests
    )


def jobs_of(sandbox):
    """Returns all jobs on the server."""
    with sandbox.client(max_retries=20) as native:
        return [*native.list()]


async def live_through(case, scenario, _folder):
    """Runs a job in a scenario; where an API has no keys, looks for the job after each answer that was lost."""
    await case.set(delay={"kind": "fixed", "seconds": 0.3}, error_probability=0, scenario=scenario, seed=1)
    jobs, job = [], None
    while job is None:
        try:
            job = await case.client.start(input=case.kind.input())
        except TransportError as error:
            assert case.kind.read.idempotency is None, error
            assert "A job may exist" in str(error)
            known, jobs = jobs, await asyncio.to_thread(jobs_of, case.sandbox)
            job = next(iter(jobs), None)
            assert len(jobs) <= len(known) + 1
    if scenario == "stuck":
        with raises(JobTimeout, "It goes on"):
            await case.client.wait(job.id, timeout=2)
        await asyncio.to_thread(case.sandbox.unpause, job.id)
    final = await case.client.wait(job.id, timeout=TIMEOUT)
    assert (final.id, final.state) == (job.id, State.COMPLETED)
    report = await asyncio.to_thread(case.sandbox.report)
    requests = await asyncio.to_thread(lambda: [*case.sandbox.requests()])
    warnings = {finding.rule for finding in report.warnings} - BY_SPEED.get(scenario, BY_SPEED[None])
    assert not warnings, f"{warnings}\n{shown(requests)}"
    assert len(await asyncio.to_thread(jobs_of, case.sandbox)) == 1


@asynccontextmanager
async def opened(kind, client_kind, sandbox, pool, options):
    if client_kind == "sync":
        with kind.client(Client, sandbox, **options) as client:
            yield Awaited(client, pool)
    else:
        async with kind.client(AsyncClient, sandbox, **options) as client:
            yield client


async def run(work, kind, client_kind, argument, options, *, url, folder, pool, room):
    loop = asyncio.get_running_loop()
    async with room:
        sandboxes = sandbox_on(url)
        sandbox = await loop.run_in_executor(pool, sandboxes.__enter__)
        try:
            async with opened(kind, client_kind, sandbox, pool, options) as client:
                await work(Case(kind, client, sandbox), argument, folder)
        finally:
            await loop.run_in_executor(pool, sandboxes.__exit__, None, None, None)


def some(values, number):
    """Returns the values that the sync client meets with the n-th kind of job."""
    return [values[(FAULTS_OF_SYNC * number + other) % len(values)] for other in range(FAULTS_OF_SYNC)]


def under_faults(client):
    """Returns the cases of a client under faults, by their names: the work, and its arguments."""
    every = [None, *FAULTS]
    return {
        f"{kind}-{part}": (go_through, kind, client, faults, OPTIONS[None])
        for number, kind in enumerate(KINDS)
        for part, faults in enumerate(
            [every[part::PARTS] for part in range(PARTS)] if client == "async" else [some(every, number)]
        )
    }


def in_scenarios(client):
    """Returns the cases of a client in scenarios, by their names: the work, and its arguments."""
    return {
        f"{kind}-{scenario}": (live_through, kind, client, scenario, OPTIONS.get(scenario, OPTIONS[None]))
        for number, kind in enumerate(KINDS)
        for scenario in ([*SCENARIOS] if client == "async" else some([*SCENARIOS], number))
    }


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    """The address of a server process with all shipped APIs."""
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    command, environment = [*MODULE, "--port", "0"], os.environ | SETTINGS
    with log.open("w") as file, subprocess.Popen(command, cwd=folder, env=environment, stderr=file) as server:
        try:
            wait_until(lambda: server.poll() is not None or "listening on" in log.read_text(), "the server listens")
            yield re.search(r"listening on (\S+)", log.read_text())[1]
        finally:
            server.terminate()


@pytest.fixture(scope="class")
def cases(request, url, tmp_path_factory):
    """The cases of a class, running: futures by their names."""
    loop, pool, room = asyncio.new_event_loop(), ThreadPoolExecutor(64), asyncio.Semaphore(TOGETHER)
    loop.set_default_executor(pool)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    futures = {
        name: asyncio.run_coroutine_threadsafe(
            run(*case, url=url, folder=tmp_path_factory.mktemp("files"), pool=pool, room=room), loop
        )
        for name, case in request.cls.CASES.items()
    }
    yield futures
    for future in futures.values():
        future.cancel()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    pool.shutdown()
    loop.close()


def pytest_generate_tests(metafunc):
    metafunc.parametrize("name", metafunc.cls.CASES)


class Matrix:
    """Tests that each wait for one of the class's cases."""

    def test_every_job_ends_once_in_the_right_state(self, cases, name):
        cases[name].result(300)


@pytest.mark.takes(90)
class TestFaultsAsync(Matrix):
    CASES = under_faults("async")


@pytest.mark.takes(80)
class TestScenariosAsync(Matrix):
    CASES = in_scenarios("async")


@pytest.mark.takes(70)
class TestScenariosSync(Matrix):
    CASES = in_scenarios("sync")


@pytest.mark.takes(60)
class TestFaultsSync(Matrix):
    CASES = under_faults("sync")
