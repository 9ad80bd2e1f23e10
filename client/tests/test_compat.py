"""The earlier systems' classes, against scripted answers; `test_documents` runs the examples in their documents."""

import asyncio
import base64
from inspect import Parameter, iscoroutine, signature
from typing import Any

import pytest

from translation_client import JobTimeout, NotFound, Status, TransportError
from translation_client import TranslationError as OurError
from translation_client.compat import aiohttp, jobs, result, start, status, translate
from translation_client.compat.jobs import TranslationStatus
from translation_client.compat.start import TranslationStatusClient
from translation_client.compat.status import JobStatus, StatusPollingConfig, StatusResponse
from translation_client.compat.translate import TranslationConfig, TranslationError
from translation_client.core.status import Observation, State

JOB_ID = "4f69cc76-5b9f-4b46-a514-bdd2c0e3314a"
QUICK = {"initial_delay": 0.01, "max_delay": 0.01}
CLASSES = [
    jobs.TranslationClient,
    status.VideoTranslationClient,
    translate.VideoTranslationClient,
    result.VideoTranslationClient,
    start.TranslationStatusClient,
]


class Calls(list[Any]):
    """The arguments of the calls of a callback, which has a sync and an async form."""

    def sync(self, argument):
        self.append(argument)

    async def asynchronous(self, argument):
        await asyncio.sleep(0)
        self.append(argument)


@pytest.fixture(params=["sync", "asynchronous"])
def callback(request):
    calls = Calls()
    return calls, getattr(calls, request.param)


LOCAL = "http://localhost:8000"


def signature_of(kind):
    """Returns the arguments of a class that may be positional, as a document writes them."""
    parameters = signature(kind).parameters.values()
    positional = [parameter for parameter in parameters if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD]
    return ", ".join(f"{parameter.name}={parameter.default!r}" for parameter in positional)


@pytest.mark.parametrize(
    ("kind", "documented"),
    [
        (
            jobs.TranslationClient,
            f"base_url='{LOCAL}', initial_delay=1.0, max_delay=30.0, backoff_factor=1.5, max_retries=7, timeout=250.0",
        ),
        (status.VideoTranslationClient, f"base_url='{LOCAL}', config=None, on_status_change=None"),
        (
            StatusPollingConfig,  # its document names no defaults; these are its code's
            "initial_delay=1.0, max_delay=32.0, backoff_factor=2.0, timeout=300.0, max_attempts=10, jitter=True",
        ),
        (translate.VideoTranslationClient, f"base_url='{LOCAL}', config=None"),
        (TranslationConfig, "base_timeout=30, min_delay=0.5, max_delay=3.0, progressive_delay=True"),
        (
            result.VideoTranslationClient,
            "base_url='http://127.0.0.1:5000', max_retries=10, backoff_factor=2, timeout=30",
        ),
        (
            start.TranslationStatusClient,
            "base_url='http://127.0.0.1:8000', username=None, password=None, max_interval=8.0",
        ),
    ],
)
def test_arguments_and_defaults_match_the_document(kind, documented):
    assert signature_of(kind) == documented


@pytest.mark.parametrize("kind", CLASSES)
def test_unusable_argument_is_refused_at_once(kind):
    with pytest.raises(ValueError, match=r"^base_url "):
        kind("nowhere")
    with pytest.raises(ValueError, match=r"^username "):
        kind("http://localhost", username="admin")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda delay: jobs.TranslationClient(max_delay=delay), "max_delay"),
        (lambda delay: status.VideoTranslationClient(config=StatusPollingConfig(max_delay=delay)), "max_delay"),
        (lambda delay: translate.VideoTranslationClient(config=TranslationConfig(min_delay=delay)), "min_delay"),
        (lambda delay: TranslationStatusClient("http://localhost", None, None, delay), "max_interval"),
        (lambda delay: TranslationStatusClient(initial_interval=delay), "initial_interval"),
    ],
)
def test_longest_delay_may_be_shorter_than_the_first(make, name):
    make(0.1)
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"^{name} "):
            make(bad)


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        (jobs.TranslationClient, lambda client: asyncio.run(client.create_job())),
        (status.VideoTranslationClient, lambda client: asyncio.run(client.poll_until_complete())),
        (translate.VideoTranslationClient, lambda client: asyncio.run(client.start_translation("en", "es"))),
        (result.VideoTranslationClient, lambda client: client.get_status()),
    ],
)
def test_credentials_are_optional(server, kind, ask):
    server.says((404, None))
    for client in (kind(server.url), kind(server.url, username="admin", password="secretpassword")):
        with pytest.raises(OurError):
            ask(client)
    without, authenticated = server.requests
    assert "authorization" not in without.headers
    assert authenticated.headers["authorization"] == "Basic " + base64.b64encode(b"admin:secretpassword").decode()


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_of_earlier_systems_use_no_long_polls(server, job, kind):
    server.says((202, {"message": "Translation started", **job("completed")}))
    waits = ["wait_for_completion", "poll_until_complete", "get_status"]
    wait = next(getattr(kind(server.url), name) for name in waits if hasattr(kind, name))
    outcome = wait(*[job()["job_id"]] * len(signature(wait).parameters.keys() & {"job_id"}))
    if iscoroutine(outcome):
        asyncio.run(outcome)
    assert [request.headers.get("prefer") for request in server.requests] == [None]


