"""Authentication: reading credentials, the cache of verified headers, and the file of users."""

import asyncio
import base64
from http import HTTPStatus

import bcrypt
import httpx
import pytest

from tests.examples import basic, cheap_hash
from translation_server.api.auth.authenticator import CACHED_PER_USER, MAX_LOGGED
from translation_server.api.auth.credentials import read_basic, read_token, scheme
from translation_server.api.auth.open_authenticator import OpenAuthenticator
from translation_server.api.mounts import Mounts
from translation_server.api.problems import Problem
from translation_server.config.users import UsersError, one_user, read_users


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (basic("ann", "pw"), (b"ann", b"pw")),
        (basic("ann", "with:colons:"), (b"ann", b"with:colons:")),
        (basic("", ""), (b"", b"")),
        (basic("ünï", "pässwörd 🎬"), ("ünï".encode(), "pässwörd 🎬".encode())),
        (b"bAsIc   " + base64.b64encode(b"ann:pw"), (b"ann", b"pw")),
        (b"", None),
        (b"Basic", None),
        (b"Basic ", None),
        (b"Basic not base64", None),
        (b"Basic " + base64.b64encode(b"no colon"), None),
        (b"Basic " + base64.b64encode(b"\xff\xfe:latin"), (b"\xff\xfe", b"latin")),
        (b"Basic " + base64.b64encode(b"ann:p\x00w"), None),
        (b"Basic " + base64.b64encode(b"ann\n:pw"), None),
        (b"Bearer " + base64.b64encode(b"ann:pw"), None),
        (base64.b64encode(b"ann:pw"), None),
        (b"Basic \xff\xff", None),
    ],
)
def test_basic_headers_are_read_as_rfc_7617_says(header, credentials):
    assert read_basic(header) == credentials


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", []),
        (b"key=a+b%2B%C3%A4", ["a b+ä".encode()]),
        (b"%6Bey=a&other=b&key=c&key", [b"a", b"c", b""]),
        (b"x=%C3%A4&\xe4=\xff&key=%ff%zz", [b"\xff%zz"]),
        (b"=&&;key=a&KEY=b", []),
    ],
)
def test_tokens_are_found_in_any_query(query, values):
    assert scheme("?key={token}").values({"query_string": query}) == values


read_bearer = scheme("Authorization: Bearer {token}").read


@pytest.mark.parametrize(
    ("read", "header", "credentials"),
    [
        (read_bearer, b"Bearer tok.en~+/=", (None, b"tok.en~+/=")),
        (read_bearer, b"bearer   token", (None, b"token")),
        (read_bearer, b"Bearer", None),
        (read_bearer, b"Basic token", None),
        (read_token, b"a token", (None, b"a token")),
        (read_token, "schlüssel".encode(), (None, "schlüssel".encode())),
        (read_token, b"", None),
        (read_token, b"\xff", (None, b"\xff")),
        (read_token, b"a\x01b", None),
    ],
)
def test_tokens_are_read_unchanged(read, header, credentials):
    assert read(header) == credentials


async def test_verified_headers_are_cached_without_expiry(caller, hashes):
    for caller.now in (0, 60, 1e6):
        assert await caller.status(basic("ann", "right")) == 200
    assert hashes.total() == 1


async def test_replaced_users_are_checked_again_and_others_are_not(make_caller, hashes):
    users = {name: cheap_hash("right") for name in ("ann", "bob", "cy")}
    caller = make_caller(users)
    assert [await caller.status(basic(name, "right")) for name in users] == [200] * 3
    hashes.clear()
    under_way = asyncio.create_task(caller.status(b"BASIC" + basic("ann", "right")[5:]))
    await asyncio.sleep(0)
    changed = cheap_hash("new")
    caller.authenticator.replace_users({"ann": changed, "bob": users["bob"]})
    assert await under_way == 401
    assert await caller.status(basic("bob", "right")) == 200
    assert hashes.total() <= 1
    statuses = [await caller.status(basic(*who)) for who in (("ann", "right"), ("cy", "right"), ("ann", "new"))]
    assert statuses == [401, 401, 200]


