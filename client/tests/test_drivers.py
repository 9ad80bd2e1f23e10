"""The sync and the async driver do the same with the same flow."""

import asyncio
from dataclasses import dataclass, field
from random import Random

import httpx
import pytest

from tests.flow_player import flow_options
from translation_client import Status, TranslationError
from translation_client.core import wait_one
from translation_client.drivers.async_driver import AsyncDriver
from translation_client.drivers.sync_driver import Driver


@dataclass
class Network:
    """A scripted network with its own clock: each request gets the next answer; the last answer repeats."""

    answers: list[tuple[int | str, dict[str, str], float]]
    long_poll: float = 0.0
    now: float = 1000.0
    trace: list[object] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    error: str = ""

    def handle(self, request):
        answer, headers, seconds = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", **headers}
        self.now += seconds
        match answer:
            case int(code):
                return httpx.Response(code, headers=headers, json={"title": "No"})
            case "reset":
                raise httpx.ReadError("reset", request=request)
            case "timeout":
                raise httpx.ReadTimeout("slow", request=request)
            case word:
                job = {"job_id": "j1", "status": word, "elapsed_time": self.now - 1000}
                return httpx.Response(200, headers=headers, json=job)

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)

    def flow(self, timeout, driver):
        options = flow_options(long_poll=self.long_poll, max_retries=2, random=lambda: (self.now * 7) % 1)
        return wait_one.run(options, driver.time(timeout), "key", {"video_length": 3})

    def run(self, seconds, http):
        driver = Driver(http=http, base_url="http://jobs", trace=self.trace.append, clock=self.clock, sleep=self.sleep)
        try:
            self.statuses.extend(driver.run(self.flow(seconds, driver)))
        except TranslationError as error:
            self.error = repr(error)
        return self

    async def run_async(self, seconds, http):
        driver = AsyncDriver(
            http=http, base_url="http://jobs", trace=self.trace.append, clock=self.clock, sleep=self.sleep_async
        )
        try:
            async for status in driver.run(self.flow(seconds, driver)):
                self.statuses.append(status)
        except TranslationError as error:
            self.error = repr(error)
        return self


WORDS = [*["pending"] * 3, "queued", "completed", "error", "reset", "timeout", 429, 502, 503, 401, 404, 307]
HEADERS = [{}, {}, {"Retry-After": "3"}, *[{"Preference-Applied": f"wait={seconds}"} for seconds in ("0", "5", "25")]]


def transcript(rng):
    """Returns random answers, each with the seconds until it arrives."""
    return [
        (rng.choice(WORDS), rng.choice(HEADERS), rng.choice([0.01, rng.uniform(0, 12), rng.uniform(0, 40)]))
        for _ in range(rng.randint(1, 12))
    ]


@pytest.mark.usefixtures("untraced")
@pytest.mark.takes(20)
async def test_both_drivers_do_the_same(monkeypatch):
    """Two thousand transcripts, half of them with long polls."""
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 0.0)  # the time of a busy machine does not count
    network = None

    def handle(request):
        return network.handle(request)

    transport = httpx.MockTransport(handle)
    async with httpx.AsyncClient(transport=transport) as http_async:
        with httpx.Client(transport=transport) as http:
            for seed in range(2_000):
                rng = Random(seed)  # noqa: S311 - the same at each run
                answers = [*transcript(rng), ("completed", {}, 0.01)]
                timeout, long_poll = rng.choice([None, rng.uniform(0, 60)]), rng.choice([0.0, 25.0])
                network = sync = Network(answers.copy(), long_poll)
                sync.run(timeout, http)
                network = async_ = Network(answers.copy(), long_poll)
                await async_.run_async(timeout, http_async)
                assert sync.trace == async_.trace, seed
                assert (sync.statuses, sync.error, sync.now) == (async_.statuses, async_.error, async_.now), seed
                assert [status.cost for status in sync.statuses] == [status.cost for status in async_.statuses]
                assert sync.error or sync.statuses[-1].state.ended, seed
