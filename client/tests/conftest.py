"""The servers of the tests: one with scripted answers, bare sockets, and the real one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from hypothesis import settings

from tests import command_line
from translation_client.cli import main

settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

ROOT = Path(__file__).parents[2]
BOTH_SIDES = {"PYTHONPATH": os.pathsep.join([str(ROOT / "server"), str(ROOT / "client")])}
LOGIN = {"API_USERNAME": "admin", "API_PASSWORD": "secretpassword"}

IMPORTS = re.compile(r"^from (client|client_library|video_translation_client)\b.*\n", re.MULTILINE)
PORT = re.compile(r"\b(8000|5000)\b")

# Runs a program with top-level await; shows the log of the one client whose document shows it.
RUNNER = """
import ast, asyncio, inspect, logging, pathlib, sys
logging.basicConfig(format="%(asctime)s - %(levelname)s - %(message)s", datefmt="%H:%M:%S")
logging.getLogger("translation_client.compat.result").setLevel("INFO")
source = pathlib.Path(sys.argv[1]).read_text()
result = eval(compile(source, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
if inspect.iscoroutine(result):
    asyncio.run(result)
"""

JOB_ID = "4f69cc76-5b9f-4b46-a514-bdd2c0e3314a"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: dict
    body: bytes


class Server:
    """A real HTTP server: `script` answers each request; `says` sets the answers in turn, of which the last repeats."""

    def __init__(self, url):
        self.url = url
        self.requests = []
        self.script = lambda _: (500, None)

    def says(self, *answers):
        left = list(answers)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @property
    def asked(self):
        return [f"{request.method} {request.path}" for request in self.requests]

    async def __call__(self, scope, receive, send):
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        request = Request(scope["method"], scope["raw_path"].decode(), scope["query_string"].decode(), headers, body)
        self.requests.append(request)
        code, document, *extra = self.script(request)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        lines = [(name.lower().encode(), value.encode()) for name, value in (extra[0] if extra else {}).items()]
        await send({"type": "http.response.start", "status": code, "headers": lines})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="session")
def running_server():
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn_server = uvicorn.Server(uvicorn.Config(server, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield server
    uvicorn_server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def server(running_server):
    """The server, without requests and scripted answers."""
    running_server.requests.clear()
    running_server.says((500, None))
    return running_server


@pytest.fixture
def run(server, capsys, monkeypatch):
    """Runs the command against the scripted server; returns its exit status and the lines of its two outputs."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/translation-client"])

    def run(*arguments):
        status = main(["--url", server.url, *command_line.LOGIN, *arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def job():
    def make(status="pending", job_id=JOB_ID, **fields):
        ended = status != "pending"
        return {
            "job_id": job_id,
            "status": status,
            "result": status,
            "progress": 1.0 if ended else 0.5,
            "created_at": "2026-01-02T03:04:05.678Z",
            "completed_at": "2026-01-02T03:04:09.678Z" if ended else None,
            "elapsed_time": 4.0 if ended else 2.0,
            "error_message": "the video has no sound" if status == "error" else None,
            "error_code": None,
            "output": None,
            "source_language": None,
            "target_language": None,
            "video_length": None,
            **fields,
        }

    return make


@pytest.fixture
def listen():
    @contextmanager
    def listening(handler):
        over = threading.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        threads = []

        def serve(connection):
            with connection, suppress(OSError):
                handler(connection, over)

        def accept():
            with suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            listener.close()
            for thread in threads:
                thread.join()

    return listening


@contextmanager
def serving(folder, port=0, **settings):
    """Runs the project's server in a process of its own, by default on a free port."""
    quick = {"MIN_DELAY": "0.2", "MAX_DELAY": "0.2", "ERROR_PROBABILITY": "0", "DATABASE_URL": "memory:"}
    command = [sys.executable, "-m", "translation_server", "--port", str(port)]
    environment = os.environ | BOTH_SIDES | quick | settings
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            log = ""
            for line in server.stderr or ():
                log += line
                if found := re.search(r"listening on (\S+)", line):
                    yield found[1]
                    return
            pytest.fail(f"the server did not start: {log}")
        finally:
            server.terminate()
            server.communicate()


@pytest.fixture(scope="session")
def open_server(tmp_path_factory):
    """The address of a real server without authentication."""
    with serving(tmp_path_factory.mktemp("open"), AUTH="off") as url:
        yield url


@pytest.fixture(scope="session")
def admins_server(tmp_path_factory):
    """The address of a real server with authentication, and with the example dialect."""
    dialects = str(ROOT / "examples" / "dialects" / "video-translate.toml")
    with serving(tmp_path_factory.mktemp("admins"), **LOGIN, DIALECTS=dialects, MIN_DELAY="0", MAX_DELAY="0") as url:
        yield url


@pytest.fixture(scope="session")
def play(tmp_path_factory):
    def begin(examples, imports, port):
        folder = tmp_path_factory.mktemp("documents")
        source = "".join(
            (ROOT / "tests" / "contract" / "examples" / f"{name}.py").read_text() for name in examples.split()
        )
        (folder / "example.py").write_text(f"{imports}\n{PORT.sub(str(port), IMPORTS.sub('', source))}")
        command = [sys.executable, "-W", "error", "-c", RUNNER, "example.py"]
        return subprocess.Popen(command, cwd=folder, env=os.environ | BOTH_SIDES, stdout=-1, stderr=-1, text=True)

    return begin


@pytest.fixture
def spawn():
    """Starts a program, and kills it at the end of the test."""

    @contextmanager
    def spawn(command):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    return spawn


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """Processes in the background of a shell ignore SIGINT, and so would the programs that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _isolated(tmp_path, monkeypatch):
    """Gives each test its own working directory, removes the user's settings, and names the program in its messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "client" / "translation_client" / "__main__.py")])
    for name in [*os.environ]:
        if name.startswith("API_") or name in {"SERVER_URL", "HTTP_PROXY", "http_proxy"}:
            monkeypatch.delenv(name)
