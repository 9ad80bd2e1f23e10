"""Text from outside, as it may stand in a message, in a log and on a terminal."""

from unicodedata import category

EXCERPT = 200  # characters of foreign text that a message may hold


def visible(text: str) -> str:
    """The text with every character that is not printable as its escape, so that it is one line and nothing else.

    A terminal is told nothing by it: control characters, C1 among them, marks that turn the direction of writing, and
    what ends a line are all escaped. A space of any width is a space.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def one_line(text: str) -> str:
    """An excerpt of the text that can stand in a message."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= EXCERPT else f"{line[:EXCERPT]}…"


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return " " if category(char) == "Zs" else char.encode("unicode_escape").decode()
