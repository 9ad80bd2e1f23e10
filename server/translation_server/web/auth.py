"""Basic authentication (RFC 7617) that costs a password hash once a minute and not once a request.

Theory of operation: hashes are slow on purpose, so they run in a few threads beside the event loop. A header that
verified is remembered for a minute under an HMAC with a key of this process, hence neither a password nor anything
to test one with stays in memory. Requests of an address with the same unverified header share one hash. An address
that guesses is turned away before it costs anything; that is looked at again right before each hash, so that guesses
sent all at once fare no better.
"""

import asyncio
import base64
import binascii
import hmac
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from math import ceil

from translation_server.web.problems import Problem
from translation_server.web.users import HASHES

REMEMBER_FOR = 60.0
"""Seconds for which a verified header needs no new hash."""

REMEMBER_AT_MOST = 1024
"""Verified headers kept at a time; the oldest goes first."""

HASHES_AT_ONCE = 4
"""Threads that hash."""

FAILURES = 10
"""Refused credentials from one address, within the window, that make the server stop listening to it."""

FAILURE_WINDOW = 60.0
"""Seconds."""

ADDRESSES_AT_MOST = 10_000
"""Addresses with failures kept at a time; the oldest goes first."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What RFC 7617 allows in neither name nor password."""


class Authenticator:
    """Tells who a request comes from.

    Args:
        users: the hash of each user's password by name; not empty.
        clock: monotonic seconds.
    """

    def __init__(self, users: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._users = users
        self._hashes = list(users.values())
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._checks: dict[tuple[bytes, str], asyncio.Task[str]] = {}
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._pool = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="hash")
        self._turns = asyncio.Semaphore(HASHES_AT_ONCE)

    async def user(self, header: bytes | None, address: str) -> str:
        """The name of the user whose credentials an Authorization header brings.

        Raises:
            Problem: 401 for no, malformed or wrong credentials; 429 for an address that has brought too many.
        """
        self._turn_away(address)
        if header is None:
            raise _unauthorized("Send the API's username and password with Basic authentication.")
        fingerprint = hmac.digest(self._key, header, "sha256")
        user, expires_at = self._verified.get(fingerprint, ("", 0.0))
        if self._clock() < expires_at:
            return user
        check = self._checks.get((fingerprint, address))
        if check is None:
            check = self._checks[fingerprint, address] = asyncio.create_task(self._check(fingerprint, header, address))
            check.add_done_callback(
                lambda done: (self._checks.pop((fingerprint, address)), done.cancelled() or done.exception())
            )
        return await asyncio.shield(check)

    def close(self) -> None:
        """Lets go of the threads."""
        self._pool.shutdown()

    async def _check(self, fingerprint: bytes, header: bytes, address: str) -> str:
        credentials = parse_basic(header)
        async with self._turns:
            self._turn_away(address)
            if credentials is None or not await self._matches(*credentials):
                self._failed(address)
                raise _unauthorized("The username or the password is wrong, or the Authorization header is malformed.")
        self._verified[fingerprint] = credentials[0], self._clock() + REMEMBER_FOR
        self._verified.move_to_end(fingerprint)
        if len(self._verified) > REMEMBER_AT_MOST:
            self._verified.popitem(last=False)
        return credentials[0]

    async def _matches(self, user: str, password: str) -> bool:
        """Whether the password is the user's; for an unknown user at the same cost, against somebody's hash."""
        decoy = int.from_bytes(hmac.digest(self._key, user.encode(), "sha256")) % len(self._hashes)
        hashed = self._users.get(user, self._hashes[decoy])
        matches = await asyncio.get_running_loop().run_in_executor(self._pool, _verify, password, hashed)
        return matches and user in self._users

    def _turn_away(self, address: str) -> None:
        failures = self._failures.get(address)
        if not failures or len(failures) < FAILURES:
            return
        left = failures[0] + FAILURE_WINDOW - self._clock()
        if left > 0:
            detail = f"{FAILURES} requests with wrong credentials came from {address} within a minute."
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(ceil(left))})

    def _failed(self, address: str) -> None:
        self._failures.setdefault(address, deque(maxlen=FAILURES)).append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_AT_MOST:
            self._failures.popitem(last=False)


def parse_basic(header: bytes) -> tuple[str, str] | None:
    """The user name and password of a Basic Authorization header, or None where it is malformed."""
    scheme, _, encoded = header.partition(b" ")
    try:
        text = base64.b64decode(encoded.strip(b" "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    well_formed = scheme.lower() == b"basic" and colon and not CONTROL.search(text)
    return (user, password) if well_formed else None


def _verify(password: str, hashed: str) -> bool:
    try:
        return HASHES.verify(password, hashed)
    except ValueError:  # bcrypt takes no password of over 72 bytes, hence none such is anybody's
        return False


def _unauthorized(detail: str) -> Problem:
    challenge = 'Basic realm="translation", charset="UTF-8"'
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
