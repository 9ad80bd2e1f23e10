"""The subcommand `listen`: shows webhooks as they are delivered."""

import json
import logging
from queue import SimpleQueue
from typing import Any

from translation_client.cli.display import document_of, write, write_document
from translation_client.cli.errors import DONE, UsageError
from translation_client.cli.log import log_and_show
from translation_client.cli.login import read_secret
from translation_client.cli.options import Options, Parser, naming_flags
from translation_client.core.text import one_line
from translation_client.receivers import Listener, Received

LARGEST_PORT = 65_535


def add_listening(parser: Parser) -> None:
    """Adds the flags of `listen`."""
    listening = parser.add_argument_group("listening")
    listening.add_argument("--host", help="the address to listen on (default 127.0.0.1: only this machine)")
    listening.add_argument("--port", type=int, help="the port (default 0: a free one)")
    listening.add_argument("--secret", help="the secret that signs; visible to all users of this machine")
    listening.add_argument("--secret-file", metavar="FILE", help="a file with the secret")
    listening.add_argument("--deliveries", type=int, metavar="N", help="end after N deliveries (default: no end)")


def listen(options: Options) -> int:
    """Listens until Ctrl-C, and prints each delivery.

    Raises:
        UsageError: An option is unusable, or the port is in use.
    """
    secret = read_secret("secret", options.secret_file) if options.secret_file else options.secret
    received = SimpleQueue[Received]()
    if not 0 <= options.port <= LARGEST_PORT:
        raise UsageError(f"--port must be a number from 0 to {LARGEST_PORT}, not {options.port}")
    if options.deliveries is not None and options.deliveries < 1:
        raise UsageError(f"--deliveries must be a number of at least 1, not {options.deliveries}")
    try:
        with naming_flags():
            listener = Listener(
                options.host,
                options.port,
                secret=secret,
                dialect=options.dialect,
                accepts_all=secret is None,
                on_delivery=received.put,
            )
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {options.host}, port {options.port}: {error}; choose another") from None
    with listener:
        checks = "verifying deliveries" if secret else "not verifying deliveries: there is no --secret"
        log_and_show(f"listening on {listener.url}, {checks}", logging.INFO)
        left = options.deliveries
        while left != 0:
            _show(received.get(), verifies=secret is not None, as_json=options.json)
            left = None if left is None else left - 1
    return DONE


def _show(delivery: Received, *, verifies: bool, as_json: bool) -> None:
    event, document = delivery.event, _document(delivery.body)
    if as_json:
        write_document(
            {
                "path": delivery.path,
                "headers": dict(delivery.headers),
                "body": document,
                "verified": event is not None,
                "error": (delivery.error or None) if verifies else None,
                "new": delivery.is_new,
                "status": _status(delivery),
            },
            compact=True,
        )
        return
    if event:
        about = f": {event.status}" if event.status else ""
        verdict = "verified" if verifies else "received"
        write(f"{verdict if delivery.is_new else 'repeated'} {event.type} {event.id}{about}")
        return
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    verdict = f"refused ({one_line(delivery.error)})" if verifies else "received"
    write(f"{verdict} POST {one_line(delivery.path)}: {one_line(text)}")


def _document(body: bytes) -> object:
    """Returns a body as JSON, or as text."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _status(delivery: Received) -> dict[str, Any] | None:
    if delivery.event is None or delivery.event.status is None:
        return None
    return document_of(delivery.event.status)
