"""Signatures of requests: those of AWS's test vectors, and what our own server makes of them."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.blocking import open_client
from translation_client import AuthenticationError, Client, InvalidRequest, NotFound, State
from translation_client.sigv4 import SigV4Auth
from translation_server import TranslationServer

SIGNED_AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
FILE = """
auth = "sigv4"
idempotency = "none"
[job.task]
send = { to = "{target_language}" }
body = { id = "{job_id}", state = "{status}" }
submit = { request = "POST /tasks" }
poll = { request = "GET /tasks/{job_id}" }
"""


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("transcribe.eu-west-1.amazonaws.com", "eu-west-1/transcribe"),
        ("a.mediaconvert.us-east-2.amazonaws.com", "us-east-2/mediaconvert"),
        ("iam.amazonaws.com", "us-east-1/execute-api"),
        ("127.0.0.1:8000", "us-east-1/execute-api"),
    ],
)
def test_the_scope_is_that_of_the_host(host, scope):
    request = httpx.Request("GET", f"http://{host}/")
    next(SigV4Auth("me", "secret", lambda: SIGNED_AT).auth_flow(request))
    assert request.headers["Authorization"].startswith(
        f"AWS4-HMAC-SHA256 Credential=me/20150830/{scope}/aws4_request, SignedHeaders="
    )


def test_the_signature_is_that_of_the_documentation():
    """The signature is the same as that of botocore 1.44.8 for this request."""
    url = "https://transcribe.us-east-1.amazonaws.com/a%20b/c?z=1&a=%2F%20&a="
    request = httpx.Request("POST", url, json={"Name": "x"}, headers={"X-Amz-Target": "T.Start"})
    for name in ("accept", "accept-encoding", "connection", "user-agent", "content-length"):
        request.headers.pop(name, None)
    next(SigV4Auth("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", lambda: SIGNED_AT).auth_flow(request))
    assert (
        request.headers["Authorization"].rpartition("=")[2]
        == "2126fe89a7871e14898414cf151f60393a813f7c40bf35af9f8f8cdf6666bdd6"
    )


def test_our_server_accepts_the_signature():
    Path("signed.toml").write_text(FILE)
    server = TranslationServer(
        completion_time=0, error_rate=0, dialects="signed.toml", username="ann", password="secret"
    )
    with server, Client(f"{server.url}/signed", dialect="signed.toml", username="ann", password="secret") as client:
        assert client.run(target_language="es").state == "completed"
        with pytest.raises(NotFound):
            client.status("a b/c")
        wrong = Client(f"{server.url}/signed", dialect="signed.toml", username="ann", password="wrong")
        with wrong, pytest.raises(AuthenticationError, match="Check the user name, the password and the clock"):
            wrong.start()


@pytest.mark.parametrize("name", ["a,b", "a:b", "", "ä"])
def test_names_that_no_signature_can_have_are_refused(name):
    Path("signed.toml").write_text(FILE)
    with pytest.raises(ValueError, match=r"^username must"):
        Client(dialect="signed.toml", username=name, password="secret")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("dialect", "submission"),
    [
        ("aws-transcribe", {"TranscriptionJobName": "mine", "Media": {"MediaFileUri": "s3://bucket/a.mp3"}}),
        ("aws-mediaconvert", {"role": "arn:aws:iam::123456789012:role/any", "settings": {"inputs": []}}),
    ],
)
def test_jobs_of_the_shipped_apis_of_aws_are_awaited(dialect, submission, kind):
    options = {"dialect": dialect, "username": "ann"}
    with TranslationServer(0, 0, dialects="all", username="ann", password="secret") as server:
        url = f"{server.url}/{dialect}"
        with open_client(kind, url, password="secret", **options) as client:
            final = client.run(input=submission, timeout=60)
            assert final.state is State.COMPLETED
            with pytest.raises((NotFound, InvalidRequest)):  # Transcribe answers 400
                client.wait("unknown", timeout=60)
        with open_client(kind, url, password="wrong", **options) as client, pytest.raises(AuthenticationError):
            client.wait(final.id, timeout=60)
