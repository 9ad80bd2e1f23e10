"""Submissions: the fields of a job, and the idempotency key."""

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
"""A structured-field string, as the standard's draft demands, or the bare token that most clients send."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A submission: the document as it was sent, its fields, and these as a body of the native format."""

    document: Mapping[str, object]
    fields: Mapping[str, object]
    body: SubmissionBody

    def idempotency(self, key: str | None) -> Idempotency | None:
        """Returns the key, if there is one, with the fingerprint of the submission."""
        return Idempotency(key, fingerprint(self.document), former_fingerprint(self.fields)) if key else None


def submission(request: Request, dialect: Dialect, body: bytes) -> Sent:
    """Reads a submission in a wire format.

    Raises:
        Problem: 415, 400 or 422 for an unusable body, or one that repeats a query parameter.
    """
    query = context_of(request).query
    parameters = query.model_dump(exclude_unset=True) if query else {}
    if not body.strip():
        return Sent(parameters, {}, SubmissionBody(**parameters))
    document = parsed(request, body)
    fields, unknown = read(dialect.request, document)
    wire_names = places(dialect.request)
    try:
        found = SubmissionBody.model_validate(fields)
    except ValidationError as error:
        raise invalid(field_errors(error, "body", wire_names)) from None
    if unknown:
        raise invalid([{"field": field, "message": unknown_field(wire_names.values())} for field in unknown])
    if twice := parameters.keys() & found.model_fields_set:
        raise invalid([{"field": wire_names[name], "message": "comes in the query and in the body"} for name in twice])
    return Sent({**document, **parameters}, fields, found.model_copy(update=parameters))


def recognize(request: Request, sent: bytes) -> None:
    """Records the idempotency key and a hash of a submission, by which the report card recognizes retries."""
    record = context_of(request).record
    record.key = _idempotency_key(request)
    record.digest = hashlib.blake2b(request.scope["query_string"] + b"?" + sent, digest_size=8).hexdigest()


def _idempotency_key(request: Request) -> str | None:
    headers = values_of(request, "idempotency-key")
    if not headers:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(headers[0])
    if match is None or len(headers) > 1:
        detail = 'Idempotency-Key must be one key of 1 to 255 visible ASCII characters except ", quoted or not.'
        raise Problem(HTTPStatus.BAD_REQUEST, detail)
    return match[1] or match[2]
