"""Renders report cards: as JSON, as text for a terminal, and as JUnit XML for CI."""

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from xml.etree import ElementTree as ET

from translation_server.core.report.findings import RULES, Finding
from translation_server.core.report.report import Reaction, Report
from translation_server.core.report.results import counted

WIDTH = 100

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_dumps = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def pieces(report: Report, media_type: str) -> Iterator[str]:
    """Yields a card in one of the `MEDIA_TYPES`. JSON, which has every job, comes in many pieces."""
    if render := RENDERERS.get(media_type):
        yield render(report)
        return
    faults = [asdict(reaction) for reaction in report.faults]
    yield f'{{"overall":{_dumps(asdict(report.overall))},"faults":{_dumps(faults)},"jobs":['
    for number, job in enumerate(report.jobs):
        yield f"{',' if number else ''}{_dumps(asdict(job))}"
    yield f'],"findings":{_dumps([asdict(finding) for finding in report.findings])}}}'


def text(report: Report) -> str:
    """Returns the card for a terminal: the numbers, then the findings."""
    of = report.overall
    dropped = f" ({of.dropped} older ones were dropped)" if of.dropped else ""
    lateness = (of.lateness_median, of.lateness_p99, of.lateness_max)
    numbers = [
        ("requests", f"{of.requests}{dropped}"),
        ("jobs", f"{of.jobs}; submits {of.submits}, duplicates {of.duplicate_submits}"),
        ("keys", f"{of.keys_used} used, {of.keys_reused} sent again"),
        ("polls", f"{of.polls}, per job {_number(of.polls_per_job, '')}"),
        ("lateness", "median {}, p99 {}, max {}".format(*(_number(seconds, " s") for seconds in lateness))),
        ("early polls", f"{of.early_polls}; after the end {of.polls_after_end}"),
        ("never collected", f"{of.never_collected}"),
        ("retries", f"{of.retries}, variation of their pauses {_number(of.retry_variation, '')}"),
        ("busiest second", f"{of.busiest_second}, {_number(of.crowding, '')} times the mean"),
        ("credentials", counted(of.credentials_errors, "error")),
        ("waiting", f"long polls {of.long_polls}, event streams {of.event_streams}, batch polls {of.batch_polls}"),
        ("not modified", f"{counted(of.not_modified, 'answer')} (304)"),
    ]
    lines = [f"{name:<16} {value}" for name, value in numbers]
    if report.faults:
        lines += ["", "faults that fired, and what the client did next"]
        lines += [f"  {_reaction(reaction)}" for reaction in report.faults]
    lines += ["", *map(_finding, report.findings)] if report.findings else ["", "no findings"]
    return "\n".join(lines) + "\n"


def junit(report: Report) -> str:
    """Returns the card as JUnit XML: a test case for each rule. A warning is a failure, a note is output."""
    found = {finding.rule: finding for finding in report.findings}
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    totals = {"tests": str(len(RULES)), "failures": str(warnings), "errors": "0", "skipped": "0", "time": "0"}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", {"name": "report card", **totals})
    for rule in RULES:
        test_case = ET.SubElement(suite, "testcase", {"classname": "report-card", "name": rule, "time": "0"})
        if finding := found.get(rule):
            message, details = NOT_XML.sub("", finding.message), NOT_XML.sub("", _details(finding))
            if finding.severity == "warning":
                ET.SubElement(test_case, "failure", {"type": rule, "message": message}).text = details
            else:
                ET.SubElement(test_case, "system-out").text = details
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document.decode()


def _finding(finding: Finding) -> str:
    printable = "".join(character for character in _details(finding) if character.isprintable())
    line = f"{finding.severity} {finding.rule}: {printable}"
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)  # ids stay in one piece


def _details(finding: Finding) -> str:
    return f"{finding.message} Jobs: {', '.join(finding.jobs)}" if finding.jobs else finding.message


def _reaction(reaction: Reaction) -> str:
    again = f", came again {counted(reaction.came_again, 'time')}" if reaction.came_again else ""
    after = f" after {_number(reaction.again_median, ' s')} (median)" if reaction.came_again else ""
    gave_up = f", gave up {counted(reaction.gave_up, 'time')}" if reaction.gave_up else ""
    return f"{reaction.kind:<16} {reaction.fired}{again}{after}{gave_up}"


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f}{unit}"


RENDERERS: Mapping[str, Callable[[Report], str]] = {"application/xml": junit, "text/xml": junit, "text/plain": text}
"""The renderer of each media type besides JSON."""

MEDIA_TYPES = ("application/json", *RENDERERS)  # the media types of a card, the preferred one first
