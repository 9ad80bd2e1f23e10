"""Submissions as forms and with files: what goes over the wire, and which files are refused."""

import email
import email.policy
import hashlib
import io
import json
import os
import shlex
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest

from tests.blocking import open_client
from tests.custom_dialect import custom_dialect
from translation_client import Client, State
from translation_client.cli import main
from translation_server import TranslationServer

QUICK = {"initial_delay": 0.01, "max_delay": 0.01, "backoff_factor": 1, "max_retries": 2}
ACCEPTED = (200, {"task": {"id": "t1"}})


def accepting(*kinds, **changes):
    """Returns a dialect whose submissions may be of these kinds."""
    submit = {"request": "POST /tasks", "accepts": [*kinds], "body": {"task": {"id": "{job_id}"}}}
    return custom_dialect(**{"submit": submit, "send": {"to": "{target_language}"}} | changes)


def parts(request):
    """Returns the parts of a multipart form: their names, names of files, media types and contents."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type() if part["content-type"] else None,
            part.get_payload(decode=True),
        )
        for part in form.iter_parts()
    ]


class Recorded(io.BytesIO):
    """A file that records how much is read at once."""

    largest = 0

    def read(self, size=-1):
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "my video.mp4"
    path.write_bytes(b"\0\xff--boundary\r\n" * 20_000)
    return path


class TestForms:
    @pytest.mark.parametrize(
        ("kinds", "media_type"),
        [
            (["json", "form"], "application/json"),
            (["multipart", "json"], "application/json"),
            (["form"], "application/x-www-form-urlencoded"),
            (["multipart", "form"], "application/x-www-form-urlencoded"),
            (["multipart"], "multipart/form-data"),
        ],
    )
    def test_submission_without_files_is_what_the_api_accepts(self, server, kind, kinds, media_type):
        server.says(ACCEPTED)
        with open_client(kind, server.url, dialect=accepting(*kinds)) as client:
            assert client.start(target_language="es", input={"tag": ["a", "b & c"], "n": 1.5, "loud": True}).id == "t1"
        [request] = server.requests
        assert request.headers["content-type"].partition(";")[0] == media_type
        expected = [("to", "es"), ("tag", "a"), ("tag", "b & c"), ("n", "1.5"), ("loud", "true")]
        match media_type.rpartition("/")[2]:
            case "json":
                assert json.loads(request.body)["tag"] == ["a", "b & c"]
            case "form-data":
                assert [(name, data.decode()) for name, _, _, data in parts(request)] == expected
            case _:
                assert parse_qsl(request.body.decode()) == expected

    @pytest.mark.parametrize("value", [{"a": 1}, [[1]], None])
    def test_value_that_no_form_can_carry_is_refused(self, server, kind, value):
        refused = pytest.raises(ValueError, match=r"^input must hold texts, numbers, .* takes a form: deep is none")
        with open_client(kind, server.url, dialect=accepting("form")) as client, refused:
            client.start(input={"deep": value})
        assert server.requests == []

    def test_idempotency_key_may_be_a_field_of_the_form(self, server):
        server.says(ACCEPTED)
        table = {"submit": {"request": "POST /tasks", "accepts": "form", "body": {"task": {"id": "{job_id}"}}}}
        dialect = custom_dialect(api={"idempotency": {"body": "key"}}, **table, send={})
        with Client(server.url, dialect=dialect) as client:
            client.start(idempotency_key="mine")
        assert server.requests[0].body == b"key=mine"


class TestFiles:
    def test_files_and_fields_share_a_form(self, server, kind, video):
        server.says(ACCEPTED)
        with open_client(kind, server.url, dialect=accepting("json", "multipart")) as client:
            files = {"video": video, "subtitles": io.BytesIO(b"1\n")}
            assert (
                client.run(target_language="es", files=files).id == "t1"
                if False
                else client.start(target_language="es", files=files)
            )
        assert parts(server.requests[0]) == [
            ("to", None, None, b"es"),
            ("video", "my video.mp4", "video/mp4", video.read_bytes()),
            ("subtitles", "subtitles", "application/octet-stream", b"1\n"),
        ]

    def test_retry_sends_the_whole_file_again(self, server, kind, video):
        server.says((503, None), (502, None), ACCEPTED, (200, {"task": {"id": "t1", "state": "done"}}))
        with (
            video.open("rb") as opened,
            open_client(kind, server.url, dialect=accepting("multipart"), **QUICK) as client,
        ):
            opened.seek(7)
            assert client.run(files={"a": opened, "b": str(video)}).state is State.COMPLETED
            assert not opened.closed
        *tries, _ = server.requests
        assert len(tries) == 3
        assert len({request.headers["idempotency-key"] for request in tries}) == 1
        for request in tries:
            assert [data for _, _, _, data in parts(request)] == [video.read_bytes()] * 2

    def test_file_is_read_in_pieces(self, server, kind):
        server.says(ACCEPTED)
        file = Recorded(bytes(5_000_000))
        with open_client(kind, server.url, dialect=accepting("multipart")) as client:
            client.start(files={"video": file})
        assert int(server.requests[0].headers["content-length"]) > 5_000_000
        assert 0 < file.largest <= 65_536

    @pytest.mark.parametrize("wrong", ["pipe", "text", "closed", "bytes", "folder"])
    def test_file_that_cannot_be_sent_again_is_refused(self, server, tmp_path, kind, wrong, video):
        reader, writer = os.pipe()
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe, video.open(encoding="latin-1") as text, video.open("rb") as closed:
            closed.close()
            file = {"pipe": pipe, "text": text, "closed": closed, "bytes": b"abc", "folder": tmp_path}[wrong]
            refused = pytest.raises(ValueError, match=r"^files must be .* sent again: video is none$")
            with open_client(kind, server.url, dialect=accepting("multipart")) as client, refused:
                client.start(files={"video": file})
        assert server.requests == []

    def test_missing_file_is_an_error_of_the_file_system(self, kind):
        with open_client(kind, dialect=accepting("multipart")) as client, pytest.raises(FileNotFoundError):
            client.start(files={"video": "missing.mp4"})

    @pytest.mark.parametrize("dialect", ["start", "status", accepting("json", "form")])
    def test_dialect_without_multipart_forms_refuses_files(self, video, dialect):
        refused = pytest.raises(ValueError, match=r"^files do not fit the dialect .*: its submissions are no multipart")
        with Client(dialect=dialect) as client, refused:
            client.run(files={"video": video})

    def test_own_fields_are_refused_where_a_poll_starts_the_job(self):
        with Client(dialect="status") as client, pytest.raises(ValueError, match=r"^input does not fit the dialect"):
            client.start(input={"prompt": "x"})


def test_real_server_keeps_the_fields_and_the_digest_of_the_file(kind, video):
    """OpenAI's videos: their submissions are multipart forms if they have a file."""
    with TranslationServer(0, 0, dialects="all", username="admin", password="secretpassword") as server:
        options = {"dialect": "openai#video", "token": "secretpassword"}
        with open_client(kind, f"{server.url}/openai/v1", **options) as client:
            final = client.run(input={"prompt": "a cat", "seconds": "8"}, files={"input_reference": video})
        stored = httpx.get(f"{server.url}/sandbox/jobs/{final.id}", auth=("admin", "secretpassword"), trust_env=False)
    assert (final.state, final.raw["seconds"]) == (State.COMPLETED, "8")
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    assert stored.json()["input"]["input_reference"]["sha256"] == digest


