"""A resume token: a job as a short text, so that another process can continue the wait.

It is `tc1.` and, in base64, the dialect's name, the job's id, and the address of its polls if the API has named one. It
contains no secret, unless that address does. The number is the version of the format. Tokens of another version are
refused.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

PREFIX = "tc1."


def token_of(dialect: str, job_id: str, url: str | None = None) -> str:
    """Returns the token of a job; `url` is the address of its polls, if the API has named one."""
    content = [dialect, job_id, *([] if url is None else [url])]
    encoded = urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode())
    return PREFIX + encoded.decode().rstrip("=")


def read_token(token: str) -> tuple[str, str, str | None]:
    """Returns the dialect's name, the job's id, and the address of its polls, if the token has one.

    Raises:
        ValueError: The text is not a token of this version.
    """
    text = token if isinstance(token, str) else ""
    if not text.startswith(PREFIX):
        version = f"one of this version, which begins with {PREFIX!r}"
        raise ValueError(f"token must be {version}; wait with the job's id instead")
    encoded = text.removeprefix(PREFIX)
    try:
        content = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        content = None
    match content:
        case [str(dialect), str(job_id)] if token_of(dialect, job_id) == token:
            return dialect, job_id, None
        case [str(dialect), str(job_id), str(url)] if token_of(dialect, job_id, url) == token:
            return dialect, job_id, url
    raise ValueError("token must be complete, as in Status.token or JobTimeout.token; wait with the job's id instead")
