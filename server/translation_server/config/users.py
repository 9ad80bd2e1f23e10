"""Who may call: the hashes of passwords, read from an htpasswd file or made of one password."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from passlib.context import CryptContext

HASHES = CryptContext(
    schemes=["argon2", "bcrypt"],
    argon2__rounds=5,
    argon2__memory_cost=7_168,
    argon2__parallelism=1,
)
"""Hashes slow enough to be kept in a file. Argon2's parameters are those of the rows in OWASP's Password Storage
Cheat Sheet that take the least memory, for what a check has taken stays with the process."""

REMEDY = "make the line with `htpasswd -B` (bcrypt)"

MAX_PASSWORD = 1024
"""Bytes; a longer one is nobody's, and so is a longer name: they cost no hash."""

LONGEST_FOR_BCRYPT = 72
"""Bytes; bcrypt takes no longer password, hence none such is anybody's whose hash it made."""

COST = re.compile(r"\$2\w\$(\d\d)\$|\$(argon2\w+\$.*?p=\d+)")
"""The start of a hash, which says what it costs: the rounds of bcrypt, or the parameters of argon2."""

COSTS_AT_MOST = 4
"""Different costs in one file."""


class UsersError(ValueError):
    """The users cannot be read; the message is one line for a person."""


def one_user(username: str, password: str) -> Mapping[str, str]:
    """A single user, as the hash of their password by their name.

    Raises:
        UsersError: the password is longer than one that is ever checked.
    """
    if len(password.encode()) > MAX_PASSWORD:
        raise UsersError(f"the password of {username} is too long: it must have {MAX_PASSWORD} bytes at most")
    return {username: HASHES.hash(password)}


def read_users(path: Path) -> Mapping[str, str]:
    """The hashes of an htpasswd file by user name.

    Raises:
        UsersError: the file cannot be read, a line is no ``name:hash`` with a bcrypt or argon2 hash, or the hashes have
            too many different costs.
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
            raise UsersError(f"{where}: the user {name} stands there twice")
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
    if len(different := decoys(users.values())) > COSTS_AT_MOST:
        most = f"{COSTS_AT_MOST} at most, for a check costs as much as all of them"
        raise UsersError(f"USERS_FILE={path}: the hashes have {len(different)} different costs; it must be {most}")
    return users


def decoys(hashes: Iterable[str]) -> Mapping[str, str]:
    """A hash of each cost."""
    return {_cost(hashed): hashed for hashed in hashes}


def matches(passwords: Sequence[bytes], hashed: str | None, decoys: Mapping[str, str]) -> bool:
    """Whether a password fits a hash in one of its spellings; where nobody has the hash, it fits none.

    Whatever does not fit is hashed once at each of the costs that there are: so a wrong password takes the same time
    for every user, and for a name that is nobody's.
    """
    others = [decoy for cost, decoy in decoys.items() if hashed is None or cost != _cost(hashed)]
    for password in passwords:
        if hashed is not None and _fits(password, hashed):
            return True
        for decoy in others:
            _fits(password, decoy)
    return False


def _cost(hashed: str) -> str:
    found = COST.match(hashed)
    return (found[1] or found[2]) if found else hashed


def _fits(password: bytes, hashed: str) -> bool:
    """Whether a password is that of a hash; one that is too long for it takes as long as any other."""
    if hashed.startswith("$argon2"):
        return HASHES.verify(password, hashed)
    return HASHES.verify(password[:LONGEST_FOR_BCRYPT], hashed) and len(password) <= LONGEST_FOR_BCRYPT
