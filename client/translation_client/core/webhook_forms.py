"""The webhooks of an API as data: where a submission names their URL, and what a delivery looks like."""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from translation_client.core.status import State
from translation_client.core.templates import Node, Placeholder, Text, read

STATES = {"started": State.PENDING, "progress": State.PENDING} | {state.value: state for state in State}


class UrlPlace(NamedTuple):
    """Where a submission names the URL of its webhook: in the `query`, a `header` or the `body`; and the name there."""

    source: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Signature:
    """How deliveries are signed: as Standard Webhooks says, or with an HMAC-SHA256 in a header of their own.

    Attributes:
        secret: The secret of this project's server.
        prefix: The beginning of the names of the three headers of Standard Webhooks.
        header: The header with the HMAC; None for Standard Webhooks.
        text: The template of what the HMAC signs.
        value: The template of the value of that header.
        encoding: How the HMAC is written.
    """

    secret: str
    prefix: str = "webhook-"
    header: str | None = None
    text: Node = Placeholder("body")  # noqa: RUF009 - is frozen
    value: Node = Placeholder("signature")  # noqa: RUF009 - is frozen
    encoding: Literal["hex", "base64"] = "hex"

    def hmac(self, secret: str, values: Mapping[str, object]) -> str | None:
        """Returns the HMAC with a secret; None if a value that it signs is unknown."""
        signed = self.text.fill(values) if isinstance(self.text, Placeholder | Text) else self.text
        if not isinstance(signed, str):
            return None
        digest = hmac.digest(secret.encode(), signed.encode(errors="surrogateescape"), "sha256")
        return digest.hex() if self.encoding == "hex" else b64encode(digest).decode()


@dataclass(frozen=True, kw_only=True)
class WebhookForm:
    """The webhooks of one kind of job.

    Attributes:
        bodies: The templates of the bodies, by the job's state.
        events: The API's words for each event; the first one stands in the body.
        url: Where a submission names the URL; None if only the account or the sandbox has one.
        headers: The templates of further headers.
        signature: How deliveries are signed; None if they are not.
    """

    bodies: Mapping[State, Node]
    events: Mapping[str, Sequence[str]]
    url: UrlPlace | None = None
    headers: Mapping[str, Node] = field(default_factory=dict)
    signature: Signature | None = None

    def shown(self, headers: Mapping[str, str]) -> dict[str, object]:
        """Returns what the headers of a delivery show, by the names of placeholders.

        Args:
            headers: The headers by their names in lower case.
        """
        templates = dict(self.headers)
        if self.signature and self.signature.header:
            templates[self.signature.header] = self.signature.value
        found: dict[str, object] = {}
        for name, template in templates.items():
            if (value := headers.get(name.lower())) is not None:
                found = read(template, value) | found
        return found

    def word(self, document: object) -> str | None:
        """Returns the word for the event in a body; None where bodies have none."""
        found = (read(body, document).get("event") for body in self.bodies.values())
        return next((word for word in found if isinstance(word, str)), None)

    def state(self, word: str) -> State | None:
        """Returns the state of a job at an event; None if another kind of job has it."""
        return next((STATES[event] for event, words in self.events.items() if words[0] == word), None)

    @property
    def states(self) -> frozenset[State]:
        """The states of jobs at the events."""
        return frozenset(STATES[event] for event in self.events)
