"""The users: password hashes from an htpasswd file, or of one password."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from passlib.context import CryptContext

HASHES = CryptContext(schemes=["argon2", "bcrypt"], argon2__rounds=5, argon2__memory_cost=7_168, argon2__parallelism=1)
"""Hashes that are slow enough to be stored in a file. Argon2's parameters are those of OWASP's Password Storage Cheat
Sheet with the least memory, because a process never gives back the memory of a check."""

REMEDY = "make the line with `htpasswd -B` (bcrypt)"
MAX_PASSWORD = 1024  # the most bytes of a password and of a user name. Longer ones are refused without a hash
MAX_BCRYPT_PASSWORD = 72  # the most bytes of a password that bcrypt hashes. No longer password matches a bcrypt hash

COST = re.compile(r"\$2\w\$(\d\d)\$|\$(argon2\w+\$.*?p=\d+)")
"""The start of a hash, which determines its cost: the rounds of bcrypt, or the parameters of argon2."""

MAX_COSTS = 4  # the most different costs in one file


class UsersError(ValueError):
    """The users cannot be read; the message is one line for a person."""


def one_user(username: str, password: str) -> Mapping[str, str]:
    """Returns the password hash of a single user by their name.

    Raises:
        UsersError: the password is too long.
    """
    if len(password.encode()) > MAX_PASSWORD:
        raise UsersError(f"the password of {username} is too long: it must have {MAX_PASSWORD} bytes at most")
    return {username: HASHES.hash(password)}


def read_users(path: Path) -> Mapping[str, str]:
    """Reads the hashes of an htpasswd file by user name.

    Raises:
        UsersError: the file cannot be read, a line is not ``name:hash`` with a bcrypt or argon2 hash, or there are too
            many different costs.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsersError(f"USERS_FILE={path}: cannot be read as UTF-8 text: {error}") from None
    users: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"USERS_FILE={path}: line {number}"
        name, colon, hashed = line.strip().partition(":")
        if not name or not colon:
            raise UsersError(f"{where} must be name:hash")
        if name in users:
            raise UsersError(f"{where}: the user {name} is listed twice")
        scheme = HASHES.identify(hashed)
        if scheme is None:
            raise UsersError(f"{where}: the password of {name} must be a bcrypt or argon2 hash: {REMEDY}")
        try:
            HASHES.handler(scheme).from_string(hashed)
        except ValueError:
            raise UsersError(f"{where}: the {scheme} hash of {name} is damaged: {REMEDY}") from None
        users[name] = hashed
    if not users:
        raise UsersError(f"USERS_FILE={path}: holds no user: add one with `htpasswd -B {path} NAME`")
    if len(costs := decoys(users.values())) > MAX_COSTS:
        most = f"{MAX_COSTS} at most, because each check takes as long as all of them"
        raise UsersError(f"USERS_FILE={path}: the hashes have {len(costs)} different costs; it must be {most}")
    return users


def decoys(hashes: Iterable[str]) -> Mapping[str, str]:
    """Returns one hash of each cost, by the cost."""
    return {_cost(hashed): hashed for hashed in hashes}


def matches(passwords: Sequence[bytes], hashed: str | None, decoys: Mapping[str, str]) -> bool:
    """Returns whether a password, in one of its encodings, matches a hash; without a hash, none does.

    A password that does not match is hashed once at each cost. So a wrong password takes the same time for every user,
    and for a name that no user has.
    """
    others = [decoy for cost, decoy in decoys.items() if hashed is None or cost != _cost(hashed)]
    for password in passwords:
        if hashed is not None and _matches(password, hashed):
            return True
        for decoy in others:
            _matches(password, decoy)
    return False


def _cost(hashed: str) -> str:
    match = COST.match(hashed)
    return (match[1] or match[2]) if match else hashed


def _matches(password: bytes, hashed: str) -> bool:
    """Returns whether a password matches a hash. One that is too long for bcrypt takes as long as any other."""
    if hashed.startswith("$argon2"):
        return HASHES.verify(password, hashed)
    return HASHES.verify(password[:MAX_BCRYPT_PASSWORD], hashed) and len(password) <= MAX_BCRYPT_PASSWORD
