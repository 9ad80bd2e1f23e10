"""Point it at the server: `boto3.client("transcribe", endpoint_url="http://127.0.0.1:8000/aws-transcribe")`.

MediaConvert is at `/aws-mediaconvert`. The access key is the user's name, the secret key is the password; the region
may be any.
Covered: starting, getting, listing and deleting a transcription job; creating, getting, listing and cancelling a
MediaConvert job. Of the filters of lists, only the status is covered.
Version: boto3 1.44.8. It waits for transcription jobs itself; for MediaConvert, it has no waiter, so its callers loop.
"""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from tests.sdks.conftest import KEY, USERNAME

MEDIA = {"MediaFileUri": "s3://a-bucket/a.mp3"}
WAITING = {"Delay": 1, "MaxAttempts": 60}
RETRYING = Config(retries={"mode": "standard", "total_max_attempts": 10})


def client_of(service, url, secret=KEY, key=USERNAME):
    return boto3.client(
        service,
        endpoint_url=f"{url}/aws-{service}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=RETRYING,
    )


@pytest.fixture
def transcribe(url):
    return client_of("transcribe", url)


@pytest.fixture
def mediaconvert(url):
    return client_of("mediaconvert", url)


def transcription(transcribe, name="a-job"):
    """Starts a transcription job and waits for it as boto3 does."""
    transcribe.start_transcription_job(TranscriptionJobName=name, Media=MEDIA, LanguageCode="en-US")
    transcribe.get_waiter("transcription_job_completed").wait(TranscriptionJobName=name, WaiterConfig=WAITING)
    return transcribe.get_transcription_job(TranscriptionJobName=name)["TranscriptionJob"]


def create_job(mediaconvert, **options):
    return mediaconvert.create_job(Role="arn:aws:iam::123456789012:role/any", Settings={"Inputs": []}, **options)["Job"]


def ended(mediaconvert, job_id):
    """Waits for a MediaConvert job. boto3 reads a body that is no JSON as an answer without a job."""
    while True:
        job = mediaconvert.get_job(Id=job_id).get("Job")
        if job and job["Status"] not in {"SUBMITTED", "PROGRESSING"}:
            return job


