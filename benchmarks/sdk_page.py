"""The page docs/sdks-on-bad-days.md: tables of the results, and request logs that show some of the findings."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

from sdk_results import Job, Record, Result
from sdk_runs import OURS, RETURNED, THEIRS
from sdk_table import SDKS
from tables import write

PAGE = "sdks-on-bad-days.md"
MAX_LINES = 12  # of a trace: its first and its last ones
EARLY = 0.9  # a poll before this share of the hint is one that came too soon
BROKEN = {"reset", "empty", "truncate", "malformed", "garbage"}
HEAD = (
    "| scenario | ended | lost | not begun | paid twice | polls per job | lateness, s | warnings | translation-client |"
)


def write_page(parts: Mapping[str, str]) -> None:
    """Writes the parts into the page."""
    for name, text in parts.items():
        write(PAGE, name, text)


def render(results: Sequence[Result], began: float) -> dict[str, str]:
    """Returns the parts of the page by their names, in Markdown."""
    return {
        "overview": f"{_when(results, began)}\n\n{_overview(results)}",
        "clients": "\n\n".join(_section(results, name) for name in _names(results)),
        "traces": "\n\n".join(_traces(results)),
    }


def _names(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.sdk for result in results))


def _scenarios(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.scenario for result in results))


def _of(results: Sequence[Result], name: str, whose: str, scenario: str) -> Result:
    return next(one for one in results if (one.sdk, one.whose, one.scenario) == (name, whose, scenario))


def _when(results: Sequence[Result], began: float) -> str:
    day = datetime.fromtimestamp(began, UTC)
    return f"Measured on {day.day} {day:%B %Y}, with {sum(len(result.jobs) for result in results):,} jobs."


def _overview(results: Sequence[Result]) -> str:
    scenarios = _scenarios(results)
    lines = [f"| client | {' | '.join(scenarios)} |", "|---" * (len(scenarios) + 1) + "|"]
    for name in _names(results):
        cells = [_brief([_of(results, name, THEIRS, scenario)]) for scenario in scenarios]
        lines.append(
            f"| [{name}](#{_anchor(_title(_of(results, name, THEIRS, scenarios[0])))}) | {' | '.join(cells)} |"
        )
    ours = [[one for one in results if (one.whose, one.scenario) == (OURS, scenario)] for scenario in scenarios]
    lines.append(f"| translation-client, in all these APIs | {' | '.join(map(_brief, ours))} |")
    return "\n".join(lines)


def _brief(results: Sequence[Result]) -> str:
    ended, asked = (sum(len(jobs) for jobs in some) for some in ([r.ended for r in results], [r.jobs for r in results]))
    twice = sum(result.twice for result in results)
    return f"{ended} of {asked}" + (f" +{twice}" if twice else "")


def _anchor(title: str) -> str:
    """Returns the name that a heading has in links."""
    return re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))


def _title(result: Result) -> str:
    package = next(sdk.package for sdk in SDKS if sdk.name == result.sdk)
    return f"{result.sdk}: {package} {result.version}"


def _section(results: Sequence[Result], name: str) -> str:
    sdk = next(sdk for sdk in SDKS if sdk.name == name)
    rows = [(_of(results, name, THEIRS, one), _of(results, name, OURS, one)) for one in _scenarios(results)]
    lines = [f"### {_title(rows[0][0])}", "", f"{sdk.call}. {sdk.polls}", "", HEAD]
    lines.append("|---" * HEAD.count(" | ") + "|---|")
    lines += [_row(theirs, ours) for theirs, ours in rows]
    if notes := list(dict.fromkeys(note for theirs, _ in rows for note in theirs.notes)):
        lines += ["", f"Notes: {', '.join(notes)}."]
    return "\n".join(lines)


def _row(result: Result, ours: Result) -> str:
    cells = [
        result.scenario,
        str(len(result.ended)),
        _reasons(result.lost),
        _reasons(result.not_begun),
        str(result.twice or ""),
        _polls(result),
        _lateness(result),
        ", ".join(f"{rule} {count}" for rule, count in result.warnings.items()),
        _ours(ours),
    ]
    return f"| {' | '.join(cells)} |"


def _reasons(jobs: Sequence[Job]) -> str:
    if not jobs:
        return ""
    counts = Counter(job.said if " " in job.said else f"`{job.said}`" for job in jobs)
    return f"{len(jobs)}: {', '.join(f'{said} {count}' for said, count in counts.most_common())}"


def _polls(result: Result) -> str:
    return f"{result.polls / len(result.jobs):.1f}"


def _lateness(result: Result) -> str:
    late = [job.lateness for job in result.ended if job.lateness is not None]
    return f"{median(late):.1f}, {max(late):.1f}" if late else "–"


def _ours(result: Result) -> str:
    facts = [f"{len(result.ended)} ended", f"{_polls(result)} polls", f"{_lateness(result)} s"]
    if result.lost:
        facts.append(f"lost {_reasons(result.lost)}")
    if result.not_begun:
        facts.append(f"not begun {_reasons(result.not_begun)}")
    if result.twice:
        facts.append(f"{result.twice} paid twice")
    facts += [f"{rule} {count}" for rule, count in result.warnings.items()]
    return "; ".join(facts)


def _traces(results: Sequence[Result]) -> Iterator[str]:
    """Yields a trace of a job that was paid for twice, of one that a refusal lost, and of early polls."""
    left = [result for result in results if result.whose == THEIRS]
    for trace in (_duplicate, _refused, _early):
        found = ((result.sdk, text) for result in left for job in result.jobs if (text := trace(result, job)))
        if one := next(found, None):
            name, text = one
            left = [result for result in left if result.sdk != name]
            yield text


def _duplicate(result: Result, job: Job) -> str | None:
    lines = lines_of(result, job)
    submits = [record for record in lines if record["action"] == "submit"]
    lost = next((fault for submit in submits for fault in submit["faults"] if fault in BROKEN), None)
    if result.scenario != "flaky" or len(job.ids) != 2 or lost is None:
        return None
    title = f"**{result.sdk}, {result.scenario}, {job.name}: paid for twice.**"
    polls = sum(record["action"] == "poll" and _is_in_path(job.ids[0], record) for record in lines)
    text = (
        f"{title} The server accepted the submission, and its answer was lost (`{lost}`). "
        f"The client sent it again without an idempotency key, and the server accepted a second job, B. "
        f"Of the first one, A, it never heard: {polls or 'no'} polls."
    )
    return f"{text}\n\n{_table(lines, job)}"


def _refused(result: Result, job: Job) -> str | None:
    lines = lines_of(result, job)
    if job not in result.lost or job.returned is None or job.said.startswith(RETURNED) or not lines:
        return None
    last = lines[-1]
    if last["action"] != "poll" or "status" not in last["faults"]:
        return None
    text = (
        f"**{result.sdk}, {result.scenario}, {job.name}: refused polls end the wait.** The answer to the last poll "
        f"was {last['status']}, and the client raised `{job.said}`. The server went on with the job"
    )
    if job.ended is not None and job.ended > last["at"]:
        text += f", which completed {job.ended - last['at']:.1f} s later"
    return f"{text}.\n\n{_table(lines, job)}"


def _early(result: Result, job: Job) -> str | None:
    lines = lines_of(result, job)
    pauses = [(before, after["at"] - before["at"] - before["took"]) for before, after in pairwise(lines)]
    early = [1 for before, pause in pauses if before["hint"] and pause < EARLY * before["hint"]]
    if result.scenario != "perfect" or len(early) < 3 or not result.warnings.get("early-polls"):
        return None
    text = (
        f"**{result.sdk}, {result.scenario}, {job.name}: polls before the time that the answers asked for.** "
        f"Each answer says after how many seconds to come back. {len(early)} of {len(lines) - 1} requests came sooner."
    )
    return f"{text}\n\n{_table(lines, job)}"


def lines_of(result: Result, job: Job) -> list[Record]:
    """Returns the requests about a job: those that name one of its ids or whose answers do, and equal submissions."""
    ids = set(job.ids)
    about = [one for one in result.records if _names_one(one, ids)]
    digests = {one["digest"] for one in about if one["action"] == "submit"} - {None}
    lines = [one for one in result.records if one in about or one["digest"] in digests]
    return sorted(lines, key=lambda record: record["at"])


def _names_one(record: Record, ids: set[str]) -> bool:
    return any(one["job_id"] in ids for one in record["jobs"]) or any(_is_in_path(one, record) for one in ids)


def _is_in_path(job_id: str, record: Record) -> bool:
    return f"/{job_id}/" in f"{record['path']}/"


def _table(lines: Sequence[Record], job: Job) -> str:
    shown = [*lines[: MAX_LINES // 2], None, *lines[-MAX_LINES // 2 :]] if len(lines) > MAX_LINES else lines
    rows = ["| second | request | answer | hint, s | fault |", "|---|---|---|---|---|"]
    for record in shown:
        if record is None:
            rows.append(f"| … | {len(lines) - MAX_LINES} more | | | |")
            continue
        path = record["path"]
        for letter, job_id in zip("ABCDEFGH", job.ids, strict=False):
            path = f"{path}/".replace(f"/{job_id}/", f"/{letter}/")[:-1]
        states = ", ".join(f"{one['state']}" for one in record["jobs"])
        answer = f"{record['status'] or 'none'} {states}".strip()
        hint = "" if record["hint"] is None else f"{record['hint']:.1f}"
        at = record["at"] - lines[0]["at"]
        rows.append(f"| {at:.2f} | `{record['method']} {path}` | {answer} | {hint} | {', '.join(record['faults'])} |")
    return "\n".join(rows)
