"""Output files and their signed URLs, over HTTP against a real server."""

import asyncio
import json
import struct
import zlib
from dataclasses import replace
from datetime import datetime

import httpx
import pytest

from translation_server.api.addresses import base_url
from translation_server.config.output_files import OutputFilesError, read_output_files
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.core.media.samples import SAMPLES
from translation_server.service.files import Files, Library
from translation_server.storage import open_store

KINDS = ["mp4", "wav", "png", "json", "txt"]
TYPES = ["video/mp4", "audio/wav", "image/png", "application/json", "text/plain; charset=utf-8"]
VIDEO = SAMPLES["output.mp4"]()


def completed(owner: str, job_id: str, ended: float, now: float | None = None) -> JobSnapshot:
    job = Job(job_id, owner, 1, VirtualTime(ended - 5), Fate(5.0, State.COMPLETED))
    return JobSnapshot(job, VirtualTime(ended if now is None else now))


def now(api) -> float:
    """Returns the time on the clock of the user's sandbox."""
    return datetime.fromisoformat(api.get("/sandbox").json()["clock"]["now"]).timestamp()


@pytest.fixture
def signed(start, tmp_path):
    """Returns a function that completes a job of the user, and one that returns the path of its file."""
    api = start(max_delay=0)
    key = open_store(f"sqlite:///{tmp_path}/jobs.db").file_key

    def path(kind: str = "mp4", owner: str = "admin", job_id: str | None = None, ttl: float = 3600) -> str:
        job_id = job_id or api.submit({"simulate": {"delay": 0}})
        return Files(key, Library(), ttl).path(completed(owner, job_id, now(api)), kind).path

    return api, path


def anyone(api) -> httpx.Client:
    return httpx.Client(base_url=api.base_url, timeout=60)


@pytest.mark.parametrize(("kind", "media_type"), [*zip(KINDS, TYPES, strict=True)])
def test_files_are_sent_without_credentials(signed, kind, media_type):
    api, path = signed
    with anyone(api) as client:
        answer = client.get(path(kind))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.content == SAMPLES[f"output.{kind}"]()
    assert answer.headers["Content-Disposition"] == f'inline; filename="output.{kind}"'
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_files_have_the_format_of_their_type():
    boxes, at = [], 0
    while at < len(VIDEO):
        size, name = struct.unpack_from(">I4s", VIDEO, at)
        boxes.append(name)
        at += size
    assert (boxes, at) == ([b"ftyp", b"moov", b"mdat"], len(VIDEO))
    sound = SAMPLES["output.wav"]()
    assert (sound[:4], struct.unpack_from("<I", sound, 4)[0], sound[8:12]) == (b"RIFF", len(sound) - 8, b"WAVE")
    image = SAMPLES["output.png"]()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    size = struct.unpack_from(">I", image, 33)[0]
    assert len(zlib.decompress(image[41 : 41 + size])) == 96 * (1 + 3 * 160)
    assert json.loads(SAMPLES["output.json"]())["text"]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=100-199", (100, 200)),
        ("bytes=38000-", (38_000, len(VIDEO))),
        ("bytes=38000-9999999", (38_000, len(VIDEO))),
        ("bytes=-10", (len(VIDEO) - 10, len(VIDEO))),
        ("bytes=-9999999", (0, len(VIDEO))),
        ("Bytes = 5-6", (5, 7)),
    ],
)
def test_ranges(signed, asked, part):
    api, path = signed
    answer = api.get(path(), headers={"Range": asked})
    begin, end = part
    assert (answer.status_code, answer.content) == (206, VIDEO[begin:end])
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(VIDEO)}"
    assert answer.headers["Content-Length"] == str(end - begin)


@pytest.mark.parametrize("asked", ["bytes=9999999-", "bytes=-0"])
def test_ranges_beyond_the_file_are_refused(signed, asked):
    api, path = signed
    answer = api.get(path(), headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(VIDEO)}")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("asked", ["bytes=2-1", "bytes=", "bytes=-", "pages=1-2", "bytes=0-1,4-5", "bytes=1-x"])
def test_unusable_ranges_are_ignored(signed, asked):
    api, path = signed
    answer = api.get(path(), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, VIDEO)


