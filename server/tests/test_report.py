"""The report card: each rule with a request log in which it finds something, and one in which it does not."""

import json
from dataclasses import asdict, fields, replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.api.report_render import WIDTH, junit, text
from translation_server.core.faults.rules import ACTIONS, KINDS
from translation_server.core.job import State
from translation_server.core.report.findings import RULES, Finding
from translation_server.core.report.report import JobCard, report
from translation_server.core.request_log import ReportedJob, RequestRecord

PENDING, COMPLETED, CANCELLED = State.PENDING, State.COMPLETED, State.CANCELLED


def record(at, action, path, jobs=(), **facts):
    return RequestRecord(at=at, virtual_at=at, method="GET", path=path, action=action, jobs=jobs, **{
        "took": 0.01, "status": 200, "dialect": "jobs", **facts,
    })  # fmt: skip


def submit(at, job_id="a", **facts):
    """A submission. Its answer names a job unless it was lost or refused."""
    lost = facts.get("faults") or facts.get("status", 202) >= 300
    facts = {"method": "POST", "status": 202, "digest": "same", "key": f"key of {job_id}", **facts}
    return replace(record(at, "submit", "/jobs", () if lost else (ReportedJob(job_id, PENDING),)), **facts)


def pending(at, job_id="a", **facts):
    return record(at, "poll", f"/jobs/{job_id}", (ReportedJob(job_id, PENDING),), **facts)


def done(at, job_id="a", ended=0.0, **facts):
    return record(at, "poll", f"/jobs/{job_id}", (ReportedJob(job_id, COMPLETED, ended),), **facts)


def spoiled(at, job_id="a", kind="reset", **facts):
    return record(at, "poll", f"/jobs/{job_id}", **{"status": 0, **facts}, faults=(kind,))


def refused(at, job_id="a", status=503, **facts):
    return spoiled(at, job_id, "status", status=status, **facts)


def batch(at, *reactions, **facts):
    return record(at, "batch_poll", "/jobs", reactions, **facts)


def rules(records, ended=None):
    return [finding.rule for finding in report(records, ended or {}).findings]


def each(make, jobs=range(30)):
    return [made for number in jobs for made in make(number)]


CLEAN = [submit(0, hint=2), pending(2.1, wait=30, took=2.9, hint=1), done(5.02, ended=5.01)]

RUN = [0, 1.01, 2.02, 3.03]  # the times of failures of 10 ms with gaps of 1 s

