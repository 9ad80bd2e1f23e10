"""PostgreSQL databases: other programs and versions, many servers, and lost connections."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.stores import PAUSED_JOB, SUBMITTER, accepting, check_pauses_of_paused_job
from translation_server.core.change_feed import FeedPosition
from translation_server.storage import Idempotency, StoreChange, StoreError, open_store
from translation_server.storage.postgres.migrations import MIGRATIONS
from translation_server.storage.postgres.parameters import number_parameters
from translation_server.storage.postgres.store import PostgresStore

NOTIFICATION = b"A"  # the first byte of a notification in PostgreSQL's protocol


RENAMING = 5  # the version of the schema from which on some names are different
RENAMED = [
    ("held_for", "paused_for"),
    ("look", "poll"),
    ("moment", "virtual_at"),
    ("tallies", "fault_counts"),
    ("bulk", "batch_poll"),
]

accept = accepting()


@pytest.fixture
def url(postgres):
    return postgres.new()


@pytest.fixture
async def store(url):
    store = open_store(url)
    yield store
    await store.close()


def kill_connections(postgres):
    """Ends all connections of servers."""
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'translation-server'"
    )


class Proxy:
    """A proxy to the database.

    Attributes:
        cut: When to close a connection during its next commit: "before" or "after" the database receives it.
        mute: Whether to drop notifications, as a connection pooler in transaction mode does.
    """

    def __init__(self, url):
        self._database = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self._database.port}/", f":{self._listener.getsockname()[1]}/")
        self.cut = None
        self.mute = False
        self._connections = []

    def serve(self):
        with suppress(OSError), ThreadPoolExecutor() as pool:
            while True:
                client, _ = self._listener.accept()
                database = socket.create_connection((self._database.hostname, self._database.port))
                self._connections += [client, database]
                pool.submit(self._forward, client, database)
                pool.submit(self._return, database, client)

    def _forward(self, client, database):
        with suppress(OSError):
            while data := client.recv(65536):
                if self.cut and b"COMMIT" in data:
                    cut, self.cut = self.cut, None
                    if cut == "after":
                        database.sendall(data)
                    client.shutdown(socket.SHUT_RDWR)
                    break
                database.sendall(data)
            database.shutdown(socket.SHUT_RDWR)

    def _return(self, database, client):
        with suppress(OSError):
            while data := database.recv(65536):
                if not (self.mute and data.startswith(NOTIFICATION)):
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in (*self._connections, self._listener):
            connection.close()


def test_parameters_are_bound_by_their_whole_names():
    statement = "SELECT :owner_x::text[], :owner, 'an :owner', a[1:2] FROM jobs WHERE id = :owner_x AND ordinal=:at;"
    parameters = {"owner": "ann", "owner_x": "bob", "at": 7, "unused": None}
    assert number_parameters(statement, parameters) == (
        "SELECT $1::text[], $2, 'an :owner', a[1:2] FROM jobs WHERE id = $1 AND ordinal=$3;",
        ["bob", "ann", 7],
    )
    with pytest.raises(KeyError):
        number_parameters("SELECT :owner_x", {"owner": "ann"})


async def test_commits_wait_for_the_disk(store):
    async def setting(connection):
        return await connection.fetchval("SHOW synchronous_commit")

    database = store._database  # noqa: SLF001 - only a power cut would show it from outside
    assert await database.transaction(setting) == "on"
    assert await database.transaction(setting, durable=False) == "off"


def test_database_of_another_program_is_refused_and_unchanged(postgres, url):
    postgres.execute("CREATE TABLE theirs (x INTEGER)", url=url)
    with pytest.raises(StoreError, match="belongs to another program"):
        open_store(url)
    tables = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    assert postgres.execute(tables, url=url) == [[("theirs",)]]


async def test_database_of_a_newer_version_is_refused(postgres, url):
    await open_store(url).close()
    postgres.execute("UPDATE translation_server SET version = 1000", url=url)
    with pytest.raises(StoreError, match="a newer version"):
        open_store(url)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_database_of_an_older_version_is_migrated(postgres, url, version):
    migrations = chain.from_iterable(MIGRATIONS[:version])
    mark = f"CREATE TABLE translation_server (version) AS VALUES ({version})"
    job = """
        INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, held_for, changed_at)
        VALUES ('ann', 1, 'a', 1000, 5, 'error', 0, 1000)
    """
    record = """INSERT INTO requests VALUES ('ann', 1, '{"action":"look","moment":1000.123456789}')"""
    rows = [job, record, "INSERT INTO tallies VALUES ('ann', 'bulk 0', 7)"]
    for former, name in RENAMED if version >= RENAMING else ():
        rows = [row.replace(former, name) for row in rows]
    postgres.execute(mark, *migrations, "INSERT INTO owners VALUES ('ann', 1)", *rows, url=url)
    store = open_store(url)
    assert [job.id for job in await store.ending_after("ann", FeedPosition(1001), 9)] == ["a"]
    assert (await store.find("ann", "a", api="native", kind="translation")).due_at == 1005.0
    assert await store.read_requests("ann") == [(1, '{"action":"poll","virtual_at":1000.123456789}')]
    assert await store.fault_counts("ann", ["batch_poll 0"]) == [7]
    assert (await store.add("ann", accept)).job.ordinal == 2
    await store.close()
    assert postgres.execute("SELECT version FROM translation_server", url=url) == [[(len(MIGRATIONS),)]]


async def test_pauses_from_before_they_were_stored_count_but_are_not_invented(postgres, url):
    version = 13
    mark = f"CREATE TABLE translation_server (version) AS VALUES ({version})"
    migrations = chain.from_iterable(MIGRATIONS[:version])
    postgres.execute(mark, *migrations, "INSERT INTO owners VALUES ('ann', 1)", PAUSED_JOB, url=url)
    store = open_store(url)
    await check_pauses_of_paused_job(store)
    await store.close()


async def test_concurrent_starts_create_one_schema(url):
    with ThreadPoolExecutor() as pool:
        stores = list(pool.map(open_store, [url] * 4))
    added = await asyncio.gather(*(store.add("ann", accept) for store in stores))
    assert sorted(one.job.ordinal for one in added) == [1, 2, 3, 4]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("secretpassword@", "another-secret@"), "refuses the user or the password"),
        (("/postgres", "/none"), "no such database"),
        (("search_path=test", "search_path=none"), "no such schema"),
        (("@127.0.0.1:", "@127.0.0.1:x"), "is malformed"),
        (("secretpassword@", "another/secret@"), "is malformed"),
        (("?", "?sslmode=perhaps&"), "is malformed"),
    ],
)
def test_bad_url_is_refused_without_showing_the_password(url, change, message):
    with pytest.raises(StoreError, match=message) as refused:
        open_store(url.replace(*change))
    assert "secret" not in str(refused.value)


def test_start_waits_for_the_database(caplog, unused):
    with pytest.raises(StoreError, match="cannot be reached: start it"):
        PostgresStore(f"postgresql://ann:secret@127.0.0.1:{unused}/jobs", "jobs", start_timeout=0.3)
    assert "waiting for it" in caplog.text
    assert "secret" not in caplog.text


async def test_lost_connections_are_replaced(postgres, store):
    for ordinal in range(1, 4):
        await asyncio.gather(*(store.find("ann", "x") for _ in range(20)))
        kill_connections(postgres)
        assert (await store.add("ann", accept)).job.ordinal == ordinal
        kill_connections(postgres)
        jobs = await asyncio.gather(*(store.find("ann", f"ann-{ordinal}") for _ in range(20)))
        assert None not in jobs


async def test_restart_and_outage_of_the_database(postgres, url):
    store, impatient = PostgresStore(url, "jobs", timeout=60), PostgresStore(url, "jobs", timeout=2)
    job = (await store.add("ann", accept)).job
    postgres.stop()
    waiting = [asyncio.create_task(store.find("ann", job.id)), asyncio.create_task(store.add("ann", accept))]
    await asyncio.sleep(0.2)
    await asyncio.to_thread(postgres.start)
    found, added = await asyncio.gather(*waiting)
    assert (found, added.job.ordinal) == (job, 2)
    postgres.stop()
    try:
        uses = impatient.check(), impatient.find("ann", job.id), impatient.add("ann", accept)
        errors = await asyncio.gather(*uses, return_exceptions=True)
        assert {type(error) for error in errors} == {StoreError}
        assert all("cannot be reached" in str(error) for error in errors), errors
    finally:
        postgres.start()
    await store.check()
    assert (await store.add("ann", accept)).job.ordinal == 3
    await impatient.close()
    await store.close()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_connection_lost_during_a_commit(url, cut):
    with Proxy(url) as proxy:
        store = open_store(proxy.url)
        await store.add("ann", accept)
        proxy.cut = cut
        adding = store.add("ann", accept, Idempotency("key", b""))
        if cut == "before":
            with pytest.raises(StoreError, match="lost during a commit"):
                await adding
        else:
            assert (await adding).job.ordinal == 2
        assert (await store.add("ann", accept, Idempotency("key", b""))).replayed == (cut == "after")
        assert (await store.add("ann", accept)).job.ordinal == 3
        proxy.cut = "before"
        with pytest.raises(StoreError, match="lost during a commit"):
            await store.change("ann", "ann-1", lambda job: job.cancel(1001.0))
        assert (await store.find("ann", "ann-1")).cancelled_at is None
        await store.close()


async def test_id_that_cannot_be_stored_is_unknown(store):
    assert await store.find("ann", "a\0b") is None
    assert await store.find_many("ann", ["\0"]) == []
    assert await store.change("ann", "\0", lambda job: job) is None


def test_processes_share_a_new_database(postgres, url):
    processes = [subprocess.Popen([sys.executable, "-c", SUBMITTER, url]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert postgres.execute("SELECT count(*), min(ordinal), max(ordinal) FROM jobs", url=url) == [[(101, 1, 101)]]


async def listening(store):
    while await store.wait_for_changes(0.05) is None:
        pass


async def next_changes(store):
    while not (changes := await store.wait_for_changes(0.05)):
        pass
    return list(changes)


async def test_changes_by_another_server_are_announced(url, store):
    other = open_store(url)
    await listening(store)
    job = (await other.add("ann", accept)).job
    assert await next_changes(store) == [StoreChange("ann", range(1, 2))]
    await other.change("ann", job.id, lambda job: job.cancel(1001.0))
    await other.change_sandbox("bob", lambda _: "settings")
    changes = await next_changes(store)
    changes += await next_changes(store) if len(changes) == 1 else []
    assert changes == [StoreChange("ann", range(1, 2)), StoreChange("bob")]
    await store.change_sandbox("ann", lambda _: "a change of its own")
    await other.change("ann", job.id, lambda job: job)
    assert await store.wait_for_changes(0.1) == []
    await other.close()


async def test_listener_reconnects(postgres, url):
    store = PostgresStore(url, "jobs", retry_pause=0.05)
    await listening(store)
    kill_connections(postgres)
    while await store.wait_for_changes(0.05) is not None:
        pass
    await listening(store)
    other = open_store(url)
    await other.change_sandbox("ann", lambda _: "settings")
    assert await next_changes(store) == [StoreChange("ann")]
    await other.close()
    await store.close()


async def test_missing_notifications_are_detected(url, caplog):
    with Proxy(url) as proxy:
        proxy.mute = True
        store = PostgresStore(proxy.url, "jobs", timeout=0.5, retry_pause=0.05)
        for _ in range(50):  # longer than two timeouts
            assert await store.wait_for_changes(0.05) is None
        assert caplog.text.count("polling for changes of other servers") == 1
        proxy.mute = False
        await listening(store)
        await store.close()


async def test_lock_of_another_session(url, store):
    impatient = PostgresStore(url, "jobs", timeout=0.2)
    assert (await store.add("ann", accept)).job.ordinal == 1
    other = await asyncpg.connect(url)
    await other.execute("BEGIN; SELECT FROM owners FOR UPDATE")
    with pytest.raises(StoreError, match="try again"):
        await impatient.add("ann", accept)
    await other.close()
    await impatient.close()
    assert (await store.add("ann", accept)).job.ordinal == 2
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [2, 1]


async def test_check_fails_where_additions_fail(postgres, store):
    job = (await store.add("ann", accept)).job
    await store.check()
    postgres.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    kill_connections(postgres)
    try:
        for use in (store.check(), store.add("ann", accept)):
            with pytest.raises(StoreError, match="it is read-only"):
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
def small_disk(postgres, url):
    """Mounts a disk of four megabytes, and makes PostgreSQL create new tables on it."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,uid=nobody,mode=0700", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a file system")
        try:
            try:
                postgres.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            except asyncpg.PostgresError as error:
                pytest.skip(f"PostgreSQL has no access to the mounted disk: {error}")
            postgres.execute("ALTER ROLE CURRENT_USER SET default_tablespace = small")
            yield Path(folder)
            kill_connections(postgres)
            drop = f"DROP SCHEMA {url.partition('search_path=')[2]} CASCADE", "DROP TABLESPACE small"
            postgres.execute("ALTER ROLE CURRENT_USER RESET default_tablespace", *drop)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - wherever the system has it


async def test_check_fails_on_a_full_disk(small_disk, url):
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
