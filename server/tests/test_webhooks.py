"""Webhooks: what a receiver gets, when, and what the sandbox says of it."""

import time
from datetime import datetime
from ipaddress import ip_network

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.api import is_problem
from tests.processes import wait_until
from tests.receivers import receiving
from translation_server.config.local_networks import local_networks
from translation_server.core.change_feed import MAX_PAGE_SIZE
from translation_server.core.webhooks import RETRY_DELAYS

SECRET, OTHER_SECRET = "whsec_c2VjcmV0", "whsec_YW5vdGhlciBzZWNyZXQ="
NOW = {"delay": 0, "outcome": "completed"}


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def submit(api, receiver):
    """Submits a job whose events are delivered; returns its id."""

    def submit(simulate=NOW, **webhook):
        return api.submit({"simulate": simulate, "webhook": {"url": receiver.url, **webhook}})

    return submit


def deliveries(api, **query):
    answer = api.get("/sandbox/webhooks", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["deliveries"]


def newest(api, name):
    """Returns a field of the newest delivery; None if there is none yet."""
    found = deliveries(api, limit=1)
    return found[0][name] if found else None


class TestReceiver:
    def test_end_is_delivered_as_a_poll_shows_it(self, api, receiver, submit):
        job_id = submit()
        [received] = receiver.take()
        job, output = api.job(job_id), received.body["data"]["output"]
        data = job | {"output": output}  # its URL is signed anew in each period
        assert received.body == {"type": "job.completed", "timestamp": job["completed_at"], "data": data}
        assert output["video_url"].startswith(f"{api.base_url}/files/".replace("//files", "/files"))
        assert received.headers["content-type"] == "application/json"
        assert "webhook-signature" not in received.headers

    @pytest.mark.parametrize("outcome", ["completed", "error"])
    def test_each_end_has_its_event(self, receiver, submit, outcome):
        submit({"delay": 0, "outcome": outcome})
        assert receiver.take()[0].type == f"job.{outcome}"

    def test_progress_by_polls_has_the_time_of_the_poll(self, api, receiver, submit):
        api.set_clock(frozen=True)
        job_id = submit({"after_polls": 2, "outcome": "completed"}, events=["progress", "completed"])
        shown = []
        for _ in range(2):
            api.set_clock(advance=100)
            api.job(job_id)
            shown.append(receiver.take()[0])
        begun = datetime.fromisoformat(shown[0].body["data"]["created_at"])
        assert [one.type for one in shown] == ["job.progress", "job.completed"]
        times = [datetime.fromisoformat(one.body["timestamp"]) - begun for one in shown]
        assert [round(time.total_seconds()) for time in times] == [100, 200]
        assert [one.body["data"]["progress"] for one in shown] == [0.5, 1.0]

    def test_cancellation_is_an_end(self, api, receiver, submit):
        api.cancel(submit({"delay": 1000}))
        assert receiver.take()[0].type == "job.cancelled"
        assert receiver.is_quiet()

    def test_start_shows_a_pending_job_also_if_that_ends_at_the_same_time(self, api, receiver, submit):
        api.set_clock(frozen=True)
        events = ["started", "completed", "cancelled"]
        job_id = submit(events=events)
        shown = receiver.take(2)
        assert {one.body["data"]["job_id"] for one in shown} == {job_id}
        api.cancel(submit({"delay": 1000}, events=events))
        states = [one.body["data"]["status"] for one in (*shown, *receiver.take(2))]
        assert states == ["pending", "completed", "pending", "cancelled"]

    def test_events_arrive_in_order_and_once(self, api, receiver, submit):
        job_id = submit({"delay": 1000, "outcome": "error"}, events=["started", "progress", "error"])
        types = [receiver.take()[0].type]
        for _ in range(10):
            api.set_clock(advance=100)
            types.append(receiver.take()[0].type)
        assert types == ["job.started", *["job.progress"] * 9, "job.error"]
        assert receiver.is_quiet()
        progress = [received.body["data"]["progress"] for received in receiver.received]
        assert progress == [tenth / 10 for tenth in range(11)]
        assert len({received.id for received in receiver.received}) == 11
        assert {received.body["data"]["job_id"] for received in receiver.received} == {job_id}

    def test_slow_receiver_gets_the_events_of_a_job_one_after_the_other(self, receiver, submit):
        receiver.may_answer.clear()
        submit(events=["started", "completed"])
        assert receiver.take()[0].type == "job.started"
        assert receiver.is_quiet()
        receiver.may_answer.set()
        assert receiver.take()[0].type == "job.completed"

    def test_every_secret_signs(self, receiver, submit):
        submit(secret=[SECRET, OTHER_SECRET])
        [received] = receiver.take()
        for secret in (SECRET, OTHER_SECRET):
            assert Webhook(secret).verify(received.text, received.headers) == received.body
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_d3Jvbmc=").verify(received.text, received.headers)

    def test_signature_has_wall_time_whatever_the_clock_says(self, api, receiver, submit):
        api.set_clock(advance=1e6)
        submit(secret=SECRET)
        [received] = receiver.take()
        assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 60
        Webhook(SECRET).verify(received.text, received.headers)


class TestRetries:
    def test_whole_schedule_passes_at_the_speed_of_the_clock(self, api, receiver, submit):
        receiver.codes = [500] * 7
        api.set_clock(speed=1e6)
        submit()
        received = receiver.take(7)
        assert receiver.is_quiet()
        assert len({one.id for one in received}) == len({one.text for one in received}) == 1
        wait_until(lambda: newest(api, "state") == "failed")
        [delivery] = deliveries(api)
        assert [attempt["status"] for attempt in delivery["attempts"]] == [500] * 7
        assert delivery["next_attempt_at"] is None

    def test_accepted_retry_is_the_last(self, api, receiver, submit):
        receiver.codes = [503, 500]
        submit(secret=SECRET)
        for pause in RETRY_DELAYS[:2]:
            [received] = receiver.take()
            wait_until(lambda: newest(api, "next_attempt_at"))
            api.set_clock(advance=1.1 * pause)
        [last] = receiver.take()
        Webhook(SECRET).verify(last.text, last.headers)
        assert (last.id, last.text) == (received.id, received.text)
        wait_until(lambda: newest(api, "state") == "delivered")

    def test_retries_hold_up_nothing(self, receiver, submit):
        receiver.codes = [500]
        submit(events=["started", "completed"])
        assert [received.type for received in receiver.take(2)] == ["job.started", "job.completed"]

    def test_receiver_that_is_gone_gets_nothing_more(self, api, receiver, submit):
        receiver.codes = [410]
        submit()
        receiver.take()
        wait_until(lambda: newest(api, "state") == "gone")
        submit()
        wait_until(lambda: len(deliveries(api)) == 2)
        assert receiver.is_quiet()
        assert [(one["state"], len(one["attempts"])) for one in deliveries(api)] == [("gone", 0), ("gone", 1)]

    def test_delivery_on_demand_goes_to_a_receiver_that_was_gone(self, api, receiver, submit):
        receiver.codes = [410]
        submit()
        [first] = receiver.take()
        wait_until(lambda: newest(api, "state") == "gone")
        assert api.post(f"/sandbox/webhooks/{first.id}/redeliver").status_code == 200
        assert receiver.take()[0].id == first.id
        submit()
        receiver.take()

    def test_retry_after_is_heeded(self, api, receiver, submit):
        receiver.codes, receiver.headers = [503], {"Retry-After": "3600"}
        submit()
        receiver.take()
        wait_until(lambda: newest(api, "next_attempt_at"))
        api.set_clock(advance=3500)
        assert receiver.is_quiet()
        api.set_clock(advance=200)
        receiver.take()

    def test_redirects_are_not_followed(self, api, receiver, submit):
        receiver.codes, receiver.headers = [307], {"Location": receiver.url}
        submit()
        receiver.take()
        assert receiver.is_quiet()
        assert deliveries(api)[0]["attempts"][0]["status"] == 307

    def test_receiver_that_is_not_there_is_tried_again(self, api):
        api.submit({"simulate": NOW, "webhook": {"url": "http://127.0.0.1:1/"}})
        wait_until(lambda: deliveries(api))
        [delivery] = deliveries(api)
        assert (delivery["state"], delivery["attempts"][0]["status"]) == ("pending", None)
        assert delivery["attempts"][0]["error"]


class TestRefused:
    @pytest.mark.parametrize(
        ("webhook", "field"),
        [
            ({"url": "http://10.1.2.3/"}, "webhook.url"),
            ({"url": "http://[fe80::1]/"}, "webhook.url"),
            ({"url": "http://169.254.169.254/latest/meta-data"}, "webhook.url"),
            ({"url": "http://0x0a010203/"}, "webhook.url"),
            ({"url": "http://[::ffff:10.1.2.3]/"}, "webhook.url"),
            ({"url": "ftp://127.0.0.1/"}, "webhook.url"),
            ({"url": "//127.0.0.1/"}, "webhook.url"),
            ({"url": "http://user:password@127.0.0.1/"}, "webhook.url"),
            ({"url": "http://127.0.0.1:99999/"}, "webhook.url"),
            ({"url": "http:///path"}, "webhook.url"),
            ({"url": "http://127.0.0.1/\r\nX: y"}, "webhook.url"),
            ({"url": f"http://{'a' * 300}/"}, "webhook.url"),
            ({"url": "http://127.0.0.1/" + "a" * 2000}, "webhook.url"),
            ({}, "webhook.url"),
            ({"url": "http://127.0.0.1/", "events": ["finished"]}, "webhook.events[0]"),
            ({"url": "http://127.0.0.1/", "events": []}, "webhook.events"),
            ({"url": "http://127.0.0.1/", "secret": "secret"}, "webhook.secret[0]"),
            ({"url": "http://127.0.0.1/", "secret": "whsec_"}, "webhook.secret[0]"),
            ({"url": "http://127.0.0.1/", "secret": []}, "webhook.secret"),
            ({"url": "http://127.0.0.1/", "more": 1}, "webhook.more"),
        ],
    )
    def test_unusable_webhook_is_refused_and_no_job_accepted(self, api, webhook, field):
        answer = api.post("/start", json={"webhook": webhook})
        assert is_problem(answer, 422)
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert api.get("/jobs").json()["jobs"] == []

    def test_named_hosts_and_networks_are_allowed(self, start):
        api = start(webhook_allow="192.0.2.0/24,198.51.100.7")
        for host, code in (("192.0.2.9", 202), ("198.51.100.7", 202), ("198.51.100.8", 422)):
            answer = api.post("/start", json={"webhook": {"url": f"http://{host}/"}})
            assert answer.status_code == code, answer.text

    def test_networks_of_this_machine_can_be_allowed(self, start):
        api = start(webhook_allow="local-networks")
        for network in local_networks():
            webhook = {"url": f"http://{ip_network(network).network_address + 1}/"}
            assert api.post("/start", json={"webhook": webhook}).status_code == 202
        assert api.post("/start", json={"webhook": {"url": "http://203.0.113.1/"}}).status_code == 422

    def test_loop_is_cut(self, api, receiver):
        body = {"simulate": NOW, "webhook": {"url": receiver.url}}
        depth = None
        for _ in range(3):
            api.submit(body, **({"webhook-depth": depth} if depth else {}))
            depth = receiver.take()[0].headers["webhook-depth"]
        answer = api.post("/start", json=body, headers={"webhook-depth": depth})
        assert is_problem(answer, 422)
        for unusable in ("many", "-1", "1.5", "", "²", "00000000000009"):
            answer = api.post("/start", json=body, headers={"webhook-depth": unusable.encode()})
            assert is_problem(answer, 422), unusable


class TestSandbox:
    def test_webhook_of_the_sandbox_is_that_of_all_jobs_without_their_own(self, api, receiver):
        shown = api.change_sandbox(webhook={"url": receiver.url, "events": ["started"], "secret": SECRET})["webhook"]
        assert shown == {"url": receiver.url, "events": ["started"]}
        own = api.submit({"simulate": NOW, "webhook": {"url": receiver.url}})
        other = api.submit({"simulate": NOW})
        received = {one.body["data"]["job_id"]: one for one in receiver.take(2)}
        assert [received[job_id].type for job_id in (own, other)] == ["job.completed", "job.started"]
        Webhook(SECRET).verify(received[other].text, received[other].headers)
        assert api.change_sandbox(webhook=None)["webhook"] is None
        api.submit({"simulate": NOW})
        assert receiver.is_quiet()

    def test_unusable_webhook_of_a_sandbox_is_refused(self, api):
        answer = api.patch("/sandbox", json={"webhook": {"url": "http://10.1.2.3/"}, "seed": "s"})
        assert is_problem(answer, 422)
        assert (api.get("/sandbox").json()["webhook"], api.get("/sandbox").json()["seed"]) == (None, None)

    def test_job_of_another_api_is_delivered_as_its_poll_shows_it(self, start, receiver):
        api = start(dialects="runway", users_file=None, api_username="admin", api_password="secretpassword")
        api.change_sandbox(webhook={"url": receiver.url})
        login = {"Authorization": "Bearer secretpassword"}
        body = {"model": "gen4_turbo", "simulate": NOW}
        answer = api.post("/runway/v1/text_to_video", json=body, headers=login, auth=None)
        [received] = receiver.take()
        poll = api.get(f"/runway/v1/tasks/{answer.json()['id']}", headers=login, auth=None).json()
        assert received.body["data"] | {"output": None} == poll | {"output": None}

    def test_secret_is_never_shown(self, api, receiver, submit):
        job_id = submit(secret=SECRET)
        receiver.take()
        for path in (f"/sandbox/jobs/{job_id}", f"/status/{job_id}", "/sandbox/webhooks", "/sandbox/requests"):
            assert SECRET not in api.get(path).text
        assert api.get(f"/sandbox/jobs/{job_id}").json()["input"]["webhook"] == {"url": receiver.url}

    def test_deliveries_are_paged_newest_first(self, api, receiver, submit):
        ids = [submit() for _ in range(3)]
        receiver.take(3)
        wait_until(lambda: len(deliveries(api)) == 3)
        pages = [page["deliveries"] for page in api.pages("/sandbox/webhooks", limit=2)]
        assert [[one["job_id"] for one in page] for page in pages] == [[ids[2], ids[1]], [ids[0]]]
        assert is_problem(api.get("/sandbox/webhooks", params={"after": "msg_other"}), 422)

    def test_page_of_large_deliveries_is_bounded(self, api, receiver):
        output = {"text": "x" * 200_000}
        for _ in range(30):
            simulate = NOW | {"output": output}
            api.submit({"simulate": simulate, "webhook": {"url": receiver.url}})
        receiver.take(30)
        wait_until(
            lambda: (
                len({one["id"] for page in api.pages("/sandbox/webhooks", limit=100) for one in page["deliveries"]})
                == 30
            )
        )
        pages = [page["deliveries"] for page in api.pages("/sandbox/webhooks", limit=100)]
        assert len(pages) > 1
        assert all(sum(len(one["body"]) for one in page) < MAX_PAGE_SIZE + 300_000 for page in pages)

    def test_attempt_that_reaches_nobody_has_no_request(self, start):
        api = start(webhook_allow="receiver.invalid")
        api.submit({"simulate": NOW, "webhook": {"url": "http://receiver.invalid/"}})
        wait_until(lambda: deliveries(api))
        [attempt] = deliveries(api)[0]["attempts"]
        assert (attempt["request"], bool(attempt["error"])) == (None, True)

    def test_due_events_are_shown_until_their_first_attempt_is_answered(self, api, receiver, submit):
        receiver.may_answer.clear()
        ids = [submit(secret=SECRET) for _ in range(3)]
        submit({"delay": 1000})
        shown = api.get("/sandbox/webhooks").json()
        assert shown["deliveries"] == []
        ends = [api.job(job_id)["completed_at"] for job_id in ids]
        assert sorted(shown["due"], key=lambda due: ids.index(due["job_id"])) == [
            {"event": "completed", "job_id": job_id, "url": receiver.url, "at": end}
            for job_id, end in zip(ids, ends, strict=True)
        ]
        receiver.may_answer.set()
        wait_until(lambda: len(deliveries(api)) == 3)
        assert api.get("/sandbox/webhooks").json()["due"] == []

    def test_delivery_is_made_again_on_demand(self, api, receiver, submit):
        submit()
        [first] = receiver.take()
        wait_until(lambda: deliveries(api))
        answer = api.post(f"/sandbox/webhooks/{first.id}/redeliver")
        assert (answer.status_code, answer.json()["state"]) == (200, "pending")
        [again] = receiver.take()
        assert (again.id, again.text) == (first.id, first.text)
        wait_until(lambda: newest(api, "state") == "delivered")
        assert is_problem(api.post("/sandbox/webhooks/msg_other/redeliver"), 404)

    def test_accepted_event_stays_delivered_if_it_is_made_again_and_fails(self, api, receiver, submit):
        submit()
        [first] = receiver.take()
        wait_until(lambda: newest(api, "state") == "delivered")
        receiver.codes = [500]
        assert api.post(f"/sandbox/webhooks/{first.id}/redeliver").status_code == 200
        receiver.take()
        wait_until(lambda: len(newest(api, "attempts")) == 2)
        assert newest(api, "state") == "delivered"

    def test_ping_shows_the_answer(self, api, receiver):
        receiver.codes, receiver.body = [418], b"teapot"
        answer = api.post("/sandbox/webhooks/ping", json={"url": receiver.url, "secret": SECRET})
        assert (answer.json()["status"], answer.json()["answer"]) == (418, "teapot")
        [received] = receiver.take()
        assert received.type == "ping"
        Webhook(SECRET).verify(received.text, received.headers)
        request = answer.json()["request"]
        assert (request["body"], request["headers"]["webhook-id"]) == (received.text, received.id)
        assert is_problem(api.post("/sandbox/webhooks/ping", json={"url": "http://10.1.2.3/"}), 422)

    def test_reset_ends_all_deliveries(self, api, receiver, submit):
        receiver.codes = [500]
        submit()
        receiver.take()
        wait_until(lambda: deliveries(api))
        submit({"delay": 1000})
        api.reset()
        assert deliveries(api) == []
        api.set_clock(advance=1e6)
        assert receiver.is_quiet()

    def test_idempotent_retry_delivers_once(self, api, receiver):
        body = {"simulate": NOW, "webhook": {"url": receiver.url, "secret": SECRET}}
        assert len({api.submit(body, **{"Idempotency-Key": "one"}) for _ in range(3)}) == 1
        receiver.take()
        assert receiver.is_quiet()
        other = body | {"webhook": {"url": receiver.url, "secret": OTHER_SECRET}}
        assert is_problem(api.post("/start", json=other, headers={"Idempotency-Key": "one"}), 422)