EXAMPLES = {
    "early-polls": [
        [submit(0, hint=5), pending(1, hint=5), pending(2, hint=5)],
        [submit(0, hint=9), pending(1, hint=9), pending(2, hint=9), pending(3, hint=9, wait=1, took=1), pending(5)],
        [submit(0, hint=5), pending(1, hint=5, wait=9), pending(2, hint=5), pending(3, hint=5), done(9)],
        [submit(0, hint=5), record(0.1, "events", "/events"), pending(0.2, hint=5), pending(1, hint=5), pending(2)],
        [submit(0, hint=5), record(0.1, "events", "/events", agent="other"), pending(0.2, hint=5), done(9)],
        [submit(0), refused(1, hint=3), refused(2, hint=3), pending(3), pending(4)],
        [submit(0), refused(1, hint=3, status=429), refused(2, hint=3, status=429), pending(3, wait=9), pending(14)],
        [submit(0, "a", hint=5), submit(0, "b", hint=5), batch(1, ReportedJob("a", PENDING), ReportedJob("b", PENDING)),
         batch(9, ReportedJob("a", COMPLETED, 8.9), ReportedJob("b", COMPLETED, 8.9))],
    ],
    "hasty-retries": [[submit(0, status=503, faults=("status",), hint=2), submit(1)]],
    "polls-after-end": [
        [submit(0), done(5), done(6)],
        [submit(0), batch(5, ReportedJob("a", COMPLETED, 5)), batch(6, ReportedJob("a", COMPLETED, 5))],
    ],
    "late": [
        [submit(0, hint=2), done(9, ended=2)],
        ([submit(0, hint=2), pending(2.1, hint=2), done(20)], {"a": 3}),
        [submit(0), pending(4), done(20, ended=5)],
        [submit(0, hint=2), pending(2.2, hint=2, took=0.3, faults=("latency",)),
         done(12, ended=3, took=0.2, faults=("latency",))],
    ],
    "never-collected": [
        ([submit(0, hint=1), submit(0, "b"), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), refused(3), submit(0, "b"), done(10, "b", 9.9)], {"a": 5}),
        ([submit(0), pending(1, hint=1), batch(2, status=0, faults=("reset",)), record(9, "list", "/jobs")], {"a": 3}),
    ],
    "retries-without-jitter": [
        [submit(-1), *(spoiled(at) for at in RUN), pending(4.04)],
        [submit(-1), *(refused(at) for at in (0, 1.01, 3.02, 7.03)), pending(15.04)],
        [submit(-1), *(refused(at) for at in (0, 1.01, 3.02, 7.03, 11.04, 15.05)), pending(19.06)],
        [submit(at, status=500, faults=("status",)) for at in RUN] + [submit(4.04)],
        [submit(-1), *(refused(at) for at in (0, 0.012, 2.022, 6.032)), pending(14.042)],  # urllib3's Retry
        [submit(-1), *(spoiled(at, hint=3) for at in RUN), pending(4.04)],  # no hint arrived
    ],
    "crowding": [each(lambda n: [submit(n / 30, f"{n}"), *(pending(5 * poll, f"{n}") for poll in (1, 2, 3))])],
    "busy-polling": [[submit(0, hint=2), *(pending(0.05 * n, hint=2) for n in range(1, 9))]],
    "duplicate-submits": [
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None)],
        [submit(0, key="one", status=0, faults=("empty",)), submit(1, key="another")],
        [submit(0, key=None, status=202, faults=("truncate",)), submit(1, key="another")],
        [submit(0, key="one", status=502), submit(1, key="another")],
        [submit(0, key="one", status=0, took=300, faults=("hang",)), submit(5, key="another")],
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None, status=503, faults=("status",)),
         submit(2, key=None)],
        [submit(0, key="one", status=0, faults=("reset",)), submit(1, key="two", status=503, faults=("status",)),
         submit(2, key="two")],
    ],
    "retried-without-key": [
        [submit(0, key=None, status=503), submit(1, key=None)],
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None)],
    ],
    "credentials": [
        [record(0, "list", "/jobs", status=401)],
        [submit(0, status=403)],
        [record(0, "list", "/jobs", refused=1)],
    ],
    "no-idempotency-key": [
        [submit(0, key=None), submit(9, "b", key=None)],
        [submit(0, key=None, status=429, hint=1), submit(1.1, key=None)],
    ],
    "no-long-poll": [[submit(0), pending(1), pending(2), done(3, ended=2.9)]],
}  # fmt: skip

EARLY_BATCH = batch(3, ReportedJob("a", PENDING), ReportedJob("b", PENDING))

