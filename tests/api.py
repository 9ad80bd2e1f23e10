"""The server's API as tests use it: each method checks the status of the answer."""

import httpx


class Api(httpx.Client):
    """A client of the server; for requests that may fail, use the methods of httpx."""

    def submit(self, body=None, /, **headers):
        """Submits a job and returns its id."""
        answer = self.post("/start", json=body or {}, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["job_id"]

    def job(self, job_id):
        """Polls a job and returns the body of the answer."""
        answer = self.get(f"/status/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def change_job(self, job_id, **action):
        """Pauses, unpauses or finishes a pending job."""
        answer = self.post(f"/sandbox/jobs/{job_id}", json=action)
        assert answer.status_code == 200, answer.text

    def cancel(self, job_id):
        """Cancels a job."""
        answer = self.delete(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text

    def finish(self, job_id, outcome="completed", **more):
        """Ends a pending job now."""
        self.change_job(job_id, do="finish", outcome=outcome, **more)

    def change_sandbox(self, **settings):
        """Changes settings of the sandbox and returns the sandbox."""
        answer = self.patch("/sandbox", json=settings)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def set_clock(self, **change):
        """Changes the clock of the sandbox."""
        answer = self.post("/sandbox/clock", json=change)
        assert answer.status_code == 200, answer.text

    def reset(self):
        """Empties the sandbox."""
        answer = self.post("/sandbox/reset")
        assert answer.status_code == 200, answer.text

    def requests(self):
        """Returns the first page of the request log."""
        answer = self.get("/sandbox/requests")
        assert answer.status_code == 200, answer.text
        return answer.json()["requests"]

    def pages(self, path, **query):
        """Yields all pages of a list."""
        while True:
            answer = self.get(path, params=query)
            assert answer.status_code == 200, answer.text
            yield (page := answer.json())
            if page["next"] is None:
                break
            query["after"] = page["next"]

    def set_faults(self, *faults):
        """Sets the fault rules of the sandbox."""
        self.change_sandbox(faults=faults)


def is_problem(answer, status):
    """Checks that an answer is a problem document with this status code."""
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    assert body["detail"]
    return answer.status_code == status
