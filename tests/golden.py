"""The golden transcripts of the shipped APIs, and a server whose time and chance are those of a transcript.

`tests/contract/README.md` describes the transcripts.
"""

import datetime as dt
import functools
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.aws_signer import AwsSigner
from tests.quick_server import QuickServer
from translation_server.api.connections import Guard, Limits
from translation_server.api.protocol import HttpProtocol
from translation_server.app import OWN_NAMES, assemble
from translation_server.config.dialect_files import read_dialects
from translation_server.config.users import one_user
from translation_server.core.clock import WallTime
from translation_server.core.delays import Fixed
from translation_server.core.dialects.authentication import SIGV4, token_form
from translation_server.core.dialects.operations import PARAMETER, Operation, RequestPattern
from translation_server.core.sandbox import SandboxSettings
from translation_server.serving import GRACE, uvicorn_options
from translation_server.storage import open_store

FOLDER = Path(__file__).parent / "contract" / "transcripts"
USER, KEY = "admin", "secretpassword"
HOST = "127.0.0.1:8000"  # whatever the port is
WIDTH = 120  # of the lines of a transcript
SECONDS = 100.0  # that every job takes
UNTOLD = frozenset({"date", "server", "content-length", "connection", "vary", "etag"})
"""The headers of answers that are HTTP's and its caches' own."""

SIGNATURES = {"<signature>": KEY, "<wrong signature>": "wrong"}
"""The placeholder for AWS signatures, and the secret key that they are made with."""

QUERY = "query."  # the prefix of parameters that every request has in its query
SIGNED = "<signed>"
SIGNED_PATH = re.compile(r"(?<=/files/)[\w-]+\.[\w-]+(?=/)")

Transcript = Mapping[str, Any]


