"""The client and the project's own server, which run in processes of their own: every dialect, and the user's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from translation_client import AsyncClient, AuthenticationError, Client, InvalidRequest, State
from translation_client.cli import main
from translation_client.core.dialects import CURRENT, DIALECTS

EXAMPLES = Path(__file__).parents[2] / "examples"
HEYGEN = EXAMPLES / "dialects" / "heygen.toml"
LOGIN = {"username": "admin", "password": "secretpassword"}
TOKEN = {"dialect": HEYGEN, "token": "secretpassword"}


def client_for(url: str, dialect: str) -> Client:
    """A client of the real server, in one of the five dialects or the user's own."""
    return Client(f"{url}/heygen", **TOKEN) if dialect == "heygen" else Client(url, dialect=dialect, **LOGIN)


@pytest.mark.parametrize("submits", [*DIALECTS, "heygen"])
def test_a_job_submitted_in_any_dialect_can_be_looked_at_in_any_other(admins_server: str, submits: str) -> None:
    with client_for(admins_server, submits) as client:
        begun = client.start()
    with client_for(admins_server, "start") as client:
        newest = next(client.list()).id
    assert begun.id in {newest, CURRENT}
    for polls in [*DIALECTS, "heygen"]:
        with client_for(admins_server, polls) as client:
            assert client.wait(CURRENT if polls in {"status", "result"} else newest).state is State.COMPLETED


class TestHeygen:
    """The worked example serves both ends."""

    def test_a_job_is_submitted_and_awaited(self, admins_server: str) -> None:
        seen: list[str] = []
        with Client(f"{admins_server}/heygen", **TOKEN) as client:
            final = client.run(target_language="Spanish", on_update=lambda status: seen.append(status.state))
        assert seen == ["pending", "completed"]
        assert final.raw == {
            "data": {
                "video_translate_id": final.id,
                "output_language": "Spanish",
                "status": "success",
                "message": None,
            }
        }

    def test_the_other_client_does_the_same(self, admins_server: str) -> None:
        async def main() -> None:
            async with AsyncClient(f"{admins_server}/heygen", **TOKEN) as client:
                final = await client.run(target_language="Spanish")
                assert final.raw["data"]["status"] == "success"
                assert final.state is State.COMPLETED

        asyncio.run(main())

    def test_the_token_counts(self, admins_server: str) -> None:
        for token in ({"token": "wrong"}, {}):
            client = Client(f"{admins_server}/heygen", dialect=HEYGEN, **token)
            with client, pytest.raises(AuthenticationError, match=r"Check the token\.$"):
                client.start()

    def test_the_command_speaks_it(self, admins_server: str, capsys: pytest.CaptureFixture[str]) -> None:
        server = ["--url", f"{admins_server}/heygen", "--dialect", str(HEYGEN), "--token", "secretpassword"]
        assert main([*server, "start", "--target-language", "Spanish", "--json"]) == 0
        job_id = json.loads(capsys.readouterr().out)["id"]
        assert main([*server, "wait", job_id]) == 0
        assert capsys.readouterr().out.endswith(f"{job_id} completed\n")


def test_a_caller_may_bring_an_id(admins_server: str) -> None:
    with client_for(admins_server, "translate") as client:
        assert client.start(job_id="mine", source_language="en").id == "mine"
        with pytest.raises(InvalidRequest, match="409") as raised:
            client.start(job_id="mine")
        assert raised.value.status_code == 409
        assert client.cancel("mine").state in {State.CANCELLED, State.COMPLETED}
        assert "mine" in [status.id for status in client.list()]


@pytest.fixture(scope="module")
def app(admins_server: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The address of `examples/app.py`, started as its first line says."""
    login = {f"API_{name.upper()}": value for name, value in LOGIN.items()}
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "client"), "SERVER_URL": admins_server} | login
    effect = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "app:app", "--port", "0"]
    folder = tmp_path_factory.mktemp("app")
    with subprocess.Popen(effect, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
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

    def test_it_translates_in_an_endpoint(self, app: str) -> None:
        answer = httpx.post(f"{app}/videos/holidays/translations?target_language=es", trust_env=False)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["video"], told["state"], told["seconds"]) == ("holidays", "completed", 0)
        assert told["job_id"]

    def test_a_refusal_is_an_answer(self, app: str) -> None:
        answer = httpx.post(f"{app}/videos/holidays/translations?target_language=%01", trust_env=False)
        assert answer.status_code == 422
        assert "target_language" in answer.json()["detail"]
