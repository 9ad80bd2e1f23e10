"""The ancestors' classes, against scripted answers; `test_documents` runs their documents' own examples."""

from __future__ import annotations

import asyncio
import base64
import re
from inspect import Parameter, iscoroutine, signature
from typing import TYPE_CHECKING, Any

import pytest

from translation_client import JobTimeout, NotFound, Status, TransportError
from translation_client import TranslationError as OurError
from translation_client.compat import jobs, result, start, status, translate
from translation_client.compat.status import JobStatus, StatusPollingConfig, StatusResponse
from translation_client.compat.translate import TranslationConfig, TranslationError
from translation_client.core.model import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Job, Server

QUICK = {"initial_delay": 0.01, "max_delay": 0.01}
CLASSES = [
    jobs.TranslationClient,
    status.VideoTranslationClient,
    translate.VideoTranslationClient,
    result.VideoTranslationClient,
    start.TranslationStatusClient,
]


class Notes(list[Any]):
    """A callback that keeps what it is told, in plain and in async form."""

    def plain(self, told: object) -> None:
        self.append(told)

    async def in_time(self, told: object) -> None:
        await asyncio.sleep(0)
        self.append(told)


@pytest.fixture(params=["plain", "in_time"])
def notes(request: pytest.FixtureRequest) -> tuple[Notes, Callable[[object], object]]:
    kept = Notes()
    return kept, getattr(kept, request.param)


def defaults(kind: type) -> dict[str, object]:
    return {
        name: parameter.default
        for name, parameter in signature(kind).parameters.items()
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
    }


@pytest.mark.parametrize(
    ("kind", "documented"),
    [
        (
            jobs.TranslationClient,
            {
                "base_url": "http://localhost:8000",
                "initial_delay": 1.0,
                "max_delay": 30.0,
                "backoff_factor": 1.5,
                "max_retries": 7,
                "timeout": 250,
            },
        ),
        (
            status.VideoTranslationClient,
            {"base_url": "http://localhost:8000", "config": None, "on_status_change": None},
        ),
        (StatusPollingConfig, {"initial_delay": 1.0, "max_delay": 8.0, "backoff_factor": 2.0, "timeout": 30.0}),
        (translate.VideoTranslationClient, {"base_url": "http://localhost:8000", "config": None}),
        (TranslationConfig, {"base_timeout": 30, "min_delay": 0.5, "max_delay": 3.0, "progressive_delay": True}),
        (
            result.VideoTranslationClient,
            {"base_url": "http://127.0.0.1:5000", "max_retries": 10, "backoff_factor": 2, "timeout": 30},
        ),
    ],
)
def test_arguments_and_defaults_are_those_of_the_document(kind: type, documented: dict[str, object]) -> None:
    assert list(defaults(kind).items()) == list(documented.items())


@pytest.mark.parametrize("kind", CLASSES)
def test_a_bad_argument_is_named_at_once(kind: type) -> None:
    with pytest.raises(ValueError, match=r"^base_url "):
        kind("nowhere")
    with pytest.raises(ValueError, match=r"^username "):
        kind("http://localhost", username="admin")


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        (jobs.TranslationClient, lambda client: asyncio.run(client.create_job())),
        (status.VideoTranslationClient, lambda client: asyncio.run(client.poll_until_complete())),
        (translate.VideoTranslationClient, lambda client: asyncio.run(client.start_translation("en", "es"))),
        (result.VideoTranslationClient, lambda client: client.get_status()),
    ],
)
def test_credentials_are_sent_where_they_are_given(
    server: Server, kind: Callable[..., Any], ask: Callable[[Any], object]
) -> None:
    server.says((404, None))
    for client in (kind(server.url), kind(server.url, username="admin", password="secretpassword")):
        with pytest.raises(OurError):
            ask(client)
    without, given = server.requests
    assert "authorization" not in without.headers
    assert given.headers["authorization"] == "Basic " + base64.b64encode(b"admin:secretpassword").decode()


