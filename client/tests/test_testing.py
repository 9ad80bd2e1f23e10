"""Tests of a user's own: the fixtures, the marker, the verdict, the report cards; with and without pytest."""

import subprocess
import sys
from xml.etree import ElementTree as ET

import httpx
import pytest

from translation_client import State
from translation_client.testing import sandbox_on, server
from translation_client.testing.cards import write_card

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.takes(40)

EAGER = """
import time

import httpx


def translate(sandbox):
    with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as http:
        job = http.post("/start").json()
        while job["status"] == "pending":
            job = http.get(f"/status/{job['job_id']}").json()
            time.sleep(0.15)
    return job["status"]
"""
"""A client that polls sooner than Retry-After says."""

SUITE = """
import pytest
from eager import translate

pytestmark = pytest.mark.scenario(delay={"kind": "fixed", "seconds": 0.5})


def test_eager(sandbox):
    translate(sandbox)


@pytest.mark.parametrize("turn", ["a-b", "a b"])
def test_good(sandbox, turn):
    with sandbox.client() as client:
        client.run()


def test_silent(sandbox):
    pass


def test_without():
    pass
"""
"""One card with a warning, two good ones, one without requests, and a test without a card."""


@pytest.fixture
def run(pytester):
    """Runs pytest on a module of tests, in a process of its own; every warning is an error."""

    def run(source, *options):
        pytester.makepyfile(eager=EAGER)
        pytester.makepyfile(test_mine=source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error", *options)

    return run


class TestWithoutPytest:
    def test_sandboxes_are_independent(self, translation_server):
        with sandbox_on(translation_server.url) as first, sandbox_on(translation_server.url) as second:
            first.freeze()
            assert first.username != second.username
            assert not second.show()["clock"]["frozen"]

    def test_server_and_sandbox_need_no_pytest(self):
        program = (
            "import sys; sys.modules['pytest'] = None\n"
            "from translation_client.testing import sandbox_on, server\n"
            "with server(0, 1, seed=7) as running, sandbox_on(running.url) as sandbox, sandbox.client() as client:\n"
            "    print(client.run().state)\n"
            "    sandbox.assert_good()\n"
        )
        command = [sys.executable, "-W", "error", "-c", program]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.stdout, ran.stderr) == ("error\n", "")

    @pytest.mark.parametrize("seed", [7, "7"])
    def test_a_server_takes_a_seed_of_either_kind(self, seed):
        with server(seed=seed) as running, sandbox_on(running.url) as sandbox:
            assert sandbox.show()["seed"] == "7"


class TestAssertGood:
    def test_a_client_without_warnings_passes_whatever_its_notes(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 0.1})
        with sandbox.client(long_poll=0) as client:
            assert client.run().state is State.COMPLETED
        with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as http:
            assert http.post("/start").status_code == 202
            assert http.delete(f"/jobs/{http.get('/jobs').json()['jobs'][0]['job_id']}").status_code == 200
        sandbox.assert_good()
        assert sandbox.report().verdict == "good"

    def test_warnings_are_the_message(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 1000})
        with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as http:
            job_id = http.post("/start").json()["job_id"]
            for _ in range(5):
                assert http.get(f"/status/{job_id}").status_code == 200
        with pytest.raises(AssertionError) as raised:
            sandbox.assert_good()
        first, *lines = str(raised.value).splitlines()
        assert first == "the report card has 2 warnings: early-polls, busy-polling"
        assert lines[:2] == [
            "  warning early-polls: 5 polls of 1 job came sooner than the server had asked for: wait as long as",
            "    Retry-After says before you poll again.",
        ]
        assert any(line.startswith("  note no-idempotency-key: ") for line in lines)

    def test_a_client_that_never_came_fails(self, sandbox):
        with pytest.raises(AssertionError, match=r"no requests\n  Give your client the `url`, `username` and `passw"):
            sandbox.assert_good()


