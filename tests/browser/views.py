"""The parts of the dashboard in a browser."""

VIEWS = {
    "Jobs": "jobs",
    "Requests": "requests",
    "Report card": "report",
    "Webhooks": "webhooks",
    "Settings": "settings",
}
VIEWS["Start a job"] = "start"


def view(page, name):
    """Opens a view by its link."""
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    return page.locator(f"#{VIEWS[name]}-view")


def row(page, job_id):
    """Returns the row of a job."""
    return page.locator("button.job").filter(has_text=job_id)


def details(page, job_id):
    """Opens the details of a job."""
    row(page, job_id).click()
    return page.get_by_role("dialog")
