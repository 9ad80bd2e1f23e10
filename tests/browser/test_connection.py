"""How the page keeps up to date: by a stream, and by polls where it gets none."""

import pytest
from playwright.sync_api import expect

from translation_server.api.dashboard import live

STREAM = "**/dashboard/live"
POLLING = "Polling: there is no event stream"


def abort(route):
    """Cuts the stream, as a proxy that allows no long answers does."""
    route.abort()


def swallow(route):
    """Never answers, as a proxy that collects the whole answer first does."""


@pytest.mark.parametrize("block", [abort, swallow])
def test_page_polls_where_it_gets_no_stream(context, server, api, block):
    page = context.new_page()
    page.route(STREAM, block)
    page.goto(f"{server.url}/dashboard")
    expect(page.get_by_role("status").first).to_contain_text(POLLING, timeout=15_000)
    job_id = api.submit()
    api.job(job_id)
    row = page.locator("button.job").filter(has_text=job_id)
    expect(row).to_contain_text("1 poll")
    api.job(job_id)
    expect(row).to_contain_text("2 polls")
    row.click()
    page.get_by_role("dialog").get_by_role("button", name="Finish as completed").click()
    expect(row).to_contain_text("completed")
    api.reset()
    expect(page.get_by_text("There are no jobs yet.")).to_be_visible()


def test_stream_takes_over_from_polls(context, server, api):
    page = context.new_page()
    page.route(STREAM, abort)
    page.goto(f"{server.url}/dashboard")
    expect(page.get_by_role("status").first).to_contain_text(POLLING)
    page.unroute(STREAM, abort)
    expect(page.get_by_text("Connected", exact=True)).to_be_visible(timeout=15_000)
    polls = []
    page.on("request", lambda request: polls.append(request.url) if "dashboard/state" in request.url else None)
    job_id = api.submit()
    expect(page.locator("button.job")).to_contain_text(job_id)
    page.wait_for_timeout(2500)  # longer than the time between two polls
    assert polls == []


def test_older_job_is_found_by_its_id(context, server, api, monkeypatch):
    monkeypatch.setattr(live, "MAX_JOBS", 2)
    jobs = [api.submit({"simulate": {"delay": 0}}) for _ in range(4)]
    page = context.new_page()
    page.goto(f"{server.url}/dashboard")
    expect(page.locator("button.job")).to_have_count(2)
    search = page.get_by_role("searchbox", name="Id")
    search.fill(jobs[0])
    expect(page.locator("button.job")).to_contain_text(jobs[0])
    page.locator("button.job").click()
    expect(page.get_by_role("dialog")).to_contain_text("Job 1 of this sandbox")
    page.keyboard.press("Escape")
    search.fill(jobs[1][:8])
    expect(page.get_by_text("Of older jobs, the whole id is needed.")).to_be_visible()
    expect(page.locator("button.job")).to_have_count(0)