class TestPlugin:
    def test_a_suite_that_does_not_use_it_imports_nothing(self, run):
        """Only pytest itself and the plugin's own small module."""
        source = """
            import sys

            def test_mine():
                assert "pytest_translation_client" in sys.modules
                ours = {"translation_client", "translation_server"}
                assert not (ours | {"httpx", "httpx2", "rich", "fastapi"}) & set(sys.modules)
        """
        importing = ("hypothesispytest", "anyio", "pytest_httpx", "pytest_httpx2", "respx")  # plugins
        run(source, *(f"-pno:{name}" for name in importing)).assert_outcomes(passed=1)

    def test_tests_share_a_server_and_have_sandboxes_of_their_own(self, run):
        source = """
            import pytest
            seen = []

            @pytest.mark.parametrize("turn", range(2))
            def test_mine(sandbox, translation_server, turn):
                with sandbox.client() as client:
                    job = client.start()
                    sandbox.finish(job, "error")
                    assert client.wait(job.id, timeout=60).state == "error"
                seen.append((translation_server, sandbox.username))
                assert len({name for _, name in seen}) == len(seen)
                assert len({id(server) for server, _ in seen}) == 1
        """
        run(source).assert_outcomes(passed=2)

    def test_a_conftest_that_still_names_the_module_works(self, run, pytester):
        pytester.makeconftest('pytest_plugins = ["translation_client.testing"]')
        run("def test_mine(sandbox): sandbox.show()").assert_outcomes(passed=1)

    def test_without_a_server_the_fixtures_say_how_to_install_it(self, run, pytester):
        pytester.makeconftest("import sys; sys.modules['translation_server'] = None")
        result = run("def test_mine(sandbox): pass")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["translation_client.testing starts a server, but * pip install ./server *"])
        result.stdout.no_fnmatch_line("*Traceback*")


class TestMarker:
    def test_the_nearest_marker_sets_the_scenario_and_the_settings(self, run):
        source = """
            import pytest

            pytestmark = pytest.mark.scenario("outage", seed=1)

            def shown(sandbox):
                sandbox = sandbox.show()
                return sandbox["scenario"], sandbox["seed"], sandbox["delay"]["kind"], sandbox["poll_cost"]

            @pytest.mark.scenario("flaky", seed=7, delay={"kind": "exponential", "mean": 5}, poll_cost=1)
            def test_own(sandbox):
                assert shown(sandbox) == ("flaky", "7", "exponential", 1)

            def test_of_the_module(sandbox):
                assert shown(sandbox) == ("outage", "1", "fixed", 0.25)

            @pytest.mark.scenario(seed="spring")
            def test_a_seed_alone(sandbox):
                assert shown(sandbox) == (None, "spring", "fixed", 0.25)

            @pytest.mark.parametrize("name", [
                pytest.param(name, marks=pytest.mark.scenario(name)) for name in ("liar", "stuck")
            ])
            def test_each(sandbox, name):
                assert shown(sandbox)[0] == name

            def test_without_a_sandbox(): pass
        """
        run(source, "--strict-markers").assert_outcomes(passed=6)

    def test_an_unusable_marker_is_reported_in_one_line(self, run):
        """One run for all markers: a process of pytest takes seconds."""
        messages = {
            '"flakey"': "takes one of perfect, *, slow-network, liar, stuck, lossy-webhooks, not 'flakey'",
            '"flaky", 7': "takes one of perfect, *, not 'flaky', 7",
            '["flaky"]': "takes one of perfect, *, not [[]'flaky']",
            '"flaky", seed=True': "has an unusable setting: *seed: must be a whole number or a string*",
            '"flaky", seed=4.2': "has an unusable setting: *seed: must be a whole number or a string*",
            '"flaky", delay=float("nan")': "has an unusable setting: not representable as JSON*",
            '"flaky", sead=7': "has an unusable setting: *sead: there is no such field*",
        }
        tests = (f"@pytest.mark.scenario({marker})\ndef test_{n}(sandbox): pass" for n, marker in enumerate(messages))
        result = run("\n".join(["import pytest", *tests]))
        result.assert_outcomes(errors=len(messages))
        reports = enumerate(f"the marker `scenario` {message}" for message in messages.values())
        result.stdout.fnmatch_lines(
            [line for n, message in reports for line in (f"*ERROR at setup of test_{n} *", message)]
        )
        result.stdout.no_fnmatch_line("*Traceback*")

    def test_a_marker_without_effect_is_refused(self, run):
        result = run("import pytest\n@pytest.mark.scenario('flaky')\ndef test_mine(translation_server): pass")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["the marker `scenario` needs the fixture `sandbox`, *"])

    def test_other_suites_may_use_the_name_of_the_marker(self, run):
        run("import pytest\n@pytest.mark.scenario(1, 2)\ndef test_mine(): pass").assert_outcomes(passed=1)

    def test_marker_is_listed(self, run):
        result = run("", "--markers")
        result.stdout.fnmatch_lines(["@pytest.mark.scenario(name, [*][*]settings): *seed=7"])


