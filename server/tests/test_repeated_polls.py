"""Polls whose bytes come again on a connection, or on another one: each answer is that of a poll parsed anew."""

import json
import socket
from contextlib import contextmanager

import bcrypt
import pytest

from tests.examples import rule
from tests.raw_http import connect, head, statuses
from translation_server.app import create_app
from translation_server.config.settings import Settings

HASHED = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


class Connection:
    """A connection on which responses are read one by one."""

    def __init__(self, opened, file):
        self._socket, self._file = opened, file
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, *pieces):
        for piece in pieces:
            self._socket.sendall(piece)

    def is_closed(self):
        """Whether the server has closed the connection, without sending anything more."""
        return self._socket.recv(1) == b""

    def receive(self):
        """Returns the status, the headers and the body of the next response."""
        first, *lines = iter(lambda: self._file.readline().rstrip(), b"")
        headers = dict(line.split(b": ", 1) for line in lines)
        body = self._file.read(int(headers.get(b"content-length", 0)))
        return statuses(first)[0], headers, json.loads(body) if body else None

    def ask(self, request):
        self.send(request)
        return self.receive()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def job_id(server):
    return server.submit()


@pytest.fixture
def poll(job_id):
    return head(f"/status/{job_id}")


@contextmanager
def connected(server):
    with connect(server) as opened, opened.makefile("rb") as file:
        yield Connection(opened, file)


@pytest.fixture
def connection(server):
    with connected(server) as connection:
        yield connection


def test_repeated_poll_shows_the_job_as_it_is(server, connection, job_id, poll):
    assert [connection.ask(poll)[2]["status"] for _ in range(4)] == ["pending"] * 4
    server.set_clock(advance=500)
    assert 0.4 < connection.ask(poll)[2]["progress"] < 0.6
    server.cancel(job_id)
    assert connection.ask(poll)[2]["status"] == "cancelled"


def test_repeated_poll_is_recorded_each_time(server, connection, poll):
    for _ in range(4):
        assert connection.ask(poll)[0] == 200
    requests = server.get("/sandbox/requests").json()["requests"]
    assert len([one for one in requests if one["action"] == "poll"]) == 4


def test_repeated_poll_meets_new_fault_rules(server, connection, poll):
    assert [connection.ask(poll)[0] for _ in range(3)] == [200] * 3
    server.set_faults(rule("status", code=503, route=["poll"], times=2))
    assert [connection.ask(poll)[0] for _ in range(3)] == [503, 503, 200]


def test_job_of_a_repeated_poll_is_gone_after_a_reset(server, connection, poll):
    assert [connection.ask(poll)[0] for _ in range(3)] == [200] * 3
    assert server.post("/sandbox/reset").status_code == 200
    assert connection.ask(poll)[0] == 404


def test_repeated_conditional_poll_is_answered_anew(server, connection, job_id, poll):
    tag = connection.ask(poll)[1][b"etag"]
    conditional = head(f"/status/{job_id}", b"If-None-Match: " + tag)
    assert [connection.ask(conditional)[0] for _ in range(3)] == [304] * 3
    server.cancel(job_id)
    assert connection.ask(conditional)[0] == 200


def test_connections_share_repeated_polls(server, connection, poll):
    assert [connection.ask(poll)[0] for _ in range(3)] == [200] * 3
    with connected(server) as another:
        assert [another.ask(poll)[0] for _ in range(3)] == [200] * 3


def test_other_requests_go_on_between_repeated_polls(connection, job_id, poll):
    submission = head("/start", b"Content-Length: 0", method="POST")
    for _ in range(3):
        assert connection.ask(poll)[2]["job_id"] == job_id
        assert connection.ask(submission)[0] == 202
        assert connection.ask(head("/livez"))[0] == 200


def test_repeated_polls_in_one_piece_are_all_answered(connection, job_id, poll):
    for number in (1, 2, 1, 3, 1, 30):
        connection.send(poll * number)
        assert [connection.receive()[2]["job_id"] for _ in range(number)] == [job_id] * number


@pytest.mark.parametrize("at", [1, 20, -20, -1])
def test_repeated_poll_in_two_pieces_is_answered(connection, job_id, poll, at):
    for _ in range(3):
        assert connection.ask(poll)[2]["job_id"] == job_id
        connection.send(poll[:at], poll[at:])
        assert connection.receive()[2]["job_id"] == job_id
    connection.send(poll + poll[:at], poll[at:])
    assert [connection.receive()[2]["job_id"] for _ in range(2)] == [job_id] * 2


def test_bytes_of_a_poll_within_a_body_are_no_poll(connection, poll):
    assert [connection.ask(poll)[0] for _ in range(3)] == [200] * 3
    length = b"Content-Length: %d" % len(poll)
    connection.send(head("/start", length, b"Content-Type: application/json", method="POST"), poll)
    assert connection.receive()[0] == 400
    assert connection.ask(poll)[0] == 200


def test_repeated_poll_that_is_the_last_closes_the_connection(server, job_id):
    for _ in range(3):
        with connected(server) as connection:
            assert connection.ask(head(f"/status/{job_id}", b"Connection: close"))[0] == 200
            assert connection.is_closed()


def test_more_polls_are_remembered_where_there_are_more_users(tmp_path):
    def users(number):
        (tmp_path / "users").write_text("".join(f"user{one}:{HASHED}\n" for one in range(number)))
        app = create_app(Settings(_env_file=None, users_file=tmp_path / "users", database_url="memory:", dialects=""))
        return app.polls.repeatable.capacity

    assert [users(number) for number in (1, 600, 1_000)] == [2_000, 2_000, 3_000]
