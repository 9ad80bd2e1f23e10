"""Judges single answers in a request log by the information that they gave the client.

An answer is unusable if the request failed, or if a fault made the answer false.
"""

import math

from translation_server.core.request_log import RequestRecord

DENIED = frozenset({401, 403})
REFUSED = frozenset({429, 503})
BAD_REQUEST, SERVER_ERROR = 400, 500

BROKEN = frozenset({"reset", "empty", "malformed", "truncate", "garbage", "hang"})
"""The faults that leave a request without a complete answer."""

DELAYED = frozenset({"latency", "drip"})  # the faults that only delay the answer
TRUTHFUL = DELAYED | {"huge-retry-after"}  # the faults with which the answer still shows the true status of its jobs
MAX_BINDING_HINT = 3600.0  # a client may ignore hints of more than this many seconds

TOLERANCE, TOLERANCE_SECONDS = 0.1, 0.05
"""How much earlier than the hint a poll may come: this share of the hint, plus these seconds."""


def answered_at(record: RequestRecord) -> float:
    """Returns when a request was answered."""
    return record.at + record.took


def has_failed(record: RequestRecord) -> bool:
    """Whether there was no complete answer, or one that asks for a retry."""
    unanswered = (record.status == 0 and record.action != "event") or not BROKEN.isdisjoint(record.faults)
    return unanswered or record.status in REFUSED or record.status >= SERVER_ERROR


def is_unusable(record: RequestRecord) -> bool:
    """Whether the answer gave the client no true information."""
    return has_failed(record) or not TRUTHFUL.issuperset(record.faults)


def is_refused(record: RequestRecord) -> bool:
    """Whether the server did nothing for a request, even if a fault kept the client from knowing that."""
    refused = BAD_REQUEST <= record.status < SERVER_ERROR or "status" in record.faults
    return refused or (record.hidden_status or 0) >= BAD_REQUEST


def is_denied(record: RequestRecord) -> bool:
    """Whether the server itself, not a fault, refused the credentials."""
    return record.status in DENIED and not record.faults


def due(record: RequestRecord) -> float:
    """Returns the earliest time at which the client should poll again; -infinity if the answer sets none."""
    unusable = record.status not in REFUSED and is_unusable(record)
    if record.hint is None or record.hint > MAX_BINDING_HINT or unusable or "huge-retry-after" in record.faults:
        return -math.inf
    return answered_at(record) + record.hint


def is_too_early(before: RequestRecord, record: RequestRecord) -> bool:
    """Whether a request came earlier than the hint before it allows."""
    earliest = due(before) - TOLERANCE * (before.hint or 0.0) - TOLERANCE_SECONDS
    return answered_at(before) <= record.at < earliest