class TestJobs:
    async def test_job_is_created_and_awaited(self, server, job, callback):
        calls, call = callback
        final = job("completed")
        server.says((202, job()), (200, job()), (200, job(progress=0.7)), (200, final))
        async with jobs.TranslationClient(server.url, **QUICK) as client:
            job_id = await client.create_job(video_length=10)
            assert job_id == job()["job_id"]
            ended = await client.get_status(job_id, on_status_change=call, on_completion=call)
            assert ended is TranslationStatus.COMPLETED
            assert ended == "completed"
        assert calls == [TranslationStatus.PENDING, TranslationStatus.COMPLETED, final]
        assert server.asked == ["POST /jobs", *[f"GET /status/{final['job_id']}"] * 3]
        assert server.requests[0].body.replace(b" ", b"") == b'{"video_length":10}'

    def test_callback_may_block(self, server, job):
        """It may even run an event loop of its own, because it has a thread of its own, as in the earlier system."""
        server.says((200, job("completed")))
        calls = list[object]()

        def call(argument):
            calls.append(asyncio.run(asyncio.sleep(0, argument)))

        asyncio.run(jobs.TranslationClient(server.url).get_status(JOB_ID, call, call))
        assert calls == ["completed", job("completed")]

    def test_failed_job_calls_on_completion(self, server, job):
        server.says((200, job("error")))
        client, calls = jobs.TranslationClient(server.url), Calls()
        ended = asyncio.run(client.get_status(job()["job_id"], on_completion=calls.sync))
        assert ended is TranslationStatus.ERROR
        assert calls == [job("error")]

    def test_timeout_raises(self, server, job):
        server.says((200, job()))
        with pytest.raises(TimeoutError, match="the time was up"):
            asyncio.run(jobs.TranslationClient(server.url, **QUICK, timeout=0.02).get_status(job()["job_id"]))

    async def test_closed_client_can_be_used_again(self, server, job):
        server.says((202, job()))
        client = jobs.TranslationClient(server.url)
        await client.close()
        async with client as same, client:
            assert same is client
            await client.create_job()
        await client.create_job()
        assert len(server.requests) == 2


class TestStatus:
    def test_poll_until_complete_reports_each_change(self, server, callback):
        calls, call = callback
        server.says(
            *((200, {"status": "pending", "elapsed_time": seconds}) for seconds in (0, 1, 2)),
            (200, {"status": "completed", "elapsed_time": 2.5}),
        )
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01)
        final = asyncio.run(status.VideoTranslationClient(server.url, config, call).poll_until_complete())
        assert final == StatusResponse(JobStatus.COMPLETED, 2.5)
        assert final.status.value == "completed"
        assert calls == [StatusResponse(JobStatus.PENDING, 0.0), final]
        assert calls[0].raw_response == {"status": "pending", "elapsed_time": 0}
        assert final.raw_response == {"status": "completed", "elapsed_time": 2.5}
        assert server.asked == ["GET /status"] * 4

    def test_status_has_the_earlier_names_and_equals_its_text(self):
        assert [JobStatus.pending, JobStatus.completed, JobStatus.error] == ["pending", "completed", "error"]
        assert JobStatus("completed") is JobStatus.completed is JobStatus.COMPLETED
        assert JobStatus.error == State.ERROR

    def test_attempts_are_limited(self, server):
        server.says((200, {"status": "pending"}))
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01, max_attempts=5)
        with pytest.raises(TimeoutError, match="after the last poll"):
            asyncio.run(status.VideoTranslationClient(server.url, config).poll_until_complete())
        assert len(server.requests) == 5
        server.says((503, None))
        with pytest.raises(aiohttp.ClientConnectionError):
            asyncio.run(status.VideoTranslationClient(server.url, config).poll_until_complete())
        assert len(server.requests) == 10

    @pytest.mark.parametrize("attempts", [0, -1, float("nan")])
    def test_unusable_attempts_are_refused_at_once(self, attempts):
        with pytest.raises(ValueError, match=r"^max_attempts "):
            status.VideoTranslationClient(config=StatusPollingConfig(max_attempts=attempts))

    def test_changed_config_applies_to_the_next_wait(self, server):
        server.says((200, {"status": "pending"}))
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01)
        client = status.VideoTranslationClient(server.url, config)
        config.max_attempts = 3
        with pytest.raises(TimeoutError, match="after the last poll"):
            asyncio.run(client.poll_until_complete())
        assert len(server.requests) == 3

    @pytest.mark.parametrize(("jitter", "hint"), [(True, None), (False, None), (True, 7.0), (False, 7.0)])
    def test_delays_grow_with_jitter_and_respect_hints(self, jitter, hint):
        plan = status.schedule(StatusPollingConfig(jitter=jitter, max_delay=4.0, max_attempts=6))
        next(plan)
        observation = Observation(Status("current", State.PENDING, hint=hint), 0.0, hint, "")
        delays = [plan.send(observation) for _ in range(5)]
        if hint:
            assert delays == [hint] * 5
        elif jitter:
            assert all(least < delay <= 1.2 * least for delay, least in zip(delays, [1, 2, 4, 4, 4], strict=True))
        else:
            assert delays == [1, 2, 4, 4, 4]
        with pytest.raises(StopIteration):
            plan.send(observation)

    def test_failed_job_is_returned(self, server):
        server.says((200, {"status": "error"}))
        final = asyncio.run(status.VideoTranslationClient(server.url).poll_until_complete())
        assert (final.status.value, final.elapsed_time) == ("error", 0.0)

    def test_timeout_raises(self, server):
        server.says((200, {"status": "pending"}))
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01, timeout=0.02)
        with pytest.raises(TimeoutError, match="the time was up"):
            asyncio.run(status.VideoTranslationClient(server.url, config).poll_until_complete())


