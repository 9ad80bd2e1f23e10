"""AWS signatures: with test vectors of AWS, and over HTTP with a signer that this file has itself."""

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime

import httpx
import pytest

from tests.api import Api, is_problem
from tests.aws_signer import AwsSigner
from tests.examples import CREDENTIALS, TLS
from translation_server import TranslationServer
from translation_server.api.auth.authenticator import Authenticator
from translation_server.api.auth.credentials import scheme
from translation_server.api.auth.sigv4 import SignatureError, check_signature, read_signature
from translation_server.api.mounts import Mounts
from translation_server.api.problems import Problem
from translation_server.config.users import one_user

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED_AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()

FILE = """
auth = "sigv4"
idempotency = "none"

[error]
body = { __type = "{error_type}", Message = "{detail}" }
types = { 403 = "AccessDenied", default = "BadRequest" }

[job.transcription]
words = { pending = "BUSY", completed = "DONE", error = "FAILED" }
send = { Name = "{job_id}" }
body = { Name = "{job_id}", Status = "{status}" }

[job.transcription.submit]
request = "POST /"
where = { header = { X-Amz-Target = "Transcribe.Start" } }

[job.transcription.poll]
request = "POST /"
where = { header = { X-Amz-Target = "Transcribe.Get" } }
job_id = { body = "Name" }

[job.render]
words = { pending = "BUSY", completed = "DONE", error = "FAILED" }
body = { id = "{job_id}", status = "{status}" }

[job.render.submit]
request = "POST /jobs"
accepts = ["json", "any"]

[job.render.poll]
request = "GET /jobs/{job_id}"
"""

FORM = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")


def scope(method, path, query="", *headers):
    named = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z"), *headers]
    encoded = [(name.encode(), value.encode()) for name, value in named]
    return {
        "method": method,
        "raw_path": path.encode(),
        "path": path,
        "query_string": query.encode(),
        "headers": encoded,
    }


def authorization(signature, headers="host;x-amz-date", service="service"):
    where = f"{KEY}/20150830/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={where}, SignedHeaders={headers}, Signature={signature}".encode()


