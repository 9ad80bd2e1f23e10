"""The dashboard in a browser: what it shows, and what its controls do."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.serving import in_background
from tests.browser.views import VIEWS, details, row, view


@pytest.fixture
def naive_jobs(api):
    """The jobs of a client that polls too often, through faults, and learns late of an end."""
    api.set_clock(frozen=True)
    first = api.submit({"simulate": {"delay": 30}})
    api.set_faults({"kind": "status", "code": 503, "route": ["poll"], "times": 1})
    for _ in range(3):
        assert api.get(f"/status/{first}").status_code in {200, 503}
        api.set_clock(advance=8)
    api.set_clock(advance=20)
    assert api.job(first)["status"] == "completed"
    second = api.submit({"simulate": {"delay": 25, "outcome": "error", "message": "no speech was found"}})
    api.job(second)
    api.set_clock(advance=10)
    third = api.submit()
    api.job(third)
    api.set_clock(advance=10)
    api.change_job(third, do="pause")
    return first, second, third


def test_row_shows_the_polls_the_fault_and_the_lateness(page, naive_jobs, screenshot):
    first, _, third = naive_jobs
    expect(row(page, first)).to_contain_text(
        "4 polls · fault: status 503 · took 30.0 s · the client learned it 14.0 s later"
    )
    timeline = row(page, first).get_by_role("img")
    expect(timeline).to_have_attribute(
        "aria-label", "4 polls; fault: status 503; ended after 30.0 s; the client learned it 14.0 s later"
    )
    expect(row(page, third)).to_contain_text("pending, paused")
    for sign in (".fault", ".end", ".late", ".learned"):
        expect(row(page, first).locator(f"svg {sign}")).to_have_count(1)
    assert row(page, first).locator("svg .poll").get_attribute("d").count("M") == 3
    screenshot("light")
    page.emulate_media(color_scheme="dark")
    screenshot("dark")
    page.emulate_media(color_scheme="light")
    shown = details(page, first)
    expect(shown).to_contain_text("early-polls")
    expect(shown.get_by_role("cell", name="503", exact=True)).to_be_visible()


def test_jobs_are_filtered_by_state_and_id(page, api, naive_jobs):
    second = naive_jobs[1]
    expect(page.locator("button.job")).to_have_count(3)
    page.get_by_role("radio", name="pending").check()
    expect(page.locator("button.job")).to_have_count(2)
    api.set_clock(advance=6)  # the second job ends
    expect(page.locator("button.job")).to_have_count(1)
    page.get_by_role("radio", name="All").check()
    page.get_by_role("searchbox", name="Id").fill(second)
    expect(page.locator("button.job")).to_have_count(1)
    expect(row(page, second)).to_contain_text("error")
    page.get_by_role("searchbox", name="Id").fill("nothing")
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_job_is_paused_unpaused_and_ended_by_buttons(page, api):
    paused, failed, completed, cancelled = (api.submit() for _ in range(4))
    details(page, paused).get_by_role("button", name="Pause").click()
    expect(row(page, paused)).to_contain_text("pending, paused")
    details(page, paused).get_by_role("button", name="Unpause").click()
    expect(row(page, paused)).not_to_contain_text("pending, paused")
    shown = details(page, failed)
    shown.get_by_label("Message").fill("no speech")
    shown.get_by_role("button", name="Finish as error").click()
    expect(row(page, failed)).to_contain_text("error")
    assert api.job(failed)["error_message"] == "no speech"
    details(page, completed).get_by_role("button", name="Finish as completed").click()
    expect(row(page, completed)).to_contain_text("completed")
    details(page, cancelled).get_by_role("button", name="Cancel").click()
    expect(row(page, cancelled)).to_contain_text("cancelled")
    statuses = [api.job(job_id)["status"] for job_id in (paused, completed, cancelled)]
    assert statuses == ["pending", "completed", "cancelled"]


def test_clock_is_frozen_advanced_and_sped_up(page, api):
    page.get_by_role("button", name="Freeze").click()
    page.get_by_role("button", name="Unfreeze").wait_for()
    assert api.get("/sandbox").json()["clock"]["frozen"]
    page.get_by_role("button", name="Unfreeze").click()
    page.get_by_role("button", name="Freeze", exact=True).wait_for()
    page.get_by_label("Seconds", exact=True).fill("3600")
    with page.expect_response("**/sandbox/clock"):
        page.get_by_role("button", name="Advance").click()
    assert api.get("/sandbox").json()["clock"]["ahead"] >= 3599
    with page.expect_response("**/sandbox/clock"):
        page.get_by_label("Speed").select_option("60")
    assert api.get("/sandbox").json()["clock"]["speed"] == 60


def test_settings_are_changed_and_bad_ones_are_refused(page, api):
    settings = view(page, "Settings")
    settings.get_by_role("button", name="flaky").click()
    expect(settings).to_contain_text("The scenario is flaky.")
    assert api.get("/sandbox").json()["scenario"] == "flaky"
    settings.get_by_label("Error probability").fill("2")
    settings.get_by_role("button", name="Save the settings").click()
    expect(page.get_by_role("alert")).to_contain_text("error_probability")
    settings.get_by_label("Error probability").fill("0.5")
    settings.get_by_label("Seed").fill("seven")
    with page.expect_response("**/sandbox"):
        settings.get_by_role("button", name="Save the settings").click()
    sandbox = api.get("/sandbox").json()
    assert (sandbox["error_probability"], sandbox["seed"]) == (0.5, "seven")


def test_fault_rules_are_edited_and_checked(page, api):
    settings = view(page, "Settings")
    rules = settings.get_by_label("Rules as JSON")
    save = settings.get_by_role("button", name="Save the rules")
    rules.fill("[")
    save.click()
    expect(page.get_by_role("alert")).to_contain_text("The rules are not JSON")
    rules.fill('[{"kind": "nonsense"}]')
    save.click()
    expect(page.get_by_role("alert")).to_contain_text("kind")
    rules.fill('[{"kind": "status", "code": 500, "times": 1}]')
    save.click()
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("heading", name="Fault rules").click()  # a field with the focus is not overwritten
    expect(settings).to_contain_text("status: fired 0 times")
    assert api.get("/jobs").status_code == 500
    expect(settings).to_contain_text("status: fired 1 time")


def test_reset_asks_first(page, api):
    job_id = api.submit()
    view(page, "Settings").get_by_role("button", name="Reset the sandbox").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep everything").click()
    assert api.job(job_id)
    page.get_by_role("button", name="Reset the sandbox").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset", exact=True).click()
    view(page, "Jobs")
    expect(page.get_by_text("There are no jobs yet.")).to_be_visible()
    assert api.get("/jobs").json()["jobs"] == []


def test_job_is_started_and_the_commands_do_the_same(page, api):
    start = view(page, "Start a job")
    start.get_by_label("Target language").fill("it's")
    expect(start.locator("figure pre").first).to_contain_text(
        """-d '{"source_language":"en","target_language":"it'\\''s","""
    )
    expect(start).to_contain_text('target_language="it\'s"')
    start.get_by_label("Ends after").fill("0")
    start.get_by_label("Ends as").select_option("error")
    start.get_by_role("button", name="Start", exact=True).click()
    expect(start.get_by_role("status")).to_contain_text("Started: ")
    [job] = api.get("/jobs").json()["jobs"]
    assert (job["status"], job["target_language"]) == ("error", "it's")