async def test_wrong_passwords_are_not_cached(caller, hashes):
    assert [await caller.status(basic("ann", "wrong")) for _ in range(3)] == [401, 401, 401]
    assert hashes.total() == 3


def logged(caplog, level):
    """Returns what the server has logged at this level."""
    ours = (record for record in caplog.records if record.name.startswith("translation_server"))
    return [record.getMessage() for record in ours if record.levelname == level]


async def test_lockouts_are_logged_once(caller, caplog):
    assert [await caller.status(basic("ann", f"wrong {n}")) for n in range(12)] == [401] * 10 + [429] * 2
    assert logged(caplog, "WARNING") == [
        "192.0.2.1 sent wrong credentials 10 times, the last ones for user 'ann', and gets 429 for a minute"
    ]


async def test_a_locked_user_is_logged_with_the_last_address(caller, caplog):
    for number in range(30):
        assert await caller.status(basic("ann", f"wrong {number}"), address=f"192.0.2.{number}") == 401
    assert logged(caplog, "WARNING") == [
        "user 'ann' was sent 30 wrong passwords, the last one by 192.0.2.29: addresses that never logged in get 429"
    ]


async def test_refused_requests_are_logged_with_address_and_user_but_not_too_many(caller, caplog):
    caplog.set_level("INFO")
    assert await caller.status(None) == 401
    assert await caller.status(basic("eve", "x")) == 401
    assert await caller.status(b"Basic ?") == 401
    assert await caller.status(basic("ann", "right")) == 200
    assert logged(caplog, "INFO") == [
        "192.0.2.1 was refused as user 'eve': wrong credentials",
        "192.0.2.1 was refused as user '': wrong credentials",
    ]
    for number in range(100):
        await caller.status(basic(f"user {number}", "wrong"), address=f"198.51.100.{number}")
    assert len(logged(caplog, "INFO")) == MAX_LOGGED
    caller.now += 61
    assert await caller.status(basic("ann", "wrong"), address="203.0.113.1") == 401
    assert logged(caplog, "INFO")[-1] == (
        "203.0.113.1 was refused as user 'ann': wrong credentials, and 42 more were refused before"
    )


async def test_concurrent_first_requests_share_one_hash(caller, hashes):
    assert set(await asyncio.gather(*(caller.status(basic("ann", "right")) for _ in range(50)))) == {200}
    assert hashes.total() == 1


async def test_a_cancelled_request_does_not_cancel_the_shared_hash(caller, hashes):
    requests = [asyncio.create_task(caller.status(basic("ann", "right"))) for _ in range(2)]
    await asyncio.sleep(0)
    requests[0].cancel()
    assert await requests[1] == 200
    assert hashes.total() == 1


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(hashes, make_caller):
    users = {name: cheap_hash("right") for name in ("ann", "bob")}
    caller = make_caller(users)
    assert await caller.status(basic("ann", "wrong")) == 401
    assert hashes == {users["ann"]: 1}
    hashes.clear()
    assert await caller.status(basic("nobody", "right")) == 401
    assert await caller.status(basic("nobody", "right"), "192.0.2.2") == 401
    [(checked, times)] = hashes.items()
    assert (checked in users.values(), times) == (True, 2)


async def test_missing_credentials_cost_no_hash_and_are_no_failure(caller, hashes):
    assert {await caller.status(None) for _ in range(50)} == {401}
    assert hashes.total() == 0
    assert await caller.status(basic("ann", "right")) == 200


async def test_the_cache_of_each_user_is_bounded(hashes, make_caller):
    caller = make_caller({f"u{n}": cheap_hash("right") for n in range(2)})
    passwords = [basic("u0", "right"), basic("u1", "right")]
    padded = [b"Basic" + b" " * (n + 1) + passwords[0].removeprefix(b"Basic ") for n in range(CACHED_PER_USER + 1)]
    await caller.status(passwords[1])
    assert {await caller.status(header) for header in padded} == {200}
    hashes.clear()
    for remembered in (padded[-1], passwords[1]):
        assert (await caller.status(remembered), hashes.total()) == (200, 0)
    assert (await caller.status(padded[0]), hashes.total()) == (200, 1)


