"""What a submission brings: the facts of a job, and what tells it from others."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError
from starlette.requests import Request

from translation_server.api.bodies import parsed
from translation_server.api.context import context_of
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import SubmissionBody
from translation_server.core.dialects.dialect import Dialect, places, read
from translation_server.core.fingerprint import fingerprint, former_fingerprint
from translation_server.storage import Idempotency
from translation_server.validation import field_errors, unknown_field

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft has it, or the bare token that most clients send."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A submission as it was sent, and what is read in it: its facts, and these as a body of the native format."""

    document: Mapping[str, object]
    facts: Mapping[str, object]
    body: SubmissionBody

    def idempotency(self, key: str | None) -> Idempotency | None:
        """The key, if there is one, with what tells the submission from others."""
        return Idempotency(key, fingerprint(self.document), former_fingerprint(self.facts)) if key else None


def submission(request: Request, dialect: Dialect, body: bytes) -> Sent:
    """What the row's submission brings.

    Raises:
        Problem: 415, 400 or 422 for a body that is not what the row asks for, or that repeats what the query holds.
    """
    query = context_of(request).query
    asked = query.model_dump(exclude_unset=True) if query else {}
    if not body.strip():
        return Sent(asked, {}, SubmissionBody(**asked))
    document = parsed(request, body)
    facts, unknown = read(dialect.request, document)
    fields = places(dialect.request)
    try:
        found = SubmissionBody.model_validate(facts)
    except ValidationError as error:
        raise invalid(field_errors(error, "body", fields)) from None
    if unknown:
        raise invalid([{"field": field, "message": unknown_field(fields.values())} for field in unknown])
    if twice := asked.keys() & found.model_fields_set:
        raise invalid([{"field": fields[fact], "message": "comes in the query and in the body"} for fact in twice])
    return Sent({**document, **asked}, facts, found.model_copy(update=asked))


def recognize(request: Request, sent: bytes) -> None:
    """Notes what tells a submission from others, and a retry of it as one."""
    record = context_of(request).record
    record.key = _idempotency_key(request)
    record.digest = hashlib.blake2b(request.scope["query_string"] + b"?" + sent, digest_size=8).hexdigest()


def _idempotency_key(request: Request) -> str | None:
    headers = values_of(request, "idempotency-key")
    if not headers:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(headers[0])
    if match is None or len(headers) > 1:
        detail = (
            'Idempotency-Key must be one key of 1 to 255 visible ASCII characters but ", in double quotes or without.'
        )
        raise Problem(HTTPStatus.BAD_REQUEST, detail)
    return match[1] or match[2]
