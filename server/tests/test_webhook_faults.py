"""Fault rules for deliveries of webhooks, as a raw receiver sees them."""

import json
from dataclasses import replace

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.api import is_problem
from tests.examples import rule
from tests.patience import PATIENCE
from tests.processes import wait_until
from tests.receivers import receiving
from tests.report_logs import submit as submission
from tests.stores import add
from translation_server.api.report_grading import Grading
from translation_server.core.faults.deliveries import delivery_context
from translation_server.core.faults.rules import APPLICABILITY, FORGED, KINDS
from translation_server.core.job import Fate, Job, State
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.webhook_events import END, delivery_id
from translation_server.core.webhooks import STANDARD, Attempt, Delivery, Signature
from translation_server.core.webhooks import Webhook as Target
from translation_server.documents import RECORD
from translation_server.service.deliveries import Deliveries
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog
from translation_server.service.webhook_attempts import Attempts
from translation_server.storage.memory import MemoryStore

SECRET = "whsec_c2VjcmV0"
NOW = {"delay": 0, "outcome": "completed"}
MUCH_LATER = 200_000  # seconds: after all attempts of the schedule


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def submit(api, receiver):
    """Submits a job whose events are delivered; returns its id."""

    def submit(simulate=NOW, **webhook):
        return api.submit({"simulate": simulate, "webhook": {"url": receiver.url, "secret": SECRET, **webhook}})

    return submit


def deliveries(api):
    return api.get("/sandbox/webhooks", params={"limit": 100}).json()["deliveries"]


def attempts(api):
    """Returns the fault and the answer of each attempt of the newest delivery, if there is one."""
    return [(attempt["fault"], attempt["status"]) for one in deliveries(api)[:1] for attempt in one["attempts"]]


def fired(api):
    return [fault["fired"] for fault in api.get("/sandbox").json()["faults"]]


def is_genuine(received):
    try:
        Webhook(SECRET).verify(received.text, received.headers)
    except WebhookVerificationError:
        return False
    return True


def test_lost_attempt_is_followed_by_the_next_one(api, receiver, submit):
    api.set_faults(rule("lost", nth=[1]))
    submit()
    wait_until(lambda: deliveries(api))
    assert receiver.is_quiet()
    api.set_clock(advance=6)
    receiver.take()
    wait_until(lambda: attempts(api) == [("lost", None), (None, 204)])
    assert fired(api) == [1]
    assert deliveries(api)[0]["attempts"][0]["error"] == "lost by a fault rule of the sandbox"


def test_delivery_whose_attempts_are_all_lost_fails(api, receiver, submit):
    api.set_clock(speed=1e6)
    api.set_faults(rule("lost"))
    job_id = submit()
    wait_until(lambda: [one["state"] for one in deliveries(api)] == ["failed"])
    assert attempts(api) == [("lost", None)] * 7
    assert receiver.received == []
    assert api.job(job_id)["status"] == "completed"


def test_limit_of_a_rule_counts_attempts(api, receiver, submit):
    api.set_faults(rule("lost", times=2))
    for _ in range(3):
        submit()
    receiver.take()
    assert receiver.is_quiet()
    assert fired(api) == [2]


def test_doubled_delivery_comes_several_times_at_once(api, receiver, submit):
    api.set_faults(rule("doubled", copies=3))
    job_id = submit()
    received = receiver.take(3)
    assert receiver.is_quiet()
    assert len({(one.id, one.text) for one in received}) == 1
    assert all(map(is_genuine, received))
    wait_until(lambda: attempts(api) == [(None, 204), ("doubled", 204), ("doubled", 204)])
    assert api.job(job_id)["status"] == "completed"


def test_one_accepted_copy_is_enough(api, receiver, submit):
    api.set_faults(rule("doubled"))
    receiver.codes = [500]
    submit()
    receiver.take(2)
    wait_until(lambda: attempts(api) == [(None, 204), ("doubled", 500)])
    assert deliveries(api)[0]["state"] == "delivered"


def test_copies_come_later_also_from_another_server(start, receiver):
    api = start()
    api.set_faults(rule("doubled", copies=3, delay=60))
    api.submit({"simulate": NOW, "webhook": {"url": receiver.url, "secret": SECRET}})
    [first] = receiver.take()
    wait_until(lambda: attempts(api) == [(None, 204)])
    assert receiver.is_quiet()
    other = start()
    receiver.codes = [500]
    for number in (1, 2):
        other.set_clock(advance=60)
        [copy] = receiver.take()
        assert (copy.id, copy.text) == (first.id, first.text)
        wait_until(lambda number=number: len(attempts(other)) == number + 1)
    assert attempts(other) == [(None, 204), ("doubled", 500), ("doubled", 204)]
    other.set_clock(advance=MUCH_LATER)
    assert receiver.is_quiet()
    assert (deliveries(other)[0]["state"], fired(other)) == ("delivered", [1])


