"""Authentication that costs a password hash once for each client and not once for each request.

Theory of operation: hashes are slow on purpose, so they run in a few threads beside the event loop. A header that
verified is remembered, until its user's hash changes, under a keyed hash whose key is this process's own: neither a
password nor anything to test one with stays in memory. Requests of an address with the same unverified header share one
hash.

Guesses are kept from everybody else by four rules. An address that guesses is turned away before it costs anything;
that is looked at again right before each hash, so that guesses sent all at once fare no better. An account that is
guessed at by many addresses is closed, for a minute, to those that never logged in to it; nobody learns from this which
accounts there are. Hashes are waited for in fair turns, a bounded number of them, and addresses that have logged in to
the account have turns of their own. And an address from which many unknown headers come cannot find out at the speed of
a memory lookup whether one is remembered: there, a remembered header counts for those who logged in from it.
"""

import asyncio
import hashlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil

from starlette.types import Scope

from translation_server.api.addresses import caller
from translation_server.api.auth.credentials import Credentials, Scheme, scheme, spellings
from translation_server.api.auth.guessing import Busy, Turns, Window
from translation_server.api.problems import Problem
from translation_server.config.users import LONGEST_PASSWORD, decoys, matches
from translation_server.core.lru import LRU
from translation_server.service.single_flight import SingleFlight

REMEMBER_PER_USER = 16
"""Verified headers, and addresses logged in from, kept of each user at a time; the oldest goes first."""

HASHES_AT_ONCE = 2
"""Threads that hash for addresses that have logged in to the account, and as many for the others."""

FAILURES = 10
"""Wrong credentials from one address within a minute that make the server stop listening to it."""

STRANGERS_FAILURES = 30
"""Wrong credentials for one account within a minute that close it to addresses that have never logged in to it."""

BUSY_FOR = 2
"""Seconds after which credentials that could not be checked for want of time are worth another try."""

LONGEST_NAME = 255
"""Characters that a name may hold where everybody is let in: as many as htpasswd takes, and few enough for an index."""

BASIC = scheme("basic")

ANYONE = "anyone"
"""The name of everybody who brings none, where nobody needs credentials."""


