"""The attacks that the dashboard withstands in a browser."""

import pytest
from playwright.sync_api import Error, expect

from tests.browser.serving import serving
from tests.browser.views import details, view

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_text_of_callers_is_never_markup(page, api):
    job_id = api.submit({"source_language": HOSTILE, "simulate": {"delay": 0, "outcome": "error", "message": HOSTILE}})
    assert api.get(f"/status/{job_id}", headers={"User-Agent": HOSTILE}).status_code == 200
    assert api.get(f"/status/{HOSTILE}").status_code == 404
    shown = details(page, job_id)
    expect(shown).to_contain_text("<script>alert(2)</script>")
    shown.get_by_role("button", name="Close").click()
    expect(view(page, "Requests").get_by_role("row").filter(has_text="onerror")).to_have_count(1)
    for name in ("Report card", "Webhooks", "Settings"):
        view(page, name)
    assert page.locator("main img, main script").count() == 0


def test_inline_scripts_are_refused(page):
    with pytest.raises(Error):
        page.add_script_tag(content="window.attacked = true")
    assert not page.evaluate("Boolean(window.attacked)")


def test_page_of_another_origin_changes_nothing(context, server, api):
    job_id = api.submit()
    attack = f"""<!doctype html><iframe name="frame"></iframe>
        <form method="post" action="{server.url}/sandbox/reset" target="frame"></form>
        <script>document.forms[0].submit();
        fetch("{server.url}/sandbox/reset", {{method: "POST", credentials: "include", mode: "no-cors"}})
          .finally(() => document.title = "done");</script>"""
    with serving(attack) as url:
        other = context.new_page()
        other.goto(f"{server.url}/dashboard")  # the browser knows the password from now on
        with other.expect_response(f"{server.url}/sandbox/reset") as answer:
            other.goto(url)
        assert answer.value.status == 403
        other.wait_for_function("document.title === 'done'")
    assert api.job(job_id)["status"] == "pending"


def test_page_cannot_be_framed(context, server):
    with serving(f'<!doctype html><iframe src="{server.url}/dashboard"></iframe>') as url:
        other = context.new_page()
        with other.expect_response(f"{server.url}/dashboard"):
            other.goto(url)  # waits until the frame is loaded, too
        assert other.frames[1].locator("nav").count() == 0
