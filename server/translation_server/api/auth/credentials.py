"""Reading credentials: Basic (RFC 7617), a Bearer token (RFC 6750), or a token in a header of its own.

A token is a password. It names its user as ``name:password``; where there is only one user, the password is enough.
Names and passwords are bytes until they are compared, since clients encode characters beyond ASCII in different ways.
"""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple
from unicodedata import normalize

REALM = 'realm="translation"'
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")  # the bytes that no name and no password may have, in any encoding


class Credentials(NamedTuple):
    """A password, and the name of the user if it was sent."""

    user: bytes | None
    password: bytes


class Scheme(NamedTuple):
    """A way to send credentials."""

    name: bytes
    header: bytes  # the header that has the credentials, in lower case
    challenge: str  # the value of WWW-Authenticate
    expected: str  # what a client has to send, for error messages
    read: Callable[[bytes], Credentials | None]  # reads the value of the header; None if it is malformed


def scheme(auth: str) -> Scheme:
    """Returns the scheme that a dialect calls ``basic`` or ``bearer``, or by the name of a header."""
    match auth:
        case "basic":
            expected = "the API's username and password with Basic authentication"
            return Scheme(b"basic", b"authorization", f'Basic {REALM}, charset="UTF-8"', expected, read_basic)
        case "bearer":
            expected = "a token as `Authorization: Bearer`"
            return Scheme(b"bearer", b"authorization", f"Bearer {REALM}", expected, read_bearer)
        case _:
            challenge = f'ApiKey {REALM}, header="{auth}"'
            return Scheme(auth.encode(), auth.encode(), challenge, f"a token in the header {auth}", read_token)


def read_basic(header: bytes) -> Credentials | None:
    """Returns the user name and the password of a Basic Authorization header."""
    kind, _, encoded = header.partition(b" ")
    try:
        decoded = base64.b64decode(encoded.strip(b" "), validate=True)
    except binascii.Error:
        return None
    user, colon, password = decoded.partition(b":")
    is_well_formed = kind.lower() == b"basic" and colon and not CONTROL.search(decoded)
    return Credentials(user, password) if is_well_formed else None


def read_bearer(header: bytes) -> Credentials | None:
    """Returns the token of a Bearer Authorization header."""
    kind, _, token = header.partition(b" ")
    return read_token(token.strip(b" ")) if kind.lower() == b"bearer" else None


def read_token(header: bytes) -> Credentials | None:
    """Returns the token that is the whole header."""
    return Credentials(None, header) if header and not CONTROL.search(header) else None


def decodings(encoded: bytes) -> list[str]:
    """Returns the texts that bytes may stand for, the likeliest first: as UTF-8, as Latin-1, in NFC, in NFD."""
    texts = []
    for encoding in ("utf-8", "latin-1"):
        with suppress(UnicodeDecodeError):
            text = encoded.decode(encoding)
            texts += [text, normalize("NFC", text), normalize("NFD", text)]
    return list(dict.fromkeys(texts))
