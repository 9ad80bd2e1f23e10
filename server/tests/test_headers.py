"""The headers that the server reads, in linear time and up to a limited length."""

import pytest

from translation_server.api.preferences import MAX_HEADER, accepted, matches, preferred_wait

NAMES = {
    "Prefer": "GET {path}",
    "If-None-Match": "GET {path}",
    "Simulate-Fault": "GET {path}",
    "Accept": "GET /sandbox/report",
    "Last-Event-ID": "GET /events",
    "Idempotency-Key": "POST /start",
    "Content-Type": "POST /start",
    "Content-Encoding": "POST /start",
}

MALFORMED = [
    '"' + '\\"' * 30_000,
    '"' * 60_001,
    "," * 60_000,
    "wait=" * 12_000,
    "wait=" + " " * 60_000 + "x",
    "a/b;q=" * 9_000,
]
MALFORMED += [
    '"a",' * 15_000,
    ";" * 60_000,
    "\\" * 60_001,
    '"\\' * 30_000 + '"',
    "*/*," * 15_000,
    "wait=1" + " " * 60_000 + "x",
]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_malformed_values_are_read_in_linear_time(number):
    """In quadratic time, this would take minutes."""
    text = MALFORMED[number]
    assert preferred_wait([text] * 20) is None
    assert preferred_wait([*[text.replace('"', "")] * 20, "wait=7"]) == 7
    assert not matches([text] * 20, 'W/"b"')
    assert accepted([text] * 20, ["application/json", "text/plain"]) == "application/json"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", ["x", '"' + '\\"' * 10, "1,", '{"kind":'], ids=["plain", "quotes", "list", "json"])
def test_an_overlong_header_is_refused_with_its_name(api, name, fill):
    submitted = api.post("/start")
    assert submitted.status_code == 202
    method, path = NAMES[name].format(path=submitted.headers["Location"]).split()
    body = {"content": b"{}", "headers": {"Content-Type": "application/json"}} if method == "POST" else {"headers": {}}
    value = (fill * (MAX_HEADER + 1))[: MAX_HEADER + 1]

    def status(value, **headers):
        body["headers"] |= headers | {name: value}
        answer = api.request(method, path, **body)
        if answer.status_code == 431:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert f"{name.lower()} may have {MAX_HEADER} characters" in answer.json()["detail"]
        return answer.status_code

    assert status(value) == 431
    assert len(api.get("/jobs").json()["jobs"]) == 1
    assert status(value[1:]) != 431
    assert name != "If-None-Match" or status(value, Prefer="wait=1") == 431


def test_values_of_one_header_are_limited_together(api):
    path = api.post("/start").headers["Location"]
    half = "x" * (MAX_HEADER // 2 + 1)
    assert api.get(path, headers=[("Prefer", half), ("Prefer", half)]).status_code == 431


@pytest.mark.parametrize("name", ["Last-Event-ID", "Content-Type", "Content-Encoding"])
def test_headers_with_a_single_value_are_refused_twice(api, name):
    method, path = NAMES[name].split()
    values = {"Last-Event-ID": ("1", "1"), "Content-Type": ("application/json", "text/plain")}
    others = [] if name == "Content-Type" else [("Content-Type", "application/json")]
    sent = [*others, *((name, value) for value in values.get(name, ("identity", "gzip")))]
    content = b"{}" if method == "POST" else None
    assert api.request(method, path, content=content, headers=sent).status_code == (415 if content else 422)


JSON, XML, TEXT = "application/json", "application/xml", "text/plain"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ([], JSON),
        ([""], JSON),
        (["*/*"], JSON),
        (["application/json, text/plain, */*"], JSON),  # axios sends this
        (["application/xml;q=0, application/json"], JSON),
        (["application/xml;q=0"], JSON),
        (["application/xml;q=0, */*"], JSON),
        (["application/json;q=0, */*"], XML),
        (["application/json;q=0, application/xml;q=0, */*;q=0.1"], "text/xml"),
        (["text/plain"], TEXT),
        (["TEXT/Plain"], TEXT),
        (["text/plain; charset=utf-8"], TEXT),
        (['text/plain;charset="UTF-8";Q=0.5, application/json;q=0.4'], TEXT),
        (["text/*"], "text/xml"),
        (["text/*;q=0.5, text/xml;q=0.1, application/json;q=0.2"], TEXT),
        (["application/*"], JSON),
        (["application/*, application/json;q=0.5"], XML),
        (["text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8"], XML),  # browsers send this
        (["application/json;q=0.3", "application/xml;q=0.5", "text/plain;q=0.4"], XML),
        (["application/json;q=0.9,application/xml;q=0.901"], XML),
        (["application/json;q=0.5, application/xml;q=0.5"], JSON),
        (["application/xml, application/json"], JSON),
        (["application/xml;q=2, application/json;q=0.1"], JSON),  # invalid: no weight is over 1
        (["application/xml;q=0.1234"], JSON),
        (["application/xml;q=.5"], JSON),
        (["application/xml;q=1;q=0"], JSON),
        (["application/xml;version=2"], JSON),
        (['application/xml;x=",", text/plain'], TEXT),
        (["text/html, image/png"], JSON),  # none of the offers
        (["notxml, xml, application/xhtml+xml, foo/text/plain"], JSON),
    ],
)
def test_a_report_card_has_the_preferred_media_type(api, accept, media):
    del api.headers["Accept"]
    answer = api.get("/sandbox/report", headers=[("Accept", value) for value in accept])
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, media)
    assert answer.headers["Vary"] == "Accept"


HEADERS = ["Authorization", "X-Forwarded-For", "X-Forwarded-Proto", "Host", "Origin", "Sec-Fetch-Site", "User-Agent"]
HEADERS += [*NAMES, "Expect", "Connection", "Upgrade"]


@pytest.mark.parametrize("name", HEADERS)
def test_malformed_values_of_every_header_are_answered_quickly(start, name):
    """In quadratic time, this would take minutes."""
    api = start()
    for text in [
        *MALFORMED,
        "Basic " + "=" * 60_000,
        "bearer " + " " * 50_000 + "x",
        "1.1.1.1," * 7_000,
        "http://[" + ":" * 60_000,
    ]:
        answer = api.post("/start", headers={name: text})
        assert answer.status_code in {202, 400, 401, 403, 413, 415, 417, 421, 429, 431}, text[:20]
