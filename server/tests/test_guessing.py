"""Password guessing does not slow down other callers, costs little, and reveals nothing."""

import asyncio
import base64
from collections import Counter
from unicodedata import normalize

import bcrypt
import pytest

from tests.examples import basic, cheap_hash
from translation_server.api.auth.authenticator import MAX_FAILURES, MAX_FAILURES_PER_USER
from translation_server.api.auth.guessing import (
    MAX_CALLERS,
    MAX_KEYS,
    MAX_WAITING,
    BusyError,
    FailureWindow,
    FairSemaphore,
)
from translation_server.api.problems import Problem
from translation_server.config.users import HASHES, UsersError, one_user, read_users

CHEAP = cheap_hash("right")


def addresses(many):
    return [f"198.51.100.{number}" for number in range(many)]


@pytest.mark.parametrize("header", [basic("ann", "wrong"), basic("nobody", "right"), b"Basic malformed"])
async def test_ten_failures_lock_an_address_out_for_the_rest_of_the_minute(caller, header):
    for caller.now in range(10):
        assert await caller.status(header) == 401
    assert await caller.status(basic("ann", "right")) == 429
    assert await caller.status(basic("ann", "right"), "192.0.2.2") == 200
    caller.now = 59.9
    with pytest.raises(Problem) as refused:
        await caller.user(basic("ann", "right"))
    assert refused.value.headers == {"Retry-After": "1"}
    caller.now = 60
    assert await caller.status(basic("ann", "right")) == 200


async def test_concurrent_guesses_are_limited_too(caller, hashes):
    statuses = Counter(await asyncio.gather(*(caller.status(basic("ann", f"guess {n}")) for n in range(200))))
    assert statuses[401] == hashes.total() <= 13
    assert statuses[429] == 200 - statuses[401]


async def test_guesses_of_one_address_do_not_affect_another(caller):
    guesses = [caller.status(basic("ann", f"guess {n}"), "192.0.2.6") for n in range(20)]
    right = [caller.status(basic("ann", "right"), address) for address in ("192.0.2.6", "192.0.2.1")]
    assert (await asyncio.gather(*guesses, *right))[-1] == 200


async def test_an_account_under_attack_is_locked_to_new_addresses_but_not_to_its_owner(make_caller, hashes):
    caller = make_caller({"ann": CHEAP, "bob": CHEAP})
    assert await caller.status(basic("ann", "right"), "192.0.2.1") == 200
    hashes.clear()
    guesses = [await caller.status(basic("ann", "guess"), address) for address in addresses(MAX_FAILURES_PER_USER + 20)]
    assert guesses == [401] * MAX_FAILURES_PER_USER + [429] * 20
    assert hashes.total() == MAX_FAILURES_PER_USER
    with pytest.raises(Problem) as refused:
        await caller.user(b"bAsIc" + basic("ann", "right")[5:], "192.0.2.2")  # the right password from a new address
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "60"})
    assert await caller.status(basic("ann", "right"), "192.0.2.3") == 200  # a cached header
    assert await caller.status(b"BASIC" + basic("ann", "right")[5:], "192.0.2.1") == 200  # where she logged in before
    assert await caller.status(basic("bob", "right"), "192.0.2.2") == 200
    caller.now = 60
    assert await caller.status(b"bAsIc" + basic("ann", "right")[5:], "192.0.2.2") == 200


async def test_locks_do_not_reveal_which_accounts_exist(make_caller):
    caller = make_caller({"ann": CHEAP, "bob": CHEAP})
    statuses = {
        name: [
            await caller.status(basic(name, "guess"), f"192.0.{third}.{n}") for n in range(MAX_FAILURES_PER_USER + 1)
        ]
        for third, name in enumerate(("ann", "nobody", ""))
    }
    assert statuses["ann"] == statuses["nobody"] == statuses[""] == [401] * MAX_FAILURES_PER_USER + [429]


