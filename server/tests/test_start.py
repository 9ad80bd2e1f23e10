"""The server as a process: how it starts, what it logs, how it ends."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path

import bcrypt
import httpx
import pytest

from translation_server import __version__

FOLDER = Path(__file__).parents[1]
MODULE = [sys.executable, "-m", "translation_server"]
UVICORN = [sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "main:app"]
PATIENCE = 60
"""Seconds that a process may take for what it does in a fraction of one."""

ENVIRONMENT = {
    "API_USERNAME": "admin",
    "API_PASSWORD": "secretpassword",
    "MIN_DELAY": "0",
    "MAX_DELAY": "0",
    "ERROR_PROBABILITY": "0",
}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def refuses(url: httpx.URL) -> bool:
    """Whether nobody listens at an address."""
    with socket.socket() as probe:
        return probe.connect_ex((url.host, url.port)) != 0


class Server:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        found = self.wait_for(r"(?:listening|running) on (http://[\d.]+:\d+)")
        self.client = httpx.Client(base_url=found[1], auth=("admin", "secretpassword"), timeout=PATIENCE)

    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits until the log holds the pattern."""
        wait_until(lambda: self.process.poll() is not None or re.search(pattern, self.log()), pattern)
        found = re.search(pattern, self.log())
        assert found, self.log()
        return found

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts server processes in an empty folder."""
    with ExitStack() as running:
        numbers = count()

        def run(command: list[str], *, group: bool = False, umask: int = -1, **settings: str) -> Server:
            log = tmp_path / f"{next(numbers)}.log"
            stderr = running.enter_context(log.open("w"))
            environment = os.environ | ENVIRONMENT | settings
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stderr=stderr, text=True, start_new_session=group, umask=umask
            )
            running.enter_context(process)
            running.callback(process.kill)
            server = Server(process, log)
            running.enter_context(server.client)
            return server

        yield run


@contextmanager
def unfinished_request(server: Server) -> Iterator[tuple[socket.socket, bytes]]:
    """A submission that the server has begun to read: the connection, and what is missing."""
    url = server.client.base_url
    request = server.client.build_request("POST", "/start", content=b"{}", headers={"Content-Type": "application/json"})
    signed = next(httpx.BasicAuth("admin", "secretpassword").sync_auth_flow(request))
    lines = [b"POST /start HTTP/1.1", *(name + b": " + value for name, value in signed.headers.raw)]
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\nExpect: 100-continue\r\n\r\n")
        assert b"100 Continue" in connection.recv(65536)
        connection.sendall(b"{")
        yield connection, b"}"


def begin(folder: Path, command: list[str], **settings: str) -> subprocess.Popen[str]:
    """Runs a server that must refuse to start."""
    environment = os.environ | ENVIRONMENT | settings
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refusal(process: subprocess.Popen[str]) -> str:
    """The one line that such a server says."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 2, err
    assert out == ""
    return err.strip().removeprefix("translation-server: ")


def refused(tmp_path: Path, command: list[str], **settings: str) -> str:
    """The one line that a server says when it refuses to start."""
    return refusal(begin(tmp_path, command, **settings))


WAYS = pytest.mark.parametrize(
    "command",
    [[*MODULE, "--port", "0"], [*MODULE, "--port", "0", "--workers", "2"], [*UVICORN, "--port", "0"]],
    ids=["module", "workers", "uvicorn"],
)


@WAYS
def test_every_way_to_start_serves_and_drains(run, command):
    server = run(command)
    job = server.client.post("/start").json()
    assert server.client.get(f"/status/{job['job_id']}").json()["status"] == "completed"

    with unfinished_request(server) as (connection, rest):
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping")
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
    first.client.delete(f"/jobs/{accepted[0]}")
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
        server.wait_for("stopping")
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
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port), PATIENCE) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 Request Timeout")


def test_more_connections_than_descriptors_leave_the_server_reachable(run):
    limited = ["sh", "-c", 'ulimit -n 120; exec "$0" "$@"', *MODULE, "--port", "0"]
    server = run(limited)
    where = server.client.base_url.host, server.client.base_url.port
    with ExitStack() as open_:
        for _ in range(200):
            connection = open_.enter_context(socket.create_connection(where, PATIENCE))
            connection.sendall(b"GET / HTTP/1.1\r\nHost")
        assert server.client.get("/livez").status_code == 200
        assert server.client.post("/start").status_code == 202
    assert "MAX_CONNECTIONS=16384: only 56 fit" in server.log()
    assert server.log().count("MAX_CONNECTIONS=56 are open") == 1


