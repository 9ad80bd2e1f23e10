"""Who may call: the hashes of passwords, read from an htpasswd file or made of one password."""

from collections.abc import Mapping
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


class UsersError(Exception):
    """The users cannot be read; the message is one line for a person."""


def one_user(username: str, password: str) -> Mapping[str, str]:
    """A single user, as the hash of their password by their name."""
    return {username: HASHES.hash(password)}


def read_users(path: Path) -> Mapping[str, str]:
    """The hashes of an htpasswd file by user name.

    Raises:
        UsersError: the file cannot be read, or a line is no ``name:hash`` with a bcrypt or argon2 hash.
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
    return users