async def test_requests_for_a_locked_account_count_as_failures_of_their_address(make_caller):
    caller = make_caller({"ann": CHEAP, "bob": CHEAP})
    for address in addresses(MAX_FAILURES_PER_USER):
        await caller.status(basic("ann", "guess"), address)
    assert {await caller.status(basic("ann", "guess"), "192.0.2.1") for _ in range(MAX_FAILURES)} == {429}
    assert await caller.status(basic("bob", "right"), "192.0.2.1") == 429


async def test_a_first_login_waits_for_at_most_one_guess_of_each_address(make_caller, hashes):
    caller = make_caller({"ann": CHEAP})
    guesses = [
        asyncio.create_task(caller.status(basic(f"user {n}", "guess"), address))
        for address in addresses(20)
        for n in range(50)
    ]
    await asyncio.sleep(0)
    assert await caller.status(basic("ann", "right"), "192.0.2.1") == 200
    assert hashes.total() <= 2 * 20  # more than 20, since other threads hash until this task resumes
    assert set(Counter(await asyncio.gather(*guesses))) <= {401, 429}


async def test_known_addresses_do_not_wait_for_new_ones(make_caller, hashes):
    caller = make_caller({"ann": CHEAP})
    assert await caller.status(basic("ann", "right"), "192.0.2.1") == 200
    hashes.clear()
    guesses = [asyncio.create_task(caller.status(basic("x", "guess"), address)) for address in addresses(60)]
    await asyncio.sleep(0)
    assert await caller.status(basic("ann", "right"), "192.0.2.9") == 200
    assert hashes.total() <= 5
    assert await caller.status(b"BASIC" + basic("ann", "right")[5:], "192.0.2.1") == 200
    assert hashes.total() <= 10
    await asyncio.gather(*guesses)


async def test_guesses_beyond_the_queue_are_refused_at_once(make_caller, hashes):
    caller = make_caller({"ann": CHEAP})
    refused = []

    async def guess(number):
        try:
            await caller.user(basic(f"user {number}", "guess"), f"10.0.{number // 250}.{number % 250}")
        except Problem as problem:
            refused.append((problem.status, problem.headers.get("Retry-After"), hashes.total()))

    await asyncio.gather(*(guess(number) for number in range(2000)))
    statuses = Counter(status for status, _, _ in refused)
    assert statuses[401] == hashes.total() <= MAX_CALLERS + 2
    assert statuses[503] == 2000 - statuses[401]
    assert {(after, before) for status, after, before in refused if status == 503} <= {("2", n) for n in range(3)}


@pytest.mark.parametrize(
    ("header", "path"),
    [
        (basic("ann", "x" * 1025), "/jobs"),
        (basic("ann", "x" * 1_000_000), "/jobs"),
        (basic("a" * 1025, "right"), "/jobs"),
        (b"Bearer " + b"x" * 60_000, "/token/jobs"),
        (b"Bearer ann:" + b"x" * 60_000, "/token/jobs"),
        (b"Bearer " + "\N{COMBINING ACUTE ACCENT}".encode() * 30_000, "/token/jobs"),
        (b"Basic " + b"A" * 60_000, "/jobs"),
    ],
)
async def test_overlong_credentials_are_counted_but_not_hashed(caller, hashes, header, path):
    assert [await caller.status(header, path=path) for _ in range(MAX_FAILURES + 1)] == [401] * MAX_FAILURES + [429]
    assert hashes.total() == 0


async def test_passwords_may_have_1024_bytes(make_caller):
    caller = make_caller(one_user("ann", "é" * 512))
    assert await caller.status(basic("ann", "é" * 512)) == 200
    with pytest.raises(UsersError, match="the password of ann is too long: it must have 1024 bytes at most"):
        one_user("ann", "x" * 1025)


async def test_concurrent_guesses_do_not_reveal_cached_headers(make_caller):
    caller = make_caller({"ann": CHEAP})
    assert await caller.status(basic("ann", "right"), "192.0.2.1") == 200
    guesses = [asyncio.create_task(caller.status(basic("ann", f"guess {n}"), "192.0.2.66")) for n in range(100)]
    await asyncio.sleep(0)
    right = basic("ann", "right")
    scope = {"path": "/jobs", "client": ("192.0.2.66", 1), "headers": [(b"authorization", right)]}
    assert caller.authenticator.cached_user(scope, dict(scope["headers"]))() is None
    assert await caller.status(right, "192.0.2.66") == 429
    assert await caller.status(right, "192.0.2.1") == 200
    await asyncio.gather(*guesses)


