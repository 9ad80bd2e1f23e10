"""The receivers of examples/ in the scenario lossy-webhooks: the naive one fails, the careful one does not."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import wait_until
from translation_client.testing import sandbox_on

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "webhooks"))  # the folder of the two receivers

import careful
import naive

JOBS = 30
SEED = "lossy"


@contextmanager
def receiving(example):
    """Runs the receiver of an example."""
    with example.Receiver() as receiver:
        receiver.handle_error = lambda *_: None  # deliveries that are cut off
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@pytest.fixture
def sandbox(translation_server):
    with sandbox_on(translation_server.url) as sandbox:
        delay = {"kind": "uniform", "min": 0.2, "max": 1}
        sandbox.set(delay=delay, error_probability=0, seed=SEED, scenario="lossy-webhooks")
        yield sandbox


def test_naive_receiver_fails(sandbox):
    auth = (sandbox.username, sandbox.password)
    with receiving(naive) as receiver:
        jobs = [naive.start(sandbox.url, auth, receiver) for _ in range(JOBS)]
        wait_until(lambda: len(receiver.ends) >= JOBS)
        assert sorted(receiver.ends) != sorted((job_id, "completed") for job_id in jobs)
        found = {finding.rule for finding in sandbox.report().warnings}
    assert "accepted-forgeries" in found


def test_careful_receiver_ends_every_job_once_with_a_clean_card(sandbox):
    auth = (sandbox.username, sandbox.password)
    with receiving(careful) as receiver, ThreadPoolExecutor(JOBS) as pool:
        ends = list(pool.map(lambda _: careful.run(sandbox.url, auth, receiver), range(JOBS)))
    assert len({end.id for end in ends}) == JOBS
    assert {end.state for end in ends} == {"completed"}
    assert {end.cost.ended_by for end in ends} == {"delivery", "poll"}
    assert sandbox.report().findings == ()
