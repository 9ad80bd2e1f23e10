"""The public behaviour of `Client` and `AsyncClient`."""

import asyncio
import base64
import gc
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest

from translation_client import AsyncClient, AuthenticationError, Client, JobTimeout, NotFound, State
from translation_client.compat.start import TranslationStatusClient
from translation_client.core.effects import Send, Sleep

LOGIN = {"username": "admin", "password": "secretpassword"}
QUICK = LOGIN | {"initial_delay": 0.01, "max_delay": 0.01}


def immediate():
    yield 0.0
    yield 0.01


def never(_, over):
    over.wait()


class TestMethods:
    def test_start(self, server, job):
        server.says((202, job()))
        with Client(server.url, **LOGIN) as client:
            status = client.start(source_language="en", target_language="es", video_length=90)
            client.start(idempotency_key="mine")
            client.start()
        assert (status.id, status.state, status.progress, status.elapsed) == (job()["job_id"], "pending", 0.5, 2.0)
        first, second, third = server.requests
        assert server.asked == ["POST /start"] * 3
        assert json.loads(first.body) == {"source_language": "en", "target_language": "es", "video_length": 90}
        assert second.body == b""
        assert second.headers["idempotency-key"] == "mine"
        assert UUID(first.headers["idempotency-key"]) != UUID(third.headers["idempotency-key"])
        assert first.headers["authorization"] == "Basic " + base64.b64encode(b"admin:secretpassword").decode()

    def test_status_and_cancel(self, server, job):
        server.says((200, job("error", "a/b")), (200, job("cancelled", "a/b")))
        with Client(f"{server.url}/", **LOGIN) as client:
            assert client.status("a/b").error == "the video has no sound"
            assert client.cancel("a/b").state is State.CANCELLED
        assert server.asked == ["GET /status/a%2Fb", "DELETE /jobs/a%2Fb"]

    def test_list_fetches_a_page_when_it_is_needed(self, server, job):
        server.says((200, {"jobs": [job(job_id="2")], "next": "c"}), (200, {"jobs": [job(job_id="1")], "next": None}))
        with Client(server.url, **LOGIN) as client:
            jobs = client.list()
            assert server.asked == []
            assert next(jobs).id == "2"
            assert server.asked == ["GET /jobs"]
            assert [status.id for status in jobs] == ["1"]
        assert [request.query for request in server.requests] == ["", "after=c"]

    def test_wait_and_run_call_the_callbacks(self, server, job):
        updates = []
        ends = []
        server.says((202, job()), (200, job()), (200, job(progress=0.7)), (200, job("completed")))
        with Client(server.url, **QUICK, on_update=updates.append, on_completion=ends.append) as client:
            final = client.run(target_language="es")
            assert client.wait(final.id, on_update=None, on_completion=None) == final
        assert [status.progress for status in updates] == [0.5, 0.7, 1.0]
        assert ends == [final]
        assert final.state is State.COMPLETED

    def test_watch_yields_each_change(self, server, job):
        server.says((200, job()), (200, job()), (200, job("error")))
        with Client(server.url, **QUICK) as client:
            assert [status.state for status in client.watch(job()["job_id"])] == ["pending", "error"]

    def test_wait_continues_after_a_timeout(self, server, job):
        server.says((200, job()))
        with Client(server.url, **QUICK, timeout=1) as client:
            with pytest.raises(JobTimeout) as raised:
                client.wait(job()["job_id"])
            server.says((200, job()), (200, job("completed")))
            assert client.wait(raised.value.job_id, timeout=None).state is State.COMPLETED

    def test_raising_callback_ends_the_wait(self, server, job):
        server.says((200, job()))

        def fail(_):
            raise ZeroDivisionError

        with Client(server.url, **QUICK) as client, pytest.raises(ZeroDivisionError):
            client.wait(job()["job_id"], on_update=fail)
        assert len(server.requests) == 1

    def test_threads_may_share_a_client(self, server, job):
        polls = {}

        def script(request):
            job_id = request.path.rsplit("/", 1)[-1]
            polls[job_id] = polls.get(job_id, 0) + 1
            return 200, job("completed" if polls[job_id] > 2 else "pending", job_id)

        server.script = script
        ids = [str(number) for number in range(20)]
        with Client(server.url, **QUICK) as client, ThreadPoolExecutor(8) as pool:
            assert [status.id for status in pool.map(client.wait, ids)] == ids

    def test_trace_receives_effects_and_inputs(self, server, job):
        server.says((200, job()), (200, job("completed")))
        seen = []
        with Client(server.url, **QUICK, trace=seen.append) as client:
            client.wait(job()["job_id"])
        poll = ["Send", "Reply", "Status", "Done"]
        assert [type(item).__name__ for item in seen] == [*poll, "Sleep", "Done", *poll]
        assert "secretpassword" not in repr(seen)
        assert Sleep(0.01) in seen
        assert isinstance(seen[0], Send)

    def test_log_has_each_change_and_never_the_password(self, server, job, caplog):
        caplog.set_level("DEBUG", "translation_client")
        server.says((202, job()), (503, None), (200, job("queued")), (200, job("completed")))
        with Client(server.url, **QUICK) as client:
            client.run()
        lines = [(record.levelname, record.message) for record in caplog.records if record.name == "translation_client"]
        path = f"/status/{job()['job_id']}"
        assert lines == [
            ("INFO", "POST /start: 202"),
            ("INFO", f"job {job()['job_id']} pending  50% after 2.0 s"),
            ("DEBUG", f"GET {path}: 503"),
            ("WARNING", f"GET {path}: the server answered 503; retry 1 of 7 in 0.0 s"),
            ("DEBUG", f"GET {path}: 200"),
            ("WARNING", f"job {job()['job_id']} has the unknown status 'queued', which counts as pending"),
            ("INFO", f"job {job()['job_id']} pending 100% after 4.0 s"),
            ("DEBUG", f"GET {path}: 200"),
            ("INFO", f"job {job()['job_id']} completed 100% after 4.0 s"),
        ]
        assert "secretpassword" not in caplog.text


