"""How credentials come: as Basic (RFC 7617), as a Bearer token (RFC 6750), or as a token in a header of its own.

A token is a password. It says whose by ``name:password``, or by itself where there is only one user. Names and
passwords are bytes until somebody is found whom they fit: clients disagree on how to encode what is not ASCII.
"""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple
from unicodedata import normalize

REALM = 'realm="translation"'

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
"""What may stand neither in a name nor in a password, in whichever encoding."""


class Credentials(NamedTuple):
    """A password, and the name of the user that came with it, if one did."""

    user: bytes | None
    password: bytes


class Scheme(NamedTuple):
    """One way of bringing credentials; ``read`` gives None for what is malformed."""

    name: bytes
    header: bytes
    challenge: str
    wanted: str
    read: Callable[[bytes], Credentials | None]


def scheme(auth: str) -> Scheme:
    """The scheme that a dialect calls ``basic``, ``bearer``, or by the name of a header."""
    match auth:
        case "basic":
            wanted = "the API's username and password with Basic authentication"
            return Scheme(b"basic", b"authorization", f'Basic {REALM}, charset="UTF-8"', wanted, read_basic)
        case "bearer":
            wanted = "a token as `Authorization: Bearer`"
            return Scheme(b"bearer", b"authorization", f"Bearer {REALM}", wanted, read_bearer)
        case _:
            challenge = f'ApiKey {REALM}, header="{auth}"'
            return Scheme(auth.encode(), auth.encode(), challenge, f"a token in the header {auth}", read_token)


def read_basic(header: bytes) -> Credentials | None:
    """The user name and password of a Basic Authorization header."""
    kind, _, encoded = header.partition(b" ")
    try:
        sent = base64.b64decode(encoded.strip(b" "), validate=True)
    except binascii.Error:
        return None
    user, colon, password = sent.partition(b":")
    well_formed = kind.lower() == b"basic" and colon and not CONTROL.search(sent)
    return Credentials(user, password) if well_formed else None


def read_bearer(header: bytes) -> Credentials | None:
    """The token of a Bearer Authorization header."""
    kind, _, token = header.partition(b" ")
    return read_token(token.strip(b" ")) if kind.lower() == b"bearer" else None


def read_token(header: bytes) -> Credentials | None:
    """A token that is the whole header."""
    return Credentials(None, header) if header and not CONTROL.search(header) else None


def spellings(sent: bytes) -> list[str]:
    """The texts that a name or a password may stand for, the likeliest first: as UTF-8, as Latin-1, in NFC, in NFD."""
    texts = []
    for encoding in ("utf-8", "latin-1"):
        with suppress(UnicodeDecodeError):
            text = sent.decode(encoding)
            texts += [text, normalize("NFC", text), normalize("NFD", text)]
    return list(dict.fromkeys(texts))
