"""Writes the metrics as text for Prometheus, or as OpenMetrics."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from translation_server.core.metrics import Family, Metrics


class _Once(Collector):
    """A collector of these metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def expose(accept: str, total: Metrics, pending: int | None, build: Mapping[str, str]) -> tuple[bytes, str]:
    """Returns the text in the format that an Accept header prefers, and its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(_metrics(total, pending, build)))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _metrics(total: Metrics, pending: int | None, build: Mapping[str, str]) -> Iterator[Metric]:
    """Yields all metrics in the form of prometheus-client."""
    yield InfoMetricFamily("translation_build", "The version of the server.", value=dict(build))
    if pending is not None:
        text = "Jobs in the store that are pending now: the same number from each server."
        yield GaugeMetricFamily("translation_jobs_pending", text, pending)
    for family in total.families():
        yield _metric(family)


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        bounds = [*(repr(bound) for bound in family.bounds), "+Inf"]
        for labels, (*counts, value_sum) in family.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, value_sum)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.text, labels=family.labels)
    for labels, (number,) in family.items():
        metric.add_metric(labels, number)
    return metric
