"""Text from outside, made safe for messages, logs and terminals."""

from unicodedata import category

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
EXCERPT = 200  # characters of foreign text in a message


def visible(text: str) -> str:
    """Returns the text on one line, with every unprintable character escaped.

    These include control characters (C0 and C1), line breaks and marks that change the direction of writing, so the
    text cannot control a terminal. A space of any width becomes a plain space.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def one_line(text: str) -> str:
    """Returns an excerpt of the text for a message."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}…"


def quoted(text: str, *, keep_slashes: bool = False) -> str:
    """Returns a part of a path, percent-encoded (RFC 3986, section 2.1)."""
    unquoted = UNRESERVED | (frozenset(b"/") if keep_slashes else frozenset())
    return "".join(chr(byte) if byte in unquoted else f"%{byte:02X}" for byte in text.encode())


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return " " if category(char) == "Zs" else char.encode("unicode_escape").decode()
