"""The report card of a test as files: JUnit XML for CI, and HTML with the requests that were graded."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from translation_client.sandbox import Report, Sandbox

MOST_REQUESTS = 1000  # in one page; a browser shows these at once
LONGEST_NAME = 100  # characters of a test's name in a file's name

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere }}
pre {{ overflow-x: auto; padding: 1rem; background: #f4f4f4; color: #111 }}
table {{ border-collapse: collapse }}
th, td {{ padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
<p>Scenario {scenario}, seed {seed}: <strong>{verdict}</strong>.</p>
<pre>{card}</pre>
<h2>{requests}</h2>
<table>
<tr><th>seconds<th>request<th>status<th>jobs<th>faults
{rows}
</table>
</html>
"""


def write_card(sandbox: Sandbox, report: Report, folder: Path, test: str, most_requests: int = MOST_REQUESTS) -> None:
    """Writes a sandbox's report card into a folder, as JUnit and as HTML; the files are named after the test.

    The page has the first `most_requests` of the request log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _file_name(test)
    path.with_name(f"{path.name}.xml").write_text(_junit(sandbox, test), encoding="utf-8")
    path.with_name(f"{path.name}.html").write_text(_html(sandbox, report, test, most_requests), encoding="utf-8")


def _file_name(test: str) -> str:
    """Returns a file name for a test. A digest distinguishes tests whose names differ only in replaced characters."""
    readable = re.sub(r"[^\w.]+", "-", test, flags=re.ASCII).strip("-")[-LONGEST_NAME:]
    return f"{readable}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def _junit(sandbox: Sandbox, test: str) -> str:
    """Returns the server's JUnit XML with the test's name, so that CI can tell the cards apart."""
    suites = ET.fromstring(sandbox.report_as("application/xml"))  # noqa: S314 - the server is the test's own
    for suite in suites:
        suite.set("name", test)
        for case in suite:
            case.set("classname", test)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


def _html(sandbox: Sandbox, report: Report, test: str, most_requests: int) -> str:
    settings, total = sandbox.show(), report.raw["overall"]["requests"]
    shown = list(islice(sandbox.requests(), most_requests))
    return PAGE.format(
        title=escape(test),
        scenario=escape(str(settings["scenario"] or "none")),
        seed=escape(str(settings["seed"] or "none")),
        verdict=escape(report.verdict),
        card=escape(sandbox.report_as("text/plain")),
        requests=f"{total} requests" if total <= most_requests else f"The first {most_requests} of {total} requests",
        rows="\n".join(_rows(shown)),
    )


def _rows(records: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    began = None
    for record in records:
        began = record["at"] if began is None else began
        jobs = ", ".join(f"{job['job_id']} {job['state']}" for job in record["jobs"])
        cells = (
            f"{record['at'] - began:.2f}",
            f"{record['method']} {record['path']}",
            str(record["status"] or "no answer"),
            jobs,
            ", ".join(record["faults"]),
        )
        yield "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)