def transcripts() -> dict[str, Transcript]:
    """Returns the transcripts by the names of their APIs."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def pretty(value: object, indent: str = "", used: int = 0) -> str:
    """Returns JSON with each value on one line if it fits; ``used`` is how much of the line is taken."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + used + len(line) < WIDTH or not isinstance(value, dict | list) or not value:
        return line
    below, inner = indent + "  ", list[str]()
    if isinstance(value, dict):
        names = [(json.dumps(name) + ": ", one) for name, one in value.items()]
        inner = [name + pretty(one, below, len(name)) for name, one in names]
    else:
        inner = [pretty(one, below) for one in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n" + ",\n".join(below + one for one in inner) + f"\n{indent}{end}"


class GoldenServer:
    """A server of one API, whose time and random bytes a transcript sets.

    Attributes:
        dialects: The API's kinds of jobs.
    """

    def __init__(self, api: str) -> None:
        self.dialects = read_dialects(api, OWN_NAMES)
        self._now, self._seed, self._drawn = 0.0, "", 0
        self._client: httpx.Client

    @contextmanager
    def running(self) -> Iterator["GoldenServer"]:
        """Runs the server on a free port of the loopback interface."""
        settings = SandboxSettings(delay=Fixed(SECONDS), error_probability=0)
        passwords, users = {USER: KEY}, one_user(USER, KEY)
        store = open_store("memory:")
        app = assemble(
            store, lambda: settings, users, self.dialects, passwords=passwords, clock=self._time, random=self._random
        )
        listener = socket.create_server(("127.0.0.1", 0))
        http = functools.partial(HttpProtocol, guard=Guard(Limits(connections=10)))
        server = QuickServer(uvicorn.Config(app, lifespan="on", **uvicorn_options(http, GRACE)))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as self._client:
                yield self
        finally:
            server.should_exit = True
            thread.join()

    def begin(self, story: Mapping[str, Any], seed: str) -> None:
        """Begins a story: an empty sandbox, at its time."""
        self._began = dt.datetime.fromisoformat(story["begins"]).timestamp()
        self._now, self._seed, self._drawn = self._began, seed, 0
        self.native("POST", "/sandbox/reset")

    def native(self, method: str, path: str, document: object = None) -> Any:
        """Sends a request to the server's own API; returns the document in the answer."""
        answer = self._client.request(method, path, json=document, auth=(USER, KEY))
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise ValueError(answer.text)
        return answer.json()

    def play(self, exchange: Mapping[str, Any]) -> dict[str, Any]:
        """Sends the request of an exchange at its time; returns the reply."""
        self._now = self._began + exchange["at"]
        for method, path, document in exchange.get("before", ()):
            self.native(method, path, document)
        [mount] = {dialect.api.mount for dialect in self.dialects}
        answer = self._send(mount, exchange["request"])
        headers = {name: value for name, value in answer.headers.items() if name not in UNTOLD}
        return {"code": answer.status_code, "headers": headers} | _body(answer)

    def request(
        self,
        operation: Operation,
        pattern: RequestPattern,
        values: Mapping[str, str],
        *,
        job_id: str | None = None,
        query: Mapping[str, str] | None = None,
        key: str = KEY,
        **body: object,
    ) -> dict[str, Any]:
        """Returns a request for an operation."""
        values = dict(values) if job_id is None else {**values, "job_id": job_id}
        request: dict[str, Any] = {"method": pattern.method}
        request["path"] = PARAMETER.sub(lambda found: values[found[1]], pattern.path)
        always = {name.removeprefix(QUERY): value for name, value in values.items() if name.startswith(QUERY)}
        query = {**always, **(query or {}), **operation.where.query}
        headers = self._credentials(key, query) | {name.title(): text for name, text in operation.where.header.items()}
        document = dict(operation.where.body)
        if job_id is not None and operation.job_id.source != "path":
            text = PARAMETER.sub(lambda found: values[found[1]], operation.job_id.text)
            match operation.job_id.source:
                case "query":
                    query[operation.job_id.name] = text
                case "header":
                    headers[operation.job_id.name] = text
                case _:
                    document[operation.job_id.name] = text
        headers |= body.pop("headers", {})  # type: ignore[call-overload]  # a table of the file
        if query:
            request["query"] = query
        request["headers"] = headers
        if "any" not in operation.accepts or "json" in body:
            body.pop("content", None)
        if document:
            body["json"] = {**document, **(body.get("json") or {})}  # type: ignore[dict-item]  # a table of the file
        return request | {name: value for name, value in body.items() if value is not None}

    def _credentials(self, key: str, query: dict[str, str]) -> dict[str, str]:
        auth = self.dialects[0].api.auth[0]
        if auth == SIGV4:
            return {"Authorization": "<signature>" if key == KEY else "<wrong signature>"}
        form = token_form(auth)
        if form is None:
            raise ValueError(f"there are no transcripts with {auth}")
        if form.parameter:
            query[form.parameter] = key
            return {}
        return {str(form.header): f"{form.word} {key}" if form.word else key}

    def _send(self, mount: str, request: Mapping[str, Any]) -> httpx.Response:
        headers = {"Host": HOST, **request.get("headers", {})}
        auth = None
        if headers.get("Authorization") in SIGNATURES:
            auth = AwsSigner(USER, SIGNATURES[headers.pop("Authorization")], self._time)
        body: dict[str, Any] = {}
        if "json" in request:
            body = {"json": request["json"]}
        elif "form" in request and "files" not in request:
            body = {"data": dict(request["form"])}
        elif "form" in request:
            fields = [(name, (None, text)) for name, text in request["form"]]
            body = {"files": [*fields, *((name, tuple(file)) for name, file in request["files"].items())]}
        elif "content" in request:
            body = {"content": request["content"]}
        path, query = mount + request["path"], request.get("query")
        return self._client.request(request["method"], path, params=query, headers=headers, auth=auth, **body)

    def _time(self) -> WallTime:
        return WallTime(self._now)

    def _random(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(f"{self._seed} {self._drawn}".encode()).digest(size)


def _body(answer: httpx.Response) -> dict[str, Any]:
    """Returns the body of a reply: JSON, a text, or the size and the digest of a file."""
    if not answer.content:
        return {}
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type in {"application/json", "application/problem+json"}:
        return {"json": json.loads(SIGNED_PATH.sub(SIGNED, answer.text))}
    if media_type.startswith("text/"):
        return {"text": answer.text}
    return {"file": {"size": len(answer.content), "sha256": hashlib.sha256(answer.content).hexdigest()}}
