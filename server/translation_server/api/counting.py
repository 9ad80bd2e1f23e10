"""Counts requests for the metrics."""

from collections.abc import Callable

from translation_server.api.request_record import AddRecord, PollRecord, RecordBuilder
from translation_server.core.job import JobSnapshot, State
from translation_server.core.metrics import Metrics
from translation_server.core.report.timelines import POLLS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_OTHER"  # any other method, as OpenTelemetry calls it: a caller can invent any number of them
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")  # by the first digit of the status; none without an answer


def count_request(metrics: Metrics, route: str, method: str, status: int, took: float) -> None:
    """Counts a request by the template of its route; the template is empty where no route was found."""
    metrics.requests.observe(took, method if method in METHODS else OTHER, route, CLASSES[status // 100])


def counting(add_record: AddRecord, metrics: Metrics, count_end: Callable[[JobSnapshot, float], None]) -> AddRecord:
    """Returns a function that counts what a record says, and adds it by ``add_record``.

    ``count_end`` is called with each job that the answer shows as ended, and the wall time of the answer.
    """
    polls = {kind: metrics.polls[kind,] for kind in POLLS}

    def add(user: str, record: RecordBuilder | PollRecord) -> None:
        if numbers := polls.get(record.action or ""):
            numbers[0] += 1.0
        if record.faults:
            for kind in set(record.faults):
                metrics.faults.add("request", kind)
        for snapshot in record.snapshots:
            if snapshot.state is not State.PENDING:
                count_end(snapshot, record.at + record.took)
        add_record(user, record)

    return add