async def test_the_cache_has_room_for_all_users(hashes, make_caller):
    hashed = cheap_hash("right")
    caller = make_caller({f"u{n}": hashed for n in range(3000)})
    for times in (3000, 0):
        hashes.clear()
        assert {await caller.status(basic(f"u{n}", "right")) for n in range(3000)} == {200}
        assert hashes.total() == times


@pytest.mark.parametrize("password", ["x" * 73, "é" * 40, "x" * 5000])
async def test_a_password_too_long_for_its_hash_is_wrong(password, make_caller):
    caller = make_caller({"ann": cheap_hash("right"), **one_user("bob", "right")})
    assert [await caller.status(basic(user, password)) for user in ("ann", "bob")] == [401, 401]


async def test_the_token_of_a_dialect_is_checked_like_a_password(caller, hashes):
    def own(token):
        return caller.status(token, path="/own/jobs", header=b"x-api-key")

    def bearer(token):
        return caller.status(b"Bearer " + token, path="/token/jobs")

    tokens = [b"right", b"ann:right", b"wrong", b"ann:wrong", b"bob:right"]
    assert [await own(token) for token in tokens] == [200, 200, 401, 401, 401]
    assert [await bearer(token) for token in tokens] == [200, 200, 401, 401, 401]
    assert hashes.total() == 10
    assert await caller.status(basic("ann", "right"), path="/own/jobs") == 401
    with pytest.raises(Problem) as refused:
        await caller.user(None, path="/own/jobs")
    assert refused.value.headers == {"WWW-Authenticate": 'ApiKey realm="translation", header="X-Api-Key"'}


async def test_a_token_must_name_one_of_several_users(make_caller):
    caller = make_caller({**one_user("ann", "right"), **one_user("bob", "other")})
    tokens = [b"ann:right", b"bob:other", b"right", b"ann:other"]
    statuses = [await caller.status(token, path="/own/jobs", header=b"x-api-key") for token in tokens]
    assert statuses == [200, 200, 401, 401]
    for token in (None, b"right"):
        with pytest.raises(Problem, match="Send the user's name and password as the token: `X-Api-Key: <user>:<pas"):
            await caller.user(token, path="/own/jobs", header=b"x-api-key")


async def test_with_auth_off_a_token_has_the_user_that_the_page_on_dialects_computes():
    schemes = Mounts({"/own": [scheme("X-Api-Key: {token}")]})
    users = {}
    for token in (b"sk-of-my-tests", b"me:x", b":x"):
        scope = {"server": None, "path": "/own/jobs", "headers": [(b"x-api-key", token)]}
        users[token] = await OpenAuthenticator(schemes).user(scope)
    assert users == {b"sk-of-my-tests": "token-28a2988c30f2", b"me:x": "me", b":x": "anyone"}


@pytest.mark.parametrize(
    ("server", "accepted"),
    [
        (("127.0.0.1", 80), True),
        (("::1", 80), True),
        (("/run/socket", None), True),
        (None, True),
        (("192.0.2.1", 80), False),
    ],
)
async def test_auth_off_serves_local_callers_only(server, accepted):
    if accepted:
        assert await OpenAuthenticator(Mounts({})).user({"server": server, "path": "/", "headers": []}) == "anyone"
        named = [(b"authorization", basic("ann", "whatever"))]
        assert await OpenAuthenticator(Mounts({})).user({"server": server, "path": "/", "headers": named}) == "ann"
        with pytest.raises(Problem, match="255 characters"):
            await OpenAuthenticator(Mounts({})).user(
                {"server": server, "path": "/", "headers": [(b"authorization", basic("a" * 256, "whatever"))]}
            )
    else:
        with pytest.raises(Problem, match="loopback"):
            await OpenAuthenticator(Mounts({})).user({"server": server, "path": "/", "headers": []})


