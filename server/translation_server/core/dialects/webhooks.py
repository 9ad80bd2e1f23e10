"""Webhooks of an API: where submissions name them, and what their deliveries look like, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from translation_server.core.dialects.filters import timestamp
from translation_server.core.dialects.operations import IdPlace, Operation
from translation_server.core.dialects.template import Names
from translation_server.core.job import JobSnapshot, json_text
from translation_server.core.webhooks import EventName, Signature

EVENT_NAMES: Names = {"event": None, "event_at": timestamp, "delivery_id": None}
"""The names that the bodies of deliveries may use, besides those of answers about a job."""


class HeaderPlaces(NamedTuple):
    """The dotted paths in a submission of a header that its caller chooses for the deliveries."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class WebhookFormat:
    """The webhooks of one kind of job.

    Attributes:
        events: The API's words for each event that it delivers; the first one stands in the body.
        body: An operation whose answers are the bodies.
        url: Where a submission has the URL; None where only the sandbox has one.
        filter: Where a submission may have the words of the events that it wants.
        default: The words that count where it has none; empty for all.
        caller_header: Where it may have a header for the deliveries.
        headers: Further headers; their values are templates.
        signature: How deliveries are signed; None if they are not.
        secrets: The keys of the signatures, unless the sandbox has others.
    """

    events: Mapping[EventName, Sequence[str]]
    body: Operation
    url: IdPlace | None = None
    filter: IdPlace | None = None
    default: Sequence[str] = ()
    caller_header: HeaderPlaces | None = None
    headers: tuple[tuple[str, str], ...] = ()
    signature: Signature | None = None
    secrets: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """All words for events."""
        return list(dict.fromkeys(word for words in self.events.values() for word in words))

    @property
    def fields(self) -> list[str]:
        """The fields of a submission's body that say something of its webhook, by their dotted paths."""
        places = [place.name for place in (self.url, self.filter) if place and place.source == "body"]
        return [*places, *(self.caller_header or ())]

    def word(self, event: str) -> str:
        """Returns the first word for an event."""
        return next((words[0] for name, words in self.events.items() if name == event), event)

    def named(self, words: Sequence[object]) -> tuple[EventName, ...]:
        """Returns the events that some words name."""
        return tuple(event for event, own in self.events.items() if not set(own).isdisjoint(words))


def with_event(snapshot: JobSnapshot, event: Mapping[str, object]) -> JobSnapshot:
    """Returns the snapshot of a job with the values of an event, for the body of its delivery."""
    job = snapshot.job
    return JobSnapshot(replace(job, echo_text=json_text({**job.echo, **event})), snapshot.now)