def test_idle_connections_are_closed_when_no_descriptors_are_left(run):
    server = run([*MODULE, "--port", "0"])
    assert server.client.get("/livez").status_code == 200
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port), PATIENCE) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        with suppress(ConnectionResetError):
            assert connection.recv(65536) == b""
        server.wait_for("no file descriptor is left")
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: reachable(server), "it is reachable again")


def reachable(server: Server) -> bool:
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
    client = run(MODULE, FORWARDED_ALLOW_IPS=believed).client
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
    ({"LOG_FILE": "no/such/folder.log"}, "LOG_FILE=no/such/folder.log: cannot be written"),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[subprocess.Popen[str]]]]:
    """Servers that must refuse to start, one for each kind of unusable settings, all of them under way."""
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
    assert refused(tmp_path, [*MODULE, "--host", "192.0.2.1", "--port", "0"]).startswith(
        "HOST=192.0.2.1 PORT=0: cannot listen there"
    )


@pytest.mark.parametrize("program", [MODULE, [str(Path(sys.executable).parent / "translation-server")]])
def test_help_and_version(program):
    def said(flag: str) -> str:
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


def test_the_log_can_be_json(run):
    server = run([*MODULE, "--port", "0"], LOG_FORMAT="json")
    job_id = server.client.post("/start").json()["job_id"]
    server.stop()
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert ("info", f"job {job_id} accepted for admin") in [(line["level"], line["message"]) for line in lines]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


FAULTS = """
[[faults]]
kind = "status"
code = 503
route = ["poll"]
probability = 0.2

[[faults]]
kind = "truncate"
route = ["poll"]
probability = 0.1
"""


async def drive(server: Server, jobs: int) -> dict[str, list[object]]:
    """Submits jobs over 64 connections and looks twice at each: what came of the looks, by job."""
    seen: dict[str, list[object]] = {}
    left, url, tls = iter(range(jobs)), server.client.base_url, ssl.create_default_context()  # takes long to make

    async def one() -> None:
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


def expected(server: Server, seen: dict[str, list[object]]) -> bytes:
    """The fates of all jobs, by their ordinals, and what came of the looks at them."""
    server.client.post("/sandbox/clock", json={"advance": 2000})
    fates, after = [], {}
    while True:
        page = server.client.get("/jobs", params={"limit": 100, **after}).json()
        fates += [[job["status"], job["elapsed_time"], seen[job["job_id"]]] for job in page["jobs"]]
        if page["next"] is None:
            return json.dumps(fates[::-1]).encode()
        after = {"after": page["next"]}


def test_the_same_seed_gives_the_same_fates_and_faults_to_any_number_of_workers(run, tmp_path):
    """A thousand jobs over 64 connections, with a restart in between."""
    (tmp_path / "faults.toml").write_text(FAULTS)

    def trace(workers: str) -> bytes:
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
        for jobs in (400, 600):
            server = run(MODULE, group=True, **settings)
            seen |= asyncio.run(drive(server, jobs))
            server.stop(signal.SIGTERM)
        return expected(run(MODULE, **settings | {"WORKERS": "1"}), seen)

    with ThreadPoolExecutor() as pool:
        traces = list(pool.map(trace, ["1", "4"]))
    assert traces[0] == traces[1]
    assert len(json.loads(traces[0])) == 1000
    assert {outcome for *_, snapshots in json.loads(traces[0]) for outcome in snapshots} == {
        200,
        503,
        "RemoteProtocolError",
    }


def test_a_reset_survives_a_kill_and_the_next_process_purges(run, tmp_path):
    def stored(*statements: str) -> list[int]:
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


