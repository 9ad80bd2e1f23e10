"""What holds the two clients together."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, get_args

import httpx
import pytest

from translation_client import AsyncClient, Client, Status, TranslationError
from translation_client.core import wait_one
from translation_client.core.requests import Rules
from translation_client.drivers.drivers import AsyncDriver, Driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from translation_client.core.effects import Effect, Input
    from translation_client.core.schedule import Schedule

RENAMED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}


def public(kind: type) -> dict[str, Callable[..., object]]:
    """The methods of a client, by the names that `Client` gives them."""
    names = [name for name in dir(kind) if not name.startswith("_") or name in RENAMED or name in RENAMED.values()]
    return {RENAMED.get(name, name): getattr(kind, name) for name in [*names, "__init__"]}


def test_both_clients_have_the_same_methods() -> None:
    assert public(Client).keys() == public(AsyncClient).keys()


@pytest.mark.parametrize("name", sorted(public(Client)))
def test_each_method_takes_the_same(name: str) -> None:
    plain, other = (inspect.signature(public(kind)[name]) for kind in (Client, AsyncClient))
    assert plain.parameters == other.parameters
    given, given_async = plain.return_annotation, other.return_annotation
    assert (get_args(given) or [given])[0] == (get_args(given_async) or [given_async])[0]


def doubling() -> Schedule:
    delay, seen = 0.5, (yield 0.0)
    while True:
        seen = yield delay if seen.hint is None else max(seen.hint, 0.05)
        delay = min(delay * 2, 8.0)


@dataclass
class World:
    """A network with a clock of its own, in which each request meets the next of the answers, the last for ever."""

    answers: list[tuple[int | str, dict[str, str], float]]
    long_poll: float = 0.0
    now: float = 1000.0
    trace: list[Effect | Input] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    error: str = ""

    def handle(self, request: httpx.Request) -> httpx.Response:
        told, headers, takes = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.now += takes
        match told:
            case int(code):
                return httpx.Response(code, headers=headers, json={"title": "No"})
            case "reset":
                raise httpx.ReadError("reset", request=request)
            case "timeout":
                raise httpx.ReadTimeout("slow", request=request)
            case word:
                told = {"job_id": "j1", "status": word, "elapsed_time": self.now - 1000}
                return httpx.Response(200, headers=headers, json=told)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def flow(self, timeout: float | None, driver: Driver | AsyncDriver) -> wait_one.Flow:
        rules = Rules(
            schedule=doubling,
            long_poll=self.long_poll,
            initial_delay=0.5,
            max_delay=8,
            backoff_factor=2,
            max_retries=2,
            request_timeout=10,
            random=lambda: (self.now * 7) % 1,
        )
        return wait_one.run(rules, driver.time(timeout), "key", {"video_length": 3})

    def run(self, seconds: float | None, http: httpx.Client) -> World:
        driver = Driver(http=http, base_url="http://jobs", trace=self.trace.append, clock=self.clock, sleep=self.sleep)
        try:
            self.statuses.extend(driver.run(self.flow(seconds, driver)))
        except TranslationError as error:
            self.error = repr(error)
        return self

    async def run_async(self, seconds: float | None, http: httpx.AsyncClient) -> World:
        driver = AsyncDriver(
            http=http, base_url="http://jobs", trace=self.trace.append, clock=self.clock, sleep=self.sleep_async
        )
        try:
            async for status in driver.run(self.flow(seconds, driver)):
                self.statuses.append(status)
        except TranslationError as error:
            self.error = repr(error)
        return self


WORDS = [
    "pending",
    "pending",
    "pending",
    "queued",
    "completed",
    "error",
    "reset",
    "timeout",
    429,
    502,
    503,
    401,
    404,
    307,
]
HEADERS = [{}, {}, {"Retry-After": "3"}, *[{"Preference-Applied": f"wait={told}"} for told in ("0", "5", "25")]]


def transcript(luck: Random) -> list[tuple[int | str, dict[str, str], float]]:
    """Some answers, each with the seconds that it takes."""
    return [
        (luck.choice(WORDS), luck.choice(HEADERS), luck.choice([0.01, luck.uniform(0, 12), luck.uniform(0, 40)]))
        for _ in range(luck.randint(1, 12))
    ]


def test_both_pumps_do_the_same() -> None:
    """Ten thousand transcripts, half of them with held looks."""
    asyncio.run(play_both())


async def play_both() -> None:
    world: World

    def handle(request: httpx.Request) -> httpx.Response:
        return world.handle(request)

    transport = httpx.MockTransport(handle)
    async with httpx.AsyncClient(transport=transport) as http_async:
        with httpx.Client(transport=transport) as http:
            for seed in range(10_000):
                luck = Random(seed)  # noqa: S311 - the same at each run
                answers = [*transcript(luck), ("completed", {}, 0.01)]
                timeout, long_poll = luck.choice([None, luck.uniform(0, 60)]), luck.choice([0.0, 25.0])
                world = plain = World(answers.copy(), long_poll)
                plain.run(timeout, http)
                world = other = World(answers.copy(), long_poll)
                await other.run_async(timeout, http_async)
                assert plain.trace == other.trace, seed
                assert (plain.statuses, plain.error, plain.now) == (other.statuses, other.error, other.now), seed
                assert [status.cost for status in plain.statuses] == [status.cost for status in other.statuses]
                assert plain.error or plain.statuses[-1].state.ended, seed
