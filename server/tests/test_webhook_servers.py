"""Webhooks of servers that are killed, and of several servers over one database."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import MODULE, PATIENCE, wait_until
from tests.receivers import receiving
from translation_server.storage import open_store

pytestmark = pytest.mark.takes(60)

JOBS = 250  # with two deliveries each
EVENTS = ["started", "completed"]
RULES = [
    {"kind": "lost", "probability": 0.15},
    {"kind": "doubled", "probability": 0.2},
    {"kind": "truncate", "route": ["webhook"], "probability": 0.1},
]
NOT_RECEIVED = {"lost", "truncate"}


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database for several processes."""
    return f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else request.getfixturevalue("postgres").new()


def submit_all(server, receiver):
    """Submits jobs that end together when the clock is advanced.

    Repeats a submission that gets 503: on a busy machine, the database may be too slow.
    """
    body = {"simulate": {"delay": 1000, "outcome": "completed"}, "webhook": {"url": receiver.url, "events": EVENTS}}

    def is_accepted(number):
        answer = server.client.post("/start", json=body, headers={"Idempotency-Key": f"job-{number}"})
        assert answer.status_code in {202, 503}, answer.text
        return answer.status_code == 202

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: wait_until(lambda: is_accepted(number)), range(JOBS)))


def end_all(server):
    """Lets all jobs end now."""
    wait_until(lambda: server.client.post("/sandbox/clock", json={"advance": 1000}).status_code == 200)


def recorded(database):
    """Returns the deliveries whose attempts are stored, by their ids."""

    async def read():
        store = open_store(database)
        try:
            return {delivery.id: delivery for delivery in await store.deliveries("admin", limit=10 * JOBS)}
        finally:
            await store.close()

    return asyncio.run(read())


def end_all_and_answer_some(server, receiver, database):
    """Ends all jobs. The receiver answers only some of the deliveries, so some ends are recorded and some are not."""
    receiver.silent_from = JOBS + JOBS // 5
    end_all(server)
    receiver.take(JOBS // 5)
    wait_until(lambda: len(recorded(database)) > JOBS)


def is_complete(receiver):
    return len({received.id for received in receiver.received}) >= JOBS * len(EVENTS)


def check_order(receiver):
    """Checks that the first attempts of each job came in the order of its events."""
    first = {received.id: received for received in reversed(receiver.received)}
    by_job = {}
    for received in sorted(first.values(), key=receiver.received.index):
        by_job.setdefault(received.body["data"]["job_id"], []).append(received.type)
    assert Counter(map(tuple, by_job.values())) == {("job.started", "job.completed"): JOBS}


def test_killed_server_loses_no_delivery(run, database, receiver):
    server = run(MODULE, PORT="0", DATABASE_URL=database)
    submit_all(server, receiver)
    receiver.take(JOBS)
    wait_until(lambda: len(recorded(database)) == JOBS)
    end_all_and_answer_some(server, receiver, database)
    server.process.kill()
    server.process.wait(PATIENCE)
    stored, before = recorded(database), len(receiver.received)
    receiver.may_answer.set()
    assert JOBS < len(stored) < JOBS * len(EVENTS)
    run(MODULE, PORT="0", DATABASE_URL=database)
    wait_until(lambda: is_complete(receiver))
    wait_until(lambda: len(recorded(database)) == JOBS * len(EVENTS))
    assert stored.keys().isdisjoint(received.id for received in receiver.received[before:])
    check_order(receiver)


def test_other_servers_take_over_from_one_that_was_killed(run, database, receiver):
    first, *others = [run(MODULE, PORT="0", DATABASE_URL=database) for _ in range(3)]
    submit_all(first, receiver)
    receiver.take(JOBS)
    end_all_and_answer_some(first, receiver, database)
    first.process.kill()
    receiver.may_answer.set()
    wait_until(lambda: is_complete(receiver))
    wait_until(lambda: len(recorded(database)) == JOBS * len(EVENTS))
    check_order(receiver)
    assert all(server.client.get("/sandbox/webhooks").status_code == 200 for server in others)


def received_of(delivery):
    """Returns how many of the stored attempts the receiver got whole."""
    return sum(attempt.fault not in NOT_RECEIVED for attempt in delivery.attempts) if delivery else 0


@pytest.mark.parametrize("servers", [1, 3])
def test_fault_rules_go_on_after_a_server_was_killed(run, database, receiver, servers):
    options = {"PORT": "0", "DATABASE_URL": database, "WEBHOOK_RETRIES": ",".join(["1s"] * 8)}
    first, *others = [run(MODULE, **options) for _ in range(servers)]
    first.client.change_sandbox(seed=7, faults=RULES)
    submit_all(first, receiver)
    wait_until(lambda: len(recorded(database)) == JOBS)
    end_all(first)
    wait_until(lambda: sum(received.type == "job.completed" for received in [*receiver.received]) > JOBS // 5)
    first.process.kill()
    first.process.wait(PATIENCE)
    stored, before = recorded(database), Counter(received.id for received in [*receiver.received])
    if not others:
        run(MODULE, **options)
    wait_until(lambda: is_complete(receiver))
    wait_until(lambda: sum(one.state == "delivered" for one in recorded(database).values()) == JOBS * len(EVENTS))
    ends, counts = recorded(database), Counter(received.id for received in receiver.received)
    repeated = {one for one, delivery in ends.items() if counts[one] > received_of(delivery)}
    assert not {one for one, delivery in ends.items() if counts[one] < received_of(delivery)}
    assert repeated <= {one for one, count in before.items() if count > received_of(stored.get(one))}
    assert {attempt.fault for one in ends.values() for attempt in one.attempts} == {None, *(r["kind"] for r in RULES)}
    begun = {(one.ordinal, one.event): one.attempts[0].wall for one in ends.values()}
    assert all(begun[ordinal, "started"] <= begun[ordinal, "completed"] for ordinal in range(1, JOBS + 1))
