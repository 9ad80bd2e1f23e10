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


def new_id(template: str, random: Callable[[int], bytes]) -> str:
    """Returns a new id for a template that `dialect_format` takes; ``random(n)`` returns n random bytes."""

    def fill(part: re.Match[str]) -> str:
        if part[1] == "uuid":
            return _uuid(int.from_bytes(random(16)))
        alphabet, length = ALPHABETS[part[1]], int(part[2])
        number = int.from_bytes(random(length))  # 8 bits for each character: the bias is below 2 ** -length
        digits = []
        for _ in range(length):
            number, digit = divmod(number, len(alphabet))
            digits.append(alphabet[digit])
        if part[1] == "digits" and digits[0] == "0":
            digits[0] = alphabet[1 + number % 9]  # as a number, an id loses zeros at its beginning
        return "".join(digits)

    return PART.sub(fill, template)


def _uuid(number: int) -> str:
    """Returns a UUID of version 4 (RFC 9562, section 5.4) with the other bits of a number."""
    text = f"{number & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
