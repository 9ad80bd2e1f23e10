"""The report card: its findings by rule, its numbers, and its forms."""

import json
from dataclasses import asdict, fields, replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report_logs import (
    CLEAN,
    COMPLETED,
    COUNTEREXAMPLES,
    EXAMPLES,
    batch,
    done,
    each,
    pending,
    record,
    submit,
    unusable,
)
from translation_server.api.report_render import WIDTH, junit, text
from translation_server.core.faults.rules import ACTIONS, KINDS
from translation_server.core.job import State
from translation_server.core.report.deliveries import ReportedAttempt
from translation_server.core.report.findings import RULES, Finding
from translation_server.core.report.report import JobCard, report
from translation_server.core.request_log import ReportedJob, RequestRecord


def rules(records, ended=None, attempts=()):
    return [finding.rule for finding in report(records, ended or {}, attempts=attempts).findings]


def parameters(cases):
    """Returns the cases of each rule: the records; ends of jobs and attempts to deliver them where a case has them."""
    return [
        pytest.param(rule, *(case if isinstance(case, tuple) else (case,)), *rest, id=f"{rule}-{n}")
        for rule in cases
        for n, case in enumerate(cases[rule])
        for rest in [({}, ())[len(case) - 1 if isinstance(case, tuple) else 0 :]]
    ]


def test_each_rule_has_examples():
    assert EXAMPLES.keys() == COUNTEREXAMPLES.keys() == RULES.keys()


@pytest.mark.parametrize(("rule", "records", "ended", "attempts"), parameters(EXAMPLES))
def test_each_rule_finds_its_examples(rule, records, ended, attempts):
    card = report(records, ended, attempts=attempts)
    finding = next(finding for finding in card.findings if finding.rule == rule)
    assert finding.count >= 1
    assert len(finding.jobs) <= 5
    assert finding.severity == RULES[rule].severity
    assert rule in text(card)
    assert finding.message in " ".join(text(card).split())


@pytest.mark.parametrize(("rule", "records", "ended", "attempts"), parameters(COUNTEREXAMPLES))
def test_each_rule_ignores_its_counterexamples(rule, records, ended, attempts):
    assert rule not in rules(records, ended, attempts)


@pytest.mark.parametrize(
    ("known_by", "remedy"),
    [
        (("key", "key"), "send the same Idempotency-Key with each try."),
        (("nothing", "nothing"), "this API has no idempotency keys, so look for the job in the API's list before"),
        (("key", "nothing"), "with each try; where an API has no idempotency keys, look for the job"),
    ],
)
def test_findings_of_repeated_submissions_advise_no_keys_where_an_api_has_none(known_by, remedy):
    records = [
        submit(at, key=None, digest=digest, known_by=one, **({"status": 0, "faults": ("reset",)} if lost else {}))
        for one, digest in zip(known_by, "ab", strict=True)
        for at, lost in ((0, True), (1, False))
    ]
    found = {finding.rule: finding.message for finding in report(records, {}).findings}
    assert remedy in found["duplicate-submits"]
    assert ("send a key" in found["retried-without-key"]) == ("key" in known_by)


@pytest.mark.parametrize("kind", [None, "mine/task"])
def test_the_finding_late_advises_long_polls_where_an_api_has_them(kind):
    found = [
        submit(0),
        *(replace(one, jobs=(replace(one.jobs[0], kind=kind),)) for one in (pending(4), done(20, ended=5))),
    ]
    [message] = [finding.message for finding in report(found, {}).findings if finding.rule == "late"]
    assert ("Prefer: wait" in message) == (kind is None)


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
        unusable(2, kind="status", status=503, took=0),
        unusable(3, kind="unknown-status", status=200, took=0),
        pending(5, faults=("latency", "huge-retry-after"), took=1),
        unusable(9, kind="reset", took=0),
        batch(10, status=0, faults=("reset",)),
        record(11, "event", "/events", faults=("drip",)),
    ]
    reactions = {
        fault.kind: (fault.fired, fault.came_again, fault.again_median, fault.gave_up)
        for fault in report(records, {}).faults
    }
    assert reactions == {
        "drip": (1, 0, None, 0),
        "huge-retry-after": (1, 1, pytest.approx(3), 0),
        "latency": (1, 0, None, 0),
        "reset": (3, 1, pytest.approx(1), 2),
        "status": (1, 1, pytest.approx(1), 0),
        "unknown-status": (1, 1, pytest.approx(2), 0),
    }


def test_requests_for_a_job_whose_id_has_slashes_are_about_it():
    name = "projects/1/locations/a/operations/2"
    records = [submit(0, name), *(unusable(at, name) for at in (1, 2)), done(3, name, ended=2.5)]
    card = report(records, {})
    assert [(job.job_id, job.polls) for job in card.jobs] == [(name, 3)]
    [reaction] = card.faults
    assert (reaction.fired, reaction.came_again, reaction.gave_up) == (2, 2, 0)


def test_a_client_that_learned_the_end_from_a_stream_did_not_give_up():
    records = [submit(0), unusable(1), record(2, "event", "/events", (ReportedJob("a", COMPLETED, 2),))]
    assert [fault.gave_up for fault in report(records, {}).faults] == [0]


def test_the_text_of_a_card_is_printable():
    ids = [f"\x1b[31m{'long' * 40}{number}" for number in range(9)]
    card = report([made for job_id in ids for made in (submit(0, job_id), done(1, job_id), done(2, job_id))], {})
    assert max(map(len, text(card).splitlines())) <= WIDTH
    assert "\x1b" not in text(card)
    assert "reset            1, gave up 1 time\n" in text(report([unusable(1)], {"a": 0}))
    assert "came again 1 time after 0.99 s" in text(report([unusable(1), pending(2)], {}, 3))
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


attempts = st.builds(
    ReportedAttempt,
    words,
    words,
    st.sampled_from(["started", "completed"]),
    st.sampled_from(["pending", "delivered", "failed", "gone"]),
    times,
    times,
    st.none() | st.sampled_from([204, 302, 400, 410, 503]),
    st.none() | st.sampled_from(KINDS),
    st.booleans(),
)


@given(st.lists(records, max_size=20), st.dictionaries(words, times), st.integers(0), st.lists(attempts, max_size=9))
def test_any_request_log_has_a_report_card(records, ended, dropped, attempts):
    card = report(records, ended, dropped, attempts=attempts)
    assert json.loads(json.dumps(asdict(card), allow_nan=False))["overall"]["dropped"] == dropped
    for finding in card.findings:
        assert finding.rule in text(card)
    suites = ET.fromstring(junit(card))  # noqa: S314 - it is our own
    assert len(suites.findall("testsuite/testcase")) == len(RULES)
    assert {field.name for field in fields(Finding)} == {"rule", "severity", "message", "jobs", "count"}
