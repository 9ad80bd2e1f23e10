"""Request logs for the tests of the report card: those in which each rule finds something, and those in which not."""

from dataclasses import replace

from translation_server.core.faults.rules import FORGED
from translation_server.core.job import State
from translation_server.core.report.deliveries import ReportedAttempt
from translation_server.core.request_log import ReportedJob, RequestRecord

PENDING, COMPLETED, CANCELLED = State.PENDING, State.COMPLETED, State.CANCELLED


def record(at, action, path, jobs=(), **facts):
    facts = {"method": "GET", "took": 0.01, "status": 200, "dialect": "jobs", **facts}
    return RequestRecord(at=at, virtual_at=at, path=path, action=action, jobs=jobs, **facts)


def submit(at, job_id="a", **facts):
    """A submission. Its answer names a job unless it was lost or refused."""
    lost = facts.get("faults") or facts.get("status", 202) >= 300
    facts = {"method": "POST", "status": 202, "digest": "same", "key": f"key of {job_id}", **facts}
    return replace(record(at, "submit", "/jobs", () if lost else (ReportedJob(job_id, PENDING),)), **facts)


def pending(at, job_id="a", **facts):
    return record(at, "poll", f"/jobs/{job_id}", (ReportedJob(job_id, PENDING),), **facts)


def done(at, job_id="a", ended=0.0, **facts):
    return record(at, "poll", f"/jobs/{job_id}", (ReportedJob(job_id, COMPLETED, ended),), **facts)


def unusable(at, job_id="a", kind="reset", **facts):
    return record(at, "poll", f"/jobs/{job_id}", **{"status": 0, **facts}, faults=(kind,))


def refused(at, job_id="a", status=503, **facts):
    return unusable(at, job_id, "status", status=status, **facts)


def batch(at, *jobs, **facts):
    return record(at, "batch_poll", "/jobs", jobs, **facts)


def each(make, jobs=range(30)):
    return [made for number in jobs for made in make(number)]


def attempt(at, status=204, fault=None, job_id="a", **facts):
    """An attempt to deliver the end of a job."""
    facts = {"delivery_id": f"msg of {job_id}", "event": "completed", "state": "delivered", "seconds": 0.01, **facts}
    return ReportedAttempt(job_id=job_id, at=at, status=status, fault=fault, **{"extra": False, **facts})


def extra(at, fault, status=204, **facts):
    return attempt(at, status, fault, extra=True, **facts)


CLEAN = [submit(0, hint=2), pending(2.1, wait=30, took=2.9, hint=1), done(5.02, ended=5.01)]

RUN = [0, 1.01, 2.02, 3.03]  # the times of failures of 10 ms with gaps of 1 s

KEYLESS = {"key": None, "known_by": "nothing"}  # a submission to an API without idempotency keys
NAMED = {"key": None, "known_by": "id"}  # one with an id that its caller chose
TAKEN = {"status": 0, "faults": ("reset",), "hidden_status": 409}  # refused, and the client does not know

