"""The benchmark of `make bad-days` with few and short jobs, of a client that polls every second."""

import importlib
import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of the benchmarks, from whose folder they import one another."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_numbers_of_the_clients_agree_with_the_request_log(benchmark):
    environment = dict(os.environ)
    runs, results, sdks = map(benchmark, ("sdk_runs", "sdk_results", "sdks"))
    number = next(number for number, sdk in enumerate(sdks.SDKS) if sdk.name == "runpod")
    found = sdks.measure_all([number], ["perfect", "flaky"], runs.Settings(2, 0.5, 1.0))
    assert dict(os.environ) == environment
    assert [(one.whose, one.scenario) for one in found] == [
        (whose, scenario) for whose in (runs.THEIRS, runs.OURS) for scenario in ("perfect", "flaky")
    ]
    assert [line for one in found for line in results.disagreements(one)] == []
    assert all(len(one.ended) == 2 for one in found if one.scenario == "perfect")
    assert all(job.lateness < runs.TIMEOUT for one in found for job in one.ended)
