"""The integration test: a real server, the real client, and failures between them.

    python3 test_integration.py                 with server/requirements.txt and client/requirements.txt installed
    python3 test_integration.py --containers    also in containers; fails where Docker does not answer
    pytest test_integration.py [--containers]   the same

The same scenarios run against a server process and against `docker compose`. The tests in containers need Docker and
the `docker` package. Without these they are skipped, or fail with `--containers` or `REQUIRE_DOCKER=1`. The logs of
server, client and test are printed, and kept in `logs/`. Everything that was started is removed.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import httpx

from tests.pair import (
    CLIENT_LOG,
    COMPOSE_FILE,
    CONNECTIONS,
    JOBS,
    PASSWORD,
    ROOT,
    SERVER_LOG,
    TIMEOUT,
    USERNAME,
    Containers,
    Pair,
    PairTests,
    clean_environment,
    exit_status,
    find_engine,
    logger,
    main,
    need_package_index,
    pull_images,
    run,
    wait_until,
)
from tests.ports import free_port
from translation_client import AsyncClient, AuthenticationError, Client, JobFailed, State, TransportError
from translation_client.core.effects import Failure

BRISK: dict[str, Any] = {
    "username": USERNAME,
    "password": PASSWORD,
    "initial_delay": 0.1,
    "max_delay": 0.2,
    "timeout": TIMEOUT,
}
"""Arguments with which the library polls often."""


class Processes(Pair):
    """The pair as two processes."""

    process: "subprocess.Popen[bytes] | None" = None

    def launch(self) -> None:
        if self.process is None:
            with SERVER_LOG.open("ab") as log:
                program = [sys.executable, "-m", "translation_server"]
                environment = {**clean_environment(), "PYTHONPATH": str(ROOT / "server")}
                self.process = subprocess.Popen(program, cwd=self.folder, env=environment, stderr=log)

    def is_ready(self) -> bool:
        assert self.process, "not started"
        assert self.process.poll() is None, f"the server exited with {self.process.returncode}; {SERVER_LOG} says why"
        return super().is_ready()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(TIMEOUT)
            self.process = None

    def stop(self) -> int:
        assert self.process, "not started"
        self.process.terminate()
        status = self.process.wait(TIMEOUT)
        self.process = None
        return status

    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "client.py", "--url", self.url, "--log-file", str(CLIENT_LOG), *arguments]
        return run(*command, folder=ROOT / "client")

    def save_logs(self) -> None:
        """Does nothing: the two programs write the logs themselves."""

    def close(self) -> None:
        self.kill()
        super().close()


class Scenarios(PairTests):
    """The tests of both kinds of pair."""

    def client(self, **options: Any) -> Client:
        """Returns a client that polls often."""
        return Client(self.pair.url, **(BRISK | options))

    def read_jobs(self, job_ids: list[str]) -> dict[str, Any]:
        """Returns the jobs with these ids as the server shows them; none may be missing."""
        with self.client() as client:
            found = {job.id: job.raw for job in client.list()}
        self.assertFalse(set(job_ids) - set(found))
        return {job_id: found[job_id] for job_id in job_ids}

    def test_library_and_command_see_a_job_completed(self) -> None:
        self.pair.serve()
        updates: list[object] = []
        with self.client() as client:
            job = client.start(source_language="en", target_language="es", video_length=12.5)
            final = client.wait(job.id, on_update=updates.append)
        self.assertIs(job.state, State.PENDING)
        self.assertIs(final.state, State.COMPLETED)
        self.assertEqual(final.raw["target_language"], "es")
        self.assertEqual(updates[-1], final)
        result = self.pair.command()
        self.assertEqual(result.returncode, 0)
        self.assertIn("completed", result.stdout)

    def test_library_and_command_see_a_job_fail(self) -> None:
        self.pair.serve(ERROR_PROBABILITY=1)
        with self.client() as client:
            final = client.run()
        self.assertIs(final.state, State.ERROR)
        self.assertTrue(final.error)
        with self.assertRaises(JobFailed):
            final.raise_for_error()
        result = self.pair.command()
        self.assertEqual(result.returncode, 1)
        self.assertIn("error", result.stdout)

    def test_async_library_sees_jobs_completed(self) -> None:
        self.pair.serve()

        async def run_three() -> list[State]:
            async with AsyncClient(self.pair.url, **BRISK) as client:
                return [final.state for final in await asyncio.gather(*(client.run() for _ in range(3)))]

        self.assertEqual(asyncio.run(run_three()), [State.COMPLETED] * 3)

    def test_wrong_password_is_refused(self) -> None:
        self.pair.serve()
        with self.client(password="wrong") as client, self.assertRaises(AuthenticationError):
            client.start()
        self.assertEqual(self.pair.command(password="wrong").returncode, 3)

    def test_server_exits_with_0_on_sigterm(self) -> None:
        self.pair.serve()
        self.assertEqual(self.pair.stop(), 0)
        with self.client(max_retries=2) as client, self.assertRaises(TransportError):
            client.start()
        self.assertEqual(self.pair.command("--initial-interval=0.1", "--max-interval=0.1").returncode, 5)

    def test_wait_continues_when_the_server_is_killed_and_restarted(self) -> None:
        self.pair.serve(MIN_DELAY=3600, MAX_DELAY=3600, HINTS="none")
        seen = Event()
        trace: list[object] = []
        with self.client(max_retries=1000, trace=trace.append) as client, ThreadPoolExecutor() as pool:
            jobs = [client.start() for _ in range(5)]
            waiting = pool.submit(client.wait, jobs[0].id, on_update=lambda _: seen.set())
            wait_until(seen.is_set, "the client has looked")
            self.pair.kill()
            wait_until(lambda: any(isinstance(event, Failure) for event in trace), "the client misses the server")
            self.pair.start()
            self.pair.http.post(f"{self.pair.url}/sandbox/clock", json={"advance": 3600}).raise_for_status()
            final = waiting.result(TIMEOUT)
            others = [client.wait(job.id) for job in jobs[1:]]
        self.assertEqual({status.state for status in (final, *others)}, {State.COMPLETED})
        self.assertEqual({status.elapsed for status in (final, *others)}, {3600})

    def test_no_accepted_job_is_lost_and_none_changes_its_fate_when_the_server_is_killed(self) -> None:
        self.pair.serve(MIN_DELAY=0, MAX_DELAY=1, ERROR_PROBABILITY=0.5)
        accepted: list[str] = []
        killed = Event()

        def submit() -> bool:
            """Submits a job, and returns whether a server accepted it."""
            try:
                response = self.pair.http.post(f"{self.pair.url}/start")
            except httpx.TransportError:
                return False
            self.assertEqual(response.status_code, httpx.codes.ACCEPTED)
            accepted.append(response.json()["job_id"])
            return True

        def keep_submitting() -> None:
            while len(accepted) < JOBS or not killed.is_set():
                wait_until(submit, "a job is accepted")

        with ThreadPoolExecutor(CONNECTIONS) as pool, self.client() as client:
            submitters = [pool.submit(keep_submitting) for _ in range(CONNECTIONS)]
            try:
                wait_until(lambda: len(accepted) >= CONNECTIONS, "jobs are accepted")
                client.wait_all(accepted[:CONNECTIONS])  # others are at every point between start and end by then
                before = self.read_jobs(accepted[:])
                self.pair.kill()
            finally:
                killed.set()
            promised = len(accepted)
            self.pair.start()
            for submitter in submitters:
                submitter.result(TIMEOUT)
            client.wait_all(accepted)
        logger.info("%d jobs accepted, %d of them before the server was killed", len(accepted), promised)

        after = self.read_jobs(accepted)
        self.assertEqual({job["status"] for job in after.values()}, {"completed", "error"})
        self.pair.kill()
        self.pair.start()
        self.assertEqual(self.read_jobs(accepted), after)
        for job_id, job in before.items():
            if job["status"] != "pending":
                self.assertEqual(job, after[job_id])
            elif job["progress"] > 0.1:  # enough to compute when the job was going to end
                self.assertAlmostEqual(job["elapsed_time"] / job["progress"], after[job_id]["elapsed_time"], delta=0.02)


class ProcessTests(Scenarios):
    """The tests with a server process."""

    kind = Processes
    pair: ClassVar[Processes]


class ContainerTests(Scenarios):
    """The tests with `docker compose`, and the promises of the compose file and the images."""

    kind = Containers
    pair: ClassVar[Containers]

    def test_up_runs_the_client_once_the_server_is_healthy(self) -> None:
        self.pair.serve()
        self.pair.kill()
        result = self.pair.compose("up", "--abort-on-container-exit", "--exit-code-from", "client", check=False)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(exit_status(self.pair.container("client")), 0)
        self.assertEqual(exit_status(self.pair.container("server")), 0)
        self.assertIn("completed", self.pair.container("client").logs().decode())

    def test_run_starts_the_server_and_takes_flags(self) -> None:
        self.pair.serve()
        self.pair.kill()
        flags = ("--username", USERNAME, "--password", PASSWORD, "--jobs", "2")
        result = self.pair.compose("run", "--rm", "client", *flags)
        self.assertIn("2 jobs: 2 completed", result.stdout)

    def test_suggested_command_lines_name_the_project(self) -> None:
        self.pair.serve()
        result = self.pair.run_command("--unknown")
        self.assertIn(f"; see docker compose -p {self.pair.project} run --rm client --help\n", result.stderr)

    def test_profile_of_another_project_changes_nothing(self) -> None:
        self.pair.serve()
        before = {container.id for container in self.pair.containers()}
        self.pair.serve(COMPOSE_PROFILES="other")
        self.assertEqual({container.id for container in self.pair.containers()}, before)

    def test_jobs_survive_a_restart(self) -> None:
        self.pair.serve()
        with self.client() as client:
            job_ids = [client.run().id for _ in range(3)]
        before = self.read_jobs(job_ids)
        self.pair.compose("restart", "server")
        self.pair.start()
        self.assertEqual(self.read_jobs(job_ids), before)

    def test_health_check_follows_the_port_which_only_this_machine_reaches(self) -> None:
        self.pair.port = free_port()
        self.pair.serve()
        wait_until(lambda: self.pair.container("server").health == "healthy", "the server is healthy")
        self.assertEqual(
            self.pair.container("server").ports,
            {f"{self.pair.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": f"{self.pair.port}"}]},
        )

    def test_containers_may_do_nothing_but_their_work(self) -> None:
        elsewhere = {"POSTGRES_PASSWORD": "of the database", "OTHER_SECRET": "of another program"}
        self.pair.serve(**{name: f"'{value}'" for name, value in elsewhere.items()})
        self.pair.compose("create")
        for container in (self.pair.container("server"), self.pair.container("client")):
            host = container.attrs["HostConfig"]
            self.assertEqual(container.attrs["Config"]["User"], "10001:10001")
            self.assertTrue(host["ReadonlyRootfs"])
            self.assertEqual(host["CapDrop"], ["ALL"])
            self.assertEqual(host["SecurityOpt"], ["no-new-privileges:true"])
            self.assertGreater(host["Memory"], 0)
            self.assertGreater(host["PidsLimit"], 0)
            self.assertEqual(host["LogConfig"]["Config"], {"max-size": "10m", "max-file": "3"})
            for sized in host["Tmpfs"].values():
                self.assertRegex(sized, r"^size=\d+m$")
            for secret in elsewhere.values():
                self.assertNotIn(secret, str(container.attrs["Config"]["Env"]))
        server = self.pair.container("server")
        process = dict(
            line.split(":\t", 1) for line in server.exec_run("cat /proc/1/status").output.decode().splitlines()
        )
        self.assertEqual(set(process["Uid"].split()), {"10001"})
        self.assertEqual(int(process["CapEff"], 16), 0)
        self.assertEqual(process["NoNewPrivs"], "1")
        self.assertIn(b"Read-only file system", server.exec_run("touch /app/new").output)

    def test_missing_env_file_is_reported(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(COMPOSE_FILE, folder)
            result = run("docker", "compose", "--project-name", self.pair.project, "up", folder=Path(folder))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("copy .env.example to .env", result.stderr)


class ImageTests(unittest.TestCase):
    """Container tests without an image, or a network to build one, are skipped, or fail if Docker is required."""

    def test_container_tests_are_skipped_or_fail_without_docker(self) -> None:
        engine = find_engine()
        self.addCleanup(engine.close)
        for asked_for, outcome in (("", unittest.SkipTest), ("1", RuntimeError)):
            with (
                unittest.mock.patch.dict(os.environ, REQUIRE_DOCKER=asked_for),
                self.assertRaisesRegex(outcome, "images.invalid/none:1, which is not here and cannot be pulled"),
            ):
                pull_images(engine, "images.invalid/none:1")

    def test_container_tests_are_skipped_or_fail_without_a_network_for_builds(self) -> None:
        engine = find_engine()
        self.addCleanup(engine.close)
        pull_images(engine, "python:3.13-slim")
        for required, outcome in (("", unittest.SkipTest), ("1", RuntimeError)):
            with (
                unittest.mock.patch.dict(os.environ, REQUIRE_DOCKER=required),
                self.assertRaisesRegex(outcome, "a network for containers, in which pip reaches a package index"),
            ):
                need_package_index("none")


del Scenarios  # its tests run only in the subclasses


if __name__ == "__main__":
    main()