EXAMPLES = {
    "early-polls": [
        [submit(0, hint=5), pending(1, hint=5), pending(2, hint=5)],
        [submit(0, hint=9), pending(1, hint=9), pending(2, hint=9), pending(3, hint=9, wait=1, took=1), pending(5)],
        [submit(0, hint=5), pending(1, hint=5, wait=9), pending(2, hint=5), pending(3, hint=5), done(9)],
        [submit(0, hint=5), record(0.1, "events", "/events"), pending(0.2, hint=5), pending(1, hint=5), pending(2)],
        [submit(0, hint=5), record(0.1, "events", "/events", agent="other"), pending(0.2, hint=5), done(9)],
        [submit(0), refused(1, hint=3), refused(2, hint=3), pending(3), pending(4)],
        [submit(0), refused(1, hint=3, status=429), refused(2, hint=3, status=429), pending(3, wait=9), pending(14)],
        [
            submit(0, "a", hint=5),
            submit(0, "b", hint=5),
            batch(1, ReportedJob("a", PENDING), ReportedJob("b", PENDING)),
            batch(9, ReportedJob("a", COMPLETED, 8.9), ReportedJob("b", COMPLETED, 8.9)),
        ],
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
        [
            submit(0, hint=2),
            pending(2.2, hint=2, took=0.3, faults=("latency",)),
            done(12, ended=3, took=0.2, faults=("latency",)),
        ],
    ],
    "never-collected": [
        ([submit(0, hint=1), submit(0, "b"), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), refused(3), submit(0, "b"), done(10, "b", 9.9)], {"a": 5}),
        ([submit(0), pending(1, hint=1), batch(2, status=0, faults=("reset",)), record(9, "list", "/jobs")], {"a": 3}),
    ],
    "retries-without-jitter": [
        [submit(-1), *(unusable(at) for at in RUN), pending(4.04)],
        [submit(-1), *(refused(at) for at in (0, 1.01, 3.02, 7.03)), pending(15.04)],
        [submit(-1), *(refused(at) for at in (0, 1.01, 3.02, 7.03, 11.04, 15.05)), pending(19.06)],
        [submit(at, status=500, faults=("status",)) for at in RUN] + [submit(4.04)],
        [submit(-1), *(refused(at) for at in (0, 0.012, 2.022, 6.032)), pending(14.042)],  # urllib3's Retry
        [submit(-1), *(unusable(at, hint=3) for at in RUN), pending(4.04)],  # no hint arrived
    ],
    "crowding": [each(lambda n: [submit(n / 30, f"{n}"), *(pending(5 * poll, f"{n}") for poll in (1, 2, 3))])],
    "busy-polling": [[submit(0, hint=2), *(pending(0.05 * n, hint=2) for n in range(1, 9))]],
    "duplicate-submits": [
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None)],
        [submit(0, status=0, faults=("reset",), hidden_status=200, **KEYLESS), submit(1, **KEYLESS)],
        [submit(0, key="one", status=0, faults=("empty",)), submit(1, key="another")],
        [submit(0, key=None, status=202, faults=("truncate",)), submit(1, key="another")],
        [submit(0, key="one", status=502), submit(1, key="another")],
        [submit(0, key="one", status=0, took=300, faults=("hang",)), submit(5, key="another")],
        [
            submit(0, key=None, status=0, faults=("reset",)),
            submit(1, key=None, status=503, faults=("status",)),
            submit(2, key=None),
        ],
        [
            submit(0, key="one", status=0, faults=("reset",)),
            submit(1, key="two", status=503, faults=("status",)),
            submit(2, key="two"),
        ],
    ],
    "retried-without-key": [
        [submit(0, key=None, status=503), submit(1, key=None)],
        [submit(0, status=503, **KEYLESS), submit(1, **KEYLESS)],
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None)],
    ],
    "credentials": [
        [record(0, "list", "/jobs", status=401)],
        [submit(0, status=403)],
        [record(0, "list", "/jobs", refused=1)],
    ],
    "slow-receiver": [
        ([submit(0)], {}, [attempt(1, seconds=4)]),
        ([submit(0)], {}, [attempt(1, None, seconds=15)]),
        ([submit(0)], {}, [extra(1, "doubled", seconds=4)]),
    ],
    "accepted-forgeries": [([submit(0)], {}, [extra(1, kind), attempt(1.1)]) for kind in FORGED],
    "failed-doubles": [
        ([submit(0)], {}, [attempt(1), extra(1, "doubled", 500)]),
        ([submit(0)], {}, [attempt(1), extra(1, "doubled", None)]),
    ],
    "polls-after-webhook": [
        ([submit(0), pending(2), pending(3)], {}, [attempt(1)]),
        ([submit(0), done(2, ended=0.5), done(3, ended=0.5)], {}, [attempt(1)]),
    ],
    "waited-without-polls": [
        ([submit(0)], {"a": 1}, [attempt(1, None, "lost", state="failed")]),
        ([submit(0)], {"a": 1}, [attempt(1, None, "truncate"), attempt(90)]),
        ([submit(0), submit(99, "b")], {"a": 1}, [attempt(1, None, "lost", state="pending")]),
    ],
    "failing-receiver": [
        ([submit(0)], {}, [attempt(at, 500, state="failed") for at in (1, 6, 300)]),
        ([submit(0)], {}, [attempt(at, status, state="pending") for at, status in ((1, 404), (6, None), (300, 400))]),
    ],
    "redirects": [([submit(0)], {}, [attempt(1, status)]) for status in (301, 302, 307, 308)],
    "no-idempotency-key": [
        [submit(0, key=None), submit(9, "b", key=None)],
        [submit(0, key=None, status=429, hint=1), submit(1.1, key=None)],
    ],
    "no-long-poll": [[submit(0), pending(1), pending(2), done(3, ended=2.9)]],
}

