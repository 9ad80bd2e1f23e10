"""The client against the real server in a process of its own: every dialect, and the example application."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.blocking import open_client
from translation_client import AsyncClient, AuthenticationError, Client, InvalidRequest, State
from translation_client.cli import main
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.dialects import CURRENT
from translation_server import TranslationServer
from translation_server.config.history_files import HistoryFile

EXAMPLES = Path(__file__).parents[2] / "examples"
VIDEO_TRANSLATE = EXAMPLES / "dialects" / "video-translate.toml"
LOGIN = {"username": "admin", "password": "secretpassword"}
TOKEN = {"dialect": VIDEO_TRANSLATE, "token": "secretpassword"}


def client_for(url, dialect):
    """Returns a client in one of the five dialects or the example dialect."""
    return (
        Client(f"{url}/video-translate", **TOKEN)
        if dialect == "video-translate"
        else Client(url, dialect=dialect, **LOGIN)
    )


@pytest.mark.parametrize("submits", [*DIALECTS, "video-translate"])
def test_job_submitted_in_any_dialect_can_be_polled_in_any_other(admins_server, submits):
    with client_for(admins_server, submits) as client:
        started = client.start()
    with client_for(admins_server, "start") as client:
        newest = next(client.list()).id
    assert started.id in {newest, CURRENT}
    for polls in [
        *DIALECTS,
        *(["video-translate"] if submits == "video-translate" else []),
    ]:  # an API sees only jobs of its own
        with client_for(admins_server, polls) as client:
            assert client.wait(CURRENT if polls in {"status", "result"} else newest).state is State.COMPLETED


class TestVideoTranslate:
    """The example dialect, on the server and in the client."""

    def test_job_is_submitted_and_awaited(self, admins_server):
        seen = []
        with Client(f"{admins_server}/video-translate", **TOKEN) as client:
            final = client.run(target_language="Spanish", on_update=lambda status: seen.append(status.state))
        assert seen == ["pending", "completed"]
        assert final.raw == {
            "data": {"video_translate_id": final.id, "output_language": "Spanish", "status": "success", "message": None}
        }

    async def test_async_client_does_the_same(self, admins_server):
        async with AsyncClient(f"{admins_server}/video-translate", **TOKEN) as client:
            final = await client.run(target_language="Spanish")
            assert final.raw["data"]["status"] == "success"
            assert final.state is State.COMPLETED

    def test_wrong_token_is_refused(self, admins_server):
        for token in ({"token": "wrong"}, {}):
            client = Client(f"{admins_server}/video-translate", dialect=VIDEO_TRANSLATE, **token)
            with client, pytest.raises(AuthenticationError, match=r"Check the token\.$"):
                client.start()

    def test_command_takes_the_dialect_and_the_token(self, admins_server, capsys):
        server = [
            "--url",
            f"{admins_server}/video-translate",
            "--dialect",
            str(VIDEO_TRANSLATE),
            "--token",
            "secretpassword",
        ]
        assert main([*server, "start", "--target-language", "Spanish", "--json"]) == 0
        job_id = json.loads(capsys.readouterr().out)["job_id"]
        assert main([*server, "wait", job_id]) == 0
        assert capsys.readouterr().out.endswith(f"{job_id} completed\n")


def test_caller_may_choose_the_id(admins_server):
    with client_for(admins_server, "translate") as client:
        assert client.start(job_id="mine", source_language="en").id == "mine"
        with pytest.raises(InvalidRequest, match="409") as raised:
            client.start(job_id="mine")
        assert raised.value.status_code == 409
        assert client.cancel("mine").state in {State.CANCELLED, State.COMPLETED}
        assert "mine" in [status.id for status in client.list()]


@pytest.fixture(scope="module")
def app(admins_server, tmp_path_factory):
    """Runs `examples/app.py` as its first line says, and returns its address."""
    login = {f"API_{name.upper()}": value for name, value in LOGIN.items()}
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "client"), "SERVER_URL": admins_server} | login
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "app:app", "--port", "0"]
    folder = tmp_path_factory.mktemp("app")
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        log = ""
        while not (found := re.search(r"running on (http://\S+)", log)):
            line = process.stderr.readline()
            assert line, log
            log += line
        yield found[1]
        process.terminate()
        process.communicate()


class TestApp:
    """`examples/app.py`."""

    def test_endpoint_waits_for_the_job(self, app):
        answer = httpx.post(f"{app}/videos/holidays/translations?target_language=es", trust_env=False)
        assert answer.status_code == 200
        translation = answer.json()
        assert (translation["video"], translation["state"], translation["seconds"]) == ("holidays", "completed", 0)
        assert translation["job_id"]

    def test_refused_job_gives_422(self, app):
        answer = httpx.post(f"{app}/videos/holidays/translations?target_language=%01", trust_env=False)
        assert answer.status_code == 422
        assert "target_language" in answer.json()["detail"]


def test_server_replays_the_durations_in_a_history_file(tmp_path):
    waits = tmp_path / "waits.jsonl"
    with TranslationServer(completion_time=0.2, error_rate=0) as server, Client(server.url, history=waits) as client:
        seen = [client.run().elapsed for _ in range(2)]
    assert HistoryFile(waits).delays().durations == pytest.approx(sorted(seen), abs=0.1)


def test_job_ends_after_polls(admins_server):
    with Client(admins_server, **LOGIN) as client:
        job = client.start(simulate={"after_polls": 3, "outcome": "completed"})
        states = [client.status(job.id).state for _ in range(3)]
        assert states == [State.PENDING, State.PENDING, State.COMPLETED]
        final = client.run(simulate={"after_polls": 3, "outcome": "error", "message": "no speech found"})
        assert (final.state, final.error, final.cost.polls) == (State.ERROR, "no speech found", 3)
        with pytest.raises(InvalidRequest, match="must not hold both delay and after_polls"):
            client.start(simulate={"after_polls": 3, "delay": 1})
        with pytest.raises(ValueError, match="simulate is not a field of the dialect translate"):
            Client(admins_server, dialect="translate", **LOGIN).start(job_id="mine", simulate={"after_polls": 3})


async def test_jobs_of_an_async_client_end_after_polls(admins_server):
    async with AsyncClient(admins_server, **LOGIN) as client:
        jobs = [await client.start(simulate={"after_polls": 4, "outcome": "completed"}) for _ in range(3)]
        finals = await asyncio.gather(*(client.wait(job.id, timeout=60) for job in jobs))
    assert [(final.state, final.cost.polls) for final in finals] == [(State.COMPLETED, 4)] * 3


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_wait_for_several_jobs_sees_those_that_end_after_polls(admins_server, kind):
    with open_client(kind, admins_server, **LOGIN) as client:
        jobs = [client.start(simulate={"after_polls": polls, "outcome": "completed"}) for polls in (1, 3, 4)]
        jobs.append(client.start(simulate={"delay": 0.5, "outcome": "completed"}))
        ends = client.wait_all([job.id for job in jobs], timeout=60)
    assert [end.state for end in ends.values()] == [State.COMPLETED] * 4
    assert [end.cost.polls for end in ends.values()][:3] == [1, 3, 4]
