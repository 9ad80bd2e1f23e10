"""The file of an API with every kind of operation, for tests over HTTP."""

from tests.examples import CREDENTIALS

TASKS = """
auth = ["X-Api-Key: {token}", "?key={token}"]
hints = { x-poll-after-ms = "{retry_after | ms}" }
idempotency = { body = "token" }

[error]
body = { fault = { code = "{status_code}", type = "{error_type}", message = "{detail}", at = "{field}" } }
headers = { x-fault = "{error_type}: {detail}" }
types = { 404 = "no_such_thing", 422 = "invalid", default = "bad" }

[error.when]
422.code = 400
413.code = 400
413.headers = { x-fault = "large" }
413.body.fault = { type = "too_large", message = "Too much.", at = "{omit}" }
404.body.fault = { path = "{path}", when = "{now}", seconds = "{now | unix}", number = "{error_id}" }
422.body.fault.reason = "{reason}"
429.body = { fault = "{null}", retry = true }

[job.task]
id = "task-{digits:19}"
words = { pending = "busy", completed = "done", error = "failed", cancelled = "stopped" }
send = { to = "{target_language}" }
required = ["to", "more.deep"]
output = { text = "in {target_language}: {input.more.deep}" }

[job.task.body]
id = "{job_id}"
state = "{status}"
self = "{base_url}/tasks/{job_id}"
to = "{target_language}"
deep = "{input.more.deep}"
half = "{input.half | percent}"
number = "{input.number | number}"
zone = "{query.zone}"
team = "{team}"
why = "{omit}"

[job.task.when.completed]
body.output = "{output}"

[job.task.when.error]
code = 424
headers = { x-failed = "{input.note}" }
body.why = "{error_message}"

[job.task.submit]
request = ["POST /tasks", "POST /teams/{team}/tasks"]
accepts = ["json", "form", "multipart"]
code = 201

[job.task.poll]
request = ["GET /tasks/{job_id}", "GET /teams/{team}/tasks/{job_id}"]

[job.task.result]
request = "GET /result"
job_id = { query = "id" }

[job.task.cancel]
request = "POST /call"
where = { header = { X-Target = "Tasks.Stop" } }
job_id = { body = "task.name", text = "tasks/{job_id}" }

[job.task.view.place]
request = "POST /teams/{team}/places"
job_id = { body = "name", text = "teams/{team}/tasks/{job_id}/place" }
body = { place = "{job_id}" }

[job.task.delete]
request = "DELETE /task"
job_id = { header = "X-Task" }
code = 204
body = ""

[job.task.list]
request = "GET /tasks"
page = { size = "limit", cursor = "after", default = 2 }
body = { tasks = "{jobs}", first = "{first_id}", last = "{last_id}", next = "{next}", more = "{has_more}" }

[job.task.batch_poll]
request = "GET /some"
ids = "ids"
body = "{jobs}"

[fixed.me]
request = "GET /me/{name}"
headers = { x-name = "{name}" }
body = { name = "{name}", zone = "{query.zone}", url = "{base_url}" }

[fixed.echo]
request = "POST /call"
where = { header = { X-Target = "Echo" } }
body = { said = "{input.word}" }
"""


KEY = {"X-Api-Key": CREDENTIALS[1]}
TASK = {"to": "es", "more": {"deep": [1, {"a": None}]}}


def submit(tasks, **more):
    """Submits a job and returns its id."""
    answer = tasks.post("/tasks", json=TASK | more)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def fault(answer, code):
    """Returns an error in the API's own form."""
    assert answer.status_code == code, answer.text
    body = answer.json()["fault"]
    assert body["code"] == code
    assert answer.headers["x-fault"].startswith(f"{body['type']}: ")
    return body
