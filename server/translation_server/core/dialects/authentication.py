"""How the callers of an API authenticate: forms such as ``Authorization: Bearer {token}``."""

import re
from typing import NamedTuple

BASIC = "basic"

FORM = re.compile(
    r"(?P<header>[A-Za-z][A-Za-z0-9-]*): (?:(?P<word>[A-Za-z][\w-]*) )?\{token\}|\?(?P<parameter>[\w.-]+)=\{token\}"
)


class TokenForm(NamedTuple):
    """Where a request has its token: behind a word in a header, alone in a header, or in a parameter of the query."""

    header: str | None
    word: str | None
    parameter: str | None


def token_form(auth: str) -> TokenForm | None:
    """Returns where requests have their token; None for Basic.

    Raises:
        ValueError: it is neither ``basic`` nor a form.
    """
    if auth == BASIC:
        return None
    form = FORM.fullmatch(auth)
    if form is None:
        raise ValueError(
            f'{auth!r} must be "basic", or a form such as "Authorization: Bearer {{token}}", "X-Api-Key: {{token}}" '
            'or "?key={token}"'
        )
    return TokenForm(form["header"], form["word"], form["parameter"])
