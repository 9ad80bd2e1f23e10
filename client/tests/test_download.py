"""The download of a job's file: both clients against a server that breaks its answers off."""

import os
import re
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.blocking import open_client
from translation_client import (
    JobFailed,
    State,
    Status,
    TransportError,
)

CHUNK = os.urandom(300_000)
SLOW = 20  # seconds: more than any machine needs


@dataclass
class Files:
    """A bare server of one file: cuts the body of the first answers after so many bytes each."""

    cuts: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    redirect: str = ""

    def __call__(self, connection, _):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            received = connection.recv(65_536)
            if not received:
                return
            data += received
        head = data.decode("latin-1")
        self.heads.append(head)
        if self.redirect:
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        found = re.search(r"range: bytes=(\d+)-", head, re.IGNORECASE)
        start = int(found[1]) if found else 0
        lines = [f"HTTP/1.1 {206 if found else 200} OK", f"Content-Range: bytes {start}-{len(CHUNK) - 1}/{len(CHUNK)}"]
        lines += [f"Content-Length: {len(CHUNK) - start}", 'ETag: "a"', "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        stop = start + self.cuts.pop(0) if self.cuts else len(CHUNK)
        connection.sendall(CHUNK[start:stop])


def final(url, state=State.COMPLETED):
    return Status("j1", state, output={"video_url": url})


@pytest.fixture(params=["sync", "async"])
def open_(request):
    def opened(url="http://127.0.0.1:1", **options):
        login = {"username": "admin", "password": "secretpassword"}
        return open_client(request.param, url, **login | {"initial_delay": 0.01, "max_delay": 0.01} | options)

    return opened


def names_in(folder):
    """Returns the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_file_is_complete_after_cuts(open_, listen, tmp_path):
    files, seen = Files(cuts=[100_000, 50_000, 0]), []
    with listen(files) as url, open_(url) as client:
        path = client.download(final(f"{url}/f"), tmp_path / "a.mp4", on_progress=lambda *numbers: seen.append(numbers))
    assert path.read_bytes() == CHUNK
    assert names_in(tmp_path) == ["a.mp4"]
    assert [found[1] for head in files.heads if (found := re.search(r"range: bytes=(\d+)-", head, re.IGNORECASE))] == [
        "100000",
        "150000",
        "150000",
    ]
    assert seen[-1] == (len(CHUNK), len(CHUNK))
    assert seen == sorted(seen)


def test_credentials_stay_with_the_clients_server(open_, listen, tmp_path):
    files, others = Files(), Files()
    with listen(files) as url, listen(others) as other, open_(url) as client:
        client.download(final(f"{url}/f"), tmp_path / "own")
        client.download(final(f"{other}/f"), tmp_path / "other")
        files.redirect = f"{other}/g"
        client.download(final(f"{url}/f"), tmp_path / "redirected")
    assert ["authorization:" in head.lower() for head in files.heads] == [True, True]
    assert ["authorization:" in head.lower() for head in others.heads] == [False, False]
    assert (tmp_path / "redirected").read_bytes() == (tmp_path / "other").read_bytes() == CHUNK


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_of_the_callers_http_client_goes_to_other_servers(kind, listen, tmp_path):
    files = Files()
    given = {"headers": {"X-Api-Key": "secret"}, "cookies": {"session": "secret"}, "auth": ("user", "secret")}
    http = (httpx.Client if kind == "sync" else httpx.AsyncClient)(**given)
    with listen(files) as other, open_client(kind, "http://127.0.0.1:1", http_client=http) as client:
        client.download(final(f"{other}/f"), tmp_path / "file")
    assert not re.search("secret|authorization|cookie|x-api-key", files.heads[0], re.IGNORECASE)
    assert (tmp_path / "file").read_bytes() == CHUNK


def test_failed_download_leaves_nothing_behind_and_the_old_file_as_it_was(open_, listen, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with listen(Files(cuts=[10] + [0] * 50)) as url, open_(url, max_retries=2) as client, pytest.raises(TransportError):
        client.download(final(f"{url}/f"), tmp_path / "a")
    assert (names_in(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"old")


def test_existing_file_is_replaced_only_if_wanted(open_, listen, tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o640)
    files = Files()
    with listen(files) as url, open_(url) as client:
        with pytest.raises(FileExistsError, match="exists already"):
            client.download(final(f"{url}/f"), target, overwrite=False)
        assert (files.heads, target.read_bytes()) == ([], b"old")
        client.download(final(f"{url}/f"), target)
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (CHUNK, 0o640)
        client.download(final(f"{url}/f"), tmp_path / "new", overwrite=False)
    assert names_in(tmp_path) == ["a", "new"]


def test_file_that_appears_during_the_download_is_not_overwritten(open_, listen, tmp_path):
    target = tmp_path / "a"
    with listen(Files()) as url, open_(url) as client, pytest.raises(FileExistsError):
        client.download(final(f"{url}/f"), target, overwrite=False, on_progress=lambda *_: target.write_bytes(b"other"))
    assert (names_in(tmp_path), target.read_bytes()) == (["a"], b"other")


@pytest.mark.parametrize(("name", "error"), [("missing/a", FileNotFoundError), (".", IsADirectoryError)])
def test_unusable_path_is_reported_before_any_request(open_, listen, tmp_path, name, error):
    files = Files()
    with listen(files) as url, open_(url) as client, pytest.raises(error):
        client.download(final(f"{url}/f"), tmp_path / name)
    assert files.heads == []


def test_interrupted_download_leaves_nothing_behind(open_, listen, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with listen(Files()) as url, open_(url) as client, pytest.raises(KeyboardInterrupt):
        client.download(final(f"{url}/f"), tmp_path / "a", on_progress=interrupt)
    assert names_in(tmp_path) == []


def test_silent_server_is_left_at_the_deadline(open_, listen, tmp_path):
    def silent(connection, over):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
        over.wait()

    began = time.monotonic()
    with listen(silent) as url, open_(url) as client, pytest.raises(TransportError, match=r"the time was up|in full"):
        client.download(final(f"{url}/f"), tmp_path / "a", timeout=0.3)
    assert time.monotonic() - began < SLOW
    assert names_in(tmp_path) == []


def test_unusable_output_is_a_clear_error(open_, tmp_path):
    with open_() as client:
        for output, count in ((None, "no URLs"), ({"a": "http://x/1", "b": "http://x/2"}, "2 URLs")):
            with pytest.raises(ValueError, match=count):
                client.download(Status("j1", State.COMPLETED, output=output), tmp_path / "a")
        with pytest.raises(ValueError, match="pending"):
            client.download(Status("j1", State.PENDING), tmp_path / "a")
        with pytest.raises(JobFailed):
            client.download(Status("j1", State.ERROR), tmp_path / "a")
        with pytest.raises(ValueError, match="http or https"):
            client.download(final("http://x/1"), tmp_path / "a", url="file:///etc/passwd")
    assert names_in(tmp_path) == []


def test_url_can_be_chosen(open_, listen, tmp_path):
    with listen(Files()) as url, open_(url) as client:
        chosen = f"{url}/f"
        client.download(
            Status("j1", State.COMPLETED, output={"a": "http://x/1", "b": chosen}), tmp_path / "a", url=chosen
        )
    assert (tmp_path / "a").read_bytes() == CHUNK


def test_file_is_written_as_it_arrives(listen, tmp_path):
    arrived, half = [], threading.Event()

    def slow(connection, _):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CHUNK))
        connection.sendall(CHUNK[:150_000])
        half.wait(SLOW)
        connection.sendall(CHUNK[150_000:])

    def progress(received, _):
        arrived.append(received)
        if received == 150_000:
            [temporary] = tmp_path.iterdir()
            assert temporary.name.startswith(".a.")
            half.set()

    with listen(slow) as url, open_client("sync", url) as client:
        client.download(final(f"{url}/f"), tmp_path / "a", on_progress=progress)
    assert 150_000 in arrived
    assert (tmp_path / "a").read_bytes() == CHUNK