class Authenticator:
    """Tells who a request comes from.

    Args:
        users: the hash of each user's password by name; not empty.
        schemes: how credentials come to the paths below each first part; elsewhere they come as Basic.
        clock: monotonic seconds.
    """

    def __init__(self, users: Mapping[str, str], schemes: Mapping[str, Scheme], clock: Callable[[], float]) -> None:
        self._users = users
        self._decoys = decoys(users.values())
        self._schemes = schemes
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, str] = {}
        self._headers = defaultdict[str, LRU[bytes, None]](
            lambda: LRU(REMEMBER_PER_USER, lambda fingerprint, _: self._verified.pop(fingerprint))
        )
        self._homes = defaultdict[str, LRU[str, None]](lambda: LRU(REMEMBER_PER_USER))
        self._checks = SingleFlight[str]()
        self._tries, self._failures = Window(FAILURES, clock), Window(FAILURES, clock)
        self._guessed_at = Window(STRANGERS_FAILURES, clock)
        self._pool = ThreadPoolExecutor(2 * HASHES_AT_ONCE, thread_name_prefix="hash")
        self._turns, self._strangers_turns = Turns(HASHES_AT_ONCE), Turns(HASHES_AT_ONCE)

    async def user(self, scope: Scope) -> str:
        """The name of the user whose credentials a request brings.

        Raises:
            Problem: 401 for no, malformed or wrong credentials; 429 for an address that has brought too many, or an
                account that too many were brought for; 503 where too many wait to be checked.
        """
        scheme, address = self._scheme(scope), caller(scope)
        self._turn_away(address)
        brought = [value for name, value in scope["headers"] if name == scheme.header]
        if not brought:
            raise _unauthorized(scheme, f"Send {scheme.wanted}.")
        header = brought[0] if len(brought) == 1 else b""
        fingerprint = self._fingerprint(scheme, header)
        user = self._verified.get(fingerprint)
        if user is not None and self._believes(user, address):
            self._homes[user][address] = None
            return user
        key = fingerprint, address
        if key not in self._checks:
            self._tries.add(address)
        return await self._checks.run(key, lambda: self._check(fingerprint, scheme, header, address))

    def known(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """The user whose credentials the headers bring, if they are remembered and the address guesses none."""
        scheme = self._scheme(scope)
        header = headers.get(scheme.header)
        user = None if header is None else self._verified.get(self._fingerprint(scheme, header))
        return user if user is not None and self._believes(user, caller(scope)) else None

    def claimed(self, scope: Scope) -> str | None:
        """The user that a request with wrong credentials says it is of; the only one there is, if it says nothing."""
        scheme = self._scheme(scope)
        brought = next((scheme.read(value) for name, value in scope["headers"] if name == scheme.header), None)
        user = self._only_user() if brought is None else self._named(brought)[0]
        return user if user in self._users else None

    def replace(self, users: Mapping[str, str]) -> None:
        """Has other users from now on; those whose hash is another than before have to log in anew."""
        for user, hashed in self._users.items():
            if users.get(user) != hashed:
                for fingerprint in self._headers.pop(user, ()):
                    del self._verified[fingerprint]
                self._homes.pop(user, None)
        self._users, self._decoys = users, decoys(users.values())

    def close(self) -> None:
        """Lets go of the threads."""
        self._pool.shutdown()

    def _scheme(self, scope: Scope) -> Scheme:
        if not self._schemes:
            return BASIC
        return self._schemes.get(scope["path"].lstrip("/").partition("/")[0], BASIC)

    def _fingerprint(self, scheme: Scheme, header: bytes) -> bytes:
        return hashlib.blake2b(b"%b %b" % (scheme.name, header), key=self._key, digest_size=32).digest()

    def _believes(self, user: str, address: str) -> bool:
        """Whether a remembered header is enough from this address."""
        if not self._tries.left(address):
            return True
        return address in self._homes.get(user, ()) and not self._failures.left(address)

    async def _check(self, fingerprint: bytes, scheme: Scheme, header: bytes, address: str) -> str:
        brought = scheme.read(header)
        name, password = ("", b"") if brought is None else self._named(brought)
        at_home = address in self._homes.get(name, ())
        self._refuse(name, address, at_home)
        user = None
        if brought is not None and max(len(brought.user or b""), len(password)) <= LONGEST_PASSWORD:
            try:
                async with (self._turns if at_home else self._strangers_turns).of(address):
                    self._refuse(name, address, at_home)
                    user = await self._verify(name, password)
            except Busy:
                detail = "More credentials wait to be checked than can be now. Send the request again later."
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(BUSY_FOR)}) from None
        if user is None:
            self._failures.add(address)
            if brought is not None and not at_home:
                self._guessed_at.add(name)
            raise _unauthorized(scheme, f"The credentials are wrong or malformed. Send {scheme.wanted}.")
        self._verified[fingerprint] = user
        self._headers[user][fingerprint] = None
        self._homes[user][address] = None
        return user

    def _refuse(self, name: str, address: str, at_home: bool) -> None:
        """Refuses an address that guesses, and one that never logged in to an account that is guessed at."""
        self._turn_away(address)
        if not at_home and (left := self._guessed_at.left(name)):
            self._failures.add(address)  # else it could try without end which header is remembered
            detail = f"{STRANGERS_FAILURES} requests with wrong credentials for this user came within a minute."
            raise _too_many(detail, left)

    def _named(self, brought: Credentials) -> tuple[str, bytes]:
        """Whose password it is said to be; that of nobody there is, where it is not said."""
        if brought.user is not None:
            return self._name(brought.user), brought.password
        name, _, rest = brought.password.partition(b":")
        if rest and (user := self._name(name)) in self._users:
            return user, rest
        return self._only_user() or "", brought.password

    def _name(self, sent: bytes) -> str:
        """The user who is meant, however their name was encoded; for a name that is nobody's, its likeliest text."""
        texts = spellings(sent) if len(sent) <= LONGEST_PASSWORD else [""]
        return next((text for text in texts if text in self._users), texts[0])

    def _only_user(self) -> str | None:
        return next(iter(self._users)) if len(self._users) == 1 else None

    async def _verify(self, name: str, password: bytes) -> str | None:
        """The user, if the password is theirs."""
        hashed, loop = self._users.get(name), asyncio.get_running_loop()
        passwords = [text.encode() for text in spellings(password)]
        found = await loop.run_in_executor(self._pool, matches, passwords, hashed, self._decoys)
        return name if found and self._users.get(name) == hashed else None  # unless the users were replaced meanwhile

    def _turn_away(self, address: str) -> None:
        if left := self._failures.left(address):
            detail = f"{FAILURES} requests with wrong credentials came from {address} within a minute."
            raise _too_many(detail, left)


def _too_many(detail: str, left: float) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(ceil(left))})


class Anyone:
    """In an Authenticator's place: everybody is let in who does not come from another machine, under any name."""

    async def user(self, scope: Scope) -> str:
        """The name that a request brings as Basic credentials, whatever the password, or that of everybody.

        Raises:
            Problem: 403 for a request that did not come in on the loopback interface; 400 for a name that is too long.
        """
        if not _came_in_on_loopback(scope):
            detail = "Without credentials (AUTH=off), this server answers on its loopback interface only."
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        name = _name(next((value for name, value in scope["headers"] if name == BASIC.header), None))
        if len(name) > LONGEST_NAME:
            raise Problem(HTTPStatus.BAD_REQUEST, f"A user's name may hold {LONGEST_NAME} characters.")
        return name

    def known(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """The name that the headers bring, or that of everybody; None for a request that is to be refused."""
        name = _name(headers.get(BASIC.header))
        return name if len(name) <= LONGEST_NAME and _came_in_on_loopback(scope) else None

    def claimed(self, scope: Scope) -> None:
        """Nobody."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _came_in_on_loopback(scope: Scope) -> bool:
    host, port = scope["server"] or ("", None)
    return port is None or ip_address(host).is_loopback


def _name(header: bytes | None) -> str:
    brought = None if header is None else BASIC.read(header)
    return spellings(brought.user)[0] if brought and brought.user else ANYONE


def _unauthorized(scheme: Scheme, detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": scheme.challenge})
