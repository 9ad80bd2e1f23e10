"""A first version of a client. It works as long as nothing goes wrong."""

import time
from typing import Any

import httpx


def translate(url: str, auth: tuple[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """Starts a job and returns its final status."""
    with httpx.Client(base_url=url, auth=auth) as client:
        job: dict[str, Any] = client.post("/start", json=body).json()
        while job["status"] not in {"completed", "error"}:
            job = client.get(f"/status/{job['job_id']}").json()
            time.sleep(0.5)
    return job
