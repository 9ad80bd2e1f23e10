"""The ids of jobs: texts with random parts, such as ``video_{hex:32}``."""

import re
from collections.abc import Callable

PART = re.compile(r"\{(uuid|hex|HEX|digits|base62)(?::(\d{1,3}))?\}")

ALPHABETS = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "digits": "0123456789",
    "base62": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
}
"""The characters of each kind of random part; ``{hex:32}`` has 32 of them."""

MIN_CHOICES = 10**12
"""How many different ids a template must have at least, so that no two jobs get the same one."""

MAX_ID = 1000
"""How many characters an id may have."""


def check_id(template: str) -> None:
    """Checks the template of an id.

    Raises:
        ValueError: it has no random part, too few of them, or something else in braces.
    """
    if len(template) > MAX_ID:
        raise ValueError(f"must have {MAX_ID} characters at most")
    choices = 1
    for kind, length in PART.findall(template):
        if (kind == "uuid") != (not length):
            raise ValueError(
                f"{template!r}: write {{uuid}}, or {{hex:32}}, {{digits:19}} or {{base62:24}} with a length"
            )
        choices *= 2**122 if kind == "uuid" else len(ALPHABETS[kind]) ** int(length)
    if re.search(r"[{}]", PART.sub("", template)):
        raise ValueError(
            f"{template!r}: the random parts of an id are {{uuid}}, {{hex:32}}, {{digits:19}} and {{base62:24}}"
        )
    if choices < MIN_CHOICES or len(new_id(template, bytes)) > MAX_ID:
        raise ValueError(f"{template!r}: needs a random part of at least 12 digits, and {MAX_ID} characters at most")


def new_id(template: str, random: Callable[[int], bytes]) -> str:
    """Returns a new id; ``random`` returns so many random bytes."""

    def fill(part: re.Match[str]) -> str:
        if part[1] == "uuid":
            return _uuid(int.from_bytes(random(16)))
        alphabet, length = ALPHABETS[part[1]], int(part[2])
        number = int.from_bytes(random(length))  # 8 bits for each character: the bias is below 2 ** -length
        digits = []
        for _ in range(length):
            number, digit = divmod(number, len(alphabet))
            digits.append(alphabet[digit])
        return "".join(digits)

    return PART.sub(fill, template)


def _uuid(number: int) -> str:
    """Returns a UUID of version 4 (RFC 9562, section 5.4) with the other bits of a number."""
    text = f"{number & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
