"""The results of a client in a scenario. Each number is checked against the request log."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from sdk_drivers import COMPLETED
from sdk_runs import Call, Task
from sdk_table import SDKS
from translation_client import Sandbox

FALSE = {"no-details"}  # the faults whose answers show an end that the log does not assign to a job
SUCCESS, REDIRECTION = 200, 300
PENDING = "pending"
SETTLE = 0.5  # seconds in which the request log must not grow, as it is written in batches
CLOCKS = 0.05  # seconds by which the times of two processes on this machine may differ, and milliseconds are rounded
Record = Mapping[str, Any]


class Job(NamedTuple):
    """A job that a caller asked for, and what it led to on the server.

    Attributes:
        name: The name in its submission.
        said: What the client said of it: `COMPLETED`, other words, or an exception's class.
        ids: The jobs that the server accepted for it, the oldest first.
        ended: When the last of them ended, on the wall clock; None if it had not yet.
        returned: When the client returned; None if it was waiting still.
    """

    name: str
    said: str
    ids: Sequence[str]
    ended: float | None
    returned: float | None

    @property
    def lateness(self) -> float | None:
        """How long after the job's end the client returned, in seconds."""
        if self.said != COMPLETED or self.ended is None or self.returned is None:
            return None
        return max(0.0, self.returned - self.ended)


class Result(NamedTuple):
    """A client's jobs in a scenario, its report card and its request log.

    ``version`` is that of the official client; ``whose`` says whether it ran, or ours in the same API.
    """

    sdk: str
    version: str
    whose: str
    scenario: str
    jobs: Sequence[Job]
    report: Mapping[str, Any]
    records: Sequence[Record]

    @property
    def ended(self) -> list[Job]:
        """The jobs whose end the client reported."""
        return [job for job in self.jobs if job.said == COMPLETED]

    @property
    def lost(self) -> list[Job]:
        """The accepted jobs whose end the client never reported."""
        return [job for job in self.jobs if job.said != COMPLETED and job.ids]

    @property
    def not_begun(self) -> list[Job]:
        """The jobs that the server never accepted."""
        return [job for job in self.jobs if job.said != COMPLETED and not job.ids]

    @property
    def twice(self) -> int:
        """How many jobs were accepted beyond those that were asked for."""
        return sum(max(0, len(job.ids) - 1) for job in self.jobs)

    @property
    def polls(self) -> int:
        """How many polls there were."""
        return sum(record["action"] in {"poll", "batch_poll"} for record in self.records)

    @property
    def warnings(self) -> Mapping[str, int]:
        """How often each rule of severity ``warning`` found something."""
        return self._findings("warning")

    @property
    def notes(self) -> Mapping[str, int]:
        """How often each rule of severity ``note`` found something."""
        return self._findings("note")

    def _findings(self, severity: str) -> Mapping[str, int]:
        return {one["rule"]: one["count"] for one in self.report["findings"] if one["severity"] == severity}

    def as_json(self) -> Mapping[str, Any]:
        """Returns everything, for `read`."""
        return self._asdict() | {"jobs": [job._asdict() for job in self.jobs]}


def read(document: Mapping[str, Any]) -> Result:
    """Returns what `Result.as_json` has written."""
    return Result(**{**document, "jobs": [Job(**job) for job in document["jobs"]]})


def collect(task: Task, scenario: str, calls: Sequence[Call]) -> Result:
    """Returns the result of calls that are over, from the sandbox in which they were made."""
    user, sdk = task.user(scenario), SDKS[task.sdk]
    with (
        Sandbox(task.url, username=user, password="any") as sandbox,
        httpx.Client(base_url=task.url, auth=(user, "any"), timeout=60) as http,
    ):
        records = _settled(sandbox)
        report = sandbox.report().raw
        sandbox.set(scenario="perfect")  # the requests below must succeed
        accepted = list(_accepted_jobs(http))
    jobs = []
    for call in calls:
        mine = [job for job in accepted if call.name in job["names"]]
        ended = mine[-1]["ended"] if mine else None
        jobs.append(Job(call.name, call.said, [job["id"] for job in mine], ended, call.returned))
    return Result(sdk.name, sdk.version, task.whose, scenario, jobs, report, records)


def _settled(sandbox: Sandbox) -> list[Record]:
    """Returns the request log once it has stopped growing."""
    records = list(sandbox.requests())
    while True:
        time.sleep(SETTLE)
        before, records = len(records), list(sandbox.requests())
        if len(records) == before:
            return records