@pytest.mark.parametrize("kind", CLASSES)
def test_the_ancestors_poll_as_their_documents_say_and_let_no_look_be_held(
    server: Server, job: Job, kind: type
) -> None:
    server.says((202, {"message": "Translation started", **job("completed")}))
    waits = {"get_status", "poll_until_complete", "wait_for_completion"}
    [wait] = [getattr(kind(server.url), name) for name in waits if hasattr(kind, name)]
    outcome = wait(*[str(job()["job_id"])] * len(signature(wait).parameters.keys() & {"job_id"}))
    if iscoroutine(outcome):
        asyncio.run(outcome)
    assert [request.headers.get("prefer") for request in server.requests] == [None]


class TestJobs:
    def test_a_job_is_created_and_awaited(
        self, server: Server, job: Job, notes: tuple[Notes, Callable[[object], object]]
    ) -> None:
        kept, note = notes
        final = job("completed")
        server.says((202, job()), (200, job()), (200, job(progress=0.7)), (200, final))

        async def main() -> None:
            async with jobs.TranslationClient(server.url, **QUICK) as client:
                job_id = await client.create_job(video_length=10)
                assert job_id == job()["job_id"]
                assert await client.get_status(job_id, on_status_change=note, on_completion=note) == final

        asyncio.run(main())
        assert kept == ["pending", "completed", final]
        assert server.asked == ["POST /jobs", *[f"GET /status/{final['job_id']}"] * 3]
        assert server.requests[0].body.replace(b" ", b"") == b'{"video_length":10}'

    def test_a_job_that_fails_has_its_data_too(self, server: Server, job: Job) -> None:
        server.says((200, job("error")))
        client = jobs.TranslationClient(server.url)
        data = asyncio.run(client.get_status(str(job()["job_id"])))
        assert data["result"] == "error"

    def test_a_time_that_is_up(self, server: Server, job: Job) -> None:
        server.says((200, job()))
        with pytest.raises(TimeoutError):
            asyncio.run(jobs.TranslationClient(server.url, **QUICK, timeout=0.02).get_status(str(job()["job_id"])))

    def test_a_client_can_be_closed_and_used_on(self, server: Server, job: Job) -> None:
        server.says((202, job()))

        async def main() -> None:
            client = jobs.TranslationClient(server.url)
            await client.close()
            async with client as same, client:
                assert same is client
                await client.create_job()
            await client.create_job()

        asyncio.run(main())
        assert len(server.requests) == 2


class TestStatus:
    def test_it_polls_to_the_end(self, server: Server, notes: tuple[Notes, Callable[[object], object]]) -> None:
        kept, note = notes
        server.says(
            *((200, {"status": "pending", "elapsed_time": seconds}) for seconds in (0, 1, 2)),
            (200, {"status": "completed", "elapsed_time": 2.5}),
        )
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01)
        final = asyncio.run(status.VideoTranslationClient(server.url, config, note).poll_until_complete())
        assert final == StatusResponse(JobStatus.COMPLETED, 2.5)
        assert final.status.value == "completed"
        assert kept == [StatusResponse(JobStatus.PENDING, 0.0), final]
        assert server.asked == ["GET /status"] * 4

    def test_an_error_is_a_status_too(self, server: Server) -> None:
        server.says((200, {"status": "error"}))
        final = asyncio.run(status.VideoTranslationClient(server.url).poll_until_complete())
        assert (final.status.value, final.elapsed_time) == ("error", 0.0)

    def test_a_time_that_is_up(self, server: Server) -> None:
        server.says((200, {"status": "pending"}))
        config = StatusPollingConfig(initial_delay=0.01, max_delay=0.01, timeout=0.02)
        with pytest.raises(TimeoutError):
            asyncio.run(status.VideoTranslationClient(server.url, config).poll_until_complete())


