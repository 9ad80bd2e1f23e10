"""The live table, rendered with a clock that stands still.

The screens are in `screens/`. `python -m tests.test_table`, in `client/`, writes them anew.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from translation_client.cli.display import write_nothing
from translation_client.cli.failures import failure_lines
from translation_client.cli.table import LEAST_BAR, layout, screen
from translation_client.cli.tracking import TrackedJob, Tracker, summary
from translation_client.core.effects import Done, Failure, Reply, Send, Sleep, Warn
from translation_client.core.errors import NotFound, TransportError
from translation_client.core.status import JobFailed, JobTimeout, State, Status

SCREENS = Path(__file__).parent / "screens"
NOW = 100.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def job(number: int, state: str = "pending", progress: float | None = None, elapsed: float = 4.0) -> TrackedJob:
    """Returns a job whose status came two seconds ago."""
    tracked = TrackedJob(write_nothing, f"{number:08x}-9b1d-4f3a-8c55-0f6c1d2e3a4b", lambda: NOW)
    if state != "starting":
        error = "the video has no sound" if state == "error" else None
        ended = state != "pending"
        tracked.status = Status(tracked.id, State(state), 1.0 if ended else progress, elapsed, error)
        tracked.updated = NOW - 2.0
        if state == "error":
            tracked.failure = JobFailed(f"job {tracked.id} ended with an error: {error}.", tracked.status)
    return tracked


def mixed(count: int) -> list[TrackedJob]:
    """Returns so many jobs, of which some have ended, most are pending, and the last have not started."""
    states = ["completed", "pending", "error", "pending", "pending", "cancelled", "pending"]
    return [
        job(number, "starting" if number > 0.9 * count else states[number % 7], number / count, 1 + number / 10)
        for number in range(count)
    ]


def scene(name: str) -> Tracker:
    """Returns the jobs of a screen: so many, or those of a name."""
    jobs = {
        "1": lambda: [job(1, progress=0.2)],
        "unknown": lambda: [job(1, progress=0.0), job(2, "starting"), job(3)],
        "5": lambda: [job(1, progress=0.5), job(2, "completed"), job(3, "error"), job(4, progress=0.01), job(5)],
        "outage": lambda: [job(1, progress=0.5), job(2, "completed"), job(3, "starting")],
    }
    tracker = Tracker(jobs[name]() if name in jobs else mixed(int(name)), write_nothing, clock=lambda: NOW)
    tracker.next_poll = NOW + 3.25
    tracker.retry = 2 if name == "outage" else 0
    return tracker


def render(name: str, width: int) -> str:
    console = Console(file=StringIO(), width=width, height=24, color_system=None, legacy_windows=False)
    console.print(screen(scene(name), width, 24))
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


NAMES = ["1", "5", "200", "1000", "unknown", "outage"]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_screen_is_as_recorded(name: str, width: int) -> None:
    text = render(name, width)
    assert text == (SCREENS / f"{name}-at-{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width - 3  # room for ^C
    assert len(text.splitlines()) <= 23


def test_every_terminal_has_room_for_a_bar() -> None:
    for width in range(37, 300):
        for id_length in (0, 2, 36, 100):
            assert layout(["x" * id_length], width - 3).bar >= LEAST_BAR


def test_columns_stay_where_they_are_when_the_first_ids_come() -> None:
    for width in (37, 77, 197):
        assert layout(["", ""], width) == layout([job(1).id, ""], width)


def test_progress_between_polls_is_estimated_from_the_last_poll() -> None:
    tracked, clock = job(1, progress=0.4, elapsed=4.0), Clock()
    tracked.clock, tracked.updated = clock, NOW
    parts = []
    for clock.now in (NOW, NOW + 1, NOW + 5, NOW + 100):
        progress = tracked.progress(typical=50)
        assert progress
        assert progress.is_estimate
        parts.append(progress.part)
    assert parts == pytest.approx([0.4, 0.5, 0.9, 0.99])


def test_progress_is_estimated_from_past_jobs_if_the_server_reports_none() -> None:
    assert job(1).progress(typical=None) is None
    assert job(1, progress=0.0).progress(typical=12.0) == (pytest.approx(0.5), True)
    assert job(1, "completed").progress(typical=12.0) == (1.0, False)
    assert TrackedJob(write_nothing).progress(typical=12.0) is None


def test_extra_polls_change_pending_jobs_only() -> None:
    pending, ended = job(1, progress=0.2), job(2, "completed")
    pending.refresh(Status(pending.id, State.PENDING, 0.6, 12.0))
    assert pending.progress(typical=None) == (pytest.approx(0.6), True)
    pending.refresh(Status(pending.id, State.COMPLETED, 1.0, 20.0))  # the wait shows the end
    ended.refresh(Status(ended.id, State.PENDING, 0.5, 1.0))
    assert (pending.outcome, ended.outcome) == ("pending", "completed")


def test_summary_has_a_fixed_order() -> None:
    jobs = [job(1, "error"), job(2), job(3, "completed"), job(4, "starting"), job(5), job(6, "cancelled")]
    assert summary(jobs) == "6 jobs: 1 starting, 2 pending, 1 completed, 1 error, 1 cancelled"
    assert summary(jobs[::-1]) == summary(jobs)


class TestFailures:
    def fail(self, count: int, failure: object) -> list[TrackedJob]:
        jobs = [job(number) for number in range(count)]
        for tracked in jobs:
            tracked.failure = failure(tracked) if callable(failure) else failure
        return jobs

    def test_each_kind_of_failure_is_one_line_with_its_count_and_first_jobs(self) -> None:
        ids = ", ".join(job(number).id for number in range(3))
        failed = [job(number, "error") for number in range(60)]
        cancelled = self.fail(2, lambda tracked: JobFailed("", Status(tracked.id, State.CANCELLED)))
        late = self.fail(
            4, lambda one: JobTimeout(f"job {one.id} was still pending when the time was up. It goes on", one.id, None)
        )
        unseen = self.fail(
            2, lambda one: JobTimeout(f"job {one.id} had not been seen when the time was up", one.id, None)
        )
        lost = self.fail(3, lambda one: TransportError(f"key {one.id!r}", "the server answered 503", 8))
        unknown = self.fail(2, lambda one: NotFound(f"404 no job {one.id}."))
        assert failure_lines([*failed, *cancelled, *late, *unseen, *lost, *unknown, job(7, "completed")]) == [
            f"60 jobs ended with an error: the video has no sound ({ids}, …).",
            f"2 jobs were cancelled ({ids[:74]}).",
            f"4 jobs were still pending when the time was up ({ids}, …).",
            f"2 jobs had not been seen when the time was up ({ids[:74]}).",
            f"3 jobs failed: the server answered 503; try again when the server is well ({ids}).",
            f"2 jobs failed: 404 no job ID ({ids[:74]}).",
        ]

    def test_failure_of_one_job_keeps_its_own_message(self) -> None:
        (line,) = failure_lines([job(1, "error")])
        assert line == f"job {job(1).id} ended with an error: the video has no sound."

    def test_jobs_without_ids_are_counted(self) -> None:
        jobs = [TrackedJob(write_nothing, failure=TransportError("…", "refused", 4)) for _ in range(2)]
        assert failure_lines(jobs) == ["2 jobs failed: refused; try again when the server is well."]


class TestTracker:
    def tracker(self) -> tuple[Tracker, Clock, list[str]]:
        shown, clock = list[str](), Clock()
        return Tracker([], shown.append, clock=clock), clock, shown

    def test_retries_of_many_jobs_are_shown_once_each(self) -> None:
        tracker, _, shown = self.tracker()
        for retry in (1, 1, 1, 2, 2, 1, 3):
            tracker.trace(Warn(f"retry {retry}", retry))
        tracker.trace(Warn("no failure"))
        assert shown == ["retry 1", "retry 2", "retry 3"]

    def test_failures_after_a_calm_time_are_shown_again(self) -> None:
        tracker, clock, shown = self.tracker()
        for clock.now in (NOW, NOW + 9, NOW + 18, NOW + 29):
            tracker.trace(Warn(f"at {clock.now}", 1))
        assert shown == ["at 100.0", "at 129.0"]

    def test_server_holds_polls_if_it_has_applied_the_preference(self) -> None:
        tracker, _, _ = self.tracker()
        for headers, expected in [({}, False), ({"preference-applied": "wait=0"}, True), ({}, True)]:
            tracker.trace(Reply(200, headers, b"", NOW))
            assert tracker.holds_polls == expected

    def test_pause_before_a_retry_is_known_until_the_next_answer(self) -> None:
        tracker, _, _ = self.tracker()
        for item, expected in [
            (Send("GET", "/"), (0, None)),
            (Failure("lost", NOW), (0, None)),
            (Warn("lost", 2), (2, None)),
            (Sleep(3.0), (2, NOW + 3)),
            (Done(NOW + 3), (2, NOW + 3)),
            (Send("GET", "/"), (2, None)),
            (Reply(200, {}, b"{}", NOW), (0, None)),
        ]:
            tracker.trace(item)
            assert (tracker.retry, tracker.next_poll) == expected
        assert (tracker.requests, tracker.bytes) == (2, 2)


if __name__ == "__main__":
    for width in (40, 80, 200):
        for name in NAMES:
            (SCREENS / f"{name}-at-{width}.txt").write_text(render(name, width), encoding="utf-8")