COUNTEREXAMPLES = {
    "early-polls": [
        [submit(0, hint=5), pending(4.5, hint=5), done(9.5, ended=9)],
        [submit(0, hint=5), pending(0.02, wait=2, took=2, hint=5), pending(2.03, wait=2, took=2), done(5)],
        [submit(0, hint=5), record(0.1, "events", "/events"), pending(0.2, hint=5), pending(0.3, wait=9), done(9)],
        [submit(0, hint=5), spoiled(5), pending(5.2, hint=2), done(7.3, ended=7)],
        [submit(0, hint=5), refused(5), refused(5.2), done(5.7, ended=5)],
        [submit(0, hint=5), refused(5, hint=1), done(6.02, ended=5)],
        [submit(0, hint=86400), pending(5, hint=7200), done(9, ended=8)],
        [submit(0, hint=1), pending(1, hint=900, faults=("huge-retry-after",)), pending(9), done(19, ended=18)],
        [submit(0, hint=5), pending(3)],  # the last one before a deadline
        [submit(0, hint=9), pending(2, hint=9), pending(4, hint=9, wait=1, took=1), pending(7, hint=9)],  # resumed
        [submit(0, hint=9), pending(2, hint=9), record(3, "events", "/events"), pending(3.1, hint=9), pending(5)],
        [submit(0, hint=5), pending(5, hint=5), pending(7, hint=5), done(12.1, ended=12)],  # then continued
        [submit(0, hint=5), batch(4.9, status=0, faults=("reset",)), pending(5, hint=3), record(6, "events", "/events",
         status=503, faults=("status",)), pending(6.1, hint=3), done(9.2, ended=9)],
        [submit(0, "a", hint=9), submit(0, "b", hint=3), EARLY_BATCH, batch(9, ReportedJob("a", COMPLETED, 9))],
        [submit(0, hint=5, agent="curl"), pending(1, agent="a browser"), pending(2, agent="another")],
    ],
    "hasty-retries": [
        [submit(0, status=503, faults=("status",), hint=2), submit(2)],
        [submit(0, status=503, faults=("status",)), submit(1)],
        [submit(0, "a", status=503, faults=("status",), hint=2), submit(1, "b")],
    ],
    "polls-after-end": [
        [submit(0), pending(4), done(5)],
        [submit(0), done(5), spoiled(6, kind="back-to-pending", status=200)],
        [submit(0), done(5), spoiled(6, kind="back-to-pending", status=200), done(7)],
        [submit(0), record(5, "event", "/events", (ReportedJob("a", COMPLETED, 5),), took=0), done(5.1, ended=5)],
        [submit(0), batch(5, ReportedJob("a", COMPLETED, 5), ReportedJob("b", PENDING)),
         batch(6, ReportedJob("a", COMPLETED, 5), ReportedJob("b", COMPLETED, 5))],
        [submit(0), record(1, "cancel", "/jobs/a", (ReportedJob("a", CANCELLED, 1),)),
         record(1.1, "poll", "/jobs/a", (ReportedJob("a", CANCELLED, 1),))],
        [submit(0), done(5, took=1), done(5.5)],  # sent before the answer came
    ],
    "late": [
        [submit(0, hint=9), done(9.5, ended=2)],
        [submit(0, hint=2), refused(2), done(12, ended=2)],
        [submit(0, hint=2), pending(2.1, hint=2), done(20, ended=3, took=9, faults=("latency",))],
        [submit(0, hint=2), pending(2, hint=4e4, faults=("huge-retry-after",)), done(60, ended=3)],
        [submit(0, hint=2), spoiled(2, "b", "hang", took=20), done(22.1, ended=3), done(22, "b", 22)],
        [submit(0), pending(20), done(40, ended=25)],
        [submit(0), replace(done(20, ended=5), virtual_at=1820)],  # the clock was advanced
        [done(20, ended=5)],  # earlier records were dropped
        [submit(0, hint=2), done(9, ended=2), *each(lambda n: [submit(n, f"{n}"), done(n + 1, f"{n}", n + 1)])],
    ],
    "never-collected": [
        ([submit(0, hint=1), submit(0, "b"), done(3.1, ended=3), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), record(3, "event", "/events", (ReportedJob("a", COMPLETED, 3),)), done(9, "b", 9)], {"a": 3}),
        ([submit(0), batch(3, ReportedJob("a", COMPLETED, 3)), done(9, "b", 9)], {"a": 3}),
        ([submit(0, hint=20), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), *(refused(at) for at in (1, 2, 4)), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), spoiled(1, kind="unauthorized", status=401), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), spoiled(1, kind="hang", took=5), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), pending(1, hint=4e4, faults=("huge-retry-after",)), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0, status=0, faults=("reset",)), done(10, "b", 9.9)], {"a": 3}),  # it never knew the job
        ([submit(0), pending(3), pending(4)], {"a": 3.5}),
        ([submit(0), pending(10), spoiled(20, hint=1), done(28, "b", 27)], {"a": 19}),  # it may still come
    ],
    "retries-without-jitter": [
        [submit(-1), *(spoiled(at) for at in (0, 0.71, 1.02, 2.93)), pending(4.04)],
        [submit(-1), *(refused(at, hint=1) for at in RUN), pending(4.04)],
        [submit(-1), *(pending(at) for at in RUN)],
        [submit(-1), *(refused(at) for at in (0, 0.012, 1.022, 3.132)), pending(6.042)],
        [submit(-1), *(refused(at) for at in RUN[:2]), pending(2.02)],
        [submit(-1), *(spoiled(at, kind="hang", took=1) for at in RUN), pending(5)],
        [submit(-1), *(spoiled(at, kind="unknown-status", status=200) for at in RUN), pending(5)],
        [submit(-1), *(refused(at) for at in RUN), pending(4.04), *(refused(10 + at) for at in (0, 1, 1.5, 4)),
         pending(15)],
    ],
    "crowding": [
        each(lambda n: [submit(n / 30, f"{n}"), *(pending(5 * poll + n / 6, f"{n}") for poll in (1, 2, 3))]),
        each(lambda n: [submit(n / 30, f"{n}"), *(pending(5 * poll, f"{n}", wait=5, took=5) for poll in (1, 2))]),
        each(lambda n: [submit(0, f"{n}", hint=9), pending(9.1, f"{n}", hint=9), done(18.2, f"{n}", 18)]),
        each(lambda n: [submit(0, f"{n}"), pending(9, f"{n}"), pending(18, f"{n}")], range(19)),
        each(lambda n: [submit(n, f"{n}"), done(99, f"{n}", n + 1)]),  # collected one after another
    ],
    "busy-polling": [
        [submit(0, hint=0.05), *(pending(0.05 * n, hint=0.05, took=0) for n in range(1, 9))],
        [submit(0, hint=2), *(pending(0.05 * n, wait=9, hint=2) for n in range(1, 9))],
        [submit(0, hint=2), *(spoiled(2 + 0.05 * n) for n in range(1, 9))],
    ],
    "duplicate-submits": [
        [submit(0, key="one", status=0, faults=("reset",)), submit(1, key="one", replayed=True)],
        [submit(0, "a", key=None), submit(1, "b", key=None)],
        [submit(0, "a", key="one"), submit(1, "b", key="another")],
        [submit(0, key="one", status=0, faults=("reset",)), submit(0.5, "b", key="two"), submit(1, key="one")],
        [submit(0, key="one", status=0, faults=("reset",)), submit(1, key="one", status=0, faults=("reset",)),
         submit(2, key="one", replayed=True), submit(3, "b", key="two")],
        [*(submit(at, key="one", status=0, faults=("reset",)) for at in (0, 1, 3)), submit(9, "b", key="two")],
        [submit(0, key="one", status=429, faults=("status",)), submit(1, key="two")],
        [submit(0, key=None, status=503, faults=("status",)), submit(1, key=None)],
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None, status=503, faults=("status",))],
        [submit(0, key="one", status=500), submit(99, key="two")],
        [submit(0, key="one", status=500), submit(1, digest="other", key="two")],
        [submit(0, key="one", took=2, status=500), submit(1, "b", key="two"), submit(3, key="one")],
    ],
    "retried-without-key": [
        [submit(0, status=503, faults=("status",)), submit(1)],
        [submit(0, key=None), submit(1, "b", key=None)],
        [submit(0, key=None, status=503), submit(99, key=None)],
        [submit(0, key=None, status=429), submit(1, key=None)],  # it was not served
    ],
    "credentials": [
        [submit(0), spoiled(1, kind="unauthorized", status=401), pending(2), done(5)],
        [submit(0), spoiled(1, kind="status", status=403), pending(2), done(5)],
    ],
    "no-idempotency-key": [
        [submit(0), submit(9, "b", key=None)],
        [submit(0, key=None, status=503), submit(1, key=None)],  # the other rule warns of it
    ],
    "no-long-poll": [
        [submit(0), done(3, ended=2.9)],
        [submit(0), pending(1), pending(2), pending(3, wait=30)],
        [submit(0, hint=0.001), *(pending(at, hint=0.001) for at in (0.1, 0.2, 0.3)), done(0.4, ended=0.4)],
        [submit(0), pending(1), pending(2), pending(3), record(4, "events", "/events")],
    ],
}  # fmt: skip


