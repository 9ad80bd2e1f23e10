"""Replaces authentication where no credentials are needed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address

from starlette.types import Scope

from translation_server.api.auth.credentials import Scheme, decodings, scheme_of
from translation_server.api.mounts import Mounts
from translation_server.api.problems import Problem

MAX_NAME = 255  # how many characters a user name may have if no credentials are needed: as many as in htpasswd
ANYONE = "anyone"  # the user name of requests without one, if no credentials are needed


class OpenAuthenticator:
    """Replaces the `Authenticator` where no credentials are needed: local callers use the API under any name.

    Args:
        schemes: the schemes that requests below a mount may use; all other requests use Basic.
    """

    def __init__(self, schemes: Mounts[Sequence[Scheme]]) -> None:
        self._schemes = schemes

    async def user(self, scope: Scope, read_body: object = None) -> str:  # noqa: ARG002 - `Authenticator` needs it
        """Returns the user whom a request names, whatever the password; a token stands for a user of its own.

        Raises:
            Problem: 403 if the request did not come in on the loopback interface; 400 if the name is too long.
        """
        if not _came_in_on_loopback(scope):
            detail = "Without credentials (AUTH=off), this server answers on its loopback interface only."
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        name = self._name(scope)
        if len(name) > MAX_NAME:
            raise Problem(HTTPStatus.BAD_REQUEST, f"A user's name may have {MAX_NAME} characters.")
        return name

    def cached_user(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Callable[[], str | None]:  # noqa: ARG002 - `Authenticator` needs it
        """Returns a function that returns the user of a request, or None if `user` would refuse it."""
        name = self._name(scope)
        user = name if len(name) <= MAX_NAME and _came_in_on_loopback(scope) else None
        return lambda: user

    def claimed_user(self, scope: Scope) -> None:
        """Returns None, since no credentials are wrong."""

    def close(self) -> None:
        """Does nothing."""

    def _name(self, scope: Scope) -> str:
        scheme = scheme_of(self._schemes, scope)
        credentials = next(map(scheme.read, scheme.values(scope)), None)
        if credentials is None:
            return ANYONE
        user, colon, _ = (
            (credentials.user, b":", b"") if credentials.user is not None else credentials.password.partition(b":")
        )
        if not colon:
            return f"token-{hashlib.sha256(credentials.password).hexdigest()[:12]}"
        return decodings(user)[0] if user else ANYONE


def _came_in_on_loopback(scope: Scope) -> bool:
    host, port = scope["server"] or ("", None)
    return port is None or ip_address(host).is_loopback
