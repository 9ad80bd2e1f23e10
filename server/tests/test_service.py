"""What callers can do with their jobs, told by clocks that do not agree."""

import pytest

from translation_server.core.delays import Fixed, Uniform
from translation_server.core.job import Job, State, Submission
from translation_server.core.sandbox import Sandbox
from translation_server.service import Service
from translation_server.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def service(store):
    """Makes a process over the store; its clock is so many seconds ahead."""
    sandbox = Sandbox(delay=Uniform(1000, 1000))

    def service(ahead: list[float]) -> Service:
        return Service(store, lambda: sandbox, clock=lambda: 5000.0 + sum(ahead), entropy=lambda: bytes(64))

    return service


async def test_what_is_done_by_a_clock_that_was_set_back_is_seen(service):
    ahead = [1.0]
    one = service(ahead)
    job_id = (await one.submit("ann", Submission())).look.job.id
    assert (await one.look("ann", job_id)).state is State.PENDING
    ahead[0] = 0.0
    assert (await one.cancel("ann", job_id)).state is State.CANCELLED
    assert (await one.look("ann", job_id)).state is State.CANCELLED


async def test_what_a_server_does_whose_clock_is_behind_is_seen(service):
    one, other = service([1.0]), service([])
    job_id = (await one.submit("ann", Submission())).look.job.id
    for there in (one, other):
        assert (await there.look("ann", job_id)).state is State.PENDING
    assert (await other.cancel("ann", job_id)).state is State.CANCELLED
    assert (await other.look("ann", job_id)).state is State.CANCELLED


class Reading(MemoryStore):
    """A store that counts the jobs that are read by their ids."""

    read = 0

    async def find(self, owner: str, job_id: str) -> Job | None:
        self.read += 1
        return await super().find(owner, job_id)


async def test_what_is_at_hand_follows_the_number_of_users(caplog):
    caplog.set_level("INFO", "translation_server")
    store = Reading()
    sandbox = Sandbox(delay=Fixed(0))
    service = Service(store, lambda: sandbox, clock=lambda: 5000.0, entropy=lambda: bytes(64))
    service.make_room_for(30_000)
    owners = [f"u{number}" for number in range(12_000)]  # with 24,000 jobs: more than fit, if it did not
    jobs = [(await service.submit(owner, Submission())).look.job for owner in owners for _ in range(2)]
    for read in (len(jobs), 0, 0):
        store.read = 0
        for job in jobs:
            assert (await service.look(job.owner, job.id)).state is not State.PENDING
        assert store.read == read
    assert caplog.text.count(" ended: ") == len(jobs)
