"""Reading submissions: the fields of a job, and what distinguishes one submission from another."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError
from starlette.requests import Request

from translation_server.api.bodies import parse_object
from translation_server.api.context import context_of
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import SubmissionBody
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.template import placeholders, read_fields
from translation_server.core.fingerprint import fingerprint, former_fingerprint
from translation_server.storage import Idempotency
from translation_server.validation import field_errors, unknown_field

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft says, or the bare token that most clients send."""


@dataclass(frozen=True, slots=True)
class ReceivedSubmission:
    """A submission as it was received.

    Attributes:
        document: The body in the wire format, with the parameters of the query.
        values: The values of its fields.
        body: The same in the native format.
    """

    document: Mapping[str, object]
    values: Mapping[str, object]
    body: SubmissionBody

    def idempotency(self, key: str | None) -> Idempotency | None:
        """Returns the key, if there is one, with the fingerprints that distinguish the submission from others."""
        return Idempotency(key, fingerprint(self.document), former_fingerprint(self.values)) if key else None


def read_submission(request: Request, dialect: Dialect, body: bytes) -> ReceivedSubmission:
    """Returns the submission in a request of a dialect.

    Raises:
        Problem: 415, 400 or 422 if the body is not valid in the dialect, or repeats what the query has.
    """
    query = context_of(request).query
    parameters = query.model_dump(exclude_unset=True) if query else {}
    if not body.strip():
        return ReceivedSubmission(parameters, {}, SubmissionBody(**parameters))
    document = parse_object(request, body)
    values, unknown = read_fields(dialect.request, document)
    fields = placeholders(dialect.request)
    try:
        validated = SubmissionBody.model_validate(values)
    except ValidationError as error:
        raise invalid(field_errors(error, "body", fields)) from None
    if unknown:
        raise invalid([{"field": field, "message": unknown_field(fields.values())} for field in unknown])
    if repeated := parameters.keys() & validated.model_fields_set:
        raise invalid([{"field": fields[name], "message": "comes in the query and in the body"} for name in repeated])
    return ReceivedSubmission({**document, **parameters}, values, validated.model_copy(update=parameters))


def record_submission(request: Request, body: bytes) -> None:
    """Records the idempotency key and the digest of a submission, by which the report card recognizes retries."""
    record = context_of(request).record
    record.key = _idempotency_key(request)
    record.digest = hashlib.blake2b(request.scope["query_string"] + b"?" + body, digest_size=8).hexdigest()


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
