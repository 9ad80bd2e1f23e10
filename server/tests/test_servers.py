"""Several servers over one PostgreSQL: each gives the same answers."""

import json
import re
import subprocess
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api import Api
from tests.processes import wait_until
from translation_server import TranslationServer

LONG = 1000.0


@pytest.fixture
def servers(start, postgres):
    """Starts two servers over one empty database."""
    url = postgres.new()

    def servers(**settings):
        return start(database_url=url, **settings), start(database_url=url, **settings)

    return servers


def long_poll(api, job_id):
    """Returns the status of a job as soon as it is no longer pending."""
    return api.get(f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60).json()["status"]


def test_seed_gives_the_same_fates_on_every_server(servers, start):
    settings = {"seed": "s", "min_delay": 1, "max_delay": 5, "error_probability": 0.5}
    here, there = servers(**settings)
    for api in [here, there, there] * 4:
        api.submit()
    alone = start(**settings)
    for _ in range(12):
        alone.submit()
    fates = []
    for api in (here, alone):
        api.set_clock(advance=5)
        jobs = api.get("/jobs").json()["jobs"]
        fates.append([(job["status"], round(job["elapsed_time"], 3)) for job in jobs])
    assert fates[0] == fates[1]


def test_idempotency_key_makes_one_job_on_concurrent_servers(servers):
    with ThreadPoolExecutor() as pool:
        apis = servers(max_delay=LONG) * 5
        for key in "abc":
            ids = set(pool.map(lambda api, key=key: api.submit(**{"Idempotency-Key": key}), apis))
            assert len(ids) == 1
    assert len(apis[0].get("/jobs").json()["jobs"]) == 3


def test_change_on_one_server_ends_the_long_poll_on_another(servers):
    here, there = servers(max_delay=LONG)
    with ThreadPoolExecutor() as pool:
        job_id = here.submit()
        waiting = pool.submit(long_poll, there, job_id)
        assert here.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
        assert waiting.result(30) == "cancelled"
        job_id = here.submit()
        waiting = pool.submit(long_poll, here, job_id)
        there.set_clock(advance=LONG)
        assert waiting.result(30) == "completed"


def test_sandbox_is_shared_by_all_servers(servers):
    here, there = servers(max_delay=LONG)
    here.change_sandbox(error_probability=1, faults=[{"kind": "status", "code": 503, "times": 2}])
    wait_until(lambda: there.get("/sandbox").json()["error_probability"] == 1)
    codes = [api.get("/jobs").status_code for api in (here, there, here, there)]
    assert codes == [503, 503, 200, 200]
    wait_until(lambda: [(e["method"], e["path"]) for e in here.requests()] == [("GET", "/jobs")] * 4)


def test_event_stream_has_the_jobs_of_all_servers(servers):
    here, there = servers(max_delay=LONG)
    with here.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("id:"))
        ids = [api.submit() for api in (there, here)]
        there.cancel(ids[0])
        data = (json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:"))
        changes = [next(data) for _ in range(3)]
    expected = {(ids[0], "pending"), (ids[1], "pending"), (ids[0], "cancelled")}
    assert {(job["job_id"], job["status"]) for job in changes} == expected


def test_event_stream_outlives_a_restart_of_the_database(servers, postgres):
    here, there = servers(max_delay=LONG)
    job_id = here.submit()
    with there.stream("GET", f"/jobs/{job_id}/events", timeout=60) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert next(lines) == "event: pending"
        postgres.stop()
        try:
            refused = here.post("/start", timeout=30)
            unready = here.get("/readyz", timeout=30)
        finally:
            postgres.start()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert unready.status_code == 503
        wait_until(lambda: here.get("/readyz", timeout=30).status_code == 200)
        assert here.delete(f"/jobs/{job_id}", timeout=30).json()["status"] == "cancelled"
        assert next(lines) == "event: cancelled"


def test_unusable_database_is_reported_in_one_line(postgres, tmp_path):
    url = postgres.url.replace("secretpassword", "another-password")
    command = [sys.executable, "-m", "translation_server", "--database-url", url]
    environment = {"API_USERNAME": "admin", "API_PASSWORD": "secretpassword", "PORT": "0"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(r"translation-server: the database postgresql://\S+: it refuses .*\n", ended.stderr)
    assert "password@" not in ended.stderr


def test_password_of_the_database_is_in_no_log(start, postgres, caplog):
    caplog.set_level("DEBUG")
    start(database_url=postgres.new()).submit()
    assert "jobs are stored in postgresql://127.0.0.1" in caplog.text
    assert "secretpassword" not in caplog.text


def test_ids_that_postgresql_cannot_store_are_unknown(postgres):
    with TranslationServer(database_url=postgres.new()) as server, Api(base_url=server.url) as api:
        job_id = api.submit()
        assert api.get(f"/status/{job_id}%00").status_code == 404
        assert api.delete("/jobs/%00").status_code == 404
        found = api.get("/jobs", params={"job_id": [job_id, f"{job_id}\0"]}).json()
        assert ([job["job_id"] for job in found["jobs"]], found["unknown"]) == ([job_id], [f"{job_id}\0"])
        api.change_sandbox(seed="a\x00b")
        assert api.get("/sandbox").json()["seed"] == "a\0b"
        longest = b64encode(("\N{GRINNING FACE}" * 255 + ":").encode()).decode()
        api.submit(Authorization=f"Basic {longest}")


def test_postgresql_driver_is_not_loaded_for_other_databases():
    program = "import sys, translation_server.app; print('asyncpg' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
