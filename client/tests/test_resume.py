"""Waits that are resumed, in this process or another."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.blocking import blocking, open_client
from translation_client import AsyncClient, Client, JobTimeout
from translation_client.core.resume_token import read_token, token_of

QUICK = {"username": "admin", "password": "secretpassword", "initial_delay": 0.01, "max_delay": 0.01}


@given(st.text(), st.text())
def test_token_round_trip(dialect, job_id):
    token = token_of(dialect, job_id)
    assert token.isascii()
    assert token.startswith("tc1.")
    assert read_token(token) == (dialect, job_id, None)
    assert read_token(token_of(dialect, job_id, dialect)) == (dialect, job_id, dialect)


@given(st.text() | st.text().map("tc1.".__add__) | st.integers() | st.none())
def test_other_text_is_refused_as_a_token(text):
    with pytest.raises(ValueError, match=r"^token must be "):
        read_token(text)


def test_token_that_is_cut_or_of_another_version_is_refused():
    token = token_of("start", "4f69cc76")
    for other in (*(token[:length] for length in range(len(token))), f"{token}A", token.replace("tc1.", "tc2.")):
        with pytest.raises(ValueError, match=r"^token must be .* wait with the job's id instead$"):
            read_token(other)


def test_timeout_is_resumed_in_another_process(server, job):
    server.says((200, job()))
    with Client(server.url, **QUICK) as client, pytest.raises(JobTimeout) as raised:
        client.wait(job()["job_id"], timeout=0.05)
    server.says((200, job("completed")))
    program = (
        "import sys; from translation_client import Client\n"
        "with Client(sys.argv[1]) as client: print(client.resume(sys.argv[2]).state)"
    )
    command = [sys.executable, "-c", program, server.url, raised.value.token]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "completed\n"


def test_any_status_can_be_resumed(server, job):
    server.says((202, job()), (200, job()), (200, job("error")))
    ends = []
    with Client(server.url, **QUICK) as client:
        token = client.start().token
        final = client.resume(token, on_completion=ends.append)
        assert final.token == token
    with blocking(AsyncClient(server.url, **QUICK)) as client:
        assert client.resume(token, on_completion=ends.append).state == "error"
    assert ends == [final, final]


def test_job_without_any_status_can_be_resumed(server, job):
    with Client(server.url, **QUICK, max_retries=1000) as client:
        with pytest.raises(JobTimeout) as raised:
            client.wait(job()["job_id"], timeout=0.05)
        server.says((200, job("completed")))
        assert client.resume(raised.value.token).state == "completed"


@pytest.mark.parametrize(
    "answer",
    [(200, b""), (200, b"<html>Just a moment..."), (200, b'{"job_id": "4f69'), (302, None, {"location": "/sorry"})]
    + [(code, None) for code in (204, 404, 425, 501, 520, 522, 524, 529, 530)],
)
def test_first_poll_after_a_resume_retries_transient_failures(server, job, answer):
    for kind in ("sync", "async"):
        server.says(*[answer] * 3, (200, job("completed")))
        with open_client(kind, server.url, **QUICK) as client:
            assert client.resume(token_of("start", job()["job_id"])).state == "completed"
    assert len(server.requests) == 8


def test_token_of_another_dialect_is_refused_at_once(server):
    with Client(server.url, dialect="translate") as client:
        with pytest.raises(ValueError, match=r"^token must be one of the dialect translate, but is one of start"):
            client.resume(token_of("start", "j1"))
        with pytest.raises(ValueError, match=r"^job_id "):
            client.resume(token_of("translate", ".."))
    assert server.requests == []


def test_token_contains_no_secret(server, job):
    server.says((202, job()))
    with Client(server.url, **QUICK) as client:
        assert read_token(client.start().token) == ("start", job()["job_id"], None)
