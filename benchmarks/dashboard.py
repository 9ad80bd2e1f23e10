"""What the dashboard costs a browser: 1,000 jobs, 50 polls a second.

It needs Chromium and the packages of `make browser`. Run it with `.venv-browser/bin/python benchmarks/dashboard.py`.
"""

import argparse
import os
import shutil
import threading
import time

import httpx
from playwright.sync_api import CDPSession, sync_playwright

from translation_server import TranslationServer

JOBS = 1000
POLLS = 50  # a second
UPDATES = 4  # how often the page is drawn, a second
CREDENTIALS = ("admin", "secretpassword")
LONG_TASKS = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
  }).observe({type: "longtask"});
}"""


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (default 60)")
    seconds = parser.parse_args().seconds
    username, password = CREDENTIALS
    with (
        TranslationServer(100_000, 0, username=username, password=password) as server,
        httpx.Client(base_url=server.url, auth=CREDENTIALS) as client,
    ):
        jobs = [client.post("/start").json()["job_id"] for _ in range(JOBS)]
        ended = threading.Event()
        polling = threading.Thread(target=poll, args=(client, jobs, ended))
        polling.start()
        try:
            measure(server.url, seconds)
        finally:
            ended.set()
            polling.join()


def poll(client: httpx.Client, jobs: list[str], ended: threading.Event) -> None:
    """Polls the newest jobs in turn, which are on the screen, at a constant rate."""
    due, count = time.monotonic(), 0
    while not ended.wait(max(0.0, due - time.monotonic())):
        client.get(f"/status/{jobs[-1 - count % 100]}").raise_for_status()
        count += 1
        due += 1 / POLLS


def measure(url: str, seconds: float) -> None:
    """Opens the page, and prints what its main thread does."""
    username, password = CREDENTIALS
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        context = browser.new_context(http_credentials={"username": username, "password": password})
        page = context.new_page()
        page.goto(f"{url}/")
        page.locator("button.job").nth(99).wait_for()
        page.evaluate(LONG_TASKS)
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        before = metrics(session)
        page.wait_for_timeout(1000 * seconds)
        after = metrics(session)
        updates = UPDATES * (after["Timestamp"] - before["Timestamp"])
        busy = 1000 * (after["TaskDuration"] - before["TaskDuration"]) / updates
        script = 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / updates
        print(f"| {seconds:.0f} s of {JOBS} jobs and {POLLS} polls a second | |\n|---|---|")
        print(f"| main thread per update | {busy:.1f} ms, of which scripts {script:.1f} ms |")
        print(f"| longest task | {page.evaluate('window.longest'):.0f} ms |")
        print(f"| heap at the start, at the end | {heap(before)}, {heap(after)} |")
        browser.close()


def metrics(session: CDPSession) -> dict[str, float]:
    """Returns the browser's own figures of the page, after a garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def heap(figures: dict[str, float]) -> str:
    """Returns the size of the JavaScript heap."""
    return f"{figures['JSHeapUsedSize'] / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