def modes(folder: Path) -> dict[str, str]:
    """The mode of each file and folder in a folder."""
    return {path.name: stat.filemode(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_files_with_user_data_are_private_whatever_the_umask(run, tmp_path, umask):
    settings = {"DATABASE_URL": "sqlite:///data/of/jobs/jobs.db", "LOG_FILE": "data.log"}
    no_others = {"PYTHONDONTWRITEBYTECODE": "1"}  # what nobody could read would stay beside the sources
    server = run([*MODULE, "--port", "0"], umask=umask, **settings, **no_others)
    assert server.client.post("/start").status_code == 202
    folders, private = dict.fromkeys(["of", "jobs"], "drwx------"), "-rw-------"
    assert modes(tmp_path / "data") == folders | dict.fromkeys(["jobs.db", "jobs.db-wal", "jobs.db-shm"], private)
    assert {stat.filemode((tmp_path / name).stat().st_mode) for name in ("data", "data.log")} == {"drwx------", private}
    (tmp_path / "data.log").rename(tmp_path / "data.log.1")  # as logrotate does
    server.client.post("/start")
    assert stat.filemode((tmp_path / "data.log").stat().st_mode) == private


def test_open_files_of_an_older_version_are_made_private_and_logged(run, tmp_path):
    settings = {"DATABASE_URL": "sqlite:///jobs.db", "LOG_FILE": "data.log"}
    run([*MODULE, "--port", "0"], **settings).stop()
    tmp_path.chmod(0o755)
    for name in ("jobs.db", "data.log"):
        (tmp_path / name).chmod(0o644)
    server = run([*MODULE, "--port", "0"], **settings)
    assert server.client.post("/start").status_code == 202
    assert {mode for name, mode in modes(tmp_path).items() if name.startswith(("jobs.db", "data"))} == {"-rw-------"}
    assert len(re.findall(r"(jobs\.db|data\.log) was open to other users \(mode 0644\)", server.log())) == 2
    assert stat.filemode(tmp_path.stat().st_mode) == "drwxr-xr-x"  # a folder that was there stays as it is


@pytest.mark.parametrize("put", ["nothing", "another"])
@pytest.mark.parametrize("names", [["-wal"], ["-shm"], ["-wal", "-shm"], [""], ["", "-wal", "-shm"]], ids="+".join)
def test_removed_or_replaced_files_are_noticed_before_a_job_is_accepted(run, tmp_path, names, put):
    settings = {"DATABASE_URL": "sqlite:///data/jobs.db"}
    server = run([*MODULE, "--port", "0"], **settings)
    promised = [server.client.post("/start").json()["job_id"] for _ in range(3)]
    for name in names:
        file = tmp_path / "data" / f"jobs.db{name}"
        taken = file.rename(tmp_path / f"taken{name}")
        if put == "another":
            file.write_bytes(taken.read_bytes())
    answers = [server.client.post("/start") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert server.client.get("/readyz").status_code == 503
    assert re.search(r"jobs\.db: the file, its -wal or its -shm was deleted or replaced", server.log())
    server.stop(signal.SIGKILL)
    if put == "nothing" and "" not in names:  # what the server still had open, it saved
        again = run([*MODULE, "--port", "0"], **settings)
        assert {job["job_id"] for job in again.client.get("/jobs").json()["jobs"]} == set(promised)
        assert again.client.get("/readyz").status_code == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of another process")
def test_readyz_is_503_when_there_is_no_room_for_a_job(run, tmp_path):
    server = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db", REQUEST_LOG="0")
    assert server.client.post("/start").status_code == 202
    wal, frame = tmp_path / "data" / "jobs.db-wal", 4096 + 24
    answers = {}
    for pages in range(8):
        for method, path in (("GET", "/readyz"), ("POST", "/start")):
            assert server.client.get("/readyz").status_code == 200  # as far as to the end of the file
            room = wal.stat().st_size + pages * frame
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            answers[path, pages] = server.client.request(method, path).is_success
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    ready, accepted = ([answers[path, pages] for pages in range(8)] for path in ("/readyz", "/start"))
    assert ready == accepted
    assert {*ready} == {False, True}


def test_a_folder_moved_away_and_back_loses_no_job(run, tmp_path):
    server = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db")
    assert server.client.post("/start").status_code == 202
    (tmp_path / "data").rename(tmp_path / "away")
    assert {server.client.post("/start").status_code, server.client.get("/readyz").status_code} == {503}
    (tmp_path / "away").rename(tmp_path / "data")
    assert (server.client.post("/start").status_code, server.client.get("/readyz").status_code) == (202, 200)
    server.stop(signal.SIGKILL)
    again = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db")
    assert len(again.client.get("/jobs").json()["jobs"]) == 2


def htpasswd(**passwords: str) -> str:
    hashed = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode() for name, word in passwords.items()}
    return "".join(f"{name}:{line}\n" for name, line in hashed.items())


def asked(server: Server, *credentials: str) -> set[int]:
    """What a request for jobs gets, at several connections, so that each process is asked."""
    with httpx.Client(base_url=server.client.base_url, auth=credentials, timeout=PATIENCE) as client:
        return {client.get("/jobs", headers={"Connection": "close"}).status_code for _ in range(4)}


def reload(server: Server, times: int) -> None:
    """Has all processes read their files for so many times; one that was only starting is started anew."""
    server.process.send_signal(signal.SIGHUP)
    processes = 2 if "--workers" in server.process.args else 1

    def done() -> bool:
        log = server.log()
        started = log.count("jobs are stored in") - processes
        return log.count("reload: faults reloaded") + started * times >= processes * times

    wait_until(done, "the reload")


@WAYS
def test_sighup_reloads_users_and_faults(run, tmp_path, command):
    users, faults = tmp_path / "users", tmp_path / "faults.toml"
    users.write_text(htpasswd(ann="first", bob="right"))
    faults.write_text("faults = []")
    server = run(command, USERS_FILE=str(users), FAULTS=str(faults))
    wait_until(
        lambda: server.log().count("jobs are stored in") == (2 if "--workers" in command else 1), "the processes"
    )
    assert (asked(server, "ann", "first"), asked(server, "bob", "right")) == ({200}, {200})
    users.write_text(htpasswd(ann="second", cy="right"))
    faults.write_text('[[faults]]\nkind = "status"\ncode = 418\nroute = ["list"]\n')
    reload(server, 1)
    assert asked(server, "cy", "right") == {418}
    faults.write_text("faults = []")
    reload(server, 2)
    assert asked(server, "ann", "second") == {200}
    assert (asked(server, "ann", "first"), asked(server, "bob", "right")) == ({401}, {401})
    assert server.process.poll() is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells in /proc which signals are ignored")
def test_a_sighup_during_the_start_does_not_stop_the_server(tmp_path):
    server = begin(tmp_path, [*MODULE, "--port", "0"])
    status = Path(f"/proc/{server.pid}/status")

    def ignores_sighup() -> bool:
        return bool(int(re.search(r"SigIgn:\t(\w+)", status.read_text())[1], 16) & 1)

    with server:
        try:
            wait_until(ignores_sighup, "the signal is not ignored")
            server.send_signal(signal.SIGHUP)
            assert any("listening on" in line for line in server.stderr)
        finally:
            server.kill()


@WAYS
def test_a_failed_reload_changes_nothing(run, tmp_path, command):
    users, faults = tmp_path / "users", tmp_path / "faults.toml"
    users.write_text(htpasswd(ann="right"))
    faults.write_text("faults = []")
    server = run(command, USERS_FILE=str(users), FAULTS=str(faults))
    assert asked(server, "ann", "right") == {200}
    for content, complaint in (
        ("ann:plain\n", "must be a bcrypt or argon2 hash"),
        ("", "holds no user"),
        (None, "read"),
    ):
        users.unlink() if content is None else users.write_text(content)
        faults.write_text("[[")
        server.process.send_signal(signal.SIGHUP)
        expected = server.wait_for(rf"ERROR.* reload: users not reloaded, .*: USERS_FILE=.*{complaint}.*\n")
        assert "Traceback" not in expected[0]
    server.wait_for("reload: faults not reloaded, the old ones stay in use: FAULTS=.*must be UTF-8 TOML")
    assert asked(server, "ann", "right") == {200}
    assert "Traceback" not in server.log()


def test_sighup_reloads_the_password_file(run, tmp_path):
    password = tmp_path / "password"
    password.write_text("first\n")
    server = run([*MODULE, "--port", "0"], API_PASSWORD="", API_PASSWORD_FILE=str(password))
    assert asked(server, "admin", "first") == {200}
    for text, right in (("second\n", "second"), ("", "second")):
        password.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("users reloaded" if text else "users not reloaded, .*: API_PASSWORD is missing")
        assert asked(server, "admin", right) == {200}
    assert asked(server, "admin", "first") == {401}
