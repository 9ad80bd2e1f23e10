"""The server as a process: start, log and end."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path

import httpx
import pytest

from tests.processes import (
    MODULE,
    PATIENCE,
    UVICORN,
    WAYS,
    begin,
    refusal,
    refused,
    refuses,
    unfinished_request,
    wait_until,
)
from tests.raw_http import connect, exchange, head
from translation_server import __version__

pytestmark = pytest.mark.takes(80)


@WAYS
def test_every_way_to_start_serves_and_drains(run, command):
    server = run(command)
    job = server.client.post("/start").json()
    assert server.client.get(f"/status/{job['job_id']}").json()["status"] == "completed"

    with unfinished_request(server) as (connection, rest):
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("shutdown")
        while server.client.get("/readyz", auth=None).status_code == 200:
            assert server.process.poll() is None
        connection.sendall(rest)
        assert b"202 Accepted" in connection.recv(65536)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log()


@WAYS
def test_a_killed_server_loses_no_job(run, command):
    first = run(command, MIN_DELAY="0", MAX_DELAY="1000", ERROR_PROBABILITY="0.5")
    accepted = [first.client.post("/start").json()["job_id"] for _ in range(20)]
    first.client.cancel(accepted[0])
    first.stop(signal.SIGKILL)
    wait_until(lambda: refuses(first.client.base_url), "nothing is left of the server")
    second = run(command)
    jobs = {job["job_id"]: job for job in second.client.get("/jobs", params={"limit": 100}).json()["jobs"]}
    assert list(jobs) == accepted[::-1]
    assert jobs[accepted[0]]["status"] == "cancelled"


@pytest.mark.parametrize("host", ["a..b", "x" * 80])
def test_an_unusable_host_is_one_line_and_exit_status_2(tmp_path, host):
    assert refused(tmp_path, [*MODULE, "--host", host]).startswith(f"HOST={host}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_does_not_cut_running_requests(run, workers):
    server = run([*MODULE, "--port", "0", "--workers", workers], group=True)
    with unfinished_request(server) as (connection, rest):
        os.killpg(server.process.pid, signal.SIGTERM)
        server.wait_for("shutdown")
        os.killpg(server.process.pid, signal.SIGTERM)
        connection.sendall(rest)
        assert b"202 Accepted" in connection.recv(65536)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ([*MODULE, "--port", "0"], b"408 Request Timeout"),
        ([*MODULE, "--port", "0", "--workers", "2"], b"408 Request Timeout"),
        ([*UVICORN, "--port", "0", "--timeout-graceful-shutdown", "1"], b"503 Service Unavailable"),
    ],
    ids=["module", "workers", "uvicorn"],
)
def test_shutdown_does_not_wait_for_half_a_body(run, command, status):
    server = run(command)
    with unfinished_request(server) as (connection, _):
        server.process.send_signal(signal.SIGTERM)
        connection.settimeout(PATIENCE)
        assert status in connection.recv(65536)
        assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log()


def test_uvicorn_as_the_host_keeps_the_limits(run):
    server = run([*UVICORN, "--port", "0", "--http", "main:http"], HEAD_TIMEOUT="1")
    assert exchange(server.client, b"GET /livez HTTP/1.1\r\n").startswith(b"HTTP/1.1 408 Request Timeout")


def test_more_connections_than_descriptors_leave_the_server_reachable(run):
    server = run(["sh", "-c", 'ulimit -n 120; exec "$0" "$@"', *MODULE, "--port", "0"])
    with ExitStack() as open_:
        for _ in range(200):
            open_.enter_context(connect(server.client)).sendall(b"GET / HTTP/1.1\r\nHost")
        assert server.client.get("/livez").status_code == 200
        assert server.client.post("/start").status_code == 202
    assert "MAX_CONNECTIONS=16384: only 56 fit" in server.log()
    assert server.log().count("MAX_CONNECTIONS=56 are open") == 1


def test_idle_connections_are_closed_when_no_descriptors_are_left(run):
    server = run([*MODULE, "--port", "0"])
    assert server.client.get("/livez").status_code == 200
    with connect(server.client) as connection:
        connection.sendall(head("/livez"))
        assert b"200 OK" in connection.recv(65536)
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        with suppress(ConnectionResetError):
            assert connection.recv(65536) == b""
        server.wait_for("no file descriptor is left")
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: reachable(server), "it is reachable again")


def reachable(server):
    with suppress(httpx.TransportError):
        return server.client.get("/livez").status_code == 200
    return False


def test_a_client_disconnect_within_a_request_is_no_error(run):
    server = run([*MODULE, "--port", "0"], LOG_LEVEL="debug")
    with unfinished_request(server):
        pass
    server.wait_for("the client disconnected before it was answered")
    assert "Traceback" not in server.log()


def test_ctrl_c_stops_the_server_quietly(run):
    server = run([*MODULE, "--port", "0"])
    assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_file(run, tmp_path):
    (tmp_path / ".env").write_text("PORT=1\nSEED=file\nDATABASE_URL=sqlite:///file.db\n")
    run([*MODULE, "--port", "0", "--database-url", "sqlite:///flag.db"], DATABASE_URL="sqlite:///environment.db")
    assert [path.name for path in tmp_path.glob("*.db")] == ["flag.db"]


@pytest.mark.parametrize(("believed", "status"), [("", 429), ("10.0.0.0/8, 127.0.0.1", 200)])
def test_clients_behind_a_trusted_proxy_are_distinguished(run, believed, status):
    client = run([*MODULE, "--port", "0"], FORWARDED_ALLOW_IPS=believed).client
    for _ in range(10):
        assert client.get("/jobs", auth=("admin", "guess"), headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 401
    assert client.get("/jobs", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 429
    assert client.get("/jobs", headers={"X-Forwarded-For": "192.0.2.2"}).status_code == status


UNUSABLE = [
    ({"ERROR_PROBABILITY": "2"}, "ERROR_PROBABILITY=2: must be a number from 0 to 1"),
    ({"API_PASSWORD": ""}, "API_PASSWORD is missing: set it in .env or in the environment"),
    ({"USERS_FILE": "nobody"}, "USERS_FILE=nobody: cannot be read"),
    ({"USERS_FILE": "nobody", "WORKERS": "2"}, "USERS_FILE=nobody: cannot be read"),
    ({"FAULTS": "nothing.toml", "WORKERS": "2"}, "FAULTS=nothing.toml: cannot be read"),
    ({"SANDBOX": "off", "SCENARIO": "flaky", "WORKERS": "2"}, "SANDBOX=off: must be on"),
    ({"DATABASE_URL": "mysql://host"}, "the database URL 'mysql://host' is not supported"),
    ({"DATABASE_URL": "sqlite:////proc/x/jobs.db"}, "the database /proc/x/jobs.db: No such file or directory"),
    (
        {"DELAY": "empirical(none.jsonl)", "WORKERS": "2"},
        "DELAY=empirical(none.jsonl): the file cannot be read: No such",
    ),
    ({"LOG_FILE": "no/such/folder.log"}, "LOG_FILE=no/such/folder.log: cannot be written"),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """Starts a server for each kind of unusable setting, all at once; each must refuse to start."""
    folder = tmp_path_factory.mktemp("refusing")
    commands = [MODULE, UVICORN]
    begun = [[begin(folder, command, PORT="0", **settings) for command in commands] for settings, _ in UNUSABLE]
    yield begun
    for process in chain.from_iterable(begun):
        process.kill()
        process.communicate()


@pytest.mark.parametrize("way", [0, 1], ids=["module", "uvicorn"])
@pytest.mark.parametrize("number", range(len(UNUSABLE)), ids=lambda number: UNUSABLE[number][1])
def test_an_unusable_setting_is_one_line_and_exit_status_2(refusing, number, way):
    line, expected = refusal(refusing[number][way]), UNUSABLE[number][1]
    assert line.startswith(expected)
    assert "\n" not in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_line_and_exit_status_2(tmp_path, workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(tmp_path, [*MODULE, "--port", str(port), "--workers", workers])
    assert line == f"HOST=127.0.0.1 PORT={port}: cannot listen there: Address already in use"


def test_a_foreign_host_is_one_line_and_exit_status_2(tmp_path):
    line = refused(tmp_path, [*MODULE, "--host", "192.0.2.1", "--port", "0"])
    assert line.startswith("HOST=192.0.2.1 PORT=0: cannot listen there")


@pytest.mark.parametrize("program", [MODULE, [str(Path(sys.executable).parent / "translation-server")]])
def test_help_and_version(program):
    def said(flag):
        return subprocess.run([*program, flag], capture_output=True, text=True, check=True, timeout=PATIENCE).stdout

    expected = said("--help")
    assert all(flag in expected for flag in ("--host", "--port", "--workers", "--database-url", "API_PASSWORD"))
    assert said("--version").strip() == __version__


def test_the_log_has_each_job_once_and_never_a_password(run, tmp_path):
    server = run([*MODULE, "--port", "0"], LOG_LEVEL="debug", LOG_FILE="server.log")
    job_id = server.client.post("/start").json()["job_id"]
    for _ in range(3):
        server.client.get(f"/status/{job_id}")
    assert server.client.get("/jobs", auth=("admin", "wrongpassword")).status_code == 401
    assert server.client.get("/status/%0afake%20line").status_code == 404
    server.stop()
    log = server.log()
    assert log.count(f"job {job_id} accepted for admin") == 1
    assert log.count(f"job {job_id} of admin ended: completed after 0.000 s") == 1
    assert log.count(f"GET /status/{job_id} 200 for admin in ") == 3
    assert "GET /jobs 401 for - in " in log
    assert "GET /status/\\nfake line 404" in log
    assert not re.search("password|Basic|YWRtaW", log)
    assert (tmp_path / "server.log").read_text() == log


def test_the_log_after_a_restart_has_only_new_ends(run):
    first = run([*MODULE, "--port", "0"], MIN_DELAY="1000", MAX_DELAY="1000")
    before, frozen, later = (first.client.post("/start").json()["job_id"] for _ in range(3))
    for job_id in (before, frozen):
        first.client.change_job(job_id, do="pause")
    first.client.set_clock(advance=10, frozen=True)
    first.client.change_job(before, do="finish")
    assert f"job {before} of admin ended" in first.log()
    first.stop(signal.SIGKILL)
    second = run([*MODULE, "--port", "0"])
    second.client.cancel(frozen)
    second.client.set_clock(advance=1000)
    assert len(second.client.get("/jobs").json()["jobs"]) == 3
    second.stop()
    log = second.log()
    assert f"job {before}" not in log
    assert log.count(f"job {frozen} of admin ended: cancelled") == 1
    assert log.count(f"job {later} of admin ended: completed") == 1


def test_the_log_can_be_json(run):
    server = run([*MODULE, "--port", "0"], LOG_FORMAT="json")
    job_id = server.client.post("/start").json()["job_id"]
    server.stop()
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert ("info", f"job {job_id} accepted for admin") in [(line["level"], line["message"]) for line in lines]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


def test_lines_as_json_have_the_ids_of_their_request(run):
    server = run([*MODULE, "--port", "0"], LOG_FORMAT="json", LOG_LEVEL="debug")
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    job_id = server.client.post("/start", headers={"X-Request-ID": "mine", "traceparent": trace}).json()["job_id"]
    for ids in ({"X-Request-ID": "my poll"}, {"traceparent": f"00-{'0' * 32}-{'cd' * 8}-01"}, {"traceparent": "?"}):
        assert server.client.get(f"/status/{job_id}", headers=ids).status_code == 200
    assert server.client.get("/jobs", auth=("admin", "wrong")).status_code == 401
    server.stop()
    lines = [json.loads(line) for line in server.log().splitlines()]
    submission = [line for line in lines if line.get("request_id") == "mine"]
    assert {line["trace_id"] for line in submission} == {"ab" * 16}
    assert [line["message"].partition(" for ")[0] for line in submission] == [
        f"job {job_id} accepted",
        "POST /start 202",
    ]
    polls = [line for line in lines if line["message"].startswith("GET /status")]
    assert len({line["request_id"] for line in polls}) == 3
    assert not any("trace_id" in line for line in polls)
    [refused, answered] = [
        line for line in lines if "wrong credentials" in line["message"] or " 401 " in line["message"]
    ]
    assert refused["request_id"] == answered["request_id"]
    assert "request_id" not in lines[0]