def test_requests_and_report_card_are_live(page, api):
    requests = view(page, "Requests")
    expect(requests).to_contain_text("No request has come yet.")
    job_id = api.submit()
    api.job(job_id)
    expect(requests.get_by_role("row")).to_have_count(3)
    requests.get_by_label("Filter").fill("/status/")
    expect(requests.get_by_role("row")).to_have_count(2)
    requests.get_by_label("only with faults").check()
    expect(requests).to_contain_text("No request matches.")
    card = view(page, "Report card")
    expect(card).to_contain_text("polls per job")
    api.job(job_id)
    expect(card.get_by_role("listitem").filter(has_text="early-polls")).to_be_visible()


def test_delivery_is_made_again(page, api, receiver):
    api.finish(api.submit({"webhook": {"url": receiver.url}}))
    hooks = view(page, "Webhooks")
    hooks.locator("summary").click()
    expect(hooks.locator("summary")).to_contain_text("delivered, 1 attempt")
    hooks.get_by_role("button", name="Redeliver").click()
    expect(hooks.locator("summary")).to_contain_text("2 attempts")
    expect(hooks.locator("pre").last).to_contain_text(
        re.compile(r"Request of attempt 2, \d+ bytes\ncontent-type: application/json")
    )
    assert receiver.posts == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, naive_jobs, scheme):
    page.emulate_media(color_scheme=scheme)
    for name in VIEWS:
        expect(view(page, name)).to_be_visible()
        assert [found["id"] for found in Axe().run(page)["violations"]] == [], name
    view(page, "Jobs")
    details(page, naive_jobs[0])
    assert [found["id"] for found in Axe().run(page)["violations"]] == []


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", True), ("reduce", False)])
def test_timeline_moves_less_where_less_motion_is_preferred(page, api, motion, moves):
    page.emulate_media(reduced_motion=motion)
    api.set_clock(frozen=True)
    job_id = api.submit()
    api.set_clock(advance=100)
    bar = page.locator("button.job svg g")
    expect(page.locator("#clock time")).to_have_text(re.compile(r"\d"))
    shown = page.locator("#clock time").inner_text()
    api.job(job_id)
    expect(page.locator("button.job")).to_contain_text("1 poll")
    api.job(job_id)
    expect(page.locator("button.job")).to_contain_text("2 polls")  # so the row is known to be on the screen
    before = bar.get_attribute("transform")
    api.set_clock(advance=1)
    expect(page.locator("#clock time")).not_to_have_text(shown)
    expect(page.locator("#clock time")).to_have_text(api.get("/sandbox").json()["clock"]["now"][:19].replace("T", " "))
    page.wait_for_timeout(500)  # two more drawings
    assert (bar.get_attribute("transform") != before) == moves