EARLY_BATCH = batch(3, ReportedJob("a", PENDING), ReportedJob("b", PENDING))

COUNTEREXAMPLES = {
    "early-polls": [
        ([submit(0, hint=5), pending(1.1, hint=5), pending(2.1, hint=5)], {}, [attempt(1, 400), attempt(2, 400)]),
        [submit(0, hint=5), pending(4.5, hint=5), done(9.5, ended=9)],
        [submit(0, hint=5), pending(0.02, wait=2, took=2, hint=5), pending(2.03, wait=2, took=2), done(5)],
        [submit(0, hint=5), record(0.1, "events", "/events"), pending(0.2, hint=5), pending(0.3, wait=9), done(9)],
        [submit(0, hint=5), unusable(5), pending(5.2, hint=2), done(7.3, ended=7)],
        [submit(0, hint=5), refused(5), refused(5.2), done(5.7, ended=5)],
        [submit(0, hint=5), refused(5, hint=1), done(6.02, ended=5)],
        [submit(0, hint=86400), pending(5, hint=7200), done(9, ended=8)],
        [submit(0, hint=1), pending(1, hint=900, faults=("huge-retry-after",)), pending(9), done(19, ended=18)],
        [submit(0, hint=5), pending(3)],  # the last one before a deadline
        [submit(0, hint=9), pending(2, hint=9), pending(4, hint=9, wait=1, took=1), pending(7, hint=9)],  # resumed
        [submit(0, hint=9), pending(2, hint=9), record(3, "events", "/events"), pending(3.1, hint=9), pending(5)],
        [submit(0, hint=5), pending(5, hint=5), pending(7, hint=5), done(12.1, ended=12)],  # then continued
        [
            submit(0, hint=5),
            batch(4.9, status=0, faults=("reset",)),
            pending(5, hint=3),
            record(6, "events", "/events", status=503, faults=("status",)),
            pending(6.1, hint=3),
            done(9.2, ended=9),
        ],
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
        [submit(0), done(5), unusable(6, kind="back-to-pending", status=200)],
        [submit(0), done(5), unusable(6, kind="back-to-pending", status=200), done(7)],
        [submit(0), record(5, "event", "/events", (ReportedJob("a", COMPLETED, 5),), took=0), done(5.1, ended=5)],
        [
            submit(0),
            batch(5, ReportedJob("a", COMPLETED, 5), ReportedJob("b", PENDING)),
            batch(6, ReportedJob("a", COMPLETED, 5), ReportedJob("b", COMPLETED, 5)),
        ],
        [
            submit(0),
            record(1, "cancel", "/jobs/a", (ReportedJob("a", CANCELLED, 1),)),
            record(1.1, "poll", "/jobs/a", (ReportedJob("a", CANCELLED, 1),)),
        ],
        [submit(0), done(5, took=1), done(5.5)],  # sent before the answer came
    ],
    "late": [
        ([submit(0, hint=2), done(20, ended=2)], {}, [attempt(2, None, "lost"), attempt(20)]),
        [submit(0, hint=9), done(9.5, ended=2)],
        [submit(0, hint=2), refused(2), done(12, ended=2)],
        [submit(0, hint=2), pending(2.1, hint=2), done(20, ended=3, took=9, faults=("latency",))],
        [submit(0, hint=2), pending(2, hint=4e4, faults=("huge-retry-after",)), done(60, ended=3)],
        [submit(0, hint=2), unusable(2, "b", "hang", took=20), done(22.1, ended=3), done(22, "b", 22)],
        [submit(0), pending(20), done(40, ended=25)],
        [submit(0), replace(done(20, ended=5), virtual_at=1820)],  # the clock was advanced
        [done(20, ended=5)],  # earlier records were dropped
        [submit(0, hint=2), done(9, ended=2), *each(lambda n: [submit(n, f"{n}"), done(n + 1, f"{n}", n + 1)])],
    ],
    "never-collected": [
        ([submit(0), record(90, "list", "/jobs")], {"a": 3}, [attempt(3)]),
        ([submit(0), record(90, "list", "/jobs")], {"a": 3}, [attempt(3, None, "lost", state="pending")]),
        ([submit(0, hint=1), submit(0, "b"), done(3.1, ended=3), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), record(3, "event", "/events", (ReportedJob("a", COMPLETED, 3),)), done(9, "b", 9)], {"a": 3}),
        ([submit(0), batch(3, ReportedJob("a", COMPLETED, 3)), done(9, "b", 9)], {"a": 3}),
        ([submit(0, hint=20), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), *(refused(at) for at in (1, 2, 4)), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), unusable(1, kind="unauthorized", status=401), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), unusable(1, kind="hang", took=5), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0), pending(1, hint=4e4, faults=("huge-retry-after",)), done(10, "b", 9.9)], {"a": 3}),
        ([submit(0, status=0, faults=("reset",)), done(10, "b", 9.9)], {"a": 3}),  # it never knew the job
        ([submit(0), pending(3), pending(4)], {"a": 3.5}),
        ([submit(0), pending(10), unusable(20, hint=1), done(28, "b", 27)], {"a": 19}),  # it may still come
    ],
    "retries-without-jitter": [
        [submit(-1), *(unusable(at) for at in (0, 0.71, 1.02, 2.93)), pending(4.04)],
        [submit(-1), *(refused(at, hint=1) for at in RUN), pending(4.04)],
        [submit(-1), *(pending(at) for at in RUN)],
        [submit(-1), *(refused(at) for at in (0, 0.012, 1.022, 3.132)), pending(6.042)],
        [submit(-1), *(refused(at) for at in RUN[:2]), pending(2.02)],
        [submit(-1), *(unusable(at, kind="hang", took=1) for at in RUN), pending(5)],
        [submit(-1), *(unusable(at, kind="unknown-status", status=200) for at in RUN), pending(5)],
        [
            submit(-1),
            *(refused(at) for at in RUN),
            pending(4.04),
            *(refused(10 + at) for at in (0, 1, 1.5, 4)),
            pending(15),
        ],
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
        [submit(0, hint=2), *(unusable(2 + 0.05 * n) for n in range(1, 9))],
    ],
    "duplicate-submits": [
        [submit(0, key="one", status=0, faults=("reset",)), submit(1, key="one", replayed=True)],
        [submit(0, "a", key=None), submit(1, "b", key=None)],
        [submit(0, "a", key="one"), submit(1, "b", key="another")],
        [submit(0, key="one", status=0, faults=("reset",)), submit(0.5, "b", key="two"), submit(1, key="one")],
        [
            submit(0, key="one", status=0, faults=("reset",)),
            submit(1, key="one", status=0, faults=("reset",)),
            submit(2, key="one", replayed=True),
            submit(3, "b", key="two"),
        ],
        [*(submit(at, key="one", status=0, faults=("reset",)) for at in (0, 1, 3)), submit(9, "b", key="two")],
        [submit(0, key="one", status=429, faults=("status",)), submit(1, key="two")],
        [submit(0, key=None, status=503, faults=("status",)), submit(1, key=None)],
        [submit(0, key=None, status=0, faults=("reset",)), submit(1, key=None, status=503, faults=("status",))],
        [submit(0, status=0, faults=("reset",), hidden_status=200, **NAMED), submit(1, **NAMED, **TAKEN)],
        [submit(0, **NAMED, **TAKEN), submit(1, **NAMED)],
        [submit(0, key="one", status=500), submit(99, key="two")],
        [submit(0, key="one", status=500), submit(1, digest="other", key="two")],
        [submit(0, key="one", took=2, status=500), submit(1, "b", key="two"), submit(3, key="one")],
    ],
    "retried-without-key": [
        [submit(0, status=503, faults=("status",)), submit(1)],
        [submit(0, key=None), submit(1, "b", key=None)],
        [submit(0, key=None, status=503), submit(99, key=None)],
        [submit(0, key=None, status=429), submit(1, key=None)],  # it was not served
        [submit(0, status=503, **NAMED), submit(1, **NAMED)],
    ],
    "credentials": [
        [submit(0), unusable(1, kind="unauthorized", status=401), pending(2), done(5)],
        [submit(0), unusable(1, kind="status", status=403), pending(2), done(5)],
    ],
    "slow-receiver": [
        ([submit(0)], {}, [attempt(1, seconds=2.9)]),
        ([submit(0)], {}, [attempt(1, None, "truncate", seconds=15)]),
    ],
    "accepted-forgeries": [
        *(([submit(0)], {}, [extra(1, kind, status), attempt(1.1)]) for kind in FORGED for status in (400, 500, None)),
        ([submit(0)], {}, [attempt(1), extra(1.1, "stale"), extra(1.2, "doubled")]),
    ],
    "failed-doubles": [
        ([submit(0)], {}, [attempt(1), extra(1, "doubled"), extra(1, "doubled", 503), extra(1, "doubled", 429)]),
        ([submit(0)], {}, [attempt(1, 500), extra(1, "doubled", 500), attempt(6, 500)]),
    ],
    "polls-after-webhook": [
        ([submit(0), pending(0.5), done(2, ended=0.9)], {}, [attempt(1)]),
        ([submit(0), unusable(2), unusable(3), done(4, ended=0.9)], {}, [attempt(1)]),
        ([submit(0), pending(2), pending(3)], {}, [extra(1, "changed-body"), extra(1, "stale"), attempt(1, 500)]),
        ([submit(0), pending(2), pending(3)], {}, [attempt(1, event="started")]),
        ([submit(0), pending(2, agent="one"), pending(3, agent="other")], {}, [attempt(1)]),
    ],
    "waited-without-polls": [
        ([submit(0), pending(0.5)], {"a": 1}, [attempt(1, None, "lost", state="failed")]),
        ([submit(0)], {"a": 1}, [attempt(1, None, "lost"), attempt(6)]),
        ([submit(0)], {"a": 1}, [attempt(1, 500, state="failed")]),
        ([submit(0)], {}, [attempt(1, None, "lost", state="failed")]),
    ],
    "failing-receiver": [
        ([submit(0)], {}, [*(attempt(at, 500) for at in (1, 6, 300)), attempt(2000)]),
        ([submit(0)], {}, [attempt(at, 503, state="pending") for at in (1, 6)]),
        ([submit(0)], {}, [attempt(at, None, "lost", state="failed") for at in (1, 6, 300)]),
        ([submit(0)], {}, [attempt(at, 302, state="failed") for at in (1, 6, 300)]),
    ],
    "redirects": [([submit(0)], {}, [attempt(1, 200), attempt(1, 400)])],
    "no-idempotency-key": [
        [submit(0), submit(9, "b", key=None)],
        [submit(0, key=None, status=503), submit(1, key=None)],  # the other rule warns of it
        [submit(0, **KEYLESS), submit(9, "b", **NAMED)],
    ],
    "no-long-poll": [
        [submit(0), done(3, ended=2.9)],
        [submit(0), pending(1), pending(2), pending(3, wait=30)],
        [submit(0, hint=0.001), *(pending(at, hint=0.001) for at in (0.1, 0.2, 0.3)), done(0.4, ended=0.4)],
        [submit(0), pending(1), pending(2), pending(3), record(4, "events", "/events")],
        [record(at, "poll", "/mine/a", (ReportedJob("a", PENDING, kind="mine/task"),)) for at in range(4)],
    ],
}
