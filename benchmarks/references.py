"""The references for the server: applications that run under the same uvicorn.

RESPONSE=response.json uvicorn --app-dir benchmarks references:bare
uvicorn --app-dir benchmarks references:ordinary
uvicorn --app-dir benchmarks references:committing
RESPONSE=response.json uvicorn --app-dir benchmarks references:long_polls
"""

import asyncio
import json
import os
import secrets
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_response = json.loads(Path(os.environ["RESPONSE"]).read_text(encoding="utf-8")) if "RESPONSE" in os.environ else {}
_start = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.encode(), value.encode()) for name, value in _response.get("headers", [])],
}
_body = {"type": "http.response.body", "body": _response.get("body", "").encode()}


async def bare(scope: Message, _: Receive, send: Send) -> None:
    """Sends the same response to every request: no application on this uvicorn is faster."""
    if scope["type"] == "http":
        await send(_start)
        await send(_body)


_released = asyncio.Event()


async def long_polls(scope: Message, receive: Receive, send: Send) -> None:
    """Answers requests with `Prefer` after the first POST, with the same response for all."""
    if scope["type"] == "http":
        if scope["method"] == "POST":
            _released.set()
        elif any(name == b"prefer" for name, _ in scope["headers"]):
            await _released.wait()
    await bare(scope, receive, send)


_thread = ThreadPoolExecutor(1)


@cache
def _database() -> sqlite3.Connection:
    """Returns the one connection of the one thread, as durable as the server's."""
    database = sqlite3.connect("committed.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, created_at REAL, body BLOB)")
    return database


def _commit(job_id: str, body: bytes) -> None:
    _database().execute("INSERT INTO jobs VALUES (?, ?, ?)", (job_id, time.time(), body))


async def committing(scope: Message, receive: Receive, send: Send) -> None:
    """Accepts a job with one commit in a thread: the fastest durable submission that can be written by hand."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    job_id = str(uuid.uuid4())
    await asyncio.get_running_loop().run_in_executor(_thread, _commit, job_id, body)
    response = json.dumps({"job_id": job_id, "status": "pending"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(response))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": response})


class Job(BaseModel):
    """A job in a response of the ordinary application."""

    job_id: str
    status: str
    result: str
    progress: float
    created_at: float
    completed_at: float | None = None
    elapsed_time: float
    error_message: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    video_length: float | None = None


ordinary = FastAPI()
"""The same routes as a tutorial writes them, with the jobs in a dictionary."""

_security = HTTPBasic()
_jobs = dict[str, tuple[float, float]]()


def user(credentials: Annotated[HTTPBasicCredentials, Depends(_security)]) -> str:
    """Checks the credentials in constant time and returns the user's name."""
    right_name = secrets.compare_digest(credentials.username.encode(), b"admin")
    right_password = secrets.compare_digest(credentials.password.encode(), b"secretpassword")
    if not (right_name and right_password):
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})
    return credentials.username


@ordinary.post("/start", status_code=202)
def start(_: Annotated[str, Depends(user)]) -> dict[str, str]:
    """Accepts a job."""
    job_id = str(uuid.uuid4())
    _jobs[job_id] = time.time(), 3600.0
    return {"job_id": job_id}


@ordinary.get("/status/{job_id}")
def status(job_id: str, _: Annotated[str, Depends(user)]) -> Job:
    """Returns a job."""
    if job_id not in _jobs:
        raise HTTPException(404, "Job not found")
    created_at, delay = _jobs[job_id]
    elapsed = time.time() - created_at
    word = "pending" if elapsed < delay else "completed"
    return Job(
        job_id=job_id,
        status=word,
        result=word,
        progress=min(elapsed / delay, 1),
        created_at=created_at,
        completed_at=created_at + delay if elapsed >= delay else None,
        elapsed_time=min(elapsed, delay),
    )
