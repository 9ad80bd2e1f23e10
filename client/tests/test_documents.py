"""The Python examples of the five earlier systems' documents run unchanged, except for their imports and the port.

All of them but the one whose server takes 20 seconds per job run at the same time, in processes of their own.
"""

import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ports import free_port
from translation_client.compat import translate

pytestmark = pytest.mark.takes(30)

EXAMPLES = Path(__file__).parents[2] / "tests" / "contract" / "examples"


class Example(NamedTuple):
    """A program: the files that it consists of, its imports, and what it prints and logs."""

    files: str
    imports: str
    prints: str
    logs: str = ""


COMPAT = "from translation_client.compat."
RESULT = f"{COMPAT}result import VideoTranslationClient"
LOG = (
    r"(?s:\d\d:\d\d:\d\d - INFO - Initial status: \w+\n"
    r"(.* - INFO - Sleeping for 2s before retry #1\. Total elapsed time = \d+s\n.*)?"
    r"\d\d:\d\d:\d\d - INFO - Job completed with status: completed\n)"
)
QUICK_START = Example(
    "001_1",
    "from translation_client.compat.status import StatusPollingConfig, VideoTranslationClient",
    r"Server started on http://localhost:\d+\n"
    r"Status changed to: pending\nElapsed time: \d+\.\d{6}s\n"
    r"Status changed to: (completed|error)\nElapsed time: 20\.000000s\n"
    r"Final status: (completed|error)\nTotal time: 20\.000000s\n",
)
PROGRAMS = [
    Example(
        "000_1",
        f"{COMPAT}jobs import TranslationClient",
        r"(Status: pending\n)?Status: completed\nComplete: \{.*'result': 'completed'.*\}\n",
    ),
    Example("000_2", f"{COMPAT}jobs import TranslationClient", ""),
    Example(
        "001_2 001_3",
        f"{COMPAT}status import StatusPollingConfig, VideoTranslationClient",
        r"(Status changed: StatusResponse\(status=.*, elapsed_time=.*\)\n)+Final result: completed\n",
    ),
    Example(
        "002_1",
        f"{COMPAT}translate import VideoTranslationClient",
        r"Translation completed: \{'job_id': '.+', 'status': 'completed', 'source_language': 'en', .*\}\n",
    ),
    Example("002_4 002_5 002_6", f"{COMPAT}translate import TranslationConfig, VideoTranslationClient", ""),
    Example("003_1", RESULT, "Final status: completed\n", LOG),
    Example("003_2 003_3", RESULT, "Final status of the job: completed\n", LOG),
    Example("003_4", RESULT, "Final status of the job: completed\n", LOG),
    Example(
        "004_1",
        f"{COMPAT}start import TranslationStatusClient",
        r"Started job with ID: .+\nTest completed with final status: completed\n",
    ),
]


def check(example, process):
    printed, logged = process.communicate(timeout=300)
    assert re.fullmatch(example.logs, logged), logged
    assert re.fullmatch(example.prints, printed), printed
    assert process.returncode == 0


@pytest.fixture(scope="module")
def processes(open_server, admins_server, play):
    started = {}
    for example in PROGRAMS:
        url = admins_server if "004" in example.files else open_server
        started[example.files] = play(example.files, example.imports, int(url.rsplit(":", 1)[1]))
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda example: example.files)
def test_example_runs_unchanged(processes, example):
    check(example, processes[example.files])


def test_quick_start_of_20_seconds_runs_unchanged(play):
    """The example has its own server, whose jobs take 20 seconds."""
    with play(QUICK_START.files, QUICK_START.imports, free_port()) as process:
        try:
            check(QUICK_START, process)
        finally:
            process.kill()


def signatures(kind):
    """Returns for each method of a class whether it is async, and its positional arguments with their defaults."""
    return {
        name: (
            inspect.iscoroutinefunction(method),
            [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(method).parameters.values()
                if parameter.kind is not parameter.KEYWORD_ONLY
            ],
        )
        for name, method in vars(kind).items()
        if inspect.isfunction(method)
    }


@pytest.mark.parametrize(("file", "name"), [("002_2", "TranslationConfig"), ("002_3", "VideoTranslationClient")])
def test_class_has_the_methods_of_its_document(file, name):
    shown = {}
    exec("from typing import Any, Dict\n" + (EXAMPLES / f"{file}.py").read_text(), shown)  # noqa: S102 - an example of this repository
    assert signatures(shown[name]).items() <= signatures(getattr(translate, name)).items()


def test_every_example_is_run():
    run = {name for example in [QUICK_START, *PROGRAMS] for name in example.files.split()} | {"002_2", "002_3"}
    assert run == {path.stem for path in EXAMPLES.glob("*.py")}
