"""Authentication that hashes a password once per client, not once per request.

Theory of operation: password hashes are slow on purpose, so they run in a few threads beside the event loop. A header
that was verified is cached until its user's hash changes. The key of the cache is a keyed hash of the header, with a
key that only this process has: memory holds neither a password nor anything to test a password with. Concurrent
requests of an address with the same unverified header share one hash.

Four rules limit password guessing. An address with too many failures gets 429 before any hash; this is checked again
right before each hash, so that sending all guesses at once does not help. A user name with too many failures from
different addresses is locked, for a minute, to addresses that have never logged in to it; unknown names are locked too,
so that the answer does not reveal which users exist. Callers wait for hashes in turns, in a bounded queue, and
addresses that have logged in to the account have a queue of their own. And an address that tries many unknown headers
cannot use the speed of the cache to learn whether a header is verified: there, the cache counts only for users who have
logged in from it.

Only the password itself can check an AWS signature, so the known passwords are in memory if an API demands signatures.
This check is quick, so its result is not cached. The first two rules hold for it too. All that the
head of a request says is checked before its body is read.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from math import ceil
from types import MappingProxyType

from starlette.types import Scope

from translation_server.api.addresses import client_key
from translation_server.api.auth.credentials import (
    BASIC,
    Credentials,
    Scheme,
    decodings,
    refused,
    remedy,
    scheme_of,
    wrong_credentials,
)
from translation_server.api.auth.guessing import BusyError, FailureWindow, FairSemaphore, LogLimit
from translation_server.api.auth.sigv4 import (
    Signature,
    SignatureError,
    check_signature,
    declares_digest,
    needs_body,
    read_signature,
)
from translation_server.api.mounts import Mounts
from translation_server.api.problems import CredentialsRefused, Problem
from translation_server.config.users import MAX_PASSWORD, decoys, matches
from translation_server.core.lru import LRU
from translation_server.core.metrics import Metrics
from translation_server.service.single_flight import SingleFlight

logger = logging.getLogger(__name__)

CACHED_PER_USER = 16
"""How many verified headers of each user are cached, and how many addresses; the oldest is dropped first."""

HASH_THREADS = 2  # how many threads hash for addresses that have logged in to the account, and as many for all others
MAX_FAILURES = 10  # how many failures of one address within a minute lock it out

MAX_FAILURES_PER_USER = 30
"""How many failures for one user name within a minute lock it to addresses that have never logged in to it."""

MAX_LOGGED = 60  # how many refused requests are logged within a minute
MAX_UNVERIFIED_BODIES = 64
"""How many bodies of one address, which has not logged in to the account, are read at once before their signatures are
checked."""

RETRY_AFTER_BUSY = 2  # after how many seconds to repeat a request whose credentials could not be checked

NOT_MOUNTED = " No API with another authentication is mounted at this path."
NO_PASSWORDS = (
    "This server knows only the hashes of its users' passwords (USERS_FILE), so it cannot check an AWS signature: "
    "run it with API_USERNAME and API_PASSWORD, or with AUTH=off."
)


ReadBody = Callable[[], Awaitable[bytes]]


class Authenticator:
    """Finds the user of a request by its credentials.

    Args:
        users: the hash of each user's password by the user's name; not empty.
        schemes: the schemes that requests below a mount may use; all other requests use Basic.
        clock: monotonic seconds.
        passwords: the passwords by user name, to check signatures with; empty if only their hashes are known.
        wall_time: seconds since the epoch; a signature has a time.
        metrics: counts lockouts.
    """

    def __init__(  # noqa: PLR0913 - the composition root names them
        self,
        users: Mapping[str, str],
        schemes: Mounts[Sequence[Scheme]],
        clock: Callable[[], float],
        passwords: Mapping[str, str] = MappingProxyType({}),
        wall_time: Callable[[], float] = time.time,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._users, self._passwords, self._wall_time = users, passwords, wall_time
        self._metrics = metrics or Metrics()
        self._decoys = decoys(users.values())
        self._schemes = schemes
        self._hash = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._verified: dict[bytes, str] = {}
        self._headers = defaultdict[str, LRU[bytes, None]](
            lambda: LRU(CACHED_PER_USER, lambda fingerprint, _: self._verified.pop(fingerprint))
        )
        self._addresses = defaultdict[str, LRU[str, None]](lambda: LRU(CACHED_PER_USER))
        self._checks = SingleFlight[str]()
        self._unverified_bodies = Counter[str]()
        self._attempts, self._failures = FailureWindow(MAX_FAILURES, clock), FailureWindow(MAX_FAILURES, clock)
        self._failures_by_user = FailureWindow(MAX_FAILURES_PER_USER, clock)
        self._log_limit = LogLimit(MAX_LOGGED, clock)
        self._pool = ThreadPoolExecutor(2 * HASH_THREADS, thread_name_prefix="hash")
        self._turns, self._turns_of_others = FairSemaphore(HASH_THREADS), FairSemaphore(HASH_THREADS)

    async def user(self, scope: Scope, read_body: ReadBody | None = None) -> str:
        """Returns the user of a request; ``read_body`` returns its body, which may be signed.

        Raises:
            Problem: 401 if the credentials are missing, malformed or wrong (403 for a signature); 429 if the address or
            the user name had too many failures; 503 if too many requests wait for their check.
        """
        scheme, address = scheme_of(self._schemes, scope), client_key(scope)
        self._refuse_locked_address(address)
        values = scheme.values(scope)
        if not values:
            raise refused(scheme, remedy(scheme, several=len(self._users) > 1))
        if scheme.is_signature:
            signature = read_signature(values[0]) if len(values) == 1 else None
            return await self._signer(scope, signature, scheme, read_body if needs_body(scope) else None)
        header = values[0] if len(values) == 1 else b""
        fingerprint = self._fingerprint(scheme, header)
        user = self._verified.get(fingerprint)
        if user is not None and self._may_use_cache(user, address):
            self._addresses[user][address] = None
            return user
        key = fingerprint, address
        if key not in self._checks:
            self._attempts.add(address)
        try:
            return await self._checks.run(key, lambda: self._check(fingerprint, scheme, header, address))
        except CredentialsRefused:  # logged here, in the task of the request
            credentials = scheme.read(header)
            self._log_refused(address, "" if credentials is None else self._name_and_password(credentials)[0])
            raise

    def cached_user(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Callable[[], str | None]:
        """Returns a function that returns the user of a request, or None if the credentials are not cached then."""
        scheme = scheme_of(self._schemes, scope)
        if scheme.is_signature:
            return partial(self._cached_signer, scope, headers, scheme)
        header = headers.get(scheme.header) if scheme.header else next(iter(scheme.values(scope)), None)
        fingerprint = b"" if header is None else self._fingerprint(scheme, header)
        return partial(self._cached, fingerprint, client_key(scope))

    def _cached(self, fingerprint: bytes, address: str) -> str | None:
        user = self._verified.get(fingerprint)
        return user if user is not None and self._may_use_cache(user, address) else None

    def claimed_user(self, scope: Scope) -> str | None:
        """Returns the user that wrong credentials name, or the only user if they name none."""
        scheme = scheme_of(self._schemes, scope)
        credentials = next(map(scheme.read, scheme.values(scope)), None)
        user = self._only_user() if credentials is None else self._name_and_password(credentials)[0]
        return user if user in self._users else None

    def replace_users(self, users: Mapping[str, str], passwords: Mapping[str, str] = MappingProxyType({})) -> None:
        """Replaces the users. Credentials of users whose hash has changed are checked again."""
        self._passwords = passwords
        for user, hashed in self._users.items():
            if users.get(user) != hashed:
                for fingerprint in self._headers.pop(user, ()):
                    del self._verified[fingerprint]
                self._addresses.pop(user, None)
        self._users, self._decoys = users, decoys(users.values())

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def _fingerprint(self, scheme: Scheme, header: bytes) -> bytes:
        hashed = self._hash.copy()  # takes less than half as long as a new one
        hashed.update(b"%b %b" % (scheme.name, header))
        return hashed.digest()

    def _may_use_cache(self, user: str, address: str) -> bool:
        """Whether a verified header from this address needs no check."""
        if not self._attempts.seconds_left(address):
            return True
        return address in self._addresses.get(user, ()) and not self._failures.seconds_left(address)

    async def _check(self, fingerprint: bytes, scheme: Scheme, header: bytes, address: str) -> str:
        credentials = scheme.read(header)
        name, password = ("", b"") if credentials is None else self._name_and_password(credentials)
        is_known = address in self._addresses.get(name, ())
        self._refuse_locked(name, address, is_known)
        user = None
        if credentials is not None and max(len(credentials.user or b""), len(password)) <= MAX_PASSWORD:
            try:
                async with (self._turns if is_known else self._turns_of_others).turn(address):
                    self._refuse_locked(name, address, is_known)
                    user = await self._verify(name, password)
            except BusyError:
                raise _busy() from None
        if user is None:
            self._count_failure(address, None if credentials is None else name, is_known=is_known)
            more = NOT_MOUNTED if scheme is BASIC and credentials is None else ""
            raise wrong_credentials(scheme, more, several=len(self._users) > 1)
        self._verified[fingerprint] = user
        self._headers[user][fingerprint] = None
        self._addresses[user][address] = None
        return user

    async def _signer(
        self, scope: Scope, signature: Signature | None, scheme: Scheme, read_body: ReadBody | None
    ) -> str:
        """Returns the user who has signed a request. The body is read last, and only if the head is right."""
        if not self._passwords:
            raise CredentialsRefused(HTTPStatus.FORBIDDEN, NO_PASSWORDS)
        address = client_key(scope)
        if signature is None:
            self._count_failure(address, None, is_known=False)
            self._log_refused(address, "")
            raise refused(scheme, f"The signature is malformed. Send {scheme.expected}.")
        name = self._name(signature.access_key)
        is_known = address in self._addresses.get(name, ())
        self._refuse_locked(name, address, is_known)
        # The check of an unknown name takes as long and fails too.
        password = self._passwords.get(name, secrets.token_hex())
        try:
            check_signature(scope, signature, password, None if read_body else b"", self._wall_time())
            if read_body:
                is_verified = is_known or declares_digest(scope)
                body = await (read_body() if is_verified else self._read_unverified(address, read_body))
                self._refuse_locked(name, address, is_known)
                check_signature(scope, signature, password, body, self._wall_time())
        except SignatureError as error:
            self._count_failure(address, name, is_known=is_known)
            self._log_refused(address, name)
            raise refused(scheme, str(error)) from None
        self._addresses[name][address] = None
        return name

    async def _read_unverified(self, address: str, read_body: ReadBody) -> bytes:
        """Reads a body whose digest is signed, but unknown until then; few of one address at once."""
        if self._unverified_bodies[address] >= MAX_UNVERIFIED_BODIES:
            raise _busy()
        self._unverified_bodies[address] += 1
        try:
            return await read_body()
        finally:
            self._unverified_bodies[address] -= 1
            self._unverified_bodies += Counter()  # drops addresses without any

    def _cached_signer(self, scope: Scope, headers: Mapping[bytes, bytes], scheme: Scheme) -> str | None:
        """Returns the user who has signed a request without a body; None if `user` has to check it."""
        signature = read_signature(headers.get(scheme.header, b""))
        name = "" if signature is None else self._name(signature.access_key)
        if (
            signature is None
            or name not in self._passwords
            or self._failures.seconds_left(address := client_key(scope))
        ):
            return None
        try:
            check_signature(scope, signature, self._passwords[name], b"", self._wall_time())
        except SignatureError:
            return None
        return name if address in self._addresses.get(name, ()) else None

    def _count_failure(self, address: str, name: str | None, *, is_known: bool) -> None:
        """Counts wrong credentials for an address, and for the user whom they name, unless the address is known.

        An empty name counts like any other, so that locks do not reveal which users exist.
        """
        if self._failures.add(address):
            self._metrics.lockouts.add("address")
            line = "%s sent wrong credentials %d times, the last ones for user %r, and gets 429 for a minute"
            logger.warning(line, address, MAX_FAILURES, name or "")
        if name is not None and not is_known and self._failures_by_user.add(name) and name in self._users:
            self._metrics.lockouts.add("user")
            line = "user %r was sent %d wrong passwords, the last one by %s: addresses that never logged in get 429"
            logger.warning(line, name, MAX_FAILURES_PER_USER, address)

    def _log_refused(self, address: str, name: str) -> None:
        """Logs a request that was refused for its credentials, unless too many were logged within a minute."""
        left_out = self._log_limit.left_out()
        if left_out is not None:
            more = f", and {left_out} more were refused before" if left_out else ""
            logger.info("%s was refused as user %r: wrong credentials%s", address, name, more)

    def _refuse_locked(self, name: str, address: str, is_known: bool) -> None:
        """Refuses an address with too many failures, and a locked account to an address that never logged in to it."""
        self._refuse_locked_address(address)
        if not is_known and (left := self._failures_by_user.seconds_left(name)):
            self._failures.add(address)  # else it could try any number of headers to find a cached one
            detail = f"{MAX_FAILURES_PER_USER} requests with wrong credentials for this user came within a minute."
            raise _too_many(detail, left)

    def _refuse_locked_address(self, address: str) -> None:
        if left := self._failures.seconds_left(address):
            detail = f"{MAX_FAILURES} requests with wrong credentials came from {address} within a minute."
            raise _too_many(detail, left)

    def _name_and_password(self, credentials: Credentials) -> tuple[str, bytes]:
        """Returns the user's name and the password; the name is empty if a token does not say it."""
        if credentials.user is not None:
            return self._name(credentials.user), credentials.password
        name, _, rest = credentials.password.partition(b":")
        if rest and (user := self._name(name)) in self._users:
            return user, rest
        return self._only_user() or "", credentials.password

    def _name(self, encoded: bytes) -> str:
        """Returns the user's name from bytes in any encoding; for an unknown user, the likeliest text."""
        texts = decodings(encoded) if len(encoded) <= MAX_PASSWORD else [""]
        return next((text for text in texts if text in self._users), texts[0])

    def _only_user(self) -> str | None:
        return next(iter(self._users)) if len(self._users) == 1 else None

    async def _verify(self, name: str, password: bytes) -> str | None:
        """Returns the name if the password is right."""
        hashed, loop = self._users.get(name), asyncio.get_running_loop()
        passwords = [text.encode() for text in decodings(password)]
        is_right = await loop.run_in_executor(self._pool, matches, passwords, hashed, self._decoys)
        return name if is_right and self._users.get(name) == hashed else None  # the users may have been replaced


def _busy() -> Problem:
    detail = "Too many requests wait for their credentials to be checked: send the request again later."
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_BUSY)})


def _too_many(detail: str, left: float) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(ceil(left))})
