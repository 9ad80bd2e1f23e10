"""A job as a short text, with which another process can wait on for it: `tc1.` and what it holds, in base64.

It holds the dialect's name and the job's id, and nothing secret. The number is that of the form: a text of another form
is refused, not guessed at.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

FORM = "tc1."


def token_of(dialect: str, job_id: str) -> str:
    """The text for a job."""
    return FORM + urlsafe_b64encode(json.dumps([dialect, job_id], separators=(",", ":")).encode()).decode().rstrip("=")


def read_token(token: str) -> tuple[str, str]:
    """The name of the dialect and the id of the job.

    Raises:
        ValueError: The text is not one that `token_of` makes.
    """
    text = token if isinstance(token, str) else ""
    if not text.startswith(FORM):
        raise ValueError(
            f"token must be one of this version, which begins with {FORM!r}; wait with the job's id instead"
        )
    coded = text.removeprefix(FORM)
    try:
        told = json.loads(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))
    except (ValueError, RecursionError):
        told = None
    match told:
        case [str(dialect), str(job_id)] if token_of(dialect, job_id) == token:
            return dialect, job_id
    raise ValueError("token must be whole, as a Status or a JobTimeout gives it; wait with the job's id instead")
