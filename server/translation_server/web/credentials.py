"""How credentials come: as Basic (RFC 7617), as a Bearer token (RFC 6750), or as a token in a header of its own.

A token is a password. It says whose by ``name:password``, or by itself where there is only one user.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

REALM = 'realm="translation"'

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What may stand neither in a name nor in a password."""


class Credentials(NamedTuple):
    """A password, and the name of the user that came with it, if one did."""

    user: str | None
    password: str


class Scheme(NamedTuple):
    """One way of bringing credentials; ``read`` gives None for what is malformed."""

    name: str
    header: bytes
    challenge: str
    wanted: str
    read: Callable[[bytes], Credentials | None]


def scheme(auth: str) -> Scheme:
    """The scheme that a dialect calls ``basic``, ``bearer``, or by the name of a header."""
    match auth:
        case "basic":
            wanted = "the API's username and password with Basic authentication"
            return Scheme(auth, b"authorization", f'Basic {REALM}, charset="UTF-8"', wanted, read_basic)
        case "bearer":
            return Scheme(auth, b"authorization", f"Bearer {REALM}", "a token as `Authorization: Bearer`", read_bearer)
        case _:
            challenge = f'ApiKey {REALM}, header="{auth}"'
            return Scheme(auth, auth.encode(), challenge, f"a token in the header {auth}", read_token)


def read_basic(header: bytes) -> Credentials | None:
    """The user name and password of a Basic Authorization header."""
    kind, _, encoded = header.partition(b" ")
    try:
        text = base64.b64decode(encoded.strip(b" "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    well_formed = kind.lower() == b"basic" and colon and not CONTROL.search(text)
    return Credentials(user, password) if well_formed else None


def read_bearer(header: bytes) -> Credentials | None:
    """The token of a Bearer Authorization header."""
    kind, _, token = header.partition(b" ")
    return read_token(token.strip(b" ")) if kind.lower() == b"bearer" else None


def read_token(header: bytes) -> Credentials | None:
    """A token that is the whole header."""
    try:
        token = header.decode()
    except UnicodeDecodeError:
        return None
    return Credentials(None, token) if token and not CONTROL.search(token) else None
