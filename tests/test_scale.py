"""The test of the compose profile `scale`: PostgreSQL, several servers of which one is killed, and nginx in front.

    python3 -m tests.test_scale                  with client/requirements.txt installed, and docker
    python3 -m tests.test_scale --containers     fails where Docker does not answer
    pytest tests/test_scale.py [--containers]    the same

Without Docker the tests are skipped, as in `test_integration.py`. Logs and cleanup are the same, too.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

from tests.pair import (
    CONNECTIONS,
    JOBS,
    PASSWORD,
    ROOT,
    TIMEOUT,
    USERNAME,
    Containers,
    PairTests,
    exit_status,
    logger,
    main,
    wait_until,
)
from translation_client import AsyncClient, Client, State

SERVERS = 3  # the number of servers

SCALE = {"COMPOSE_PROFILES": "scale", "SCALE_PORTS": 0, "SERVERS": SERVERS}
"""The settings that start several servers."""

LONG = {"delay": {"kind": "fixed", "seconds": 3600.0}, "error_probability": 0.5}
"""The settings of a sandbox whose jobs end when its clock is advanced."""

PATIENT: dict[str, Any] = {"username": USERNAME, "password": PASSWORD, "timeout": TIMEOUT, "max_retries": 1000}
"""Arguments with which the library does not give up."""


class Scaled(Containers):
    """Several servers in containers, over PostgreSQL and behind nginx."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = f"10.{secrets.choice(range(64, 128))}.{secrets.choice(range(256))}"
        shutil.copytree(ROOT / "deploy" / "nginx", folder / "deploy" / "nginx")

    def launch(self) -> None:
        self.compose("up", "--detach", "nginx")

    def servers(self) -> list[Any]:
        """Returns the running containers of the servers."""
        found = self.containers("com.docker.compose.service=server")
        return [container for container in found if container.status == "running"]

    def server_urls(self) -> list[str]:
        """Returns the address of each server, past nginx."""
        ports = [container.ports[f"{self.port}/tcp"][0]["HostPort"] for container in self.servers()]
        return [f"http://127.0.0.1:{port}" for port in ports]

    def kill_one(self) -> None:
        """Kills a server with SIGKILL."""
        container = secrets.choice(self.servers())
        logger.info("%s is killed", container.name)
        container.kill()