class TestTranslate:
    ACCEPTED = (202, {"message": "Translation started", "job_id": "j1"})

    def run(self, url: str, **options: Any) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            config = TranslationConfig(**{"min_delay": 0.01, "max_delay": 0.01} | options)
            async with translate.VideoTranslationClient(base_url=url, config=config) as client:
                response = await client.start_translation("en", "es")
                assert response == self.ACCEPTED[1]
                return await client.wait_for_completion(response["job_id"])

        return asyncio.run(main())

    def test_a_translation_is_started_and_awaited(self, server: Server, job: Job) -> None:
        final = job("completed", "j1")
        server.says(self.ACCEPTED, (200, job(job_id="j1")), (200, final))
        assert self.run(server.url) == final
        assert server.asked == ["POST /translate", "GET /job/j1", "GET /job/j1"]

    @pytest.mark.parametrize(("end", "told"), [("error", "the video has no sound"), ("cancelled", "was cancelled")])
    def test_one_that_fails_raises(self, server: Server, job: Job, end: str, told: str) -> None:
        server.says(self.ACCEPTED, (200, job(end, "j1")))
        with pytest.raises(TranslationError, match=told):
            self.run(server.url)

    def test_one_that_is_not_known_raises(self, server: Server) -> None:
        server.says(self.ACCEPTED, (404, {"title": "Not Found"}))
        with pytest.raises(TranslationError, match="404 Not Found") as raised:
            self.run(server.url)
        assert isinstance(raised.value.__cause__, NotFound)

    def test_time_and_network_are_something_else(self, server: Server, job: Job) -> None:
        server.says(self.ACCEPTED, (200, job(job_id="j1")))
        with pytest.raises(TimeoutError) as raised:
            self.run(server.url, base_timeout=0.02)
        assert type(raised.value) is JobTimeout
        server.says(self.ACCEPTED, (503, None))
        with pytest.raises(TransportError) as broken:
            self.run(server.url)
        assert not isinstance(broken.value, TranslationError)

    def test_delays_are_progressive_or_not(self) -> None:
        assert TranslationConfig().backoff_factor > 1
        assert TranslationConfig(progressive_delay=False).backoff_factor == 1


class TestResult:
    @pytest.fixture(autouse=True)
    def _log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "translation_client.compat.result")

    @staticmethod
    def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.message for record in caplog.records if record.name == result.logger.name]

    def test_it_logs_as_the_document_shows(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        server.says(*[(200, {"result": "pending"})] * 2, (200, {"result": "completed"}))
        assert result.VideoTranslationClient(server.url, backoff_factor=0.1).get_status() == "completed"
        told = "\n".join(self.lines(caplog))
        assert re.sub(r"time = \d+s", "time = 0s", told).splitlines() == [
            "Initial status: pending",
            "Sleeping for 0.1s before retry #1. Total elapsed time = 0s",
            "Retry attempt #1: Current status = pending, Elapsed time = 0s",
            "Sleeping for 0.01s before retry #2. Total elapsed time = 0s",
            "Job completed with status: completed",
        ]

    def test_its_pauses_are_the_documents(self, caplog: pytest.LogCaptureFixture) -> None:
        schedule = result.schedule(max_retries=10, backoff_factor=2)
        next(schedule)
        pending = Observation(Status("current", JobStatus.PENDING), 0.0, None, "")
        assert [schedule.send(pending) for _ in range(4)] == [2, 4, 8, 16]
        assert self.lines(caplog)[:3] == [
            "Sleeping for 2s before retry #1. Total elapsed time = 0s",
            "Retry attempt #1: Current status = pending, Elapsed time = 0s",
            "Sleeping for 4s before retry #2. Total elapsed time = 0s",
        ]

    def test_what_the_server_asks_for_does_not_count(self, server: Server) -> None:
        server.says((200, {"result": "pending"}, {"Retry-After": "60"}), (200, {"result": "error"}))
        assert result.VideoTranslationClient(server.url, backoff_factor=0.1).get_status() == "error"

    def test_spent_retries_are_a_timeout(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        server.says((200, {"result": "pending"}))
        with pytest.raises(TimeoutError, match="after the last look"):
            result.VideoTranslationClient(server.url, max_retries=2, backoff_factor=0.1).get_status()
        assert len(server.requests) == 3
        assert self.lines(caplog)[-1].startswith("Retry attempt #2: Current status = pending, Elapsed time = ")

    def test_a_time_that_is_up_is_one_too(self, server: Server) -> None:
        server.says((200, {"result": "pending"}))
        with pytest.raises(TimeoutError, match="the time was up"):
            result.VideoTranslationClient(server.url, timeout=0.05).get_status()

    @pytest.mark.parametrize("factor", [0, -1, float("nan")])
    def test_a_bad_factor_is_named_at_once(self, factor: float) -> None:
        with pytest.raises(ValueError, match=r"^backoff_factor "):
            result.VideoTranslationClient(backoff_factor=factor)