class TestTranslate:
    ACCEPTED = (202, {"message": "Translation started", "job_id": "j1"})

    def run(self, url, **options):
        async def main():
            config = TranslationConfig(**{"min_delay": 0.01, "max_delay": 0.01} | options)
            async with translate.VideoTranslationClient(base_url=url, config=config) as client:
                response = await client.start_translation("en", "es")
                assert response == self.ACCEPTED[1]
                return await client.wait_for_completion(response["job_id"])

        return asyncio.run(main())

    def test_translation_is_started_and_awaited(self, server, job):
        final = job("completed", "j1")
        server.says(self.ACCEPTED, (200, job(job_id="j1")), (200, final))
        assert self.run(server.url) == final
        assert server.asked == ["POST /translate", "GET /job/j1", "GET /job/j1"]

    @pytest.mark.parametrize(("end", "message"), [("error", "the video has no sound"), ("cancelled", "was cancelled")])
    def test_failed_translation_raises(self, server, job, end, message):
        server.says(self.ACCEPTED, (200, job(end, "j1")))
        with pytest.raises(TranslationError, match=message):
            self.run(server.url)

    def test_unknown_translation_raises(self, server):
        server.says(self.ACCEPTED, (404, {"title": "Not Found"}))
        with pytest.raises(TranslationError, match="404 Not Found") as raised:
            self.run(server.url)
        assert isinstance(raised.value.__cause__, NotFound)

    def test_timeout_and_network_failure_are_other_errors(self, server, job):
        server.says(self.ACCEPTED, (200, job(job_id="j1")))
        with pytest.raises(TimeoutError, match="the time was up") as raised:
            self.run(server.url, base_timeout=0.02)
        assert type(raised.value) is JobTimeout
        server.says(self.ACCEPTED, (503, None))
        with pytest.raises(TransportError) as broken:
            self.run(server.url)
        assert not isinstance(broken.value, TranslationError)

    async def test_translation_can_be_polled_and_cancelled(self, server, job):
        server.says((200, job(job_id="j1")), (200, job("cancelled", "j1")), (404, {"title": "Not Found"}))
        async with translate.VideoTranslationClient(server.url) as client:
            assert await client.get_status("j1") == job(job_id="j1")
            assert await client.cancel_translation("j1") == job("cancelled", "j1")
            for ask in (client.get_status, client.cancel_translation):
                with pytest.raises(TranslationError, match="404 Not Found"):
                    await ask("j1")
        assert server.asked == ["GET /job/j1", "DELETE /jobs/j1"] * 2

    async def test_job_id_may_be_a_number(self, server):
        server.says((202, b'{"message": "m", "job_id": 7.50}'), (200, b'{"job_id": 7.50, "status": "completed"}'))
        client = translate.VideoTranslationClient(server.url)
        started = await client.start_translation("en", "es")
        assert (await client.wait_for_completion(started["job_id"]))["status"] == "completed"
        assert server.asked == ["POST /translate", "GET /job/7.50"]

    def test_progressive_delay_sets_the_factor(self):
        assert TranslationConfig().backoff_factor > 1
        assert TranslationConfig(progressive_delay=False).backoff_factor == 1