class TestReportCards:
    def test_the_summary_names_what_is_not_good(self, run):
        result = run(SUITE)
        result.assert_outcomes(passed=5)
        result.stdout.fnmatch_lines(
            [
                "=* report cards *=",
                "test_mine.py::test_eager: 1 warning: early-polls",
                "test_mine.py::test_silent: no requests",
                "2 of 4 good",
            ],
            consecutive=True,
        )
        run(SUITE, "--no-summary").stdout.no_fnmatch_line("*report cards*")

    def test_no_card_no_summary(self, run):
        run("def test_mine(): pass").stdout.no_fnmatch_line("*report cards*")

    def test_cards_are_written_as_junit_and_html(self, run, pytester):
        leaving = f"{SUITE}\ndef test_leaving(sandbox, monkeypatch, tmp_path): monkeypatch.chdir(tmp_path)"
        result = run(leaving, "--translation-report=made/cards")
        folder = pytester.path / "made" / "cards"
        result.stdout.fnmatch_lines([f"written to {folder}"])
        names = sorted(path.name for path in folder.iterdir())
        assert len(names) == 10
        [junit] = folder.glob("test_mine.py-test_eager-*.xml")
        [suite] = ET.fromstring(junit.read_text())  # noqa: S314 - the plugin has written it
        assert (suite.get("name"), suite.get("failures")) == ("test_mine.py::test_eager", "1")
        [failed] = [case for case in suite if case.find("failure") is not None]
        assert (failed.get("classname"), failed.get("name")) == ("test_mine.py::test_eager", "early-polls")
        [page] = folder.glob("test_mine.py-test_eager-*.html")
        html = page.read_text()
        assert "<title>test_mine.py::test_eager</title>" in html
        assert "Scenario none, seed none: <strong>1 warning: early-polls</strong>." in html
        assert "warning early-polls: " in html
        assert "<td>POST /start<td>202<td>" in html

    def test_a_page_escapes_what_a_client_sent(self, run, pytester):
        source = """
            import httpx, pytest

            @pytest.mark.parametrize("name", ["<b>"])
            @pytest.mark.scenario("perfect", seed="<i>")
            def test_mine(sandbox, name):
                with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as http:
                    http.get("/status/<b>")
        """
        run(source, "--translation-report=cards").assert_outcomes(passed=1)
        [page] = (pytester.path / "cards").glob("*.html")
        html = page.read_text()
        assert "<td>GET /status/&lt;b&gt;<td>404" in html
        assert "Scenario perfect, seed &lt;i&gt;" in html
        assert "<b>" not in html
        assert "<i>" not in html

    def test_a_long_request_log_is_shown_in_part(self, translation_server, tmp_path):
        with sandbox_on(translation_server.url) as sandbox:
            with sandbox.client() as client:
                for _ in range(3):
                    client.start()
            write_card(sandbox, sandbox.report(), tmp_path, "mine", most_requests=2)
        [page] = tmp_path.glob("mine-*.html")
        assert "The first 2 of 3 requests" in page.read_text()
        assert page.read_text().count("<tr><td>") == 2

    def test_xdist_gives_each_worker_a_server_and_collects_all_cards(self, run, pytester):
        source = f"""{SUITE}
@pytest.mark.parametrize("turn", range(6))
def test_server(translation_server, worker_id, turn):
    with open(f"{pytester.path}/servers", "a") as file:
        print(worker_id, translation_server.url, file=file)
"""
        result = run(source, "-n2", "--dist=load", "--translation-report=cards")
        result.assert_outcomes(passed=11)
        result.stdout.fnmatch_lines(["test_mine.py::test_eager: 1 warning: early-polls"])
        result.stdout.fnmatch_lines(["test_mine.py::test_silent: no requests"])
        result.stdout.fnmatch_lines(["2 of 4 good"])
        used = {tuple(line.split()) for line in (pytester.path / "servers").read_text().splitlines()}
        assert len(used) == len(dict(used)) == len({url for _, url in used})
        assert len([*(pytester.path / "cards").glob("*.html")]) == 4


def test_a_seeded_test_has_the_same_verdict_ten_times_out_of_ten(run):
    """Every sandbox has a new user, whose name is random."""
    source = """
        import httpx, pytest

        def naive(sandbox):
            seen = []
            with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as http:
                for _ in range(8):
                    try:
                        answer = http.post("/start")
                        seen.append(answer.status_code)
                        sandbox.advance(10)
                        seen.append(http.get(f"/status/{answer.json()['job_id']}").json()["elapsed_time"])
                    except (httpx.TransportError, ValueError, KeyError) as error:
                        seen.append(type(error).__name__)
            return seen, sandbox.report().verdict

        seen = []

        @pytest.mark.parametrize("turn", range(10))
        @pytest.mark.scenario("flaky", seed=7, delay={"kind": "uniform", "min": 1, "max": 9}, error_probability=0.5)
        def test_mine(sandbox, turn):
            seen.append(naive(sandbox))
            assert seen[0] == seen[-1]
            sandbox.assert_good()
    """
    verdicts = set()
    for _ in range(2):
        result = run(source, "-q")
        result.assert_outcomes(failed=10)
        lines = result.stdout.lines
        verdicts |= {line.split(": ", 1)[1] for line in lines if line.startswith("test_mine.py::test_mine")}
    assert len(verdicts) == 1
    assert "duplicate-submits" in verdicts.pop()
