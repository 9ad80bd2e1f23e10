"""The classes without async methods of two earlier systems, against scripted answers."""

import base64
import re

import pytest

from translation_client import Status
from translation_client.compat import result
from translation_client.compat.start import TranslationStatusClient
from translation_client.core.status import Observation, State

JOB_ID = "4f69cc76-5b9f-4b46-a514-bdd2c0e3314a"


class TestResult:
    @pytest.fixture(autouse=True)
    def _log(self, caplog):
        caplog.set_level("INFO", "translation_client.compat.result")

    @staticmethod
    def lines(caplog):
        return [record.message for record in caplog.records if record.name == result.logger.name]

    def test_log_matches_the_document(self, server, caplog):
        server.says(*[(200, {"result": "pending"})] * 2, (200, {"result": "completed"}))
        assert result.VideoTranslationClient(server.url, backoff_factor=0.1).get_status() == "completed"
        log = "\n".join(self.lines(caplog))
        assert re.sub(r"time = \d+s", "time = 0s", log).splitlines() == [
            "Initial status: pending",
            "Sleeping for 0.1s before retry #1. Total elapsed time = 0s",
            "Retry attempt #1: Current status = pending, Elapsed time = 0s",
            "Sleeping for 0.01s before retry #2. Total elapsed time = 0s",
            "Job completed with status: completed",
        ]

    def test_pauses_match_the_document(self, caplog):
        schedule = result.schedule(max_retries=10, backoff_factor=2)
        next(schedule)
        pending = Observation(Status("current", State.PENDING), 0.0, None, "")
        assert [schedule.send(pending) for _ in range(6)] == [2, 4, 8, 16, 20, 20]
        assert self.lines(caplog)[:3] == [
            "Sleeping for 2s before retry #1. Total elapsed time = 0s",
            "Retry attempt #1: Current status = pending, Elapsed time = 0s",
            "Sleeping for 4s before retry #2. Total elapsed time = 0s",
        ]

    def test_ended_job_is_not_polled_again(self, server, caplog):
        server.says((200, {"result": "error"}))
        client = result.VideoTranslationClient(server.url)
        assert (client.status, client.completed) == (None, False)
        assert [client.get_status(), client.get_status()] == ["error", "error"]
        assert (client.status, client.completed) == ("error", True)
        assert server.asked == ["GET /status"]
        assert self.lines(caplog)[-1] == "Job already finished with error"

    def test_hints_are_ignored(self, server):
        server.says((200, {"result": "pending"}, {"Retry-After": "60"}), (200, {"result": "error"}))
        assert result.VideoTranslationClient(server.url, backoff_factor=0.1).get_status() == "error"

    def test_spent_retries_raise_a_timeout(self, server, caplog):
        server.says((200, {"result": "pending"}))
        with pytest.raises(TimeoutError, match="after the last poll"):
            result.VideoTranslationClient(server.url, max_retries=2, backoff_factor=0.1).get_status()
        assert len(server.requests) == 3
        assert self.lines(caplog)[-1].startswith("Retry attempt #2: Current status = pending, Elapsed time = ")

    def test_timeout_raises(self, server):
        server.says((200, {"result": "pending"}))
        with pytest.raises(TimeoutError, match="the time was up"):
            result.VideoTranslationClient(server.url, timeout=0.05).get_status()

    @pytest.mark.parametrize("factor", [0, -1, float("nan")])
    def test_unusable_factor_is_refused_at_once(self, factor):
        with pytest.raises(ValueError, match=r"^backoff_factor "):
            result.VideoTranslationClient(backoff_factor=factor)


class TestStart:
    def test_get_status_polls_once(self, server, job):
        server.says((200, job(job_id="j1")), (200, job("error", "j1")))
        client = TranslationStatusClient(server.url, "admin", "secretpassword")
        assert [client.get_status("j1"), client.get_status("j1")] == ["pending", "error"]
        assert server.asked == ["GET /status/j1"] * 2

    @pytest.mark.parametrize(("code", "reason"), [(401, "user name and the password"), (404, "404 Not Found")])
    def test_failed_poll_is_logged_and_returns_none(self, server, caplog, code, reason):
        server.says((code, {"title": "Not Found"}))
        assert TranslationStatusClient(server.url, "admin", "no").get_status("j1") is None
        assert caplog.messages[-1].startswith("job j1 was not polled: ")
        assert reason in caplog.messages[-1]

    def test_failed_start_can_be_polled(self, server, caplog):
        server.says((401, None))
        client = TranslationStatusClient(server.url, "admin", "wrong")
        assert client.get_status(client.start_job()) is None
        assert "job None was not polled" in caplog.text

    def test_wait_can_have_its_own_intervals(self, server, job):
        server.says(*[(200, job(job_id="j1"))] * 2, (200, job("completed", "j1")))
        client = TranslationStatusClient(server.url, "admin", "secretpassword", 1000, initial_interval=1000)
        assert client.wait_for_completion("j1", initial_interval=0.01, max_interval=0.02) == "completed"
        assert len(server.requests) == 3
        with pytest.raises(ValueError, match=r"^initial_interval "):
            client.wait_for_completion("j1", -1)

    def test_changed_attributes_apply_to_the_next_call(self, server, job):
        server.says((202, job()), (200, job()), (200, job("completed")))
        client = TranslationStatusClient("http://127.0.0.1:1", "unused", "unused", 0.5)
        client.base_url, client.auth, client.max_interval = server.url, ("admin", "secretpassword"), 0.01
        assert client.start_job() == JOB_ID
        assert client.wait_for_completion(JOB_ID, 0.01) == "completed"
        credentials = {request.headers["authorization"] for request in server.requests}
        assert credentials == {"Basic " + base64.b64encode(b"admin:secretpassword").decode()}
