"""What ended long ago is forgotten, whichever the database."""

import asyncio
import time

import pytest

from translation_server.core.job import Fate, Job, State
from translation_server.core.sandbox import SandboxSettings
from translation_server.documents import ClockChange, change_clock
from translation_server.service.retention import STEP, purge, purge_forever
from translation_server.service.sandbox_cache import SandboxCache

pytestmark = pytest.mark.anyio

HOUR = 3600.0
REAL = 1_000_000.0


async def add(store, owner: str, *, real: float, created_at: float, delay: float, pause: bool = False) -> None:
    def accept(ordinal: int) -> Job:
        paused_at = created_at if pause else None
        fate = Fate(delay, State.COMPLETED)
        return Job(f"{owner}-{ordinal}", owner, ordinal, created_at, fate, paused_at=paused_at, changed_at=real)

    await store.add(owner, accept)


async def kept(store, owner: str) -> list[int]:
    return sorted(job.ordinal for job in await store.page(owner, limit=999, before=None, state=None, now=0))


def sandboxes(store) -> SandboxCache:
    return SandboxCache(store, SandboxSettings, started=0.0, changeable=True, on_change=lambda *_: None)


async def test_jobs_go_that_ended_long_ago_and_no_other(store):
    for age, delay in ((3, 0), (3, 1.5 * HOUR), (3, 2.5 * HOUR), (1, 0)):
        await add(store, "ann", real=REAL - age * HOUR, created_at=REAL - age * HOUR, delay=delay)
    await add(store, "ann", real=REAL - 9 * HOUR, created_at=REAL - 9 * HOUR, delay=0, pause=True)
    await purge(store, sandboxes(store), 2 * HOUR, lambda: REAL)
    assert await kept(store, "ann") == [2, 3, 4, 5]
    await purge(store, sandboxes(store), 2 * HOUR, lambda: REAL + HOUR)
    assert await kept(store, "ann") == [3, 5]


async def test_the_clock_of_the_sandbox_tells_when_a_job_ended(store):
    for name, change, set_at, created_at in (
        ("stands", {"frozen": True}, REAL - 9 * HOUR, REAL - 9 * HOUR),
        ("jumped", {"advance": 99 * HOUR}, REAL - HOUR, REAL - 5 * HOUR),
    ):
        document = ClockChange.model_validate(change)
        await store.change_sandbox(name, lambda text, by=document, at=set_at: change_clock(text, by, at))
        await add(store, name, real=REAL - 5 * HOUR, created_at=created_at, delay=6 * HOUR)
    await purge(store, sandboxes(store), 2 * HOUR, lambda: REAL)
    assert [await kept(store, name) for name in ("stands", "jumped")] == [[1], [1]]
    await purge(store, sandboxes(store), 2 * HOUR, lambda: REAL + 1.5 * HOUR)
    assert [await kept(store, name) for name in ("stands", "jumped")] == [[1], []]


async def test_every_owner_has_their_turn_and_many_jobs_take_many_steps(store):
    for owner, count in (("ann", 2 * STEP + 1), ("bob", 1)):
        for _ in range(count):
            await add(store, owner, real=0.0, created_at=0.0, delay=1.0)
    await store.add_requests(
        [("cid", f'{{"at":{at},"virtual_at":0,"took":0,"method":"GET","path":"/"}}') for at in (1, 2)], 9
    )
    await purge(store, sandboxes(store), HOUR, lambda: HOUR + 1.5)
    assert [await kept(store, owner) for owner in ("ann", "bob")] == [[], []]
    assert [number for number, _ in await store.read_requests("cid")] == [2]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
async def test_what_cannot_be_read_is_told_of_and_ends_nothing(store, caplog):
    await store.add_requests([("ann", "no entry of ours")], 9)
    await add(store, "bob", real=0.0, created_at=0.0, delay=1.0)
    purging = asyncio.create_task(purge_forever(store, sandboxes(store), 0.1, lambda: REAL))
    async with asyncio.timeout(30):
        while await kept(store, "bob"):
            if "what is old is kept for now" in caplog.text:
                await store.reset_sandbox("ann")
            await asyncio.sleep(0.01)
    purging.cancel()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_a_server_forgets_while_it_serves(start, url):
    api = start(database_url=url, retention="1s", max_delay=0)
    old = api.post("/start", headers={"Idempotency-Key": "key"}).json()["job_id"]
    pending = api.post("/start", json={"simulate": {"delay": 1000}}).json()["job_id"]
    give_up_at = time.monotonic() + 30
    while [job["job_id"] for job in api.get("/jobs").json()["jobs"]] != [pending]:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert api.post("/start", headers={"Idempotency-Key": "key"}).json()["job_id"] != old
