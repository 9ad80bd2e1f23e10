"""The webhook of a submission: its own, in the form of its API, or that of the sandbox."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from starlette.requests import Request

from translation_server.api.addresses import base_url
from translation_server.api.context import context_of
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.operations import IdPlace
from translation_server.core.dialects.template import value_at
from translation_server.core.dialects.webhooks import WebhookFormat
from translation_server.core.webhooks import MAX_DEPTH, Webhook
from translation_server.documents import WebhookBody
from translation_server.service.jobs import Service
from translation_server.service.webhook_policy import UnusableUrl
from translation_server.service.webhook_sender import DEPTH

MAX_DIGITS = 9  # how many digits of a number in a header count
MAX_URL = 2000  # how many characters a URL may have
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
HEADER_VALUE = re.compile(r"[ -~]{0,1000}")
RESERVED = frozenset({"connection", "content-length", "host", "transfer-encoding", DEPTH})
"""The headers of deliveries that no caller can choose."""

Document = Mapping[str, Any]


async def submitted_webhook(
    request: Request, service: Service, dialect: Dialect, document: Document, native: WebhookBody | None
) -> Webhook | None:
    """Returns where the events of a submission's jobs are delivered, and how; None if nowhere.

    Args:
        request: the submission.
        service: the use cases.
        dialect: its wire format.
        document: its body.
        native: its webhook, if that has the native form.

    Raises:
        Problem: 422 if they cannot be delivered there.
    """
    form, field = dialect.webhook, "webhook.url"
    found = None if form is None or form.url is None else _of_submission(request, form, form.url, document)
    if found and form and form.url:
        field = form.url.name
    else:
        sandbox = await service.sandboxes.of(context_of(request).user)
        found = _formed(form, native or cast("WebhookBody | None", sandbox.settings.webhook))
    if found is None:
        return None
    await check_url(service, context_of(request).user, found.url, field)
    return replace(found, base_url=base_url(request.scope), depth=_depth(request, field.removesuffix(".url")))


async def check_url(service: Service, user: str, url: str, field: str = "webhook.url") -> None:
    """Checks that deliveries to a user's URL are allowed; ``field`` is where the caller has it.

    Raises:
        Problem: 422 if not.
    """
    try:
        await service.check_webhook(user, url)
    except UnusableUrl as error:
        raise _refusal(field, str(error)) from None


def _formed(form: WebhookFormat | None, body: WebhookBody | None) -> Webhook | None:
    """Returns a webhook in the native form as one of an API; None if this API delivers none of its events."""
    if body is None:
        return None
    webhook = Webhook(body.url, tuple(body.events), tuple(body.secret or ()))
    if form is None:
        return webhook
    events = tuple(event for event in webhook.events if event in form.events)
    secrets = webhook.secrets or form.secrets
    formed = replace(webhook, events=events, secrets=secrets, signature=form.signature, headers=form.headers)
    return formed if events else None


def _of_submission(request: Request, form: WebhookFormat, place: IdPlace, document: Document) -> Webhook | None:
    """Returns the webhook that a submission names in its API's own field; None if it names none.

    Raises:
        Problem: 422 if what it says of it cannot be used.
    """
    url = _at(request, place, document)
    if url is None or url == "":
        return None
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise _refusal(place.name, f"must be a URL of at most {MAX_URL} characters")
    events = form.named(_words(request, form, document))
    headers = (*form.headers, *_header(form, document))
    return Webhook(url, events, form.secrets, signature=form.signature, headers=headers) if events else None


def _words(request: Request, form: WebhookFormat, document: Document) -> Sequence[str]:
    """Returns the words of the events that a submission wants."""
    found = None if form.filter is None else _at(request, form.filter, document)
    words = [word.strip() for word in found.split(",")] if isinstance(found, str) and found else found
    if form.filter is None or not words:
        return form.default or form.words
    if not isinstance(words, list) or any(word not in form.words for word in words):
        raise _refusal(form.filter.name, f"must be a list with some of {', '.join(form.words)}")
    return words


def _header(form: WebhookFormat, document: Document) -> tuple[tuple[str, str], ...]:
    """Returns the header that a submission wants for its deliveries, with its value as a template."""
    if form.caller_header is None or (name := value_at(document, form.caller_header.name)) is None:
        return ()
    value = value_at(document, form.caller_header.value)
    if not isinstance(name, str) or not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED:
        raise _refusal(form.caller_header.name, "must be the name of a header that the server does not set itself")
    if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
        raise _refusal(form.caller_header.value, "must be a text of printable ASCII, of at most 1000 characters")
    return ((name, value.replace("{", "{{").replace("}", "}}")),)


def _at(request: Request, place: IdPlace, document: Document) -> object:
    """Returns the value at a place of a submission; None if there is none."""
    match place.source:
        case "query":
            return request.query_params.get(place.name)
        case "header":
            return next(iter(values_of(request, place.name)), None)
    return value_at(document, place.name)


def _depth(request: Request, field: str) -> int:
    """Returns the number of a delivery in a chain: how many have led to this submission, and one more.

    Raises:
        Problem: 422 if the chain is too long.
    """
    led = request.headers.get(DEPTH, "0")
    if not (led.isascii() and led.isdigit()):
        raise _refusal(DEPTH, "must be a whole number")
    depth = 1 + int(led.lstrip("0")[:MAX_DIGITS] or "0")
    if depth > MAX_DEPTH:
        message = f"must be left out: {MAX_DEPTH} webhooks have led to this submission, maybe in an endless loop"
        raise _refusal(field, message)
    return depth


def _refusal(field: str, message: str) -> Problem:
    return invalid([{"field": field, "message": message}])
