"""Several servers over one PostgreSQL: whichever a request meets, the answer is the same."""

import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpx import Client

from translation_server import TranslationServer

LONG = 1000.0


@pytest.fixture
def servers(start, postgres):
    """Starts two servers over one empty database."""
    url = postgres.new()

    def servers(**settings) -> tuple[Client, Client]:
        return start(database_url=url, **settings), start(database_url=url, **settings)

    return servers


def submit(api, **headers) -> str:
    answer = api.post("/start", headers=headers)
    assert answer.status_code == 202
    return answer.json()["job_id"]


def held(api, job_id: str):
    """How a job stands, as soon as it is no longer pending."""
    return api.get(f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60).json()["status"]


def until(true) -> None:
    give_up_at = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_the_same_seed_gives_the_same_fates_whichever_server_is_asked(servers, start):
    settings = {"seed": "s", "min_delay": 1, "max_delay": 5, "error_probability": 0.5}
    here, there = servers(**settings)
    for api in [here, there, there] * 4:
        submit(api)
    alone = start(**settings)
    for _ in range(12):
        submit(alone)
    fates = []
    for api in (here, alone):
        api.post("/sandbox/clock", json={"advance": 5})
        jobs = api.get("/jobs").json()["jobs"]
        fates.append([(job["status"], round(job["elapsed_time"], 3)) for job in jobs])
    assert fates[0] == fates[1]


def test_a_key_makes_one_job_whichever_servers_are_asked_at_once(servers):
    with ThreadPoolExecutor() as pool:
        apis = servers(max_delay=LONG) * 5
        for key in "abc":
            ids = set(pool.map(lambda api, key=key: submit(api, **{"Idempotency-Key": key}), apis))
            assert len(ids) == 1
    assert len(apis[0].get("/jobs").json()["jobs"]) == 3


def test_what_is_done_on_one_server_ends_the_wait_on_another(servers):
    here, there = servers(max_delay=LONG)
    with ThreadPoolExecutor() as pool:
        job_id = submit(here)
        waiting = pool.submit(held, there, job_id)
        assert here.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
        assert waiting.result(30) == "cancelled"
        job_id = submit(here)
        waiting = pool.submit(held, here, job_id)
        there.post("/sandbox/clock", json={"advance": LONG})
        assert waiting.result(30) == "completed"


def test_a_sandbox_is_the_users_on_every_server(servers):
    here, there = servers(max_delay=LONG)
    here.patch("/sandbox", json={"error_probability": 1, "faults": [{"kind": "status", "code": 503, "times": 2}]})
    until(lambda: there.get("/sandbox").json()["error_probability"] == 1)
    codes = [api.get("/jobs").status_code for api in (here, there, here, there)]
    assert codes == [503, 503, 200, 200]
    asked = ["GET /jobs"] * 4
    until(lambda: [f"{e['method']} {e['path']}" for e in here.get("/sandbox/requests").json()["requests"]] == asked)


def test_events_are_told_of_jobs_of_every_server(servers):
    here, there = servers(max_delay=LONG)
    with here.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("id:"))
        ids = [submit(api) for api in (there, here)]
        there.delete(f"/jobs/{ids[0]}")
        told = []
        while len(told) < 3:
            line = next(lines)
            if line.startswith("data:"):
                told.append(json.loads(line.removeprefix("data:")))
    assert {(job["job_id"], job["status"]) for job in told} == {
        (ids[0], "pending"),
        (ids[1], "pending"),
        (ids[0], "cancelled"),
    }


def test_a_wait_outlives_the_database(servers, postgres):
    here, there = servers(max_delay=LONG)
    job_id = submit(here)
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
        until(lambda: here.get("/readyz", timeout=30).status_code == 200)
        assert here.delete(f"/jobs/{job_id}", timeout=30).json()["status"] == "cancelled"
        assert next(lines) == "event: cancelled"


def test_a_database_that_cannot_be_used_is_told_in_one_line(postgres, tmp_path):
    url = postgres.url.replace("secretpassword", "another-password")
    command = [sys.executable, "-m", "translation_server", "--database-url", url]
    environment = {"API_USERNAME": "admin", "API_PASSWORD": "secretpassword", "PORT": "0"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(r"translation-server: the database postgresql://\S+: it refuses .*\n", ended.stderr)
    assert "password@" not in ended.stderr


def test_the_password_of_the_database_is_in_no_log(start, postgres, caplog):
    caplog.set_level("DEBUG")
    submit(start(database_url=postgres.new()))
    assert "jobs are stored in postgresql://127.0.0.1" in caplog.text
    assert "secretpassword" not in caplog.text


def test_what_postgresql_cannot_store_is_nobodys(postgres):
    with TranslationServer(database_url=postgres.new()) as server, Client(base_url=server.url) as api:
        job_id = submit(api)
        assert api.get(f"/status/{job_id}%00").status_code == 404
        assert api.delete("/jobs/%00").status_code == 404
        asked = api.get("/jobs", params={"job_id": [job_id, f"{job_id}\0"]}).json()
        assert ([job["job_id"] for job in asked["jobs"]], asked["unknown"]) == ([job_id], [f"{job_id}\0"])
        api.patch("/sandbox", json={"seed": "a\0b"})
        assert api.get("/sandbox").json()["seed"] == "a\0b"
        longest = b64encode(("\N{GRINNING FACE}" * 255 + ":").encode()).decode()
        submit(api, Authorization=f"Basic {longest}")


def test_other_databases_do_not_load_the_driver():
    program = "import sys, translation_server.app; print('asyncpg' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