@pytest.mark.parametrize(
    ("guesser", "others"),
    [
        ("2001:db8::1", {"2001:db8::2": 429, "2001:db8:0:0:ffff::1": 429, "2001:db8:0:1::1": 200}),
        ("fe80::1%eth0", {"fe80::2": 429}),
        ("::ffff:192.0.2.1", {"192.0.2.1": 429, "192.0.2.2": 200, "::ffff:192.0.2.2": 200}),
        ("192.0.2.1", {"::ffff:192.0.2.1": 429, "::ffff:c000:201": 429}),
        ("unknown", {"garbage" * 100: 429, "192.0.2.2": 200}),
    ],
)
async def test_all_addresses_of_one_client_are_counted_together(make_caller, guesser, others):
    caller = make_caller({"ann": CHEAP})
    for _ in range(MAX_FAILURES):
        assert await caller.status(basic("ann", "guess"), guesser) == 401
    assert {address: await caller.status(basic("ann", "right"), address) for address in others} == others


def hashed(password, **made):
    return HASHES.handler("argon2").using(**made).hash(password)


@pytest.mark.parametrize("password", ["wrong", "x" * 73, "é" * 40, "right" + "x" * 100])
async def test_a_wrong_password_costs_the_same_for_every_user(make_caller, hashes, password):
    """The calls of passlib take the time, so they must be the same for every user."""
    bcrypts = {f"b{rounds}": cheap_hash("right", rounds) for rounds in (4, 5)}
    others = {"eve": CHEAP, "ann": hashed("right", rounds=1, memory_cost=64), **one_user("bob", "right")}
    caller = make_caller(bcrypts | others)
    spent = {}
    for number, name in enumerate((*bcrypts, *others, "nobody", "")):
        hashes.clear()
        assert await caller.status(basic(name, password), f"192.0.2.{number}") == 401
        spent[name] = sorted(hashed.rpartition("$")[0][:28] for hashed in hashes.elements())
        spent[name] = Counter(made[4:6] if made.startswith("$2") else made for made in spent[name])
    assert len({frozenset(cost.items()) for cost in spent.values()}) == 1
    hashes.clear()
    assert [await caller.status(basic(name, "right")) for name in (*bcrypts, *others)] == [200] * 5
    assert hashes.total() == 5


async def test_a_longer_password_with_the_right_beginning_is_wrong(make_caller):
    password = "x" * 72
    caller = make_caller({"ann": cheap_hash(password)})
    assert [await caller.status(basic("ann", password + more)) for more in ("", "y", "é" * 100)] == [200, 401, 401]


def test_a_users_file_with_many_hash_costs_is_refused(tmp_path):
    path = tmp_path / "users"
    made = [hashed("right", rounds=1, memory_cost=memory) for memory in (8, 16, 32, 64, 128)]
    path.write_text("".join(f"u{n}:{made}\n" for n, made in enumerate(made[:4])))
    assert len(read_users(path)) == 4
    path.write_text("".join(f"u{n}:{made}\n" for n, made in enumerate(made)))
    with pytest.raises(UsersError, match="the hashes have 5 different costs; it must be 4 at most"):
        read_users(path)


ACCENTED = {form: normalize(form, "jürgen:pässwörd") for form in ("NFC", "NFD")}


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("sent", "encoding", "times"),
    [
        ("NFC", "utf-8", {"NFC": 1, "NFD": 2}),
        ("NFD", "utf-8", {"NFC": 2, "NFD": 1}),
        ("NFC", "latin-1", {"NFC": 1, "NFD": 2}),
    ],
)
async def test_names_and_passwords_match_in_any_encoding(make_caller, hashes, stored, sent, encoding, times):
    name, _, password = ACCENTED[stored].partition(":")
    caller = make_caller({name: cheap_hash(password), "ann": CHEAP})
    encoded = ACCENTED[sent].encode(encoding)
    assert await caller.user(b"Basic " + base64.b64encode(encoded)) == name
    assert hashes.total() == times[stored]
    assert await caller.user(b"Bearer " + encoded, path="/token/jobs") == name
    assert await caller.user(encoded, path="/own/jobs", header=b"x-api-key") == name