@pytest.mark.usefixtures("naive_jobs")
def test_phone_needs_no_sideways_scrolling(page, screenshot):
    page.set_viewport_size({"width": 360, "height": 740})
    for name in VIEWS:
        view(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    view(page, "Jobs")
    screenshot("phone")


def test_keyboard_is_enough(page, api):
    job_id = api.submit()
    row(page, job_id).wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "job":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.evaluate("document.activeElement.className") == "job"


def test_lost_connection_is_shown(page, server):
    with ThreadPoolExecutor() as other_thread:  # the browser's driver has an event loop in this one
        other_thread.submit(asyncio.run, server.stop()).result()
    expect(page.get_by_text("Disconnected: what you see is old.")).to_be_visible()
    view(page, "Settings").get_by_role("button", name="Save the settings").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")


@pytest.fixture
def receiver():
    """Runs a receiver of webhooks that accepts all."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.posts += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with in_background(Handler) as server:
        server.posts, server.url = 0, f"http://127.0.0.1:{server.server_port}/"
        yield server


def test_details_show_fate_input_output_and_webhooks(page, api, receiver):
    job_id = api.submit({"source_language": "fr", "webhook": {"url": receiver.url}, "simulate": {"delay": 60}})
    api.finish(job_id, "error", message="no speech")
    hooks = view(page, "Webhooks")
    expect(hooks.locator("summary")).to_contain_text("delivered, 1 attempt")
    view(page, "Jobs")
    shown = details(page, job_id)
    expect(shown).to_contain_text("as error, with the message “no speech”")
    expect(shown.get_by_role("region", name="Attempts of")).to_contain_text("204")
    expect(shown.locator("pre").first).to_contain_text('"source_language": "fr"')
    expect(shown.locator("pre").last).to_contain_text('"error_message": "no speech"')


def test_refused_action_is_shown_in_the_dialog(page, api):
    shown = details(page, api.submit())
    shown.get_by_label("Message").fill("x" * 5000)
    shown.get_by_role("button", name="Finish as error").click()
    expect(shown.get_by_role("alert")).to_contain_text("message")


def test_requests_are_paused(page, api):
    requests = view(page, "Requests")
    api.job(api.submit())
    expect(requests.get_by_role("row")).to_have_count(3)
    requests.get_by_role("button", name="Pause").click()
    api.submit()
    expect(requests).to_contain_text("Paused at request 2. The newest is 3.")
    expect(requests.get_by_role("row")).to_have_count(3)
    requests.get_by_role("button", name="Continue").click()
    expect(requests.get_by_role("row")).to_have_count(4)


def test_past_pause_stays_in_the_timeline(page, api):
    api.set_clock(frozen=True)
    job_id = api.submit()
    api.change_job(job_id, do="pause")
    expect(row(page, job_id)).to_contain_text("paused")
    api.set_clock(advance=30)
    api.change_job(job_id, do="unpause")
    expect(row(page, job_id)).to_contain_text("was paused for 30.0 s")
    expect(row(page, job_id).locator("svg .paused")).to_have_count(1)


def test_page_that_is_opened_later_draws_all_pauses(context, server, api):
    api.set_clock(frozen=True)
    job_id = api.submit()
    for seconds, action in [
        (10, "pause"),
        (30, "unpause"),
        (20, "pause"),
        (10, "unpause"),
        (10, "pause"),
        (20, "finish"),
    ]:
        api.set_clock(advance=seconds)
        api.change_job(job_id, do=action)
    page = context.new_page()
    page.goto(f"{server.url}/")
    expect(row(page, job_id)).to_contain_text("was paused for 60.0 s · took 100.0 s")
    drawn = row(page, job_id).locator("svg .paused")
    expect(drawn).to_have_count(3)
    frames = [re.match(r"M([\d.]+) \d+h([\d.]+)v", path.get_attribute("d")).groups() for path in drawn.all()]
    expected = [(10, 30), (60, 10), (80, 20)]  # seconds of 100, in a drawing of 1000 units
    assert [(float(left), float(width)) for left, width in frames] == [(10 * at, 10 * long) for at, long in expected]
    pauses = details(page, job_id).get_by_role("region", name="Pauses")
    expect(pauses.get_by_role("row")).to_have_text(["afterfor", "10.0 s30.0 s", "60.0 s10.0 s", "80.0 s20.0 s"])


def test_read_only_page_has_no_controls(context, run):
    server = run(READ_ONLY_DASHBOARD="on", MIN_DELAY="100", MAX_DELAY="100")
    job_id = server.client.submit()  # clients are not affected
    page = context.new_page()
    page.goto(f"{server.client.base_url}/")
    for name in VIEWS:
        shown = view(page, name)
        expect(shown).to_be_visible()
        texts = shown.get_by_role("button").all_text_contents()
        assert {text.split()[0] for text in texts} <= {"…", "Pause", "Copy"}
        assert shown.locator("input[type=text]:not([readonly]), textarea:not([readonly])").count() in {0, 3}
    view(page, "Jobs")
    shown = details(page, job_id)
    expect(shown.get_by_role("button")).to_have_text(["Close"])
    for method, path in {
        "POST": "sandbox/reset",
        "PATCH": "sandbox",
        "DELETE": f"jobs/{job_id}",
        "PUT": "start",
    }.items():
        send = "([method, path]) => fetch(path, {method}).then(async (answer) => [answer.status, await answer.text()])"
        status, text = page.evaluate(send, [method, path])
        assert status == 403
        assert "READ_ONLY_DASHBOARD" in text
    assert server.client.job(job_id)["status"] == "pending"