def test_conditional_requests(signed):
    api, path = signed
    path = path()
    tag = api.get(path).headers["ETag"]
    for condition, status in (
        (tag, 206),
        ('"another"', 200),
        (f"W/{tag}", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ):
        assert api.get(path, headers={"Range": "bytes=0-1", "If-Range": condition}).status_code == status
    same = api.get(path, headers={"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    assert api.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_head_has_the_headers_of_the_whole_file(signed):
    api, path = signed
    answer = api.head(path(), headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(VIDEO))


def test_urls_expire_on_the_clock_of_the_sandbox(signed):
    api, path = signed
    path = path()
    assert api.post("/sandbox/clock", json={"advance": 3590}).status_code == 200
    assert api.get(path).status_code == 200
    assert api.post("/sandbox/clock", json={"advance": 20}).status_code == 200
    answer = api.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (403, "This URL has expired: poll the job for a new one.")


def test_invalid_urls_have_one_answer(signed):
    api, path = signed
    good = path()
    token, name = good.removeprefix("/files/").split("/")
    payload, signature = token.split(".")
    other = Files(b"x" * 32, Library()).path(completed("admin", "a", 1e9), "mp4").path
    flipped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    tampered = [
        other,
        f"/files/{token}/output.wav",
        f"/files/{payload}.{flipped}/{name}",
        f"/files/{payload[:-1]}.{signature}/{name}",
        f"/files/{payload}/{name}",
        f"/files/{signature}.{payload}/{name}",
        f"/files/./{name}",
        "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd/passwd",
        f"/files/{token}/..%2f..%2fjobs.db",
        "/files/a/b/c",
        "/files/%00/%ff",
        "/files/",
    ]
    bodies = set()
    for path in tampered:
        answer = api.get(path)
        assert answer.status_code == 403, path
        bodies.add(answer.content)
    assert len(bodies) == 1
    assert api.get(good).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
def test_urls_are_for_reading_only(signed, method):
    api, path = signed
    with anyone(api) as client:
        for target in (path(), "/files/a/b"):
            answer = client.request(method, target)
            assert answer.status_code == 405
            assert {"GET", "HEAD"} <= {*answer.headers["Allow"].split(", ")}


def test_files_of_unknown_jobs_are_not_found(signed):
    api, path = signed
    path = path()
    assert api.post("/sandbox/reset").status_code == 200
    assert api.get(path).status_code == 404


def test_url_leads_to_the_job_of_its_api_and_kind(signed, tmp_path):
    api, path = signed
    url = path(job_id=api.submit({"simulate": {"delay": 0}}))
    job_id = api.get("/jobs").json()["jobs"][0]["job_id"]

    async def add_another() -> None:
        store = open_store(f"sqlite:///{tmp_path}/jobs.db")
        stored = await store.add("admin", lambda ordinal: replace(another, ordinal=ordinal))
        assert stored.job.ordinal == 2
        await store.close()

    another = replace(completed("admin", job_id, now(api)).job, api="other", kind="clip")
    asyncio.run(add_another())
    api.set_faults({"kind": "latency", "route": ["download"], "delay": {"kind": "fixed", "seconds": 0.01}})
    assert api.get(url).status_code == 200
    assert api.get("/sandbox").json()["faults"][0]["fired"] == 1


def test_urls_survive_a_restart_and_hold_on_every_server(start, tmp_path):
    url = f"sqlite:///{tmp_path}/both.db"
    first, second = start(max_delay=0, database_url=url), start(max_delay=0, database_url=url)
    job_id = first.submit()
    key = open_store(url).file_key
    path = Files(key, Library()).path(completed("admin", job_id, now(first)), "txt").path
    assert (first.get(path).status_code, second.get(path).status_code) == (200, 200)


def test_polls_within_half_a_lifetime_give_the_same_url():
    files = Files(b"key", Library(), ttl=100)
    paths = [files.path(completed("ann", "a", 1000.0, now), "mp4") for now in (1000.0, 1049.9, 1050.0, 1099.0, 5000.0)]
    assert paths[0] == paths[1] != paths[2] == paths[3] != paths[4]
    assert [path.until for path in paths] == [1050.0, 1050.0, 1100.0, 1100.0, 5050.0]
    grants = [files.grant(path.path) for path in paths]
    assert [grant.expires for grant in grants] == [1100.0, 1100.0, 1150.0, 1150.0, 5100.0]
    assert (grants[0].owner, grants[0].job.job_id, grants[0].name) == ("ann", "a", "output.mp4")


@pytest.mark.parametrize("owner", ["ann", "Änne ☃", "a/b?c#d", "../..", "\x00", "x" * 500])
def test_any_owner_and_job_can_be_signed(owner):
    files = Files(b"key", Library())
    path = files.path(completed(owner, "…/j 1", 1e9), "png").path
    assert path.isascii()
    assert path.count("/") == 3
    grant = files.grant(path)
    assert (grant.owner, grant.job.job_id) == (owner, "…/j 1")


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        ({"kind": "status", "code": 500}, 500, None),
        ({"kind": "expired"}, 403, None),
        ({"kind": "not-found"}, 404, None),
        ({"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.01}}, 200, VIDEO),
        ({"kind": "wrong-type"}, 200, VIDEO),
        ({"kind": "drip", "rate": 1e6}, 200, VIDEO),
    ],
)
def test_faults_act_on_downloads(signed, fault, status, content):
    api, path = signed
    path = path()
    assert api.patch("/sandbox", json={"faults": [{**fault, "route": ["download"], "times": 1}]}).status_code == 200
    with anyone(api) as client:
        answer = client.get(path)
        assert answer.status_code == status
        assert content in {None, answer.content}
        assert client.get(path).content == VIDEO
    assert [rule["fired"] for rule in api.get("/sandbox").json()["faults"]] == [1]


@pytest.mark.parametrize("kind", ["reset", "empty", "malformed", "truncate", "garbage"])
def test_faults_break_downloads(signed, kind):
    api, path = signed
    assert api.patch("/sandbox", json={"faults": [{"kind": kind, "route": ["download"]}]}).status_code == 200
    with anyone(api) as client, pytest.raises(httpx.TransportError):
        client.get(path())


def until_cut(answer: httpx.Response) -> bytes:
    """Returns the part of a body that came before the connection was cut."""
    content = b""
    try:
        for piece in answer.iter_bytes():
            content += piece
    except httpx.RemoteProtocolError:
        return content
    pytest.fail("the connection was not cut")


def test_truncated_part_of_a_file_has_its_whole_length(signed):
    api, path = signed
    assert (
        api.patch("/sandbox", json={"faults": [{"kind": "truncate", "keep": 0.25, "route": ["download"]}]}).status_code
        == 200
    )
    with anyone(api) as client, client.stream("GET", path(), headers={"Range": "bytes=1000-1999"}) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (206, "1000")
        assert until_cut(answer) == VIDEO[1000:1250]


def test_other_routes_have_no_expired_urls(api):
    assert api.patch("/sandbox", json={"faults": [{"kind": "expired"}]}).status_code == 200
    api.job(api.submit())
    assert [rule["fired"] for rule in api.get("/sandbox").json()["faults"]] == [0]


def test_downloads_are_recorded_without_their_signature_and_do_not_count_in_the_report(signed):
    api, path = signed
    job_id = api.submit()
    api.job(job_id)
    before = api.get("/sandbox/report").json()
    good = path(job_id=job_id)
    with anyone(api) as client:
        assert client.get(good, headers={"User-Agent": "mine"}).status_code == 200
        assert client.get("/files/a.b/c").status_code == 403
    record = api.requests()[-1]
    assert (record["action"], record["path"]) == ("download", f"/files/{job_id}/output.mp4")
    assert (record["status"], record["agent"]) == (200, "mine")
    assert api.get("/sandbox/report").json() == before


# The user's own files


def test_own_files_come_before_those_of_the_server(start, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in (("talk.mp4", b"mine"), ("b.webm", b"web"), ("a.webm", b"am"), (".hidden.wav", b"no")):
        (folder / name).write_bytes(content)
    library = Library(read_output_files(folder))
    kinds = ("mp4", "webm", "b.webm", "wav", "output.mp4", "nothing", "")
    names = ["talk.mp4", "a.webm", "b.webm", "output.wav", "output.mp4", None, None]
    assert [library.name_of(kind) for kind in kinds] == names
    (folder / "output.mp4").write_bytes(b"first")
    library = Library(read_output_files(folder))
    assert library.name_of("mp4") == "output.mp4"
    api = start(max_delay=0, output_files=folder)
    files = Files(open_store(f"sqlite:///{tmp_path}/jobs.db").file_key, library)

    def get(kind: str) -> httpx.Response:
        return api.get(files.path(completed("admin", job_id, now(api)), kind).path)

    job_id = api.submit()
    assert [get(kind).content for kind in ("mp4", "webm", "talk.mp4")] == [b"first", b"am", b"mine"]
    tag = get("webm").headers["ETag"]
    (folder / "a.webm").write_bytes(b"changed")
    assert (get("webm").content, get("webm").headers["ETag"] != tag) == (b"changed", True)
    (folder / "a.webm").unlink()
    assert get("webm").status_code == 404
    (folder / "a.webm").symlink_to("a.webm")  # a file that exists and cannot be opened
    refused = get("webm")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def test_file_of_a_type_that_may_hold_scripts_is_saved_and_not_shown(start, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / 'a "page".html').write_text("<script>")
    api = start(max_delay=0, output_files=folder)
    files = Files(open_store(f"sqlite:///{tmp_path}/jobs.db").file_key, Library(read_output_files(folder)))
    answer = api.get(files.path(completed("admin", api.submit(), now(api)), "html").path)
    assert answer.headers["Content-Disposition"] == r'attachment; filename="a \"page\".html"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_unusable_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "ä.mp4").write_text("")
    for folder, why in (
        ("missing", "No such file"),
        ("file", "Not a directory"),
        ("empty", "it has none"),
        ("named", "ASCII"),
    ):
        with pytest.raises(OutputFilesError, match=f"^OUTPUT_FILES={tmp_path / folder}: must be a folder .*{why}"):
            read_output_files(tmp_path / folder)


# The address in a URL


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"headers": [(b"host", b"api.example:8000")]}, "http://api.example:8000"),
        ({"headers": [(b"host", b"x")], "scheme": "https", "root_path": "/sim"}, "https://x/sim"),
        ({"headers": [], "server": ("127.0.0.1", 80)}, "http://127.0.0.1:80"),
        ({"headers": [], "server": ("::1", 80)}, "http://[::1]:80"),
        ({"headers": [], "server": ("/run/socket", None)}, "http://localhost"),
        ({"headers": [], "server": None}, "http://localhost"),
        ({"headers": [(b"host", b"inside")], "forwarded_host": "public.example"}, "http://public.example"),
    ],
)
def test_base_url_is_that_of_the_caller(scope, expected):
    assert base_url({"scheme": "http", "root_path": "", "server": None, **scope}) == expected
