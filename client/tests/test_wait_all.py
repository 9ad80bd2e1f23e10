"""`wait_all` and `as_completed` on a real server."""

import asyncio

import httpx
import pytest

from translation_client import AsyncClient, Client, JobTimeout, NotFound, Sandbox, Status
from translation_client.core.effects import Listen, Send
from translation_client.core.status import State
from translation_server import TranslationServer


@pytest.mark.parametrize("schedule", [5, "fixed", []])
def test_client_refuses_a_schedule_that_is_no_plan(schedule):
    with pytest.raises(ValueError, match=r"^schedule must be a callable that makes a generator, Fixed\(2\)"):
        Client(schedule=schedule)


@pytest.mark.parametrize("ids", ["j1", None, 5])
def test_wait_all_refuses_ids_that_are_no_iterable(ids):
    with Client() as client, pytest.raises(ValueError, match=r"^ids must be an iterable of ids, a list"):
        client.wait_all(ids)


class TestOnTheRealServer:
    def test_sync_client_waits_for_many_jobs(self):
        updates = list[Status]()
        with TranslationServer(completion_time=0.4, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(120)]
            ends = client.wait_all([*ids, "none", ids[0]], timeout=60, on_update=updates.append)
            assert list(ends) == [*ids, "none"]
            assert isinstance(ends.pop("none"), NotFound)
            assert {end.state for end in ends.values()} == {State.COMPLETED}
            assert {update.id for update in updates} == set(ids)
            assert client.wait_all([]) == {}

    def test_async_client_waits_for_many_jobs(self):
        async def wait(url):
            async with AsyncClient(url) as client:
                ids = [(await client.start()).id for _ in range(20)]
                assert {type(end) async for _, end in client.as_completed(ids, timeout=0.05)} == {JobTimeout}
                with Sandbox(url) as sandbox:
                    sandbox.advance(1000)
                return await client.wait_all(ids, timeout=60)

        with TranslationServer(completion_time=1000, error_rate=1) as server:
            ends = asyncio.run(wait(server.url))
        assert {end.state for end in ends.values()} == {State.ERROR}

    def test_wait_all_without_long_polls_and_streams(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url, long_poll=0) as client:
            ends = client.wait_all([client.start().id for _ in range(5)], timeout=60)
        assert {end.state for end in ends.values()} == {State.COMPLETED}

    def test_stream_is_not_cut_off_between_heartbeats(self, caplog):
        """An http client of the caller's has one timeout for opening the stream, and another for reading it."""
        opened = []

        def trace(item):
            opened.extend([item] if isinstance(item, Listen) and item.send else [])

        with (
            TranslationServer(completion_time=6, error_rate=0) as server,
            httpx.Client() as http,
            Client(server.url, http_client=http, request_timeout=5, trace=trace) as client,
        ):
            (end,) = client.wait_all([client.start().id]).values()
        assert end.state is State.COMPLETED
        assert len(opened) == 1
        assert "did not answer in full" not in caplog.text

    def test_hints_are_followed_without_a_stream(self):
        polls = []

        def trace(item):
            polls.extend([item] if isinstance(item, Send) and item.path == "/jobs" else [])

        with TranslationServer(completion_time=0.4, error_rate=0) as server:
            with Client(server.url) as client:
                stale = client.start().id
            with Client(server.url, long_poll=0, trace=trace) as client:
                client.wait_all([stale])
                assert len(polls) <= 2
                polls.clear()
                client.wait_all([client.start().id])
                assert len(polls) == 1

    def test_caller_that_stops_early_leaves_nothing_open(self):
        with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url) as client:
            ids = [client.start().id for _ in range(5)]
            for job_id, end in client.as_completed(ids):
                assert job_id == end.id
                break
            else:
                pytest.fail("none has ended")
            assert client.status(ids[0]).id == ids[0]