class TestAsync:
    async def test_async_client_has_the_same_methods(self, server, job):
        seen = []

        async def record(status):
            await asyncio.sleep(0)
            seen.append(status)

        async with AsyncClient(server.url, **QUICK, on_update=record) as client:
            server.says((202, job()), (200, job()), (200, job("completed")))
            started = await client.start()
            assert [status.state async for status in client.watch(started.id)] == ["pending", "completed"]
            final = await client.run(on_completion=seen.append)
            assert await client.wait(started.id, on_update=None) == final == await client.status(started.id)
            assert await client.cancel(started.id) == final
            server.says((200, {"jobs": [job()], "next": None}))
            assert [status.id async for status in client.list()] == [started.id]
            assert seen == [final, final]
        await client.aclose()

    def test_raising_callback_ends_the_wait(self, server, job):
        server.says((200, job()))

        async def fail(_):
            raise ZeroDivisionError

        async def main():
            async with AsyncClient(server.url, **QUICK) as client:
                await client.wait(job()["job_id"], on_update=fail)

        with pytest.raises(ZeroDivisionError):
            asyncio.run(main())
        assert len(server.requests) == 1

    def test_cancellation_leaves_nothing_behind(self, listen):
        async def main(url):
            async with AsyncClient(url, **LOGIN) as client:
                wait = asyncio.create_task(client.wait("j1"))
                await asyncio.wait({wait}, timeout=0.1)
                wait.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await wait
                assert asyncio.all_tasks() == {asyncio.current_task()}

        with listen(never) as url:
            asyncio.run(main(url))
        gc.collect()  # an open socket would be a ResourceWarning, and so an error


APPLIED = {"preference-applied": "wait=0", "retry-after": "1"}


class TestLongPolls:
    def test_client_asks_for_long_polls(self, server, job):
        server.says((202, job(), APPLIED), (200, job("completed")))
        with Client(server.url, **LOGIN) as client:
            final = client.run()
        assert [request.headers.get("prefer") for request in server.requests] == ["wait=0", "wait=25"]
        assert (final.cost.polls, final.cost.asleep) == (1, 0)

    @pytest.mark.parametrize(
        "options",
        [{"long_poll": 0}, {"initial_delay": 0.01}, {"max_delay": 1}, {"backoff_factor": 1}, {"schedule": immediate}],
    )
    def test_client_options_turn_long_polls_off(self, server, job, options):
        server.says((202, job("completed"), APPLIED))
        with Client(server.url, **LOGIN, **options) as client:
            client.start()
            client.wait(job()["job_id"])
        assert [request.headers.get("prefer") for request in server.requests] == [None, None]

    def test_status_can_be_a_long_poll(self, server, job):
        server.says((200, job(job_id="j1"), APPLIED))
        with Client(server.url, **LOGIN) as client, Client(server.url, **LOGIN, long_poll=0) as other:
            for poll in (client.status, other.status):
                poll("j1")
                poll("j1", long_poll=2.5)
            with pytest.raises(ValueError, match="long_poll must be a finite number of at least 0, not -1"):
                client.status("j1", long_poll=-1)
        assert [request.headers.get("prefer") for request in server.requests] == ["wait=0", "wait=2", None, None]

    def test_pending_status_has_the_servers_hint(self, server, job):
        server.says((202, job(), APPLIED), (200, job("completed"), APPLIED))
        with Client(server.url, **LOGIN) as client:
            started = client.start()
            assert started.hint == 1
            assert client.status(started.id).hint is None


