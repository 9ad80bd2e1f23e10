"""The client's flows against answers that only some of the shipped APIs give, fed by hand."""

import json

import pytest

from tests.flow_player import Answer, FlowPlayer, ask, failing, flow_options
from translation_client.core import wait_many, wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import WaitFailed
from translation_client.core.errors import ProtocolError, TransportError
from translation_client.core.status import State
from translation_client.core.submissions import submitting
from translation_client.dialect_files import find_dialect

RUNWAY = {"dialect": find_dialect("runway#video")}  # it has no idempotency keys
VEO = {"dialect": find_dialect("google-veo"), "parameters": dict.fromkeys(["project", "location", "model"], "x")}
SPEECH = {"dialect": find_dialect("google-speech")}
FAL = {"dialect": find_dialect("fal"), "parameters": {"owner": "o", "app": "a"}}
BATCH = {"dialect": find_dialect("openai#batch")}
HF = {"dialect": find_dialect("huggingface"), "parameters": {"namespace": "me"}}


def made_by_fal(job_id, code, document):
    return Answer(code, document, {"x-fal-request-id": job_id})


class TestSubmissionsWithoutKeys:
    @pytest.mark.parametrize("code", [None, 408, 425, 500, 502, 503, 504])
    def test_submission_that_may_have_started_a_job_is_not_repeated(self, code):
        player = ask(wait_one.submit, "key", {}, answers=[failing(code)], **RUNWAY)
        assert isinstance(player.error, TransportError)
        assert len(player.sends) == 1
        assert "A job may exist: this API has no idempotency keys." in str(player.error)

    @pytest.mark.parametrize("failure", [failing(429, retry_after="3"), Answer(None, unsent=True)])
    def test_submission_that_has_started_no_job_is_repeated(self, failure):
        player = ask(wait_one.submit, "key", {}, answers=[failure, failure, Answer(200, {"id": "j1"})], **RUNWAY)
        assert player.states == [State.PENDING]
        assert len(player.sends) == 3


class TestPollsByPost:
    def test_unreadable_answers_are_retried(self):
        done = Answer(200, {"name": "projects/x/locations/x/publishers/google/models/x/operations/j1", "done": True})
        done.body["response"] = {"videos": []}
        unread = Answer(200, b"<html>")
        player = ask(wait_one.watch, "j1", answers=[unread, unread, done], **VEO)
        assert player.states == [State.COMPLETED]
        assert player.statuses[-1].cost.polls == 3

    def test_there_is_a_last_poll_at_the_deadline(self):
        pending = Answer(200, {"name": "projects/x/locations/x/publishers/google/models/x/operations/j1"})
        player = FlowPlayer().run(
            wait_one.watch(flow_options(**VEO), FlowTime(0.0, 0.2), "j1"), [pending, failing(503), pending]
        )
        assert player.sends[-1].timeout < 1


def test_unreadable_answers_to_cancellations_by_post_are_retried():
    answers = [Answer(200, b"<html>"), Answer(200, {"id": "j1", "status": "cancelled"})]
    assert ask(wait_one.cancel, "j1", answers=answers, **BATCH).states == [State.CANCELLED]


class TestAnswersWithoutTheFieldsOfAState:
    def test_answer_that_fits_no_state_is_asked_for_again(self):
        bare, whole = {"name": "j1", "done": True}, {"name": "j1", "done": True, "response": {}}
        player = ask(wait_one.watch, "j1", answers=[Answer(200, bare), Answer(200, whole)], **SPEECH)
        assert player.states == [State.COMPLETED]
        assert "a job whose state can be told" in player.warnings[0]

    def test_fields_decide_the_state_whatever_they_hold(self):
        failed = {"name": "j1", "done": True, "error": {"code": 7, "message": "Denied."}}
        player = ask(wait_one.watch, "j1", answers=[Answer(200, failed)], **SPEECH)
        assert (player.states, player.statuses[0].error) == ([State.ERROR], "Denied.")

    def test_lack_does_not_show_a_cancelled_job(self):
        bare = Answer(200, {"request_id": "j1", "status": "COMPLETED"})
        assert ask(wait_one.watch, "j1", answers=[bare, made_by_fal("j1", 200, {"video": {}})], **FAL).states == [
            State.COMPLETED
        ]
        cancelled = made_by_fal("j1", 422, {"detail": "The request was cancelled"})
        assert ask(wait_one.watch, "j1", answers=[bare, cancelled], **FAL).states == [State.CANCELLED]

    def test_result_does_not_change_the_state_of_the_poll(self):
        polled, missing = Answer(200, {"id": "j1", "status": "completed"}), Answer(404, {"error": {"message": "No."}})
        player = ask(wait_one.watch, "j1", answers=[polled, missing, missing, Answer(200, {"a": 1})], **BATCH)
        assert (player.states, player.statuses[0].output) == ([State.COMPLETED], {"a": 1})


def test_batch_without_an_output_file_has_completed_without_an_output():
    body = {"id": "j1", "status": "completed", "output_file_id": None}
    player = ask(wait_one.watch, "j1", answers=[Answer(200, body)], **BATCH)
    assert (player.states, player.statuses[0].output, len(player.sends)) == ([State.COMPLETED], None, 1)


def test_wait_for_several_jobs_goes_on_when_the_result_of_one_cannot_be_had():
    flow = wait_many.as_completed(flow_options(max_retries=0, **FAL), FlowTime(0.0), ["j1", "j2"])
    done = [Answer(200, {"request_id": name, "status": "COMPLETED", "metrics": {}}) for name in ("j1", "j2")]
    player = FlowPlayer().run(
        flow, [done[0], made_by_fal("j1", 400, {"detail": "No."}), done[1], made_by_fal("j2", 200, {"video": {}})]
    )
    [failed] = [effect for effect in player.effects if isinstance(effect, WaitFailed)]
    assert (failed.id, type(failed.error)) == ("j1", ProtocolError)
    assert [(status.id, status.state) for status in player.statuses] == [("j2", State.COMPLETED)]


def test_list_may_be_an_array_whose_next_page_a_header_names():
    jobs = [{"id": name, "status": {"stage": "RUNNING"}} for name in ("a", "b")]
    link = '<http://x/api/jobs/me?limit=1&cursor=c%2F1>; rel="next"'
    player = ask(wait_one.list_jobs, answers=[Answer(200, jobs[:1], {"link": link}), Answer(200, jobs[1:])], **HF)
    assert [status.id for status in player.statuses] == ["a", "b"]
    assert [send.query for send in player.sends] == [{}, {"cursor": "c/1"}]


def test_form_carries_what_shall_become_of_a_simulated_job():
    fate = {"after_polls": 2}
    send = submitting(find_dialect("twelvelabs"), "key", {"simulate": fate, "input": {"index_id": "1"}})
    assert dict(send.form) == {"index_id": "1", "simulate": json.dumps(fate)}