def test_delayed_delivery_holds_up_no_later_event(api, receiver, submit):
    api.set_faults(rule("latency", delay={"kind": "fixed", "seconds": 60}, route=["webhook"], times=1))
    submit(events=["started", "completed"])
    assert receiver.take()[0].type == "job.completed"
    assert receiver.is_quiet()
    api.set_clock(advance=61)
    assert receiver.take()[0].type == "job.started"
    wait_until(lambda: deliveries(api)[1]["state"] == "delivered")
    delayed = [(one["fault"], one["error"], one["status"]) for one in deliveries(api)[1]["attempts"]]
    assert delayed == [("latency", "postponed by a fault rule of the sandbox", None), (None, None, 204)]


def test_attempt_is_delayed_once_and_may_then_be_lost(api, receiver, submit):
    delay = {"kind": "fixed", "seconds": 60}
    api.set_faults(rule("latency", delay=delay, route=["webhook"], nth=[1]), rule("lost", nth=[1]))
    submit()
    wait_until(lambda: attempts(api) == [("latency", None)])
    api.set_clock(advance=61)
    wait_until(lambda: attempts(api) == [("latency", None), ("lost", None)])
    api.set_clock(advance=6)
    receiver.take()


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("event", ["started", "completed"])
def test_forged_delivery_comes_before_the_true_one(api, receiver, submit, kind, event):
    api.set_faults(rule(kind))
    receiver.codes = [400]
    job_id = submit(events=[event])
    forged, true = receiver.take(2)
    assert receiver.is_quiet()
    assert [is_genuine(forged), is_genuine(true)] == [False, True]
    wait_until(lambda: attempts(api) == [(kind, 400), (None, 204)])
    assert (deliveries(api)[0]["state"], api.job(job_id)["status"]) == ("delivered", "completed")
    assert forged.id == true.id
    assert (forged.text == true.text) == (kind not in {"other-job", "changed-body"})


def test_each_forged_delivery_is_wrong_in_its_own_way(api, receiver, submit):
    api.set_faults(*(rule(kind, times=1) for kind in FORGED))
    received = []
    for _ in FORGED:
        submit()
        received += [receiver.take(2)]
    unsigned = [forged for forged, _ in received if "webhook-signature" not in forged.headers]
    old = [int(true.headers["webhook-timestamp"]) - int(one.headers["webhook-timestamp"]) for one, true in received]
    jobs = [one.body["data"]["job_id"] != true.body["data"]["job_id"] for one, true in received]
    types = [(one.type, one.body["data"]["status"]) for one, _ in received]
    assert (len(unsigned), sorted(seconds > 3000 for seconds in old)) == (1, [False] * 4 + [True])
    assert jobs == [kind == "other-job" for kind in FORGED]
    assert types == [
        ("job.error", "error") if kind == "changed-body" else ("job.completed", "completed") for kind in FORGED
    ]


def test_deliveries_without_signatures_are_not_forged(api, receiver):
    api.set_faults(*map(rule, FORGED))
    api.submit({"simulate": NOW, "webhook": {"url": receiver.url}})
    receiver.take()
    assert receiver.is_quiet()
    assert fired(api) == [0] * len(FORGED)