class TestLeaving:
    def test_ctrl_c_ends_the_wait_and_leaves_nothing_behind(self, listen, spawn):
        program = (
            "import sys, threading, warnings; from translation_client import Client\n"
            "client = Client(sys.argv[1])\n"
            "try: client.wait('j1')\n"
            "except KeyboardInterrupt: print(threading.active_count())\n"
            "client.close()"
        )
        requested = threading.Event()

        def hang(connection, over):
            connection.recv(65_536)
            requested.set()
            over.wait()

        with listen(hang) as url:
            effect = [sys.executable, "-X", "dev", "-W", "error", "-c", program, url]
            with spawn(effect) as process:
                assert requested.wait(60)
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=60) == ("1\n", "")

    def test_watch_that_is_left_early_sends_nothing_more(self, server, job):
        server.says((200, job()))
        with Client(server.url, **QUICK) as client:
            for _ in client.watch(job()["job_id"]):
                break
        assert len(server.requests) == 1

    async def test_given_http_client_is_used_and_stays_open(self, server, job):
        server.says((200, job("completed")))
        auth = httpx.BasicAuth("someone", "else")
        with httpx.Client(auth=auth, headers={"X-Team": "video"}, follow_redirects=True) as http:
            with Client(server.url, http_client=http) as client:
                client.status(job()["job_id"])
            assert not http.is_closed
        assert server.requests[0].headers["x-team"] == "video"
        assert server.requests[0].headers["authorization"].startswith("Basic c29tZW9uZTpl")
        async with httpx.AsyncClient(auth=auth) as http:
            async with AsyncClient(server.url, http_client=http) as client:
                await client.status(job()["job_id"])
            assert not http.is_closed
        assert server.requests[1].headers["authorization"].startswith("Basic c29tZW9uZTpl")


def test_refusal_says_what_to_do_and_not_the_password(server):
    problem = {"title": "Unauthorized", "status": 401, "detail": "The user name or password is wrong."}
    server.says((401, problem, {"www-authenticate": 'Basic realm="jobs"'}))
    with Client(server.url, **LOGIN) as client:
        with pytest.raises(AuthenticationError) as raised:
            client.wait("j1")
        explained = "401 Unauthorized. The user name or password is wrong. Check the user name and the password."
        assert str(raised.value) == explained
        server.says((404, {"title": "Not Found"}))
        with pytest.raises(NotFound, match=r"404 Not Found\. Check the job's id"):
            client.cancel("j1")
    assert "secretpassword" not in repr(vars(client))


class TestEarlierSystem:
    def test_class_of_an_earlier_system_starts_waits_and_logs(self, server, job, caplog):
        caplog.set_level("DEBUG", "translation_client")
        client = TranslationStatusClient(
            server.url, "admin", "secretpassword", initial_interval=0.01, max_interval=0.01
        )
        for end, result in (("completed", "completed"), ("error", "error"), ("cancelled", "error")):
            server.says((202, job()), (200, job()), (200, job(end)))
            job_id = client.start_job()
            assert job_id == job()["job_id"]
            assert client.wait_for_completion(job_id) == result
            assert f"job {job_id} {end}" in caplog.text
        assert f"GET /status/{job()['job_id']}: 200" in caplog.text

    def test_failed_start_is_none_and_logged(self, server, caplog):
        server.says((401, {"title": "Unauthorized"}))
        assert TranslationStatusClient(server.url, "admin", "wrong").start_job() is None
        assert "no job was started: 401 Unauthorized" in caplog.text

    def test_bad_argument_is_named_at_once(self):
        with pytest.raises(ValueError, match=r"^base_url "):
            TranslationStatusClient("nowhere")


def test_library_writes_nothing_without_logging_set_up(server, job):
    server.says((503, None), (200, job("completed", "j1")))
    program = f"from translation_client import Client; Client({server.url!r}, initial_delay=0.01).status('j1')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_library_does_not_import_the_commands_dependencies():
    program = "import sys; sys.modules |= {'rich': None, 'dotenv': None}; import translation_client"
    subprocess.run([sys.executable, "-c", program], check=True)
