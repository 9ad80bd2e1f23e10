"""What one process counts: plain numbers by the values of their labels.

Only the thread of the event loop changes them, so they need no lock. The numbers of several processes can be
added up, except the gauges of processes that have ended.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the buckets of durations, in seconds. Most polls take less than a millisecond, long polls up to a
minute."""

BATCHES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]
Saved = list[tuple[list[str], list[float]]]


class Family(dict[Labels, list[float]]):
    """A metric: its numbers by the values of its labels.

    A counter and a gauge have one number. A histogram has the number of values in each of its buckets, then of those
    above the last bound, then the sum of all values.

    Args:
        kind: what the metric is.
        name: its name, without ``_total``.
        text: what it counts, for people.
        labels: the names of its labels.
        bounds: the upper bounds of a histogram's buckets.
        values: the values of its only label that are known; they are shown before anything is counted.
    """

    def __init__(  # noqa: PLR0913 - what a metric is
        self,
        kind: Kind,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        bounds: tuple[float, ...] = (),
        values: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.kind, self.name, self.text, self.labels, self.bounds = kind, name, text, labels, bounds
        for known in [(value,) for value in values] if labels else [()]:
            self[known] = self._zero()

    def add(self, *labels: str, number: float = 1.0) -> None:
        """Adds to a counter or a gauge."""
        self._of(labels)[0] += number

    def observe(self, value: float, *labels: str) -> None:
        """Adds a value to a histogram."""
        numbers = self._of(labels)
        numbers[bisect_left(self.bounds, value)] += 1.0
        numbers[-1] += value

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Adds 1 to a gauge without labels for as long as the context lasts."""
        self.add()
        try:
            yield
        finally:
            self.add(number=-1.0)

    def add_up(self, saved: Saved) -> None:
        """Adds the numbers of another process."""
        for labels, numbers in saved:
            own = self._of(tuple(labels))
            own[:] = [one + other for one, other in zip(own, numbers, strict=True)]

    def _of(self, labels: Labels) -> list[float]:
        return self.get(labels) or self.setdefault(labels, self._zero())

    def _zero(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2 if self.kind == "histogram" else 1)


@dataclass(init=False, slots=True)
class Metrics:
    """All that a process counts."""

    requests: Family
    accepted: Family
    ended: Family
    lateness: Family
    polls: Family
    long_polls: Family
    faults: Family
    attempts: Family
    refused: Family
    lockouts: Family
    commits: Family
    commit_size: Family
    commit_wait: Family
    dropped: Family

    def __init__(self) -> None:
        self.requests = Family(
            "histogram",
            "http_server_request_duration_seconds",
            "How long requests took, until the head of the answer.",
            ("http_request_method", "http_route", "status_class"),
            bounds=DURATIONS,
        )
        self.accepted = Family("counter", "translation_jobs_accepted", "Accepted jobs.", ("api",))
        self.ended = Family(
            "counter",
            "translation_jobs_ended",
            "Jobs whose end an answer has shown to their user for the first time.",
            ("api", "outcome"),
        )
        self.lateness = Family(
            "histogram",
            "translation_lateness_seconds",
            "The time from a job's end until an answer first showed it, without cancelled jobs.",
            bounds=DURATIONS,
        )
        self.polls = Family(
            "counter",
            "translation_polls",
            "Polls by kind: of one job, or of many.",
            ("kind",),
            values=("poll", "batch_poll"),
        )
        self.long_polls = Family("gauge", "translation_long_polls_open", "Long polls that the server holds now.")
        self.faults = Family(
            "counter", "translation_faults", "Requests and deliveries that a fault rule changed.", ("of", "kind")
        )
        self.attempts = Family(
            "counter",
            "translation_webhook_attempts",
            "Attempts to deliver an event to a webhook.",
            ("result",),
            values=("accepted", "refused", "failed", "not_sent"),
        )
        self.refused = Family(
            "counter", "translation_auth_failures", "Requests refused for missing, malformed or wrong credentials."
        )
        self.lockouts = Family(
            "counter",
            "translation_auth_lockouts",
            "Times that an address or a user name was locked.",
            ("of",),
            values=("address", "user"),
        )
        self.commits = Family(
            "counter", "translation_store_commits", "Commits of submitted jobs.", ("result",), values=("ok", "error")
        )
        self.commit_size = Family(
            "histogram", "translation_store_batch_jobs", "How many submissions share one commit.", bounds=BATCHES
        )
        self.commit_wait = Family(
            "histogram",
            "translation_store_wait_seconds",
            "How long a submission waits for its commit, and for those before it.",
            bounds=DURATIONS,
        )
        self.dropped = Family(
            "counter",
            "translation_request_log_dropped_records",
            "Records that were lost because the store did not keep up.",
        )

    def families(self) -> Iterator[Family]:
        """Yields all metrics."""
        for name in self.__slots__:
            yield getattr(self, name)

    def observe_commit(self, waits: Sequence[float], succeeded: bool) -> None:
        """Counts a commit of submissions, by how long each of them has waited, in seconds."""
        self.commits.add("ok" if succeeded else "error")
        self.commit_size.observe(len(waits))
        for wait in waits:
            self.commit_wait.observe(wait)

    def save(self) -> dict[str, Saved]:
        """Returns all numbers as JSON."""
        return {
            family.name: [(list(labels), numbers) for labels, numbers in family.items()] for family in self.families()
        }

    def add_up(self, saved: Mapping[str, Saved], *, is_alive: bool) -> None:
        """Adds the numbers of another process; if that has ended, without its gauges."""
        for family in self.families():
            if is_alive or family.kind != "gauge":
                family.add_up(saved.get(family.name, []))