def test_delivery_can_be_cut_off(api, receiver, submit):
    api.set_faults(rule("truncate", keep=0.25, route=["webhook"], nth=[1]))
    submit()
    beginning = receiver.cut_off.get(timeout=PATIENCE)
    wait_until(lambda: attempts(api) == [("truncate", None)])
    api.set_clock(advance=6)
    [whole] = receiver.take()
    assert beginning == whole.text[: len(whole.text) // 4]
    assert deliveries(api)[0]["attempts"][0]["error"] == "cut off by a fault rule of the sandbox"


def test_delivery_can_have_another_content_type(api, receiver, submit):
    api.set_faults(rule("wrong-type", route=["webhook"]))
    submit()
    [received] = receiver.take()
    assert received.headers["content-type"] == "text/html"
    assert is_genuine(received)
    wait_until(lambda: attempts(api) == [("wrong-type", 204)])


@pytest.mark.parametrize(
    "kind", [*FORGED, "doubled", "stale", "huge-body", "wrong-type", "lost", "latency", "out-of-order", "burst"]
)
def test_attempts_show_the_requests_that_the_receiver_got(api, receiver, submit, kind):
    api.set_faults(rule(kind, route=["webhook"], nth=[1]))
    submit()
    wait_until(lambda: deliveries(api))
    api.set_clock(advance=6)
    wait_until(lambda: deliveries(api)[0]["state"] == "delivered")
    [delivery] = deliveries(api)
    sent = [attempt["request"] for attempt in delivery["attempts"] if attempt["request"]]
    assert [request["size"] for request in sent if request["body"] == delivery["body"]] == []
    shown = sorted((_headers(one["headers"]), one["size"], (one["body"] or delivery["body"])[:10_000]) for one in sent)
    got = receiver.take(len(sent))
    assert receiver.is_quiet()
    assert shown == sorted((_headers(one.headers), len(one.text.encode()), one.text[:10_000]) for one in got)
    changes_body = kind in {"changed-body", "other-job", "stale", "huge-body"}
    assert [bool(request["body"]) for request in sent].count(True) == changes_body


def _headers(headers):
    return sorted(item for item in headers.items() if item[0] not in {"host", "content-length"})


def test_attempt_that_is_cut_off_shows_how_much_was_sent(api, receiver, submit):
    api.set_faults(rule("truncate", keep=0.25, route=["webhook"], nth=[1]))
    submit()
    beginning = receiver.cut_off.get(timeout=PATIENCE)
    wait_until(lambda: deliveries(api))
    [attempt] = deliveries(api)[0]["attempts"]
    assert (attempt["request"]["size"], attempt["request"]["body"]) == (len(beginning.encode()), None)


def test_rules_without_a_route_for_requests_leave_webhooks_alone(api, receiver, submit):
    kinds = ["latency", "truncate", "wrong-type"]
    submit({"paused": True})
    [job] = api.get("/jobs").json()["jobs"]
    api.set_faults(*(rule(kind, method="POST", nth=[2]) for kind in kinds))
    api.change_job(job["job_id"], do="finish")
    receiver.take()
    assert fired(api) == [0] * 3


def test_conditions_hold_for_deliveries(api, receiver, submit):
    api.set_faults(rule("lost", dialect="jobs"), rule("lost", after=1e6), rule("lost", method="GET"))
    submit()
    receiver.take()
    assert fired(api) == [0] * 3
    api.set_faults(rule("lost", dialect="start", method="POST", until=1e6))
    submit()
    wait_until(lambda: fired(api) == [1])


@pytest.mark.parametrize("kind", KINDS)
def test_rule_that_cannot_affect_its_route_is_refused(api, kind):
    for route in ("webhook", "poll"):
        possible = route in APPLICABILITY[kind].routes
        answer = api.patch("/sandbox", json={"faults": [rule(kind, route=[route])]})
        if "webhook" in {route, *APPLICABILITY[kind].routes}:
            assert answer.status_code == (200 if possible else 422)
    assert api.patch("/sandbox", json={"faults": [rule(kind, route=[])]}).status_code == 200


@pytest.mark.parametrize(
    "header", ["lost", '{"kind": "doubled"}', '{"kind": "status", "code": 503, "route": ["webhook"]}']
)
def test_faults_of_webhooks_cannot_be_asked_for_with_a_request(api, header):
    assert is_problem(api.post("/start", headers={"Simulate-Fault": header}), 422)


@pytest.mark.parametrize("databases", ["sqlite", "postgresql"])
def test_same_seed_gives_the_same_faults_whatever_the_servers(start, tmp_path, databases, request):
    found = []
    for servers in (1, 3):
        with receiving() as receiver:
            is_sqlite = databases == "sqlite"
            database = f"sqlite:///{tmp_path}/{servers}.db" if is_sqlite else request.getfixturevalue("postgres").new()
            apis = [start(seed="s", database_url=database)]
            apis[0].set_clock(speed=1e6)
            kinds = {"lost": 0.4, "bad-signature": 0.3, "doubled": 0.3}
            apis[0].set_faults(*(rule(kind, probability=share) for kind, share in kinds.items()))
            webhook = {"url": receiver.url, "secret": SECRET, "events": ["started", "completed"]}
            for number in range(30):
                if len(apis) < servers and not number % 10:
                    apis.append(start(seed="s", database_url=database))
                apis[number % len(apis)].submit({"simulate": NOW, "webhook": webhook})
            wait_until(lambda api=apis[0]: [one["state"] for one in deliveries(api)] == ["delivered"] * 60)
            shown = [(one["event"], [attempt["fault"] for attempt in one["attempts"]]) for one in deliveries(apis[0])]
            found.append((shown, fired(apis[0])))
    assert found[0] == found[1]
    assert all(found[0][1])


def test_stale_delivery_follows_that_of_the_end(api, receiver, submit):
    api.set_faults(rule("stale"))
    job_id = submit(events=["started", "completed"])
    started, true, stale = receiver.take(3)
    assert receiver.is_quiet()
    assert [one.type for one in (started, true, stale)] == ["job.started", "job.completed", "job.completed"]
    assert (stale.body["data"]["status"], round(stale.body["data"]["progress"], 1)) == ("pending", 0.5)
    assert len({started.id, true.id, stale.id}) == 3
    assert all(map(is_genuine, (started, true, stale)))
    wait_until(lambda: attempts(api) == [(None, 204), ("stale", 204)])
    assert api.job(job_id)["status"] == "completed"


def test_delivery_can_be_huge(api, receiver, submit):
    api.set_faults(rule("huge-body", size=300_000, nth=[1]))
    receiver.codes = [413]
    submit()
    [huge] = receiver.take()
    assert (len(huge.text), is_genuine(huge)) == (300_000, True)
    wait_until(lambda: attempts(api) == [("huge-body", 413)])
    api.set_clock(advance=6)
    [true] = receiver.take()
    assert (true.body, len(true.text) < 10_000) == (huge.body, True)


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_event_can_come_after_the_end(api, receiver, submit, end):
    api.set_faults(rule("out-of-order"))
    job_id = submit({"delay": 1000}, events=["started", "completed", "cancelled"])
    wait_until(lambda: attempts(api) == [("out-of-order", None)])
    assert receiver.is_quiet()
    if end == "cancelled":
        api.cancel(job_id)
    else:
        api.set_clock(advance=1000)
    assert receiver.take()[0].type == f"job.{end}"
    api.set_clock(advance=1010)
    assert receiver.take()[0].type == "job.started"
    assert fired(api) == [1]


def test_event_whose_end_is_not_delivered_is_not_out_of_order(api, receiver, submit):
    api.set_faults(rule("out-of-order"))
    submit(events=["started", "error"])
    assert receiver.take()[0].type == "job.started"
    assert fired(api) == [0]


def test_deliveries_can_come_in_a_burst(api, receiver, submit):
    api.set_clock(frozen=True)
    api.set_faults(rule("burst", seconds=3600))
    for _ in range(20):
        submit()
    wait_until(lambda: fired(api) == [20])
    assert receiver.is_quiet()
    api.set_clock(advance=3600)
    assert len({received.id for received in receiver.take(20)}) == 20


@pytest.mark.parametrize("graded_at_once_up_to", [0, 2**20], ids=["in a process", "at once"])
async def test_report_card_grades_the_receiver(graded_at_once_up_to):
    store = MemoryStore()
    await store.add_requests([("ann", RECORD.dump_json(submission(0, "job")).decode())], 10)
    attempts = (Attempt(5.0, 5.0, 0.1, 204, fault="bad-signature", extra=True), Attempt(5.0, 5.0, 0.1, 204))
    job = await add(store, job_id="job", webhook=Target("http://receiver/"))
    delivered = Delivery(
        delivery_id(job, END), job.ordinal, END, "completed", "job", "http://receiver/", 1.0, "{}", attempts
    )
    await store.record_deliveries("ann", [delivered])
    service = Service(store, SandboxSettings, clock=lambda: 5000.0, entropy=lambda: bytes(16))
    sending = Attempts(None, clock=lambda: 5000.0, render=None)
    service.deliver_by(Deliveries(store, service.sandboxes, attempts=sending, clock=lambda: 5000.0))
    answer = await Grading(RequestLog(store, service.sandboxes, 10), service, graded_at_once_up_to).answer(
        "ann", "application/json"
    )
    body = answer.body if graded_at_once_up_to else b"".join([piece async for piece in answer.body_iterator])
    found = {finding["rule"]: finding["jobs"] for finding in json.loads(body)["findings"]}
    assert found["accepted-forgeries"] == ["job"]


def test_old_timestamp_needs_a_signature_that_shows_it():
    job = Job("job", "ann", 1, 0.0, Fate(0.0, State.COMPLETED))
    delivery = Delivery("msg", 1, END, "completed", "job", "http://receiver/", 0.0, "{}")
    signatures = {
        "standard": STANDARD,
        "timed": Signature(header="x-signature", text="{timestamp}.{body}"),
        "body": Signature(header="x-signature"),
        "none": None,
    }
    excluded = {
        name: delivery_context(
            replace(job, webhook=Target("http://receiver/", secrets=("s",), signature=signature)), delivery, "start"
        ).excluded
        & set(FORGED)
        for name, signature in signatures.items()
    }
    assert excluded == {"standard": set(), "timed": set(), "body": {"old-timestamp"}, "none": set(FORGED)}