class ScaleTests(PairTests):
    """Several servers over one database: any of them serves any request, also after one was killed."""

    kind = Scaled
    pair: ClassVar[Scaled]

    def setUp(self) -> None:
        super().setUp()
        self.pair.serve(**SCALE, POSTGRES_PASSWORD="'p@ss w/rd'", SCALE_NETWORK=self.pair.network)

    def client(self) -> Client:
        """Returns a client that does not give up."""
        return Client(self.pair.url, **PATIENT)

    def submit(self, count: int, key: str | None = None) -> set[str]:
        """Submits jobs over several connections and returns their ids."""
        with self.client() as client, ThreadPoolExecutor(CONNECTIONS) as pool:
            return set(pool.map(lambda _: client.start(idempotency_key=key).id, range(count)))

    def begin_anew(self, **settings: object) -> None:
        """Resets the sandbox and sets it up."""
        wanted = LONG | settings
        self.ask_one("POST", "/sandbox/reset")
        self.ask_one("PATCH", "/sandbox", wanted)
        self.wait_until_all_report(
            lambda reported: reported.items() >= wanted.items() and reported["clock"]["ahead"] == 0
        )

    def end_all(self) -> None:
        """Advances the sandbox's clock, so that all jobs end."""
        self.ask_one("POST", "/sandbox/clock", {"advance": 3600})
        self.wait_until_all_report(lambda reported: reported["clock"]["ahead"] >= 3600)

    def ask_one(self, method: str, path: str, body: object = None) -> None:
        """Sends a request to one of the servers, past nginx."""
        url, *_ = self.pair.server_urls()
        self.pair.http.request(method, f"{url}{path}", json=body).raise_for_status()

    def wait_until_all_report(self, what: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until the sandbox fulfils a condition on every server; changes show within a second."""
        urls = self.pair.server_urls()
        wait_until(lambda: all(what(self.pair.http.get(f"{url}/sandbox").json()) for url in urls), "all servers know")

    def fates(self) -> dict[str, tuple[State, float | None]]:
        """Returns the outcome and the duration of all jobs, in the order of acceptance."""
        with self.client() as client:
            found = list(client.list())
        self.assertEqual(len({job.id for job in found}), len(found))
        return {job.id: (job.state, job.elapsed) for job in reversed(found)}

    def test_up_runs_the_client_against_all_servers_and_they_stop_on_request(self) -> None:
        self.ask_one("POST", "/sandbox/reset")
        self.pair.compose("up", "--detach")
        wait_until(lambda: self.pair.container("client").status == "exited", "the client has come to its end")
        self.assertEqual(exit_status(self.pair.container("client")), 0)
        self.assertEqual(len(self.pair.servers()), SERVERS)
        self.assertEqual(
            self.pair.container("nginx").attrs["HostConfig"]["PortBindings"],
            {f"{self.pair.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": f"{self.pair.port}"}]},
        )
        self.assertEqual(self.pair.container("postgres").attrs["HostConfig"]["PortBindings"], {})
        self.pair.compose("stop")
        ended = {container.name: exit_status(container) for container in self.pair.containers()}
        self.assertEqual(set(ended.values()), {0}, ended)

    def test_run_of_the_client_leaves_all_servers_as_they_are(self) -> None:
        self.ask_one("POST", "/sandbox/reset")
        before = {container.id for container in self.pair.containers()}
        result = self.pair.compose("run", "--rm", "client", "--username", USERNAME, "--password", PASSWORD)
        self.assertIn("completed", result.stdout)
        self.assertEqual({container.id for container in self.pair.containers()}, before)
        self.assertEqual(len(self.pair.servers()), SERVERS)

    def test_up_without_the_ports_of_the_servers_says_what_to_do(self) -> None:
        env_file = self.pair.folder / ".env"
        text = env_file.read_text()
        self.addCleanup(env_file.write_text, text)
        before = {container.id for container in self.pair.containers()}
        for missing, reason in (
            ("SCALE_PORTS", "remove the # before SCALE_PORTS in .env, because there is SERVERS=3\n"),
            ("SCALE_PORTS|SERVERS", "'remove the # before SCALE_PORTS in .env; the profile scale needs it'"),
        ):
            env_file.write_text(re.sub(rf"^({missing})=.*\n", "", text, flags=re.MULTILINE))
            result = self.pair.compose("up", "--detach", "--wait", "nginx", check=False)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(reason, result.stderr)
            self.assertEqual({container.id for container in self.pair.containers()}, before)

    def test_answer_of_nginx_without_servers_has_the_status_that_its_body_names(self) -> None:
        self.addCleanup(self.pair.start)
        self.pair.compose("stop", "server")
        answer = self.pair.http.get(f"{self.pair.url}/jobs")
        self.assertEqual((answer.status_code, answer.json()["status"]), (502, 502))

    def test_wrong_passwords_count_by_the_address_that_nginx_saw(self) -> None:
        self.addCleanup(self.pair.start)
        self.addCleanup(self.pair.compose, "restart", "server")  # resets their counts
        own, *_ = self.pair.server_urls()
        for url, guesses in ((own, 20), (self.pair.url, 20 * SERVERS)):
            answers = [
                self.pair.http.get(
                    f"{url}/jobs", auth=(f"user {i}", "wrong"), headers={"X-Forwarded-For": f"192.0.2.{i}"}
                )
                for i in range(guesses)
            ]
            self.assertEqual({answer.status_code for answer in answers}, {401, 429})
            self.assertEqual(answers[-1].status_code, 429)

    def test_no_job_is_lost_or_doubled_and_every_wait_ends_when_one_of_the_servers_is_killed(self) -> None:
        self.begin_anew()
        killed = Event()
        started: list[str] = []

        def keep_submitting() -> None:
            with self.client() as client:
                after = 0
                while after < JOBS // CONNECTIONS:  # on each connection, after the kill
                    after += killed.is_set()
                    started.append(client.start().id)

        async def wait_for(job_ids: list[str], seen: set[str]) -> list[Any]:
            """Waits for these jobs together, and for each alone."""
            async with AsyncClient(self.pair.url, **PATIENT) as client:
                single = (client.wait(job_id, on_update=lambda status: seen.add(status.id)) for job_id in job_ids)
                together, finals = await asyncio.gather(client.wait_all(job_ids), asyncio.gather(*single))
                return [*together.values(), *finals]

        with ThreadPoolExecutor(CONNECTIONS + 1) as pool:
            submitters = [pool.submit(keep_submitting) for _ in range(CONNECTIONS)]
            try:
                wait_until(lambda: len(started) >= JOBS // 2, "jobs are accepted")
                awaited, seen = started[: JOBS // 4], set[str]()
                waiting = pool.submit(asyncio.run, wait_for(awaited, seen))
                wait_until(lambda: len(seen) == len(awaited), "each of them is waited for")
                self.pair.kill_one()
            finally:
                killed.set()
            for submitter in submitters:
                submitter.result(TIMEOUT)
            self.end_all()
            finals = waiting.result(TIMEOUT)
        self.assertEqual(len(self.pair.servers()), SERVERS - 1)
        fates = self.fates()
        self.assertEqual(sorted(fates), sorted(started))
        self.assertEqual({fate for fate, _ in fates.values()}, {State.COMPLETED, State.ERROR})
        self.assertEqual([(final.state, final.elapsed) for final in finals], [fates[one] for one in awaited * 2])

    def test_one_key_makes_one_job_whichever_servers_are_asked(self) -> None:
        self.begin_anew()
        answered = self.submit(JOBS, key="once")
        self.assertEqual(len(answered), 1)
        self.assertEqual(set(self.fates()), answered)

    def test_the_same_seed_gives_the_same_fates_whichever_servers_are_asked(self) -> None:
        def fates() -> list[tuple[State, float | None]]:
            self.begin_anew(seed="again", delay={"kind": "uniform", "min": 10, "max": 3000})
            self.submit(JOBS)
            self.end_all()
            return list(self.fates().values())

        first = fates()
        self.assertEqual(len(set(first)), JOBS)
        self.assertEqual(fates(), first)

    def test_restarted_servers_are_used_again(self) -> None:
        before = {container.id for container in self.pair.servers()}
        self.pair.kill_one()
        left = {container.id for container in self.pair.servers()}
        self.pair.start()
        for container in self.pair.servers():
            if container.id in left:
                container.kill()
        self.assertEqual({container.id for container in self.pair.servers()}, before - left)
        wait_until(self.pair.is_ready, "nginx finds the server that has come back")


if __name__ == "__main__":
    main()
