"""How the callers of an API authenticate: forms such as ``Authorization: Bearer {token}``."""

import re
from typing import NamedTuple

BASIC = "basic"
SIGV4 = "sigv4"
"""AWS Signature Version 4: callers sign with their password instead of sending it."""

FORM = re.compile(
    r"(?P<header>[A-Za-z][A-Za-z0-9-]*): (?:(?P<word>[A-Za-z][\w-]*) )?\{token\}|\?(?P<parameter>[\w.-]+)=\{token\}"
)


class TokenForm(NamedTuple):
    """The place of a token in a request: in a header, after a word or alone, or in a parameter of the query."""

    header: str | None
    word: str | None
    parameter: str | None


def token_form(auth: str) -> TokenForm | None:
    """Returns where requests have their token; None for `BASIC` and `SIGV4`.

    Raises:
        ValueError: it is neither one of these nor a form.
    """
    if auth in {BASIC, SIGV4}:
        return None
    form = FORM.fullmatch(auth)
    if form is None:
        raise ValueError(
            f'{auth!r} must be "basic", "sigv4", or a form such as "Authorization: Bearer {{token}}", '
            '"X-Api-Key: {token}" or "?key={token}"'
        )
    return TokenForm(form["header"], form["word"], form["parameter"])