@pytest.mark.parametrize(
    ("request_scope", "header"),
    [
        (scope("GET", "/"), authorization("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")),
        (scope("POST", "/"), authorization("5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")),
        (
            scope("GET", "/", "Param2=value2&Param1=value1"),
            authorization("b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ),
        (
            scope("GET", "/example/.."),
            authorization("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ),
        (scope("GET", "//./"), authorization("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")),
        (
            {
                **scope("GET", "/", "Action=ListUsers&Version=2010-05-08", FORM),
                "headers": [
                    (b"host", b"iam.amazonaws.com"),
                    (b"x-amz-date", b"20150830T123600Z"),
                    (FORM[0].encode(), FORM[1].encode()),
                ],
            },
            authorization(
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
                "content-type;host;x-amz-date",
                "iam",
            ),
        ),
    ],
)
def test_the_signatures_of_aws_are_right(request_scope, header):
    signature = read_signature(header)
    check_signature(request_scope, signature, SECRET, b"", SIGNED_AT)
    for wrong in (SECRET.lower(), "", "é"):
        with pytest.raises(SignatureError, match="does not match this request"):
            check_signature(request_scope, signature, wrong, b"", SIGNED_AT)
    with pytest.raises(SignatureError, match="does not match this request"):
        check_signature(request_scope, signature, SECRET, b"{}", SIGNED_AT)


def test_behind_a_proxy_the_signed_host_is_that_of_the_caller():
    signature = read_signature(authorization("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"))
    proxied = scope("GET", "/") | {"headers": [(b"host", b"inner:80"), (b"x-amz-date", b"20150830T123600Z")]}
    check_signature(proxied | {"forwarded_host": "example.amazonaws.com"}, signature, SECRET, b"", SIGNED_AT)
    with pytest.raises(SignatureError, match="does not match this request"):
        check_signature(proxied, signature, SECRET, b"", SIGNED_AT)


@pytest.mark.parametrize(("late", "is_right"), [(900, True), (901, False), (-900, True), (-901, False), (1e9, False)])
def test_a_signature_holds_for_a_quarter_of_an_hour(late, is_right):
    signature = read_signature(authorization("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"))
    if is_right:
        check_signature(scope("GET", "/"), signature, SECRET, b"", SIGNED_AT + late)
    else:
        with pytest.raises(SignatureError, match=r"from 20150830T123600Z, but it is \d{8}T\d{6}Z: set the clock"):
            check_signature(scope("GET", "/"), signature, SECRET, b"", SIGNED_AT + late)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"AWS4-HMAC-SHA256",
        b"AWS4-HMAC-SHA256 Credential=a/b",
        b"Basic YTpi",
        authorization("x" * 64),
        authorization("0" * 64, "Host"),
        authorization("0" * 64, "host;x-amz-date;long;long"),
        authorization("0" * 64, service="a/b/c") + b", more",
        b"AWS4-HMAC-SHA256 Credential=" + b"/" * 50_000,
    ],
)
def test_a_malformed_header_is_no_signature(header):
    assert read_signature(header) is None


def signer(key=CREDENTIALS[0], secret=CREDENTIALS[1], skew=0, **more):
    """Returns what signs requests, on a clock that is so many seconds ahead."""
    return AwsSigner(key, secret, lambda: time.time() + skew, **more)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "aws.toml").write_text(FILE)
    return str(tmp_path / "aws.toml")


@pytest.fixture
def native(start, path):
    """Starts a server that knows its user's password."""
    return start(dialects=path, users_file=None, api_username=CREDENTIALS[0], api_password=CREDENTIALS[1])


@pytest.fixture
def aws(native):
    with Api(base_url=native.base_url.join("/aws"), auth=signer(), timeout=60, verify=TLS) as client:
        yield client


def call(client, target, auth=None, **document):
    headers = {"X-Amz-Target": f"Transcribe.{target}", "Content-Type": "application/x-amz-json-1.1"}
    return client.post("", json=document, headers=headers, **({"auth": auth} if auth else {}))


def test_a_header_selects_the_operation_of_a_signed_request(aws):
    assert call(aws, "Start", Name="mine").json() == {"Name": "mine", "Status": "BUSY"}
    assert call(aws, "Get", Name="mine").json() == {"Name": "mine", "Status": "BUSY"}
    assert call(aws, "Get", Name="other").status_code == 404


def test_polls_without_a_body_are_signed_too(aws, native):
    job_id = aws.post("/jobs", json={"x": 1}).json()["id"]
    for _ in range(2):
        assert aws.get(f"/jobs/{job_id}").json() == {"id": job_id, "status": "BUSY"}
    native.finish(job_id)
    assert aws.get(f"/jobs/{job_id}").json()["status"] == "DONE"
    assert aws.head(f"/jobs/{job_id}").status_code == 200
    assert aws.get(f"/jobs/{job_id}", auth=signer(secret="wrong")).status_code == 403


@pytest.mark.parametrize(
    ("signer", "says"),
    [
        (signer(secret="wrong"), "The signature does not match this request"),
        (signer(key="nobody"), "The signature does not match this request"),
        (signer(skew=-1000), "set the clock and sign again"),
        (signer(skew=1000), "set the clock and sign again"),
        (signer(date="20150830"), "must have the same date"),
        (signer(digest="0" * 64), "X-Amz-Content-SHA256 must be"),
        (signer(digest="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), "X-Amz-Content-SHA256 must be"),
        (httpx.BasicAuth(*CREDENTIALS), "The signature is malformed"),
    ],
)
def test_a_wrong_signature_is_403_in_the_apis_form(aws, signer, says):
    refused = call(aws, "Start", auth=signer, Name="mine")
    assert (refused.status_code, refused.json()["__type"]) == (403, "AccessDenied")
    assert says in refused.json()["Message"]
    assert call(aws, "Start", Name="mine").status_code == 200


def test_the_digest_of_the_body_may_be_a_header(aws):
    signed = signer(digest="UNSIGNED-PAYLOAD")
    assert call(aws, "Start", auth=signed, Name="mine").json()["Name"] == "mine"
    content = b'{"Name": "third"}'
    exact = signer(digest=hashlib.sha256(content).hexdigest())
    headers = {"X-Amz-Target": "Transcribe.Start", "Content-Type": "application/json"}
    assert aws.post("", content=content, headers=headers, auth=exact).status_code == 200


def test_all_amz_headers_must_be_signed(aws):
    class Forgetful(AwsSigner):
        def auth_flow(self, request):
            target = request.headers.pop("X-Amz-Target")
            next(flow := super().auth_flow(request))
            request.headers["X-Amz-Target"] = target
            flow.close()
            yield request

    refused = call(aws, "Start", auth=Forgetful(*CREDENTIALS, time.time), Name="mine")
    assert (refused.status_code, refused.json()["Message"]) == (
        403,
        "The signature must cover the header x-amz-target.",
    )


def test_the_refusal_of_a_signature_is_documented_as_403(native):
    responses = native.get("/openapi.json").json()["paths"]["/aws/jobs/{job_id}"]["get"]["responses"]
    assert ("401" in responses, "403" in responses) == (False, True)


def test_a_request_without_a_signature_says_what_to_send(aws):
    refused = httpx.post(f"{aws.base_url}jobs", json={}, verify=TLS)
    assert (refused.status_code, "AWS4-HMAC-SHA256" in refused.json()["Message"]) == (403, True)


def test_a_signed_upload_is_read_once(aws, native):
    answer = aws.post("/jobs", content=b"\x00" * 1000, headers={"Content-Type": "video/mp4"})
    assert answer.status_code == 200, answer.text
    described = native.get(f"/sandbox/jobs/{answer.json()['id']}").json()["input"]["body"]
    assert (described["size"], described["sha256"]) == (1000, hashlib.sha256(b"\x00" * 1000).hexdigest())


def test_wrong_signatures_are_counted_and_lock_the_address(aws):
    for _ in range(10):
        assert call(aws, "Get", auth=signer(secret="wrong"), Name="x").status_code == 403
    assert call(aws, "Get", Name="x").status_code == 429


def test_the_report_card_counts_refused_signatures(aws, native):
    assert call(aws, "Get", auth=signer(secret="wrong"), Name="x").status_code == 403
    assert "1 request got 401 or 403" in native.get("/sandbox/report").text


def test_a_server_with_hashes_alone_says_so_at_start_and_to_every_caller(start, path, caplog):
    with caplog.at_level(logging.INFO):
        native = start(dialects=path)
    assert "the callers of aws get 403: This server knows only the hashes" in caplog.text
    with Api(base_url=native.base_url.join("/aws"), auth=signer(), timeout=60, verify=TLS) as client:
        refused = call(client, "Start", Name="mine")
    assert (refused.status_code, "knows only the hashes" in refused.json()["Message"]) == (403, True)
    assert is_problem(native.get("/jobs", auth=None), 401)


def test_without_credentials_the_access_key_names_the_sandbox(path):
    with TranslationServer(dialects=path) as server, Api(base_url=f"{server.url}/aws", timeout=60) as client:
        assert call(client, "Start", auth=signer("ann", "any", skew=10**7), Name="mine").status_code == 200
        assert call(client, "Get", auth=signer("ann", "other"), Name="mine").status_code == 200
        assert call(client, "Get", auth=signer("bob"), Name="mine").status_code == 404
        assert httpx.get(f"{server.url}/jobs/mine", auth=("ann", "")).status_code == 200


def test_an_embedded_server_checks_signatures(path):
    server = TranslationServer(username="ann", password="pässword", dialects=path)
    with server, Api(base_url=f"{server.url}/aws", timeout=60) as client:
        assert call(client, "Start", auth=signer("ann", "pässword"), Name="mine").status_code == 200
        assert call(client, "Start", auth=signer("ann", "password"), Name="mine").status_code == 403


@pytest.fixture
def authenticator():
    passwords = {CREDENTIALS[0]: CREDENTIALS[1]}
    made = Authenticator(one_user(*CREDENTIALS), Mounts({"/aws": [scheme("sigv4")]}), time.monotonic, passwords)
    yield made
    made.close()


def post(auth, content=b"{}"):
    """Returns the scope of a signed request."""
    request = httpx.Request("POST", "http://127.0.0.1/aws", content=content)
    next(auth.auth_flow(request))
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    return {
        "method": "POST",
        "path": "/aws",
        "raw_path": b"/aws",
        "query_string": b"",
        "client": ("192.0.2.1", 1),
        "headers": headers,
    }


@pytest.mark.parametrize(
    "auth",
    [
        signer(skew=-1000),
        signer(date="20150830"),
        signer(digest="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        signer(secret="wrong", digest="0" * 64),
        signer(key="nobody", digest="0" * 64),
    ],
)
async def test_the_body_is_not_read_where_the_head_is_wrong(authenticator, auth):
    async def read_body():
        pytest.fail("the body was read")

    for _ in range(10):
        with pytest.raises(Problem) as refused:
            await authenticator.user(post(auth), read_body)
        assert refused.value.status == 403
    with pytest.raises(Problem) as refused:
        await authenticator.user(post(signer()), read_body)
    assert refused.value.status == 429


async def test_a_digest_that_the_body_has_not_is_refused_after_it_was_read(authenticator):
    async def read_body():
        return b"[]"

    exact = signer(digest=hashlib.sha256(b"[]").hexdigest())
    assert await authenticator.user(post(exact), read_body) == CREDENTIALS[0]
    with pytest.raises(Problem, match="X-Amz-Content-SHA256 must be"):
        await authenticator.user(post(signer(digest="0" * 64)), read_body)


async def test_few_unverified_bodies_of_an_address_are_read_at_once(authenticator):
    readable, full, reading = asyncio.Event(), asyncio.Event(), 0

    async def read_body():
        nonlocal reading
        reading += 1
        if reading == 64:
            full.set()
        await readable.wait()
        return b"{}"

    first = [asyncio.ensure_future(authenticator.user(post(signer()), read_body)) for _ in range(64)]
    await full.wait()
    with pytest.raises(Problem) as busy:
        await authenticator.user(post(signer()), read_body)
    assert (busy.value.status, reading) == (503, 64)
    readable.set()
    assert await asyncio.gather(*first) == [CREDENTIALS[0]] * 64
    assert await authenticator.user(post(signer()), read_body) == CREDENTIALS[0]
