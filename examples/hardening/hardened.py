"""The same client with timeouts, retries with jitter, Retry-After, an idempotency key and a deadline."""

import random
import time
import uuid
from typing import Any

import httpx

ENDS = {"completed", "error", "cancelled"}  # any other status, also an unknown one, means: not yet
TRANSIENT = {404, 408, 429, 500, 502, 503, 504}  # a job may be a 404 for a moment after it was accepted

REQUEST_TIMEOUT = 2.0  # seconds without a byte
FAILURES = 10  # in a row
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds


def translate(url: str, auth: tuple[str, str], body: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
    """Starts a job and returns its final status. Raises TimeoutError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    key = {"Idempotency-Key": str(uuid.uuid4())}  # the same for every try, so only one job is started
    with httpx.Client(base_url=url, auth=auth, timeout=REQUEST_TIMEOUT) as client:
        job, pause = ask(client, client.build_request("POST", "/start", json=body, headers=key), deadline)
        poll = client.build_request("GET", f"/status/{job['job_id']}")
        while job["status"] not in ENDS:
            rest(pause, deadline)
            job, pause = ask(client, poll, deadline)
    return job


def ask(client: httpx.Client, request: httpx.Request, deadline: float) -> tuple[dict[str, Any], float]:
    """Returns the answer to a request, retried after failures, and the seconds to wait before the next request."""
    for failure in range(FAILURES):
        least = 0.0
        try:
            answer = client.send(request)
            least = retry_after(answer)
            if answer.status_code not in TRANSIENT:
                return answer.raise_for_status().json(), least or FIRST_PAUSE
        except httpx.TransportError:
            pass  # no answer, or only a part of it
        most = min(FIRST_PAUSE * 2**failure, LONGEST_PAUSE)
        rest(least + random.uniform(0, most), deadline)  # noqa: S311 - no secret
    raise ConnectionError(f"{request.method} {request.url} failed {FAILURES} times in a row")


def retry_after(answer: httpx.Response) -> float:
    """Returns the seconds in Retry-After; 0 without the header or for a date."""
    value = answer.headers.get("Retry-After", "")
    return min(float(value), LONGEST_PAUSE) if value.isdigit() else 0.0


def rest(seconds: float, deadline: float) -> None:
    """Sleeps, at most until the deadline. Raises TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the timeout was reached before the job had ended; the job continues")
    time.sleep(min(seconds, left))