class TestWholeBody:
    """Submissions whose whole body may be a file, as Azure's."""

    def test_file_is_the_body_at_each_try(self, server, kind, video):
        server.says((503, None), ACCEPTED)
        with open_client(kind, server.url, dialect=accepting("json", "any"), **QUICK) as client:
            assert client.start(files={"body": video}).id == "t1"
        for request in server.requests:
            assert (request.headers["content-type"], request.body) == ("video/mp4", video.read_bytes())
            assert "transfer-encoding" not in request.headers

    def test_nothing_else_goes_with_it(self, server, kind, video):
        with open_client(kind, server.url, dialect=accepting("json", "any")) as client:
            with pytest.raises(ValueError, match=r"^files must be one file named body: for the dialect mine"):
                client.start(files={"video": video})
            with pytest.raises(ValueError, match=r"^input does not fit .* whole body is a file; leave out to, x$"):
                client.start(target_language="es", input={"x": 1}, files={"body": video})
        assert server.requests == []

    def test_azure_analyses_a_file(self, kind, video):
        options = {"dialect": "azure", "token": "secretpassword", "parameters": {"model": "prebuilt-read"}}
        with (
            TranslationServer(0, 0, dialects="all", username="admin", password="secretpassword") as server,
            open_client(kind, f"{server.url}/documentintelligence", **options) as client,
        ):
            assert client.run(files={"body": video}).state is State.COMPLETED


class TestCommand:
    def test_flags_make_the_form(self, server, capsys, video):
        server.says(ACCEPTED)
        Path("mine.toml").write_text(
            'auth = "X-Key: {token}"\n'
            "[job.task]\n"
            'words = { pending = "busy", completed = "done", error = "failed" }\n'
            'body = { id = "{job_id}", state = "{status}" }\n'
            'submit = { request = "POST /tasks", accepts = "multipart", body = { task = { id = "{job_id}" } } }\n'
            'poll = { request = "GET /tasks/{job_id}" }\n',
            encoding="utf-8",
        )
        login = ["--url", server.url, "--dialect", "mine.toml", "--token", "secret"]
        fields = ["--input", "prompt=a=b", "--input", "seconds=8", "--input", 'text="8"']
        assert main([*login, "start", *fields, "--file", f"video={video}"]) == 0
        assert capsys.readouterr().out == "t1 pending\n"
        assert [(name, data) for name, _, _, data in parts(server.requests[0])] == [
            ("prompt", b"a=b"),
            ("seconds", b"8"),
            ("text", b"8"),
            ("video", video.read_bytes()),
        ]

    def test_parameters_are_parts_of_the_paths_and_repeated_to_resume(self, server, capsys):
        server.says((200, {"request_id": "r1", "status": "IN_QUEUE"}))
        login = [
            "--url",
            server.url,
            "--dialect",
            "fal",
            "--token",
            "secret",
            "--parameter",
            "owner=fal-ai",
            "--parameter",
            "app=x",
        ]
        assert main([*login, "run", "--parameter", "query.v=1 b", "--timeout", "0.2", "--input", "prompt=a"]) == 4
        assert {request.path for request in server.requests} == {"/fal-ai/x", "/fal-ai/x/requests/r1/status"}
        assert {request.query for request in server.requests} == {"v=1+b"}
        resumed = shlex.split(capsys.readouterr().err.split("Resume with: ")[1])
        assert {"--parameter=owner=fal-ai", "--parameter=app=x", "--parameter=query.v=1 b"} < {*resumed}

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--file", "video"], "argument --file: 'video' is not NAME=VALUE; see"),
            (["--file", "video=missing.mp4"], "argument --file: 'missing.mp4' cannot be read: "),
            (["--input", "=7"], "argument --input: '=7' is not NAME=VALUE; see"),
            (["--file", "video=here"], "--file do not fit the dialect start: its submissions are no multipart forms"),
        ],
    )
    def test_unusable_flags_are_refused(self, run, flags, message):
        Path("here").touch()
        status, _, [line] = run("start", *flags)
        assert status == 2
        assert message in line
