"""Converts jobs and deliveries to rows of their tables and back, in the same way for every database."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from translation_server.core.job import Fate, Job, State, Submission, json_text
from translation_server.core.webhook_events import next_event_at
from translation_server.core.webhooks import Attempt, Delivery, DeliveryState, SentRequest, Signature, Webhook

TYPES = {
    "id": "text",
    "owner": "text",
    "ordinal": "bigint",
    "created_at": "float8",
    "delay": "float8",
    "outcome": "text",
    "message": "text",
    "after_polls": "bigint",
    "code": "text",
    "output": "text",
    "source_language": "text",
    "target_language": "text",
    "video_length": "float8",
    "cancelled_at": "float8",
    "paused_at": "float8",
    "paused_for": "float8",
    "changed_at": "float8",
    "api": "text",
    "kind": "text",
    "polls": "bigint",
    "echo": "text",
    "pauses": "text",
    "deleted_at": "float8",
    "changed_before": "float8",
    "webhook": "text",
    "notified": "bigint",
    "next_event_at": "float8",  # derived from the others, for its index
}
"""The columns of a job, and PostgreSQL's names for the types of their values."""

NAMES = tuple(TYPES)
COLUMNS = ", ".join(NAMES)  # the columns of a job, in the order of `row_of`
OUTPUT, ECHO, PAUSES, WEBHOOK = map(NAMES.index, ("output", "echo", "pauses", "webhook"))
GENERATION_MARK = "\x1e"  # separates the owner's name, which cannot contain it, from the generation in a key


def owner_of(key: str) -> str:
    """Returns the name of the owner of a key; `statements.DATA_KEY` says what a key is."""
    return key.partition(GENERATION_MARK)[0]


def size_of(row: Sequence[Any]) -> int:
    """Returns the size of the job of a row."""
    return len(row[ECHO]) + len(row[PAUSES]) + len(row[OUTPUT] or "") + len(row[WEBHOOK] or "")


def job_of(row: Sequence[Any]) -> Job:
    """Returns the job of a row with the values of COLUMNS."""
    (
        job_id,
        key,
        ordinal,
        created_at,
        delay,
        outcome,
        message,
        after_polls,
        code,
        output,
        source,
        language,
        length,
        *rest,
        webhook,
        notified,
        _,
    ) = row
    fate, submission = (
        Fate(delay, State(outcome), message, after_polls, code, output),
        Submission(source, language, length),
    )
    rest += None if webhook is None else _webhook_of(webhook), notified
    return Job(job_id, owner_of(key), ordinal, created_at, fate, submission, *rest)


def row_of(job: Job, key: str) -> tuple[object, ...]:
    """Returns the values of COLUMNS for a job, with the key in place of its owner."""
    fate, submission = job.fate, job.submission
    return (
        *(job.id, key, job.ordinal, job.created_at),
        *(fate.delay, fate.outcome, fate.message, fate.after_polls, fate.code, fate.output),
        *(submission.source_language, submission.target_language, submission.video_length),
        *(job.cancelled_at, job.paused_at, job.paused_for, job.changed_at, job.api, job.kind, job.polls),
        *(job.echo_text, job.pauses_text, job.deleted_at, job.changed_before),
        *(job.webhook and json_text(asdict(job.webhook)), job.notified, next_event_at(job)),
    )


def delivery_of(text: str) -> Delivery:
    """Returns the delivery of a stored document."""
    document = json.loads(text)
    document["attempts"] = tuple(map(_attempt_of, document["attempts"]))
    document["copies"] = tuple(document.get("copies", ()))
    return Delivery(**document | {"state": DeliveryState(document["state"])})


def delivery_row(delivery: Delivery, key: str) -> tuple[object, ...]:
    """Returns the row of a delivery, with the key in place of its owner."""
    gone = delivery.url if delivery.state is DeliveryState.GONE else None
    place = (key, delivery.ordinal, delivery.stage)
    return (*place, delivery.id, delivery.next_at, gone, json_text(asdict(delivery)))


def _attempt_of(document: dict[str, Any]) -> Attempt:
    request = document.get("request")
    return Attempt(**document | {"request": request and SentRequest(**request)})


def _webhook_of(text: str) -> Webhook:
    document = json.loads(text)
    found: dict[str, Any] = {name: tuple(document[name]) for name in ("events", "secrets")}
    found["headers"] = tuple(map(tuple, document["headers"]))
    if document["signature"] is not None:
        found["signature"] = Signature(**document["signature"])
    return Webhook(**document | found)
