"""The request that submits a job: as JSON, as an HTML form, or with files as a multipart form."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from translation_client.core.dialects import Dialect, put_at
from translation_client.core.effects import Send, Upload
from translation_client.core.templates import fill, overlaid, paths
from translation_client.core.webhook_forms import UrlPlace


def submitting(
    dialect: Dialect,
    key: str,
    fields: Mapping[str, object],
    parameters: Mapping[str, str] | None = None,
    files: Mapping[str, Upload] | None = None,
) -> Send:
    """Returns the request that submits a job; ``fields`` may hold any ``input`` besides the native fields.

    Raises:
        ValueError: The dialect has no submissions, or none with such fields; or a parameter of the path is missing.
    """
    submit = dialect.required("submit", "start")
    given = fields.get("input") or {}
    body = {**fill(dialect.send, fields), **(given if isinstance(given, Mapping) else {})}
    if "simulate" in fields and "simulate" not in paths(dialect.send):
        body["simulate"] = fields["simulate"]
    headers: dict[str, str] = {}
    if dialect.idempotency and dialect.idempotency.source == "header":
        headers[dialect.idempotency.name] = key
    elif dialect.idempotency:
        put_at(body, dialect.idempotency.name.split("."), key)
    query: dict[str, str] = {}
    if dialect.webhook and dialect.webhook.url and isinstance(webhook := fields.get("webhook"), Mapping):
        body = _with_url(dialect.webhook.url, webhook["url"], body, headers, query)
    job_id = fields.get("job_id") if submit.has_id else None
    job_id = job_id if isinstance(job_id, str) else None
    send = submit.send(parameters or {}, job_id, json=body, headers=headers, query=query)
    if files and "multipart" not in submit.accepts:
        if send.json:
            names = ", ".join(send.json)
            raise ValueError(f"input does not fit a submission whose whole body is a file; leave out {names}")
        return replace(send, files=files)
    if not files and not {"json", "untyped"}.isdisjoint(submit.accepts):
        return send
    if not files and "form" in submit.accepts:
        return replace(send, json=None, form=_form(send.json or {}))
    if "multipart" in submit.accepts:
        return replace(send, json=None, form=_form(send.json or {}), files=files or {})
    return send


def _with_url(
    place: UrlPlace, url: str, body: dict[str, Any], headers: dict[str, str], query: dict[str, str]
) -> dict[str, Any]:
    """Adds the URL of a webhook at its place, to ``headers``, ``query`` or the body; returns the body."""
    if place.source != "body":
        (query if place.source == "query" else headers)[place.name] = url
        return body
    own: dict[str, Any] = {}
    put_at(own, place.name.split("."), url)
    return {**body, **{name: overlaid(body.get(name), value) for name, value in own.items()}}


def _form(body: Mapping[str, object]) -> list[tuple[str, str]]:
    """Returns the fields of a form; a list becomes a field that is repeated, and `simulate` is JSON.

    Raises:
        ValueError: A form cannot carry a value.
    """
    simulated = {name: json.dumps(value) for name, value in body.items() if name == "simulate"}
    given = {**body, **simulated}.items()
    fields = [(name, one) for name, value in given for one in (value if isinstance(value, list) else [value])]
    for name, value in fields:
        if not isinstance(value, str | int | float):
            allowed = (
                f"texts, numbers, booleans, or lists of them, because the API takes a form: {name} is none of these"
            )
            raise ValueError(f"input must hold {allowed}")  # noqa: TRY004 - a ValueError, as for every argument
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in fields]