def parameters(cases):
    """Returns the cases of each rule: the records, and the ends of jobs where a case has them."""
    pairs = {rule: [case if isinstance(case, tuple) else (case, {}) for case in cases[rule]] for rule in cases}
    return [pytest.param(rule, *case, id=f"{rule}-{n}") for rule in pairs for n, case in enumerate(pairs[rule])]


def test_each_rule_has_examples():
    assert EXAMPLES.keys() == COUNTEREXAMPLES.keys() == RULES.keys()


@pytest.mark.parametrize(("rule", "records", "ended"), parameters(EXAMPLES))
def test_each_rule_finds_its_examples(rule, records, ended):
    card = report(records, ended)
    finding = next(finding for finding in card.findings if finding.rule == rule)
    assert finding.count >= 1
    assert len(finding.jobs) <= 5
    assert finding.severity == RULES[rule].severity
    assert rule in text(card)
    assert finding.message in " ".join(text(card).split())


@pytest.mark.parametrize(("rule", "records", "ended"), parameters(COUNTEREXAMPLES))
def test_each_rule_ignores_its_counterexamples(rule, records, ended):
    assert rule not in rules(records, ended)


def test_a_client_that_waits_well_has_no_findings():
    card = report(CLEAN, {"a": 5.01})
    assert card.findings == ()
    assert "no findings" in text(card)
    assert "<failure" not in junit(card)