async def test_a_password_that_resembles_another_encoding_matches(make_caller):
    caller = make_caller({"ann": bcrypt.hashpw("Ã©".encode(), bcrypt.gensalt(4)).decode()})
    assert [await caller.status(basic("ann", "Ã©", encoding)) for encoding in ("latin-1", "utf-8")] == [200, 200]


async def test_a_password_tried_in_several_encodings_is_one_failure(caller, hashes):
    header = basic("ann", "wröng", "latin-1")
    assert [await caller.status(header) for _ in range(MAX_FAILURES + 1)] == [401] * MAX_FAILURES + [429]
    assert hashes.total() <= 2 * MAX_FAILURES


def test_latin_1_credentials_work_over_http(start, tmp_path):
    hashed = bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"jürgen:{hashed}\n", encoding="utf-8")
    api = start(users_file=tmp_path / "users", auth=None)
    for encoding in ("latin-1", "utf-8"):
        answer = api.get("/sandbox", headers={"Authorization": basic("jürgen", "pässwörd", encoding).decode()})
        assert (answer.status_code, answer.json()["user"]) == (200, "jürgen")


def test_the_failure_window_drops_old_failures_and_old_keys():
    now = 0.0
    window = FailureWindow(2, lambda: now)
    window.add("a")
    assert window.seconds_left("a") == 0
    now = 30.0
    window.add("a")
    assert window.seconds_left("a") == 30
    now = 60.0
    assert window.seconds_left("a") == 0
    window.add("a")
    assert window.seconds_left("a") == 30
    for number in range(MAX_KEYS):
        window.add(f"other {number}")
    assert window.seconds_left("a") == 0


class Line:
    """Callers of a semaphore, in the order in which they got their turns."""

    def __init__(self):
        self.turns = FairSemaphore(1)
        self.served = []
        self.busy = []
        self._tasks = []

    async def join(self, *callers):
        joined = [asyncio.create_task(self._wait(caller)) for caller in callers]
        self._tasks += joined
        await asyncio.sleep(0)
        return joined

    async def _wait(self, caller):
        try:
            async with self.turns.turn(caller):
                self.served.append(caller)
        except BusyError:
            self.busy.append(caller)

    async def end(self):
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_callers_get_turns_in_rotation():
    line = Line()
    async with line.turns.turn("first"):
        await line.join(*"aaabbc")
        assert line.served == []
    await line.end()
    assert line.served == list("abcaba")
    await line.join("d")
    assert line.served[-1] == "d"


async def test_cancelled_callers_get_no_turn():
    line = Line()
    async with line.turns.turn("first"):
        gone = await line.join("a", "b")
        await line.join("c")
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
    await line.end()
    assert line.served == ["c"]


async def test_where_too_many_wait_the_greediest_gives_way():
    line = Line()
    async with line.turns.turn("first"):
        await line.join(*["greedy"] * (MAX_WAITING - 1), "modest")
        await line.join("greedy")
        assert line.busy == ["greedy"]
        await line.join("modest", "newcomer")
        await asyncio.sleep(0)
        assert line.busy == ["greedy"] * 3
    await line.end()
    assert Counter(line.served) == {"greedy": MAX_WAITING - 3, "modest": 2, "newcomer": 1}


async def test_a_new_caller_is_refused_if_too_many_wait():
    line = Line()
    async with line.turns.turn("first"):
        await line.join(*map(str, range(MAX_CALLERS)))
        await line.join("newcomer", "0")
        assert line.busy == ["newcomer"]
    await line.end()
    assert len(line.served) == MAX_CALLERS + 1