def _accepted_jobs(http: httpx.Client) -> Iterator[Mapping[str, Any]]:
    """Yields all jobs of the user, the oldest first, with the names in their submissions."""
    ids, after = list[str](), ""
    while True:
        page = (
            http.get("/jobs", params={"limit": "100"} | ({"after": after} if after else {})).raise_for_status().json()
        )
        ids += [job["job_id"] for job in page["jobs"]]
        if not (after := page["next"]):
            break
    for job_id in reversed(ids):
        job = http.get(f"/sandbox/jobs/{quote(job_id, safe='')}").raise_for_status().json()
        names = set(re.findall(r"job-\d\d", json.dumps(job["input"]) + job_id))
        ended = job["completed_at"] and datetime.fromisoformat(job["completed_at"]).timestamp()
        yield {"id": job_id, "names": names, "ended": ended}


def disagreements(result: Result) -> list[str]:
    """Returns where the numbers of a result, the report card and the request log differ; empty if they agree.

    Where an answer was lost, only the store knows whether the server had accepted the submission; the log sets bounds.
    """
    overall, warnings = result.report["overall"], result.warnings
    records = [record for record in result.records if record["action"] != "download"]  # a card leaves them out
    submits = [record for record in records if record["action"] == "submit"]
    accepted = sum(len(job.ids) for job in result.jobs)
    reported = sum(_was_reported(result, job) for job in result.ended)
    equal = {
        "requests of the card and of the log": (overall["requests"], len(records)),
        "dropped requests of the card and none": (overall["dropped"], 0),
        "polls of the card and of the log": (overall["polls"], result.polls),
        "submissions of the card and of the log": (overall["submits"], len(submits)),
        "early polls of the card and early-polls": (overall["early_polls"], warnings.get("early-polls", 0)),
        "polls after the end and polls-after-end": (overall["polls_after_end"], warnings.get("polls-after-end", 0)),
        "lateness of the card and of the log": (_lateness_of_card(result), _lateness_of_log(result)),
        "ended jobs and those whose end the log shows": (len(result.ended), reported),
        "jobs asked for and those with an outcome": (
            len(result.jobs),
            len(result.ended) + len(result.lost) + len(result.not_begun),
        ),
    }
    bounded = {
        "accepted jobs of the store and of the log": (accepted, _bounds(submits, 0)),
        "jobs paid for twice of the store and of the log": (result.twice, _bounds(submits, 1)),
    }
    return [
        *(f"{what}: {one} and {other}" for what, (one, other) in equal.items() if one != other),
        *(
            f"{what}: {one} and {least} to {most}"
            for what, (one, (least, most)) in bounded.items()
            if not least <= one <= most
        ),
    ]


def _bounds(submits: Sequence[Record], beyond: int) -> tuple[int, int]:
    """Returns the fewest and the most extra jobs that the log allows, if ``beyond`` jobs were asked for each time."""
    of_digest: defaultdict[str, list[Record]] = defaultdict(list)
    for submit in submits:
        of_digest[submit["digest"]].append(submit)
    least, most = 0, 0
    for tries in of_digest.values():
        seen = sum(SUCCESS <= one["status"] < REDIRECTION and not one["replayed"] for one in tries)
        unseen = sum(not one["status"] and not one["replayed"] for one in tries)
        least += max(0, seen - beyond)
        most += max(0, seen + unseen - beyond)
    return least, most


def shows_end(record: Record, job_id: str) -> bool:
    """Whether an answer said that a job had ended."""
    return any(job["job_id"] == job_id and job["state"] != PENDING for job in record["jobs"])


def _lateness_of_card(result: Result) -> Mapping[str, float]:
    return {job["job_id"]: round(job["lateness"], 3) for job in result.report["jobs"] if job["lateness"] is not None}


def _lateness_of_log(result: Result) -> Mapping[str, float]:
    """Returns the seconds from each job's end to the first answer that showed it."""
    lateness = dict[str, float]()
    for record in sorted(result.records, key=lambda record: record["at"]):
        for job in record["jobs"]:
            if job["ended_at"] is not None and job["job_id"] not in lateness and record["action"] != "download":
                lateness[job["job_id"]] = round(max(0.0, record["at"] + record["took"] - job["ended_at"]), 3)
    return lateness


def _was_reported(result: Result, job: Job) -> bool:
    """Whether an answer before the client's return showed the job's end, truly or falsely."""
    if job.returned is None or job.ended is None:
        return False
    answered = [one for one in result.records if one["at"] <= job.returned + CLOCKS]
    return any(shows_end(one, job_id) for one in answered for job_id in job.ids) or any(
        not FALSE.isdisjoint(one["faults"]) and one["at"] + one["took"] >= job.ended - CLOCKS for one in answered
    )