def test_hundreds_of_requests_cost_one_hash(start, hashes):
    api = start()
    job_id = api.post("/start").json()["job_id"]
    assert {api.get(f"/status/{job_id}").status_code for _ in range(300)} == {200}
    assert hashes.total() == 1


@pytest.mark.parametrize("path", ["/start", "/status/x", "/jobs", "/docs", "/openapi.json", "/nothing", "/livez/x"])
def test_every_route_but_the_health_checks_needs_credentials(start, path):
    api = start(auth=None)
    answer = api.get(path)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="translation", charset="UTF-8"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {api.get(health).status_code for health in ("/livez", "/readyz")} == {200}


def test_two_authorization_headers_are_malformed(start):
    api = start(auth=None)
    header = ("Authorization", basic("admin", "secretpassword").decode())
    assert [api.get("/jobs", headers=[header] * times).status_code for times in (1, 2)] == [200, 401]


def test_a_token_below_no_mount_is_refused_with_the_reason(start):
    with httpx.Client(base_url=start().base_url) as client:
        refused = client.post("/v1/videos", headers={"Authorization": "Bearer secretpassword"})
    assert refused.status_code == HTTPStatus.UNAUTHORIZED
    assert refused.json()["detail"].endswith("No API with another authentication is mounted at this path.")


def test_guessing_ends_in_429_over_http(start):
    api = start()
    wrong = [api.get("/jobs", auth=("admin", "guess")).status_code for _ in range(11)]
    assert wrong == [401] * 10 + [429]
    refused = api.get("/jobs")
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (429, True)
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"), base_url=api.base_url) as elsewhere:
        assert elsewhere.get("/jobs", auth=("admin", "secretpassword")).status_code == HTTPStatus.OK
    assert api.get("/livez").status_code == HTTPStatus.OK


def test_users_are_read_from_an_htpasswd_file(start, tmp_path):
    hashed = cheap_hash("pw")
    lines = [
        "# a comment",
        "",
        f"ann:{hashed}",
        f"bob:{hashed.replace('$2b$', '$2y$')}",
        f"cy:{one_user('', 'pw')['']}",
    ]
    (tmp_path / "users").write_text("\n".join(lines))
    api = start(users_file=tmp_path / "users")
    statuses = [api.get("/jobs", auth=(name, "pw")).status_code for name in ("ann", "bob", "cy", "admin")]
    assert statuses == [200, 200, 200, 401]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ann:$apr1$salt$hashhashhashhashhashha", "must be a bcrypt or argon2 hash"),
        ("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "must be a bcrypt or argon2 hash"),
        ("ann:rqXexS6ZhobKA", "must be a bcrypt or argon2 hash"),
        ("ann:$6$salt$hash", "must be a bcrypt or argon2 hash"),
        ("ann:plain", "must be a bcrypt or argon2 hash"),
        ("ann:", "must be a bcrypt or argon2 hash"),
        ("ann:$2y$05$tooshort", "is damaged"),
        ("ann:$argon2id$v=19$m=1", "is damaged"),
        ("ann", "must be name:hash"),
        (":hash", "must be name:hash"),
        ("# nobody", "holds no user"),
    ],
)
def test_an_unusable_line_of_the_users_file_is_refused_with_a_remedy(tmp_path, line, message):
    path = tmp_path / "users"
    path.write_text(line)
    with pytest.raises(UsersError, match=message) as refused:
        read_users(path)
    assert "htpasswd -B" in str(refused.value) or "name:hash" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_user_listed_twice_is_refused(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"ann:{bcrypt.hashpw(b'pw', bcrypt.gensalt(4)).decode()}\n" * 2)
    with pytest.raises(UsersError, match="line 2: the user ann is listed twice"):
        read_users(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_users_file_is_refused(tmp_path, content):
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsersError, match="cannot be read"):
        read_users(path)
