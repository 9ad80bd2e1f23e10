"""What the rules of the report card return, and how they count."""

from collections.abc import Iterable

Result = tuple[int, Iterable[str], str]  # how often a rule found something, for which jobs, and the message

NOTHING: Result = (0, (), "")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Returns a number with its noun, in the singular or the plural."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
