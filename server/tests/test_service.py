"""What callers can do with their jobs, told by clocks that do not agree."""

import pytest

from translation_server.core.delays import Uniform
from translation_server.core.job import State, Submission
from translation_server.core.sandbox import Sandbox
from translation_server.service import Service

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
