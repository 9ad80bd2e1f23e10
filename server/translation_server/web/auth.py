"""Authentication that costs a password hash once a minute and not once a request.

Theory of operation: hashes are slow on purpose, so they run in a few threads beside the event loop. A header that
verified is remembered for a minute under a keyed hash whose key is this process's own, hence neither a password nor
anything to test one with stays in memory. Requests of an address with the same unverified header share one hash. An
address that guesses is turned away before it costs anything; that is looked at again right before each hash, so that
guesses sent all at once fare no better.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil

from starlette.types import Scope

from translation_server.web.credentials import Credentials, Scheme, scheme
from translation_server.web.problems import Problem
from translation_server.web.users import HASHES

REMEMBER_FOR = 60.0
"""Seconds for which a verified header needs no new hash."""

REMEMBER_PER_USER = 16
"""Verified headers kept of each user at a time, however many users there are; the oldest goes first."""

HASHES_AT_ONCE = 4
"""Threads that hash."""

FAILURES = 10
"""Refused credentials from one address, within the window, that make the server stop listening to it."""

FAILURE_WINDOW = 60.0
"""Seconds."""

ADDRESSES_AT_MOST = 10_000
"""Addresses with failures kept at a time; the oldest goes first."""

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
        self._schemes = schemes
        self._hashes = list(users.values())
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, tuple[str, float]] = {}
        self._headers: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._checks: dict[tuple[bytes, str], asyncio.Task[str]] = {}
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._pool = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="hash")
        self._turns = asyncio.Semaphore(HASHES_AT_ONCE)

    async def user(self, scope: Scope) -> str:
        """The name of the user whose credentials a request brings.

        Raises:
            Problem: 401 for no, malformed or wrong credentials; 429 for an address that has brought too many.
        """
        scheme, address = self._scheme(scope), _address(scope)
        self._turn_away(address)
        brought = [value for name, value in scope["headers"] if name == scheme.header]
        if not brought:
            raise _unauthorized(scheme, f"Send {scheme.wanted}.")
        credentials = brought[0] if len(brought) == 1 else b""
        fingerprint = self._fingerprint(scheme, credentials)
        if user := self._remembered(fingerprint):
            return user
        check = self._checks.get((fingerprint, address))
        if check is None:
            check = self._checks[fingerprint, address] = asyncio.create_task(
                self._check(fingerprint, scheme, credentials, address),
            )
            check.add_done_callback(
                lambda done: (self._checks.pop((fingerprint, address)), done.cancelled() or done.exception())
            )
        return await asyncio.shield(check)

    def known(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """The user whose credentials the headers bring, if they were verified lately and the address guesses none."""
        scheme = self._scheme(scope)
        credentials = headers.get(scheme.header)
        if credentials is None or self._turned_away_for(_address(scope)):
            return None
        return self._remembered(self._fingerprint(scheme, credentials))

    def claimed(self, scope: Scope) -> str | None:
        """The user that a request with wrong credentials says it is of; the only one there is, if it says nothing."""
        scheme = self._scheme(scope)
        brought = next((scheme.read(value) for name, value in scope["headers"] if name == scheme.header), None)
        user = None if brought is None else self._named(brought)[0]
        if user is None and len(self._users) == 1:
            return next(iter(self._users))
        return user if user in self._users else None

    def close(self) -> None:
        """Lets go of the threads."""
        self._pool.shutdown()

    def _scheme(self, scope: Scope) -> Scheme:
        return self._schemes.get(scope["path"].lstrip("/").partition("/")[0], BASIC)

    def _fingerprint(self, scheme: Scheme, credentials: bytes) -> bytes:
        return hashlib.blake2b(scheme.name.encode() + b" " + credentials, key=self._key, digest_size=32).digest()

    def _remembered(self, fingerprint: bytes) -> str | None:
        user, expires_at = self._verified.get(fingerprint, (None, 0.0))
        return user if self._clock() < expires_at else None

    async def _check(self, fingerprint: bytes, scheme: Scheme, brought: bytes, address: str) -> str:
        credentials = scheme.read(brought)
        async with self._turns:
            self._turn_away(address)
            user = None if credentials is None else await self._verify(self._named(credentials))
            if user is None:
                self._failed(address)
                raise _unauthorized(scheme, f"The credentials are wrong or malformed. Send {scheme.wanted}.")
        self._remember(fingerprint, user)
        return user

    def _remember(self, fingerprint: bytes, user: str) -> None:
        if fingerprint not in self._verified:
            headers = self._headers[user]
            headers.append(fingerprint)
            if len(headers) > REMEMBER_PER_USER:
                del self._verified[headers.popleft()]
        self._verified[fingerprint] = user, self._clock() + REMEMBER_FOR

    def _named(self, credentials: Credentials) -> tuple[str, str]:
        """Whose password it is said to be; that of nobody there is, where it is not said."""
        user, password = credentials
        if user is not None:
            return user, password
        name, _, rest = password.partition(":")
        if name in self._users and rest:
            return name, rest
        return next(iter(self._users)) if len(self._users) == 1 else "", password

    async def _verify(self, named: tuple[str, str]) -> str | None:
        """The user, if the password is theirs; for an unknown one at the same cost, against somebody's hash."""
        user, password = named
        decoy = int.from_bytes(hashlib.blake2b(user.encode(), key=self._key).digest()) % len(self._hashes)
        hashed = self._users.get(user, self._hashes[decoy])
        matches = await asyncio.get_running_loop().run_in_executor(self._pool, _matches, password, hashed)
        return user if matches and user in self._users else None

    def _turn_away(self, address: str) -> None:
        if left := self._turned_away_for(address):
            detail = f"{FAILURES} requests with wrong credentials came from {address} within a minute."
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(ceil(left))})

    def _turned_away_for(self, address: str) -> float:
        """The seconds for which nothing more of an address is heard."""
        failures = self._failures.get(address)
        if not failures or len(failures) < FAILURES:
            return 0.0
        return max(0.0, failures[0] + FAILURE_WINDOW - self._clock())

    def _failed(self, address: str) -> None:
        self._failures.setdefault(address, deque(maxlen=FAILURES)).append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_AT_MOST:
            self._failures.popitem(last=False)


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope["client"] else "a local socket"


def _matches(password: str, hashed: str) -> bool:
    try:
        return HASHES.verify(password, hashed)
    except ValueError:  # bcrypt takes no password of over 72 bytes, hence none such is anybody's
        return False


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
    return (brought and brought.user) or ANYONE


def _unauthorized(scheme: Scheme, detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": scheme.challenge})
