"""What can happen to a PostgreSQL database: other programs, other versions, many servers, and lost connections."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import asyncpg
import pytest

from translation_server.core.change_feed import FeedPosition
from translation_server.core.job import Fate, Job, State
from translation_server.storage import Idempotency, StoreChange, StoreError, open_store
from translation_server.storage.postgres.migrations import MIGRATIONS

pytestmark = pytest.mark.anyio


NOTIFICATION = b"A"
"""How a message of PostgreSQL's protocol begins that tells of a notification."""


def accept(ordinal: int) -> Job:
    return Job(f"ann-{ordinal}", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED))


@pytest.fixture
def url(postgres) -> str:
    return postgres.new()


@pytest.fixture
async def store(url):
    store = open_store(url)
    yield store
    await store.close()


def kill_connections(postgres) -> None:
    """Ends all connections of servers."""
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'translation-server'"
    )


class Detour:
    """A way to the database that can be cut over a commit, before or after the database hears of it.

    While it is deaf, no notification comes through, as behind a pooler that lends out connections by the transaction.
    """

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self._there.port}/", f":{self._listener.getsockname()[1]}/")
        self.cut: str | None = None
        self.deaf = False
        self._ways: list[socket.socket] = []

    def serve(self) -> None:
        with suppress(OSError), ThreadPoolExecutor() as pool:
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection((self._there.hostname, self._there.port))
                self._ways += [here, there]
                pool.submit(self._forth, here, there)
                pool.submit(self._back, there, here)

    def _forth(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                if self.cut and b"COMMIT" in data:
                    cut, self.cut = self.cut, None
                    if cut == "after":
                        there.sendall(data)
                    here.shutdown(socket.SHUT_RDWR)
                    break
                there.sendall(data)
            there.shutdown(socket.SHUT_RDWR)

    def _back(self, there: socket.socket, here: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(65536):
                if not (self.deaf and data.startswith(NOTIFICATION)):
                    here.sendall(data)
            here.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for way in (*self._ways, self._listener):
            way.close()


async def test_a_commit_waits_for_the_disk(store):
    async def setting(connection) -> str:
        return await connection.fetchval("SHOW synchronous_commit")

    database = store._database  # noqa: SLF001 - nothing less than a power cut would show it from outside
    assert await database.transaction(setting) == "on"
    assert await database.transaction(setting, durable=False) == "off"


def test_a_database_of_another_program_is_refused_and_left_as_it_was(postgres, url):
    postgres.execute("CREATE TABLE theirs (x INTEGER)", url=url)
    with pytest.raises(StoreError, match="belongs to another program"):
        open_store(url)
    tables = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    assert postgres.execute(tables, url=url) == [[("theirs",)]]


async def test_a_newer_versions_database_is_refused(postgres, url):
    await open_store(url).close()
    postgres.execute("UPDATE translation_server SET version = 1000", url=url)
    with pytest.raises(StoreError, match="a newer version"):
        open_store(url)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_an_older_versions_database_is_brought_up_to_date(postgres, url, version):
    made = chain.from_iterable(MIGRATIONS[:version])
    mark = f"CREATE TABLE translation_server (version) AS VALUES ({version})"
    job = """
        INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, held_for, changed_at)
        VALUES ('ann', 1, 'a', 1000, 5, 'error', 0, 1000)
    """
    record = """INSERT INTO requests VALUES ('ann', 1, '{"action":"look","moment":1000.123456789}')"""
    count = "INSERT INTO tallies VALUES ('ann', 'bulk 0', 7)"
    postgres.execute(mark, *made, "INSERT INTO owners VALUES ('ann', 1)", job, record, count, url=url)
    store = open_store(url)
    assert [job.id for job in await store.ending_after("ann", FeedPosition(1001), 9)] == ["a"]
    assert await store.read_requests("ann") == [(1, '{"action":"poll","virtual_at":1000.123456789}')]
    assert await store.fault_counts("ann", ["batch_poll 0"]) == [7]
    assert (await store.add("ann", accept)).job.ordinal == 2
    await store.close()
    assert postgres.execute("SELECT version FROM translation_server", url=url) == [[(len(MIGRATIONS),)]]


async def test_servers_that_start_at_once_make_one_schema(url):
    with ThreadPoolExecutor() as pool:
        stores = list(pool.map(open_store, [url] * 4))
    added = await asyncio.gather(*(store.add("ann", accept) for store in stores))
    assert sorted(one.job.ordinal for one in added) == [1, 2, 3, 4]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("secretpassword@", "another-secret@"), "refuses the user or the password"),
        (("/postgres", "/none"), "no such database"),
        (("search_path=test", "search_path=none"), "no such schema"),
        (("@127.0.0.1:", "@127.0.0.1:x"), "cannot be read"),
        (("secretpassword@", "another/secret@"), "cannot be read"),
        (("?", "?sslmode=perhaps&"), "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_url_is_told_without_the_password(url, change, told):
    with pytest.raises(StoreError, match=told) as refused:
        open_store(url.replace(*change))
    assert "secret" not in str(refused.value)


def test_a_server_waits_for_its_database_for_a_while(monkeypatch, caplog, unused):
    monkeypatch.setattr("translation_server.storage.postgres.database.START_PATIENCE", 0.3)
    with pytest.raises(StoreError, match="cannot be reached: start it"):
        open_store(f"postgresql://ann:secret@127.0.0.1:{unused}/jobs")
    assert "waiting for it" in caplog.text
    assert "secret" not in caplog.text


async def test_lost_connections_are_not_noticed(postgres, store):
    for ordinal in range(1, 4):
        await asyncio.gather(*(store.find("ann", "x") for _ in range(20)))
        kill_connections(postgres)
        assert (await store.add("ann", accept)).job.ordinal == ordinal
        kill_connections(postgres)
        found = await asyncio.gather(*(store.find("ann", f"ann-{ordinal}") for _ in range(20)))
        assert None not in found


async def test_a_restart_of_the_database_is_a_pause_and_a_longer_one_is_told_of(postgres, store, monkeypatch):
    monkeypatch.setattr("translation_server.storage.postgres.database.PATIENCE", 60)
    kept = (await store.add("ann", accept)).job
    postgres.stop()
    asking = [asyncio.create_task(store.find("ann", kept.id)), asyncio.create_task(store.add("ann", accept))]
    await asyncio.sleep(0.2)
    await asyncio.to_thread(postgres.start)
    found, added = await asyncio.gather(*asking)
    assert (found, added.job.ordinal) == (kept, 2)
    postgres.stop()
    monkeypatch.setattr("translation_server.storage.postgres.database.PATIENCE", 0.3)
    try:
        for use in (store.check(), store.find("ann", kept.id), store.add("ann", accept)):
            with pytest.raises(StoreError, match="cannot be reached"):
                await use
    finally:
        postgres.start()
    await store.check()
    assert (await store.add("ann", accept)).job.ordinal == 3


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_of_which_nothing_is_heard_is_looked_into(url, cut):
    with Detour(url) as detour:
        store = open_store(detour.url)
        await store.add("ann", accept)
        detour.cut = cut
        adding = store.add("ann", accept, Idempotency("key", b""))
        if cut == "before":
            with pytest.raises(StoreError, match="lost over a commit"):
                await adding
        else:
            assert (await adding).job.ordinal == 2
        assert (await store.add("ann", accept, Idempotency("key", b""))).replayed == (cut == "after")
        assert (await store.add("ann", accept)).job.ordinal == 3
        detour.cut = "before"
        with pytest.raises(StoreError, match="lost over a commit"):
            await store.change("ann", "ann-1", lambda job: job.cancel(1001.0))
        assert (await store.find("ann", "ann-1")).cancelled_at is None
        await store.close()


async def test_an_id_that_cannot_be_stored_is_nobodys(store):
    assert await store.find("ann", "a\0b") is None
    assert await store.find_many("ann", ["\0"]) == []
    assert await store.change("ann", "\0", lambda job: job) is None


SUBMITTER = """
import asyncio, sys
from translation_server.core.change_feed import FeedPosition
from translation_server.core.job import Fate, Job, State
from translation_server.storage import Idempotency, open_store

def accept(ordinal):
    return Job(f"ann-{ordinal}", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED))

async def main():
    store = open_store(sys.argv[1])
    await store.add("ann", accept, Idempotency("shared", b""))
    await asyncio.gather(*(store.add("ann", accept) for _ in range(25)))
    await store.close()

asyncio.run(main())
"""


def test_processes_share_a_new_database(postgres, url):
    processes = [subprocess.Popen([sys.executable, "-c", SUBMITTER, url]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert postgres.execute("SELECT count(*), min(ordinal), max(ordinal) FROM jobs", url=url) == [[(101, 1, 101)]]


async def heard(store) -> list[StoreChange]:
    """What a store hears next, once it does."""
    while not (news := await store.wait_for_changes(0.05)):
        pass
    return list(news)


async def test_what_another_server_does_is_told(url, store):
    other = open_store(url)
    while await store.wait_for_changes(0.05) is None:
        pass
    job = (await other.add("ann", accept)).job
    assert await heard(store) == [StoreChange("ann", range(1, 2))]
    await other.change("ann", job.id, lambda job: job.cancel(1001.0))
    await other.change_sandbox("bob", lambda _: "world")
    news = await heard(store)
    assert [*news, *(await heard(store) if len(news) == 1 else ())] == [
        StoreChange("ann", range(1, 2)),
        StoreChange("bob"),
    ]
    await store.change_sandbox("ann", lambda _: "what one does oneself is no news")
    await other.change("ann", job.id, lambda job: job)
    assert await store.wait_for_changes(0.1) == []
    await other.close()


async def test_who_can_no_longer_listen_asks_and_listens_again(postgres, url, store, monkeypatch):
    monkeypatch.setattr("translation_server.storage.postgres.notifications.AGAIN", 0.05)
    while await store.wait_for_changes(0.05) is None:
        pass
    kill_connections(postgres)
    while await store.wait_for_changes(0.05) is not None:
        pass
    while await store.wait_for_changes(0.05) is None:
        pass
    other = open_store(url)
    await other.change_sandbox("ann", lambda _: "world")
    assert await heard(store) == [StoreChange("ann")]
    await other.close()


async def test_who_hears_nothing_asks(url, monkeypatch, caplog):
    monkeypatch.setattr("translation_server.storage.postgres.notifications.PATIENCE", 0.05)
    monkeypatch.setattr("translation_server.storage.postgres.notifications.AGAIN", 0.05)
    with Detour(url) as detour:
        detour.deaf = True
        store = open_store(detour.url)
        for _ in range(10):
            assert await store.wait_for_changes(0.05) is None
        assert caplog.text.count("what other servers do is asked for") == 1
        detour.deaf = False
        while await store.wait_for_changes(0.05) is None:
            pass
        await store.close()


async def test_a_row_that_somebody_keeps_locked_is_told_of_and_nothing_has_changed(url, store, monkeypatch):
    assert (await store.add("ann", accept)).job.ordinal == 1
    other = await asyncpg.connect(url)
    await other.execute("BEGIN; SELECT FROM owners FOR UPDATE")
    monkeypatch.setattr("translation_server.storage.postgres.database.PATIENCE", 0.2)
    with pytest.raises(StoreError, match="try again"):
        await store.add("ann", accept)
    await other.close()
    monkeypatch.setattr("translation_server.storage.postgres.database.PATIENCE", 60)
    assert (await store.add("ann", accept)).job.ordinal == 2
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [2, 1]


async def test_a_check_finds_what_an_addition_would(postgres, store):
    job = (await store.add("ann", accept)).job
    await store.check()
    postgres.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    kill_connections(postgres)
    try:
        for use in (store.check(), store.add("ann", accept)):
            with pytest.raises(StoreError, match="takes no writes"):
                await use
        assert await store.find("ann", job.id) == job
    finally:
        postgres.execute(
            "SET default_transaction_read_only = off", "ALTER ROLE CURRENT_USER RESET default_transaction_read_only"
        )
        kill_connections(postgres)
    await store.check()
    assert (await store.add("ann", accept)).job.ordinal == job.ordinal + 1


@pytest.fixture
def small_disk(postgres, url) -> Iterator[Path]:
    """A disk of four megabytes, on which PostgreSQL keeps the schema that is made meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,uid=nobody,mode=0700", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only a user who may mount one can have a small disk")
        try:
            try:
                postgres.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            except asyncpg.PostgresError as error:
                pytest.skip(f"this PostgreSQL does not reach the disk: {error}")
            postgres.execute("ALTER ROLE CURRENT_USER SET default_tablespace = small")
            yield Path(folder)
            kill_connections(postgres)
            gone = f"DROP SCHEMA {url.partition('search_path=')[2]} CASCADE", "DROP TABLESPACE small"
            postgres.execute("ALTER ROLE CURRENT_USER RESET default_tablespace", *gone)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - wherever the system has it


async def test_a_check_finds_a_full_disk(small_disk, url):
    store = open_store(url)
    with (small_disk / "else").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    for use in (store.check, lambda: store.add("ann", accept)):
        with pytest.raises(StoreError, match="its disk is full"):
            await use()
    (small_disk / "else").unlink()
    await store.check()
    assert (await store.add("ann", accept)).job.ordinal == 1
    await store.close()
