"""Reading credentials: Basic (RFC 7617), a token such as a Bearer token (RFC 6750) or an API key, or a signature.

A token is a password. It names its user as ``name:password``; where there is only one user, the password is enough.
Names and passwords are bytes until they are compared, since clients encode characters beyond ASCII in different ways.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from translation_server.api.auth.sigv4 import read_signature
from translation_server.api.mounts import Mounts
from translation_server.api.problems import CredentialsRefused
from translation_server.core.dialects.authentication import SIGV4, token_form

REALM = 'realm="translation"'
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")  # the bytes that no name and no password may have, in any encoding


class Credentials(NamedTuple):
    """A password, and the name of the user if it was sent."""

    user: bytes | None
    password: bytes


class Scheme(NamedTuple):
    """A way to send credentials."""

    name: bytes  # its name
    header: bytes  # the header that has the credentials, in lower case; empty if they are in the query
    parameter: bytes  # the parameter of the query that has them; empty if they are in a header
    challenge: str  # the value of WWW-Authenticate
    expected: str  # what a client has to send, for error messages
    read: Callable[[bytes], Credentials | None]  # reads the value; None if it is malformed
    is_signature: bool = False  # whether the value proves the password without having it, see `sigv4`
    of_several: str = ""  # what a client has to send instead if there are several users

    def values(self, scope: Scope) -> list[bytes]:
        """Returns the credentials of a request, as they were sent."""
        if self.header:
            return [value for name, value in scope["headers"] if name == self.header]
        pairs = (text.partition(b"=") for text in scope["query_string"].split(b"&"))
        return [_unquote(value) for name, _, value in pairs if _unquote(name) == self.parameter]


def _unquote(text: bytes) -> bytes:
    """Decodes a name or a value of a query."""
    return unquote_to_bytes(text.replace(b"+", b" "))


def scheme(auth: str) -> Scheme:
    """Returns the scheme for ``basic``, ``sigv4``, or a form that `token_form` reads.

    Raises:
        ValueError: it is none of them.
    """
    if auth == SIGV4:
        expected = "an Authorization header with an AWS signature (AWS4-HMAC-SHA256): the access key is the user's name"
        return Scheme(
            b"sigv4",
            b"authorization",
            b"",
            "",
            f"{expected}, the secret key the password",
            read_signed,
            is_signature=True,
        )
    form = token_form(auth)
    if form is None:
        expected = "the API's username and password with Basic authentication"
        return Scheme(b"basic", b"authorization", b"", f'Basic {REALM}, charset="UTF-8"', expected, read_basic)
    place = f'in="query", name="{form.parameter}"' if form.parameter else f'header="{form.header}"'
    return Scheme(
        auth.encode(),
        (form.header or "").lower().encode(),
        (form.parameter or "").encode(),
        f"{form.word} {REALM}" if form.word else f"ApiKey {REALM}, {place}",
        f"the user's password as the token: `{auth.replace('{token}', '<password>')}`",
        partial(read_prefixed, form.word.lower().encode()) if form.word else read_token,
        of_several=f"the user's name and password as the token: `{auth.replace('{token}', '<user>:<password>')}`",
    )


def refused(scheme: Scheme, detail: str) -> CredentialsRefused:
    """Returns the problem of a request without valid credentials: 401 with a challenge, or 403 as at AWS."""
    if scheme.is_signature:
        return CredentialsRefused(HTTPStatus.FORBIDDEN, detail)
    return CredentialsRefused(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": scheme.challenge})


def remedy(scheme: Scheme, *, several: bool) -> str:
    """Returns what a client has to send; ``several`` is whether there are several users."""
    return f"Send {scheme.of_several if several and scheme.of_several else scheme.expected}."


def wrong_credentials(scheme: Scheme, more: str = "", *, several: bool = False) -> CredentialsRefused:
    """Returns the problem of a request whose credentials are wrong."""
    return refused(scheme, f"The credentials are wrong or malformed. {remedy(scheme, several=several)}{more}")


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


def read_prefixed(kind: bytes, header: bytes) -> Credentials | None:
    """Returns the token behind a word such as ``Bearer``, which is given in lower case."""
    word, _, token = header.partition(b" ")
    return read_token(token.strip(b" ")) if word.lower() == kind else None


def read_signed(header: bytes) -> Credentials | None:
    """Returns the user whom an AWS signature names; it has no password."""
    signature = read_signature(header)
    return None if signature is None else Credentials(signature.access_key, b"")


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


BASIC = scheme("basic")


def scheme_of(schemes: Mounts[Sequence[Scheme]], scope: Scope) -> Scheme:
    """Returns the first allowed scheme whose credentials a request has."""
    allowed = schemes.get(scope["path"].removeprefix(scope.get("root_path", "")))
    if allowed is None:
        return BASIC
    if len(allowed) == 1:
        return allowed[0]
    readable = (one for one in allowed if any(map(one.read, one.values(scope))))
    return next(readable, allowed[0])
