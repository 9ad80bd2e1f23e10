"""Point it at the server: `HfApi("http://127.0.0.1:8000", token="secretpassword")`, or HF_ENDPOINT and HF_TOKEN.

Covered: run_job, inspect_job, wait_for_job, cancel_job, list_jobs and whoami. Not covered: logs, metrics, reruns,
scheduled jobs and scripts that are uploaded.
Version: huggingface_hub 2.4.0. It has no error for a failed job: its stage is ERROR. It has no async calls for jobs. A
list_jobs without a namespace asks who the caller of HF_ENDPOINT and HF_TOKEN is, whatever the HfApi has.
"""

import httpx2
import pytest
from huggingface_hub import HfApi, Volume
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, JobNotFoundError

from tests.sdks.conftest import KEY

JOB = {"image": "python:3.12", "command": ["python", "-c", "print(1)"]}
UNKNOWN = "0" * 24


@pytest.fixture
def client(url):
    return HfApi(endpoint=url, token=KEY)


def test_job_is_awaited(client, url):
    job = client.run_job(**JOB, env={"A": "1"}, flavor="t4-small", labels={"team": "a"}, name=None)
    assert (job.status.stage, job.started_at, job.finished_at) == ("SCHEDULING", None, None)
    assert (job.docker_image, job.space_id, job.command) == (JOB["image"], None, JOB["command"])
    assert (job.environment, job.flavor, job.labels["team"]) == ({"A": "1"}, "t4-small", "a")
    assert job.url == f"{url}/jobs/{client.whoami()['name']}/{job.id}"
    assert (job.initiator.type, job.initiator.name, job.durations.running_secs) == ("user", job.owner.name, None)
    done = client.wait_for_job(job.id, poll_interval=0.02)
    assert (done.status.stage, done.status.message) == ("COMPLETED", None)
    assert done.finished_at > done.started_at >= done.created_at
    assert (done.durations.scheduling_secs, done.durations.running_secs, done.durations.total_secs) == (0, 1, 1)


def test_job_shows_what_was_submitted(client):
    volume = Volume(type="model", source="owner/model", mount_path="/model", read_only=True)
    options = {"network_group": "train", "network_aliases": ["master"], "expose": [8000]}
    job = client.run_job(**JOB, volumes=[volume], **options)
    assert (job.volumes, job.network.group, job.network.aliases) == ([volume], "train", ["master"])
    assert job.expose == [8000]


def test_jobs_of_spaces_and_of_other_namespaces_are_awaited(client):
    job = client.run_job(image="hf.co/spaces/owner/space", command=["true"], namespace="other")
    assert (job.space_id, job.docker_image, job.owner.name) == ("owner/space", None, "other")
    jobs = client.wait_for_job([job.id], poll_interval=0.02, namespace="other")
    assert [job.status.stage for job in jobs] == ["COMPLETED"]


def test_failed_job_says_why(client, sandbox):
    sandbox.change_sandbox(error_probability=1)
    job = client.wait_for_job(client.run_job(**JOB).id, poll_interval=0.02)
    assert job.status.stage == "ERROR"
    assert job.status.message == sandbox.job(job.id)["error_message"]


def test_job_is_cancelled(client, sandbox):
    sandbox.change_sandbox(paused=True)
    job = client.run_job(**JOB)
    client.cancel_job(job_id=job.id)
    assert client.wait_for_job(job.id).status.stage == "CANCELED"


def test_jobs_are_listed_page_by_page(client):
    made = [client.run_job(**JOB, namespace="user").id for _ in range(102)]
    assert [job.id for job in client.list_jobs(namespace="user")] == made[::-1]


def test_jobs_are_listed_by_stage_and_label(client):
    job, other = (client.run_job(**JOB, labels={"team": team}, namespace="user").id for team in ("a", "b"))
    client.wait_for_job([job, other], poll_interval=0.02, namespace="user")
    listed = {"namespace": "user", "status": ["COMPLETED", "RUNNING"]}
    assert [one.id for one in client.list_jobs(**listed)] == [other, job]
    assert [one.id for one in client.list_jobs(**listed, labels={"team": "a"})] == [job]
    assert list(client.list_jobs(namespace="user", status="ERROR", labels={"team": "a"})) == []
    with pytest.raises(BadRequestError, match="stage"):
        list(client.list_jobs(status="NONE", namespace="user"))


def test_wrong_token_is_refused(client):
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as caught:
        client.run_job(**JOB, token="wrong")
    assert caught.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError) as caught:
        client.run_job(**JOB, namespace="user", token="wrong")
    assert caught.value.response.status_code == 401
    assert caught.value.server_message


def test_unknown_id_is_not_found(client):
    for call in (client.inspect_job, client.wait_for_job, client.cancel_job):
        with pytest.raises(JobNotFoundError) as caught:
            call(job_id=UNKNOWN)
        assert caught.value.job_id == UNKNOWN


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(client, sandbox):
    """The client repeats only the requests of lists."""

    def insisting(call):
        while True:
            try:
                return call()
            except (HfHubHTTPError, httpx2.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        job = insisting(lambda: client.run_job(**JOB))
        assert insisting(lambda job=job: client.wait_for_job(job.id, poll_interval=0.02)).status.stage == "COMPLETED"
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())
