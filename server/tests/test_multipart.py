"""Forms with files, over HTTP against a real server: what is stored of them, and what is refused."""

import hashlib
import threading
import tracemalloc

import httpx
import pytest

from tests.examples import TLS

FORMS = """
[job.form]
words = { pending = "busy", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}" }
submit = { request = "POST /forms", accepts = ["multipart", "json"] }
poll = { request = "GET /forms/{job_id}" }

[job.upload]
words = { pending = "busy", completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}", file = "{input.body}" }
submit = { request = "PUT /uploads", accepts = "any" }
poll = { request = "GET /uploads/{job_id}" }
"""

MEBIBYTE = b"x" * 2**20


@pytest.fixture
def api(start, tmp_path):
    """Yields a client of a server that takes forms and uploads of a bit more than 3 MiB."""
    (tmp_path / "forms.toml").write_text(FORMS)
    return start(dialects=str(tmp_path / "forms.toml"), max_upload=3 * 2**20 + 1000, max_body=2000)


def stored(api, answer):
    """Returns what is stored of a submission."""
    assert answer.status_code == 200, answer.text
    return api.get(f"/sandbox/jobs/{answer.json()['id']}").json()["input"]


def post(api, body, content_type="multipart/form-data; boundary=x"):
    return api.post("/forms/forms", content=body, headers={"Content-Type": content_type})


def part(headers, body=b""):
    return b"--x\r\n" + headers + b"\r\n\r\n" + body + b"\r\n"


def field(name, value=b"1"):
    return part(b'Content-Disposition: form-data; name="%b"' % name, value)


def description(name, content_type, body):
    return {
        "filename": name,
        "content_type": content_type,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def test_fields_and_descriptions_of_files_are_stored(api):
    body = bytes(range(256)) * 5000
    files = {"video": ("ä b.mp4", body, "video/mp4"), "plain": ("x", b"")}
    answer = api.post("/forms/forms", data={"prompt": "a\r\nb %s {x}", "empty": ""}, files=files)
    assert stored(api, answer) == {
        "prompt": "a\r\nb %s {x}",
        "empty": "",
        "video": description("ä b.mp4", "video/mp4", body),
        "plain": description("x", "application/octet-stream", b""),
    }


def test_names_that_are_repeated_or_end_with_brackets_are_lists(api):
    body = field(b"a") + field(b"a", b"2") + field(b"b[]") + field(b"c") + field(b"c[]", b"2") + b"--x--\r\n"
    assert stored(api, post(api, body)) == {"a": ["1", "2"], "b": ["1"], "c": ["1", "2"]}


def test_a_form_may_come_in_chunks_of_any_size(api):
    body = (
        field(b"a", b"--x-\r\n-")
        + part(b'Content-Disposition: form-data; name="f"; filename="n"', b"\r\n--")
        + b"--x--"
    )
    expected = {"a": "--x-\r\n-", "f": description("n", "application/octet-stream", b"\r\n--")}
    for size in (1, 2, 7, len(body)):
        chunks = (body[start : start + size] for start in range(0, len(body), size))
        assert stored(api, post(api, chunks)) == expected


def test_text_before_and_after_the_form_is_ignored(api):
    assert stored(api, post(api, field(b"a") + b"--x--\r\nmore\r\n--x\r\n")) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (field(b"a"), "multipart/form-data; boundary=x"),
        (field(b"a") + b"--x", "multipart/form-data; boundary=x"),
        (field(b"a") + b"--x--", "multipart/form-data; boundary=other"),
        (field(b"a") + b"--x--", "multipart/form-data"),
        (field(b"a") + b"--x--", "multipart/form-data; boundary="),
        (b"", "multipart/form-data; boundary=x"),
        (b'{"a": 1}', "multipart/form-data; boundary=x"),
        (part(b"Content-Disposition: form-data") + b"--x--", "multipart/form-data; boundary=x"),
        (part(b"Content-Type: text/plain") + b"--x--", "multipart/form-data; boundary=x"),
        (b"--x\r\nno header\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (part(b"X-Long: " + MEBIBYTE), "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"a: b\r\n" * 10_000, "multipart/form-data; boundary=x"),
        (b"--x\r\nbad\x00name: 1\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x"),
    ],
    ids=lambda value: str(value[:50]),
)
def test_malformed_forms_are_refused(api, body, content_type):
    answer = post(api, body, content_type)
    assert (answer.status_code, "form" in answer.json()["detail"]) == (400, True)
    assert stored(api, post(api, field(b"a") + b"--x--")) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (field(b"a", b"x" * 2001), "MAX_BODY"),
        (b"".join(field(b"a", b"x" * 500) for _ in range(5)), "MAX_BODY"),
        (part(b"x" * 3000 + b": 1"), "MAX_BODY"),
        (part(b'Content-Disposition: form-data; name="f"; filename="' + b"n" * 3000 + b'"'), "MAX_BODY"),
        (part(b'Content-Disposition: form-data; name="f"; filename="n"', MEBIBYTE * 4), "MAX_UPLOAD"),
        (field(b"a") + b"--x--\r\n" + MEBIBYTE * 4, "MAX_UPLOAD"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[:50]),
)
def test_forms_that_are_too_large_are_refused(api, body, limit):
    answer = post(api, body)
    assert (answer.status_code, limit in answer.json()["detail"]) == (413, True)


