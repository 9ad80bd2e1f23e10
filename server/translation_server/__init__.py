"""A stand-in for a slow, asynchronous job API."""

from typing import TYPE_CHECKING, Any

from translation_server.version import __version__

if TYPE_CHECKING:
    from translation_server.embedded import TranslationServer

__all__ = ["TranslationServer", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute
    """Imports the server on first use, because other parts of the package are imported without it."""
    if name == "TranslationServer":
        from translation_server.embedded import TranslationServer

        return TranslationServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
