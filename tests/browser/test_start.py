"""The form that starts jobs of any API, and the commands that do the same."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CREDENTIALS

APIS = {
    "openai video": ("openai video: /videos", {"prompt": "A cat"}),
    "openai file": ("openai file: /files", {"file": "@speech.txt", "purpose": "it's a test"}),
    "fal": ("fal request: /{owner}/{app}", {"prompt": "A cat"}),
    "replicate": (
        "replicate prediction: /v1/predictions",
        {"version": "a", "input": {"prompt": "A cat", "draft": True}},
    ),
    "azure": ("azure analysis: /documentModels/{model}:analyze", {"urlSource": "https://example.com/a.pdf"}),
    "aws-transcribe": ("aws-transcribe transcription: /", None),
}


@pytest.fixture
def opened(context, run):
    """Opens the form on a server with other APIs; returns a client of the server, and the view."""
    server = run(
        DIALECTS="openai,fal,replicate,azure,aws-transcribe", MIN_DELAY="0", MAX_DELAY="0", ERROR_PROBABILITY="0"
    )
    page = context.new_page()
    page.goto(f"{server.client.base_url}/dashboard#start")
    return server.client, page.locator("#start-view")


def choose(view, api):
    """Chooses an API, and types a body; returns the name of the API."""
    label, body = APIS[api]
    view.get_by_label("API", exact=True).select_option(label=label)
    if body is not None:
        view.get_by_role("textbox", name=re.compile("Body|Fields of the form")).fill(json.dumps(body))
    return label.split()[0]


def jobs(client):
    """Returns the jobs of the caller with their APIs and inputs, the newest first."""
    listed = client.get("/jobs").json()["jobs"]
    return [client.get(f"/sandbox/jobs/{job['job_id']}").json() for job in listed]


@pytest.mark.parametrize("api", APIS)
def test_job_of_another_api_is_started(opened, api):
    client, view = opened
    name = choose(view, api)
    view.get_by_label("Ends after").fill("60")
    view.get_by_label("Ends as").select_option("error")
    view.get_by_role("button", name="Start", exact=True).click()
    expect(view.get_by_role("status")).to_contain_text(f"Started: {name} answered 20")
    [job] = jobs(client)
    assert (job["api"], job["status"]) == (name, "pending")
    client.post("/sandbox/clock", json={"advance": 60})
    assert jobs(client)[0]["status"] == "error"
    record = client.get("/sandbox/requests").json()["requests"][0]
    assert (record["action"], record["jobs"][0]["job_id"]) == ("submit", job["job_id"])
    assert record["path"].startswith("/documentintelligence/" if api == "azure" else f"/{name}")


@pytest.mark.parametrize("api", APIS)
def test_commands_do_the_same(opened, api, tmp_path):
    client, view = opened
    name = choose(view, api)
    (tmp_path / "speech.txt").write_text("Hello")
    (tmp_path / "FILE").write_text(CREDENTIALS[1])
    shown = [
        text.replace("USERNAME", CREDENTIALS[0]).replace("PASSWORD", CREDENTIALS[1])
        for text in view.locator("figure pre").all_inner_texts()
    ]
    curl, python, command = shown
    commands = [
        shlex.split(curl.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)),
        [sys.executable, "-c", python + "\nprint(final.id)"],
        [sys.executable, "-m", "translation_client", *shlex.split(command)[1:]],
    ]
    for run in commands:
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (run, done.stdout, done.stderr)
        [job] = jobs(client)
        assert job["api"] == name
        if body := APIS[api][1]:
            expected = {key: value for key, value in body.items() if not str(value).startswith("@")}
            assert job["input"] | expected == job["input"]
        client.reset()


def test_answer_of_an_api_to_a_bad_body_is_shown(opened):
    client, view = opened
    choose(view, "replicate")
    body = view.get_by_role("textbox", name="Body")
    body.fill("{}")
    view.get_by_role("button", name="Start", exact=True).click()
    expect(view.get_by_role("status")).to_contain_text("Refused: replicate answered 422.")
    expect(view.locator("pre").first).to_contain_text('"detail"')
    body.fill("{")
    expect(view).to_contain_text("The body is not JSON")
    assert jobs(client) == []


def test_hostile_values_stay_text(opened):
    client, view = opened
    hostile, page = "<img src=x onerror=alert(1)>", view.page
    alerts = []
    page.on("dialog", lambda dialog: alerts.append(dialog.message))
    choose(view, "fal")
    view.get_by_label("In the path: owner").fill(hostile)
    view.get_by_role("textbox", name="Body").fill(json.dumps({"prompt": hostile, hostile: hostile}))
    view.get_by_role("button", name="Start", exact=True).click()
    expect(view.get_by_role("status")).to_contain_text("Started: fal answered 200.")
    assert jobs(client)[0]["input"][hostile] == hostile
    expect(view.locator("figure pre").first).to_contain_text("%3Cimg")
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    page.locator("button.job").click()
    expect(page.get_by_role("dialog")).to_contain_text(hostile)
    assert (page.locator("main img, dialog img").count(), alerts) == (0, [])