def test_part_headers_with_very_many_parameters_are_refused(api):
    for semicolons, code in ((20, 200), (21, 413)):
        name = b'a"' + b";" * (semicolons - 2) + b'; filename="b'
        answer = post(api, field(name) + b"--x--")
        assert answer.status_code == code, answer.text
    assert "semicolons" in answer.json()["detail"]


def test_an_overlong_content_type_is_refused(api):
    for kind in ("multipart/form-data; boundary=x; a=", "audio/wav; a="):
        assert api.put("/forms/uploads", content=b"x", headers={"Content-Type": kind + "x" * 8192}).status_code == 431
        assert post(api, b"--x--", kind + "x" * 8192).status_code == 431


def test_thousands_of_fields_are_refused(start, tmp_path):
    (tmp_path / "forms.toml").write_text(FORMS)
    api = start(dialects=str(tmp_path / "forms.toml"))
    for count, code in ((1000, 200), (1001, 413)):
        body = b"".join(field(b"f%d" % number, b"") for number in range(count)) + b"--x--"
        assert post(api, body).status_code == code


def test_the_bytes_of_files_are_not_in_memory(start, tmp_path):
    (tmp_path / "forms.toml").write_text(FORMS)
    api = start(dialects=str(tmp_path / "forms.toml"))
    start_of_file = b'--x\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n\r\n'
    chunks = [start_of_file, *[MEBIBYTE] * 50, b"\r\n--x--"]
    tracemalloc.start()
    try:
        assert post(api, iter(chunks)).status_code == 200
        assert api.put("/forms/uploads", content=iter([MEBIBYTE] * 50)).status_code == 200
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_uploads_of_any_type_are_described(api):
    answer = api.put("/forms/uploads", content=b"RIFF", headers={"Content-Type": "audio/wav"})
    assert answer.json()["file"] == description(None, "audio/wav", b"RIFF")
    assert api.put("/forms/uploads", json={"body": 1}).json()["file"] == 1
    assert api.put("/forms/uploads", content=iter([MEBIBYTE] * 4)).status_code == 413


def test_other_polls_are_answered_while_a_form_arrives(api):
    job_id = post(api, field(b"a") + b"--x--").json()["id"]
    begun, go_on = threading.Event(), threading.Event()

    def chunks():
        yield field(b"a")
        begun.set()
        go_on.wait(60)
        yield b"--x--"

    def submit():
        with httpx.Client(base_url=api.base_url, auth=api.auth, timeout=60, verify=TLS) as other:
            assert post(other, chunks()).status_code == 200

    thread = threading.Thread(target=submit)
    thread.start()
    assert begun.wait(60)
    assert api.get(f"/forms/forms/{job_id}").json()["id"] == job_id
    go_on.set()
    thread.join()
