"""Examples that several tests of the server use: credentials, a dialect and fault rules."""

import base64
import ssl

import bcrypt

CREDENTIALS = ("admin", "secretpassword")
TLS = ssl.create_default_context()  # shared, because httpx makes one for each client, although nothing is encrypted

OWN_DIALECT = """
[job.task]
words = {pending = "busy", completed = "done", error = "failed"}
body = {id = "{job_id}", state = "{status}"}
submit = {request = "POST /tasks", code = 202}
poll.request = ["GET /tasks/{job_id}", "GET /tasks/{job_id}/state"]
"""

DETAILS = {
    "status": {"code": 503},
    "latency": {"delay": {"kind": "fixed", "seconds": 0.3}},
    "garbage": {"size": 100},
    "drip": {"rate": 5000},
    "hang": {"seconds": 0.1},
}


def rule(kind, **details):
    return {"kind": kind} | DETAILS.get(kind, {}) | details


def cheap_hash(password, rounds=4):
    """Hashes a password: the server's own hashes take longer than most tests."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


def basic(user, password, encoding="utf-8"):
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode(encoding))
