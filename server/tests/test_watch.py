"""Who waits for jobs, whatever other processes do."""

import asyncio
import logging
from dataclasses import replace

import pytest

from translation_server.core.job import Fate, Job, State
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.change_bus import ChangeBus
from translation_server.service.sandbox_cache import SandboxCache

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("url", ["memory"], indirect=True)
async def test_what_cannot_be_read_is_told_of_and_ends_nothing(store, monkeypatch, caplog):
    monkeypatch.setattr("translation_server.service.change_bus.FRESH", 0.01)
    sandboxes = SandboxCache(store, SandboxSettings, started=0.0, changeable=True, on_change=lambda *_: None)
    with ChangeBus(store, sandboxes, lambda: 1000.0).subscribe("ann") as subscription:
        subscription.newest = 0
        await store.change_sandbox("ann", lambda _: "no world of ours")
        async with asyncio.timeout(30):
            while not any(record.exc_info for record in caplog.get_records("call")):
                await subscription.wait(0.01)
            await store.clear("ann")
            job = Job("a", "ann", 1, 1000.0, Fate(10.0, State.COMPLETED), changed_at=1000.0)
            await store.add("ann", lambda _: job)
            while subscription.newest < 1:
                assert not await subscription.wait(30)
            await store.amend("ann", "a", lambda job: replace(job.cancelled(1001.0), changed_at=1001.0))
            assert [heard.cancelled_at for heard in await subscription.wait(30)] == [1001.0]
    assert {record.levelno for record in caplog.get_records("call")} == {logging.WARNING}
