"""The pytest plugin: a server, a sandbox for each test, and the report cards of the tests.

pytest imports it at every start, also for suites that do not use it. It is therefore a module of its own, and imports
the client and the server only in a fixture.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from translation_client.sandbox import Sandbox
    from translation_server import TranslationServer

VERDICT = "report card"
"""The property of a test that holds its card's verdict. xdist sends it to the process that prints the summary."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option for the folder of the report cards."""
    parser.getgroup("translation", "report cards of job API clients").addoption(
        "--translation-report",
        metavar="DIR",
        type=os.path.abspath,  # a test may change the working directory; not a Path, which xdist cannot send
        help="write the report card of each test that uses `sandbox` to this folder, as JUnit XML and as HTML",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker and the summary."""
    config.addinivalue_line(
        "markers",
        "scenario(name, **settings): chooses the scenario of the fixture `sandbox`, and further settings of it: seed=7",
    )
    config.pluginmanager.register(Summary(), "translation-report-summary")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuses a marker that would have no effect."""
    fixtures = getattr(item, "fixturenames", ())
    has_server_only = "translation_server" in fixtures and "sandbox" not in fixtures
    if has_server_only and any(marker.name == "scenario" for marker in item.own_markers):
        pytest.fail("the marker `scenario` needs the fixture `sandbox`, which this test does not use", pytrace=False)


@pytest.fixture(scope="session")
def translation_server() -> Iterator[TranslationServer]:
    """One server for all tests of the process; its jobs take 5 seconds and complete."""
    from translation_client.testing import server  # noqa: PLC0415 - not at pytest's start

    with ExitStack() as stack:
        try:
            running = stack.enter_context(server())
        except ModuleNotFoundError as error:
            pytest.fail(str(error), pytrace=False)
        yield running


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, translation_server: TranslationServer) -> Iterator[Sandbox]:
    """A sandbox for one test, in the scenario and with the settings of its marker `scenario`."""
    from translation_client.testing import sandbox_on  # noqa: PLC0415 - not at pytest's start
    from translation_client.testing.cards import write_card  # noqa: PLC0415 - not at pytest's start

    with sandbox_on(translation_server.url) as sandbox:
        if marker := request.node.get_closest_marker("scenario"):
            _choose(sandbox, marker)
        yield sandbox
        report = sandbox.report()
        request.node.user_properties.append((VERDICT, report.verdict))
        if folder := request.config.option.translation_report:
            write_card(sandbox, report, Path(folder), request.node.nodeid)


def _choose(sandbox: Sandbox, marker: pytest.Mark) -> None:
    """Applies a marker `scenario`; an unusable one fails the test with one line."""
    from translation_client.core.errors import InvalidRequest  # noqa: PLC0415 - not at pytest's start

    names, known = marker.args, list(sandbox.scenarios())
    if len(names) > 1 or (names and names[0] not in [None, *known]):
        given = ", ".join(map(repr, names))
        pytest.fail(f"the marker `scenario` takes one of {', '.join(known)}, not {given}", pytrace=False)
    try:
        sandbox.set(**dict(zip(["scenario"], names, strict=False)), **marker.kwargs)
    except (InvalidRequest, ValueError) as error:
        pytest.fail(f"the marker `scenario` has an unusable setting: {error}", pytrace=False)


class Summary:
    """Collects the verdicts of the report cards and prints them at the end."""

    def __init__(self) -> None:
        self._verdicts: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collects the verdict of a test, which is known when its fixtures have ended."""
        verdict = dict(report.user_properties).get(VERDICT)
        if report.when == "teardown" and isinstance(verdict, str):
            self._verdicts[report.nodeid] = verdict

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Prints the tests whose cards are not good, and how many are."""
        if not self._verdicts or config.option.no_summary:
            return
        found = {test: verdict for test, verdict in self._verdicts.items() if verdict != "good"}
        terminalreporter.section("report cards")
        for test, verdict in found.items():
            terminalreporter.line(f"{test}: {verdict}", yellow=True)
        terminalreporter.line(f"{len(self._verdicts) - len(found)} of {len(self._verdicts)} good")
        if folder := config.option.translation_report:
            terminalreporter.line(f"written to {folder}")
