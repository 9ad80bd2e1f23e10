"""The HTTP library of the client: httpx2 where it is installed, httpx where it is not.

The names `httpx` and `httpcore` of this module stand for the one that is used. A caller's `http_client` may come from
either library. A library that nobody uses is not imported.
"""

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import httpcore
    import httpx
    import httpx2

    SyncHttp: TypeAlias = httpx.Client | httpx2.Client
    AsyncHttp: TypeAlias = httpx.AsyncClient | httpx2.AsyncClient
    Response: TypeAlias = httpx.Response | httpx2.Response
else:
    try:
        import httpcore2 as httpcore
        import httpx2 as httpx
    except ModuleNotFoundError:
        import httpcore
        import httpx

    SyncHttp, AsyncHttp, Response = httpx.Client, httpx.AsyncClient, httpx.Response


def library_of(http: SyncHttp | AsyncHttp) -> Any:  # noqa: ANN401 - a module
    """Returns the library of a client: the one that defines its class or a base of its class."""
    names = [base.__module__.partition(".")[0] for base in type(http).__mro__]
    return next((sys.modules[name] for name in names if name in {"httpx", "httpx2"}), httpx)


def auth_for(library: Any, auth: httpx.Auth) -> Any:  # noqa: ANN401 - a class of the library
    """Returns the credentials as an object of a library's own class, because its clients accept no other class."""
    if isinstance(auth, library.Auth):
        return auth
    adapted = library.Auth()
    adapted.sync_auth_flow, adapted.async_auth_flow = auth.sync_auth_flow, auth.async_auth_flow
    return adapted


__all__ = ["AsyncHttp", "Response", "SyncHttp", "auth_for", "httpcore", "httpx", "library_of"]
