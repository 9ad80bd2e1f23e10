"""Several server processes on one database."""

import asyncio
import json
import signal
import sqlite3
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from tests.processes import MODULE, PATIENCE, wait_until

pytestmark = pytest.mark.takes(50)

FAULTS = """
faults = [
    {kind = "status", code = 503, route = ["poll"], probability = 0.2},
    {kind = "truncate", route = ["poll"], probability = 0.1},
]
"""


async def drive(server, jobs):
    """Submits jobs over 64 connections, polls each twice, and returns the results of the polls by job."""
    seen = {}
    left, url, tls = iter(range(jobs)), server.client.base_url, ssl.create_default_context()  # slow to create

    async def one():
        async with httpx.AsyncClient(base_url=url, auth=server.client.auth, timeout=PATIENCE, verify=tls) as http:
            for _ in left:
                job_id = (await http.post("/start")).json()["job_id"]
                snapshots = seen[job_id] = []
                for _ in range(2):
                    try:
                        snapshots.append((await http.get(f"/status/{job_id}")).status_code)
                    except httpx.TransportError as error:
                        snapshots.append(type(error).__name__)

    await asyncio.gather(*(one() for _ in range(64)))
    return seen


def expected(server, seen):
    """Returns the fates of all jobs, by ordinal, and the results of their polls."""
    server.client.set_clock(advance=2000)
    jobs = [job for page in server.client.pages("/jobs", limit=100) for job in page["jobs"]]
    fates = [[job["status"], job["elapsed_time"], seen[job["job_id"]]] for job in jobs]
    return json.dumps(fates[::-1]).encode()


def test_the_same_seed_gives_the_same_fates_and_faults_to_any_number_of_workers(run, tmp_path):
    """Submits three hundred jobs over 64 connections, with a restart in between."""
    (tmp_path / "faults.toml").write_text(FAULTS)

    def trace(workers):
        settings = {
            "SEED": "s",
            "MAX_DELAY": "1000",
            "ERROR_PROBABILITY": "0.5",
            "FAULTS": str(tmp_path / "faults.toml"),
            "DATABASE_URL": f"sqlite:///{tmp_path}/{workers}.db",
            "WORKERS": workers,
            "PORT": "0",
        }
        seen = {}
        for jobs in (120, 180):
            server = run(MODULE, group=True, **settings)
            seen |= asyncio.run(drive(server, jobs))
            server.stop(signal.SIGTERM)
        return expected(run(MODULE, **settings | {"WORKERS": "1"}), seen)

    with ThreadPoolExecutor() as pool:
        traces = list(pool.map(trace, ["1", "4"]))
    assert traces[0] == traces[1]
    assert len(json.loads(traces[0])) == 300
    outcomes = {outcome for *_, snapshots in json.loads(traces[0]) for outcome in snapshots}
    assert outcomes == {200, 503, "RemoteProtocolError"}


def test_a_reset_survives_a_kill_and_the_next_process_purges(run, tmp_path):
    def stored(*statements):
        with closing(sqlite3.connect(tmp_path / "data" / "jobs.db")) as connection, connection:
            return [(connection.execute(statement).fetchone() or (0,))[0] for statement in statements]

    many, rows = 10_000, "SELECT count(*) FROM jobs"
    fill = """
        WITH numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= 10000)
        INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome)
        SELECT 'admin', n, n, n, 0, 'error' FROM numbers
    """
    server = run(MODULE, PORT="0")
    keyed = {"Idempotency-Key": "key"}
    assert server.client.post("/start", headers=keyed).status_code == 202
    stored(fill, "UPDATE owners SET jobs = (SELECT max(ordinal) FROM jobs)")
    assert server.client.post("/sandbox/reset").status_code == 200
    assert server.client.get("/jobs").json()["jobs"] == []
    wait_until(lambda: stored(rows)[0] <= many, "the purge begins")
    server.process.kill()
    assert server.process.wait(PATIENCE) == -signal.SIGKILL
    assert stored(rows)[0] > 0
    server = run(MODULE, PORT="0")
    assert server.client.get("/jobs").json()["jobs"] == []
    again = server.client.post("/start", json={"source_language": "en"}, headers=keyed)
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (202, None)
    wait_until(lambda: stored(rows, "SELECT count(*) FROM purge_queue") == [1, 0], "the purge ends")
    assert stored("SELECT ordinal FROM jobs", "SELECT id FROM jobs") == [1, again.json()["job_id"]]
    assert [job["job_id"] for job in server.client.get("/jobs").json()["jobs"]] == [again.json()["job_id"]]