def code_of(call, **arguments):
    """Returns the code and the status of a refused call."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Message"]
    return refused.value.response["Error"]["Code"], refused.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_transcript_is_awaited(transcribe):
    job = transcription(transcribe)
    assert job["TranscriptionJobStatus"] == "COMPLETED"
    assert (job["Media"], job["LanguageCode"]) == (MEDIA, "en-US")
    assert job["Transcript"]["TranscriptFileUri"].startswith("http://127.0.0.1:")
    assert job["CreationTime"] <= job["StartTime"] <= job["CompletionTime"]


def test_failed_transcription_ends_the_wait_with_an_error(transcribe, sandbox):
    sandbox.change_sandbox(error_probability=1)
    with pytest.raises(WaiterError, match="terminal failure state"):
        transcription(transcribe)
    job = transcribe.get_transcription_job(TranscriptionJobName="a-job")["TranscriptionJob"]
    assert job["TranscriptionJobStatus"] == "FAILED"
    assert "simulated failure" in job["FailureReason"]


def test_transcriptions_are_listed_and_deleted(transcribe):
    for number in range(3):
        transcription(transcribe, f"job-{number}")
    page = transcribe.list_transcription_jobs(MaxResults=2)
    names = [job["TranscriptionJobName"] for job in page["TranscriptionJobSummaries"]]
    rest = transcribe.list_transcription_jobs(MaxResults=2, NextToken=page["NextToken"])
    names += [job["TranscriptionJobName"] for job in rest["TranscriptionJobSummaries"]]
    assert (names, "NextToken" in rest) == (["job-2", "job-1", "job-0"], False)
    assert len(transcribe.list_transcription_jobs(Status="COMPLETED")["TranscriptionJobSummaries"]) == 3
    assert transcribe.list_transcription_jobs(Status="QUEUED")["TranscriptionJobSummaries"] == []
    transcribe.delete_transcription_job(TranscriptionJobName="job-1")
    unknown = code_of(transcribe.get_transcription_job, TranscriptionJobName="job-1")
    assert unknown == ("NotFoundException", 400)


def test_transcription_needs_a_new_name(transcribe):
    transcription(transcribe)
    again = code_of(transcribe.start_transcription_job, TranscriptionJobName="a-job", Media=MEDIA)
    assert again == ("ConflictException", 400)


def test_finished_conversion_is_awaited(mediaconvert):
    job = ended(mediaconvert, create_job(mediaconvert, UserMetadata={"a": "b"})["Id"])
    assert (job["Status"], job["UserMetadata"]) == ("COMPLETE", {"a": "b"})
    assert job["Timing"]["SubmitTime"] <= job["Timing"]["FinishTime"]


def test_conversion_shows_what_was_submitted(mediaconvert):
    plain = create_job(mediaconvert)
    assert (plain["Queue"].rpartition("/")[2], plain["Priority"], "HopDestinations" in plain) == ("Default", 0, False)
    given = {
        "AccelerationSettings": {"Mode": "PREFERRED"},
        "BillingTagsSource": "JOB",
        "ClientRequestToken": "a",
        "HopDestinations": [{"WaitMinutes": 20}],
        "JobTemplate": "mine",
        "Priority": 5,
        "Queue": "other",
        "SimulateReservedQueue": "ENABLED",
        "StatusUpdateInterval": "SECONDS_30",
    }
    job = create_job(mediaconvert, **given, JobEngineVersion="2024-05-01")
    assert {name: job[name] for name in given} == given
    assert job["JobEngineVersionRequested"] == "2024-05-01"


def test_failed_conversion_says_why(mediaconvert, sandbox):
    sandbox.change_sandbox(error_probability=1)
    job = ended(mediaconvert, create_job(mediaconvert)["Id"])
    assert job["Status"] == "ERROR"
    assert "simulated failure" in job["ErrorMessage"]


def test_conversion_is_cancelled(mediaconvert, sandbox):
    sandbox.change_sandbox(delay={"kind": "fixed", "seconds": 3600})
    job_id = create_job(mediaconvert)["Id"]
    mediaconvert.cancel_job(Id=job_id)
    assert ended(mediaconvert, job_id)["Status"] == "CANCELED"


def test_conversions_are_listed(mediaconvert):
    made = [create_job(mediaconvert)["Id"] for _ in range(3)]
    pages = list(mediaconvert.get_paginator("list_jobs").paginate(PaginationConfig={"PageSize": 2}))
    assert [job["Id"] for page in pages for job in page["Jobs"]] == made[::-1]
    assert [job["Id"] for job in mediaconvert.list_jobs(Order="ASCENDING")["Jobs"]] == made
    ended(mediaconvert, made[0])
    assert made[0] in {job["Id"] for job in mediaconvert.list_jobs(Status="COMPLETE")["Jobs"]}
    assert mediaconvert.list_jobs(Status="CANCELED")["Jobs"] == []


def test_repeated_conversion_with_a_token_is_the_same_job(mediaconvert):
    assert (
        create_job(mediaconvert, ClientRequestToken="a")["Id"] == create_job(mediaconvert, ClientRequestToken="a")["Id"]
    )


@pytest.mark.parametrize(("key", "secret"), [(USERNAME, "wrong"), ("unknown", KEY)])
def test_wrong_keys_are_refused(url, key, secret):
    wrong = client_of("transcribe", url, secret, key)
    assert code_of(wrong.list_transcription_jobs) == ("InvalidSignatureException", 403)
    assert code_of(client_of("mediaconvert", url, secret, key).list_jobs) == ("InvalidSignatureException", 403)


def test_unknown_conversion_is_not_found(mediaconvert):
    for call in (mediaconvert.get_job, mediaconvert.cancel_job):
        assert code_of(call, Id="unknown") == ("NotFoundException", 404)


def test_clients_get_there_on_flaky_days(transcribe, mediaconvert, sandbox):
    sandbox.change_sandbox(scenario="flaky", seed=1)
    for number in range(3):
        assert transcription(transcribe, f"job-{number}")["TranscriptionJobStatus"] == "COMPLETED"
        assert ended(mediaconvert, create_job(mediaconvert)["Id"])["Status"] == "COMPLETE"
