"""SIGHUP reloads users and fault rules."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.examples import cheap_hash
from tests.processes import MODULE, PATIENCE, WAYS, begin, wait_until


def htpasswd(**passwords):
    hashed = {name: cheap_hash(word) for name, word in passwords.items()}
    return "".join(f"{name}:{line}\n" for name, line in hashed.items())


def asked(server, *credentials):
    """Returns the status codes of requests on several connections, so that each process answers one."""
    with httpx.Client(base_url=server.client.base_url, auth=credentials, timeout=PATIENCE) as client:
        return {client.get("/jobs", headers={"Connection": "close"}).status_code for _ in range(4)}


def reload(server, times):
    """Makes all processes reload their files this many times; a process that is starting reads them at its start."""
    server.process.send_signal(signal.SIGHUP)
    processes = 2 if "--workers" in server.process.args else 1

    def done():
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
    processes = 2 if "--workers" in command else 1
    wait_until(lambda: server.log().count("jobs are stored in") == processes, "the processes")
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


def test_repeated_poll_is_refused_after_the_password_has_changed(run, tmp_path):
    users = tmp_path / "users"
    users.write_text(htpasswd(ann="first"))
    server = run([*MODULE, "--port", "0"], USERS_FILE=str(users))
    with httpx.Client(base_url=server.client.base_url, auth=("ann", "first"), timeout=PATIENCE) as client:
        job_id = client.post("/start").raise_for_status().json()["job_id"]
        assert [client.get(f"/status/{job_id}").status_code for _ in range(4)] == [200] * 4
        users.write_text(htpasswd(ann="second"))
        reload(server, 1)
        assert client.get(f"/status/{job_id}").status_code == 401


def signals(pid, field):
    """Returns the signals that a process blocks or catches, by the field of this name in `/proc`."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return set()
    found = re.search(rf"{field}:\t(\w+)", status)
    return {number for number in signal.Signals if found and int(found[1], 16) >> (number - 1) & 1}


ON_LINUX = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Linux tells in /proc which signals are blocked"
)


@ON_LINUX
def test_a_sighup_during_the_start_reloads_the_files_later(tmp_path):
    faults = tmp_path / "faults.toml"
    faults.write_text("faults = []")
    server = begin(tmp_path, [*MODULE, "--port", "0"], FAULTS=str(faults))
    with server:
        try:
            wait_until(lambda: signal.SIGHUP in signals(server.pid, "SigBlk"), "the signal is not blocked")
            server.send_signal(signal.SIGHUP)
            assert any("reload: faults reloaded" in line for line in server.stderr)
        finally:
            server.kill()


@ON_LINUX
def test_a_sighup_during_the_start_of_a_worker_reloads_its_files_later(run, tmp_path):
    faults = tmp_path / "faults.toml"
    faults.write_text("faults = []")
    server = run([*MODULE, "--port", "0", "--workers", "2"], FAULTS=str(faults))
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children")

    def workers():
        return {pid for pid in map(int, children.read_text().split()) if signal.SIGINT in signals(pid, "SigCgt")}

    wait_until(lambda: len(workers()) == 2, "the workers")
    started = workers()
    for pid in started:
        os.kill(pid, signal.SIGHUP)
    wait_until(lambda: server.log().count("reload: faults reloaded") == 2, "the reloads")
    assert workers() == started


BLOCKED = """
import asyncio, os, signal
from translation_server.api.reload import on_hangup

async def main():
    reloaded = asyncio.Event()

    async def reload():
        reloaded.set()

    async with on_hangup(reload):
        await asyncio.to_thread(int)  # from now on there is a thread that does not block the signal
        await reloaded.wait()
    os.kill(os.getpid(), signal.SIGHUP)

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
os.kill(os.getpid(), signal.SIGHUP)
asyncio.run(main())
"""


def test_a_sighup_before_the_application_starts_reloads_and_one_after_its_end_does_nothing():
    assert subprocess.run([sys.executable, "-c", BLOCKED], timeout=PATIENCE, check=False).returncode == 0


@WAYS
def test_a_failed_reload_changes_nothing(run, tmp_path, command):
    users, faults = tmp_path / "users", tmp_path / "faults.toml"
    users.write_text(htpasswd(ann="right"))
    faults.write_text("faults = []")
    server = run(command, USERS_FILE=str(users), FAULTS=str(faults))
    assert asked(server, "ann", "right") == {200}
    complaints = {"ann:plain\n": "must be a bcrypt or argon2 hash", "": "holds no user", None: "read"}
    for content, complaint in complaints.items():
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