def test_the_order_of_the_records_does_not_matter():
    assert report(CLEAN, {"a": 5.01}) == report(CLEAN[::-1], {"a": 5.01})


def test_a_card_has_the_numbers_of_all_requests():
    records = [
        submit(0, "a", hint=2, key="one"),
        submit(0.5, "b", key="two", status=0, faults=("reset",)),
        submit(1.51, "b", key="two", replayed=True, hint=1),
        pending(1, "a", hint=2, tagged=True, status=304),
        done(4, "a", ended=3.01),
        done(5, "a", ended=3.01),
        batch(6, ReportedJob("b", COMPLETED, 5)),
        record(7, "events", "/events"),
        record(8, "event", "/events", (ReportedJob("b", COMPLETED, 5),)),
        submit(8, "c"),
        record(9, None, "/nowhere", status=404),
        pending(9, "c", wait=30, took=11),
    ]
    card = report(records, {"a": 3.01, "b": 5, "c": 10}, dropped=7)
    assert asdict(card.overall) == pytest.approx(
        {
            "requests": 11,
            "dropped": 7,
            "submits": 4,
            "jobs": 3,
            "polls": 5,
            "polls_per_job": 5 / 3,
            "lateness_median": 1.005,
            "lateness_p99": 1.01,
            "lateness_max": 1.01,
            "early_polls": 1,
            "polls_after_end": 1,
            "never_collected": 0,
            "retries": 1,
            "retry_variation": None,
            "busiest_second": 2,
            "mean_second": 1.1,
            "crowding": 2 / 1.1,
            "keys_used": 3,
            "keys_reused": 1,
            "duplicate_submits": 0,
            "credentials_errors": 0,
            "not_modified": 1,
            "long_polls": 1,
            "event_streams": 1,
            "batch_polls": 1,
        }
    )
    a, b, c = card.jobs
    assert a == JobCard("a", 3, (3.0, 1.0), pytest.approx(1), early=1, after_end=1, collected=True)
    assert (b.polls, b.lateness, b.collected) == (1, pytest.approx(1.01), True)
    assert (c.polls, c.lateness, c.collected) == (1, None, False)


def test_numbers_agree_with_the_findings_about_the_same():
    once = each(lambda n: [submit(10 * n, f"{n}", hint=5), pending(10 * n + 3, f"{n}")], range(12))
    often = [submit(200, "x", hint=5), *(pending(200 + n, "x", hint=5) for n in range(1, 4))]
    excused = [submit(300, "y"), pending(301, "y", hint=4e4, faults=("huge-retry-after",)), submit(310, "z")]
    card = report([*once, *often, *excused], {"x": 204, "y": 303})
    counts = {finding.rule: finding.count for finding in card.findings}
    assert (card.overall.early_polls, counts["early-polls"], sum(job.early for job in card.jobs)) == (3, 3, 3)
    assert (card.overall.never_collected, counts["never-collected"]) == (1, 1)


def test_a_job_card_lists_the_first_gaps_only():
    (job,) = report([pending(n) for n in range(99)], {}).jobs
    assert job.gaps == (1.0,) * 50


def test_a_card_has_the_reactions_to_each_kind_of_fault():
    records = [
        submit(0, status=0, faults=("reset",)),
        submit(1.01),
        spoiled(2, kind="status", status=503, took=0),
        spoiled(3, kind="unknown-status", status=200, took=0),
        pending(5, faults=("latency", "huge-retry-after"), took=1),
        spoiled(9, kind="reset", took=0),
        batch(10, status=0, faults=("reset",)),
        record(11, "event", "/events", faults=("drip",)),
    ]
    reactions = {fault.kind: (fault.fired, fault.came_again, fault.again_median, fault.gave_up) for fault in report(
        records, {}).faults}  # fmt: skip
    assert reactions == {
        "drip": (1, 0, None, 0),
        "huge-retry-after": (1, 1, pytest.approx(3), 0),
        "latency": (1, 0, None, 0),
        "reset": (3, 1, pytest.approx(1), 2),
        "status": (1, 1, pytest.approx(1), 0),
        "unknown-status": (1, 1, pytest.approx(2), 0),
    }


def test_a_client_that_learned_the_end_from_a_stream_did_not_give_up():
    records = [submit(0), spoiled(1), record(2, "event", "/events", (ReportedJob("a", COMPLETED, 2),))]
    assert [fault.gave_up for fault in report(records, {}).faults] == [0]


def test_the_text_of_a_card_is_printable():
    ids = [f"\x1b[31m{'long' * 40}{number}" for number in range(9)]
    card = report([made for job_id in ids for made in (submit(0, job_id), done(1, job_id), done(2, job_id))], {})
    assert max(map(len, text(card).splitlines())) <= WIDTH
    assert "\x1b" not in text(card)
    assert "reset            1, gave up 1 time\n" in text(report([spoiled(1)], {"a": 0}))
    assert "came again 1 time after 0.99 s" in text(report([spoiled(1), pending(2)], {}, 3))
    assert "3 older ones" in text(report([], {}, 3))


def test_junit_has_a_test_case_for_each_rule():
    card = report([submit(0, "a\0<&", key=None), done(1, "a\0<&"), done(2, "a\0<&")], {})
    suite = ET.fromstring(junit(card)).find("testsuite")  # noqa: S314 - it is our own
    assert [case.get("name") for case in suite] == [*RULES]
    assert {case.get("name") for case in suite if case.find("failure") is not None} == {"polls-after-end"}
    assert suite.get("failures") == "1"
    assert suite.find("testcase[@name='polls-after-end']/failure").text.endswith("Jobs: a<&")
    assert "Idempotency-Key" in suite.find("testcase[@name='no-idempotency-key']/system-out").text


times = st.floats(0, 4e9) | st.floats(0, 10) | st.integers(0, 20)
words = st.sampled_from(["a", "b", "jobs", "", "\0\ud800"]) | st.text(max_size=3)
records = st.builds(
    RequestRecord,
    at=times,
    virtual_at=times,
    took=times,
    method=st.sampled_from(["GET", "POST"]),
    path=words.map("/jobs/{}".format) | st.just("/jobs"),
    action=st.sampled_from([*ACTIONS, "event", None]),
    status=st.sampled_from([0, 200, 202, 304, 401, 404, 429, 500, 503]),
    jobs=st.lists(st.builds(ReportedJob, words, st.sampled_from(State), st.none() | times), max_size=3).map(tuple),
    key=st.none() | words,
    replayed=st.booleans(),
    digest=st.none() | words,
    wait=st.none() | st.integers(0, 60),
    tagged=st.booleans(),
    hint=st.none() | times,
    faults=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
    agent=st.none() | words,
)


@given(st.lists(records, max_size=20), st.dictionaries(words, times), st.integers(0))
def test_any_request_log_has_a_report_card(records, ended, dropped):
    card = report(records, ended, dropped)
    assert json.loads(json.dumps(asdict(card), allow_nan=False))["overall"]["dropped"] == dropped
    for finding in card.findings:
        assert finding.rule in text(card)
    suites = ET.fromstring(junit(card))  # noqa: S314 - it is our own
    assert len(suites.findall("testsuite/testcase")) == len(RULES)
    assert {field.name for field in fields(Finding)} == {"rule", "severity", "message", "jobs", "count"}
