"""Point it at the server: `aai.Settings(api_key="secretpassword", base_url="http://127.0.0.1:8000/assemblyai")`.

Covered: transcribe of URLs and files, groups, sentences, paragraphs, lists, deletions, webhooks and errors.
Version: assemblyai 1.8.2.
"""

import assemblyai as aai
import httpx
import pytest

from tests.receivers import receiving
from tests.sdks.conftest import KEY

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # the client's own

AUDIO = "https://example.com/audio.mp3"


@pytest.fixture
def open_client(url):
    """Opens clients that poll often."""
    clients = []

    def open_client(key=KEY):
        settings = aai.Settings(api_key=key, base_url=f"{url}/assemblyai", polling_interval=0.02)
        clients.append(aai.Client(settings=settings))
        return clients[-1]

    yield open_client
    for client in clients:
        client.http_client.close()


@pytest.fixture
def client(open_client):
    return open_client()


@pytest.fixture
def transcriber(client):
    return aai.Transcriber(client=client)


def test_audio_at_a_url_is_transcribed(transcriber):
    transcript = transcriber.transcribe(AUDIO, config=aai.TranscriptionConfig(punctuate=False))
    assert (transcript.status, transcript.error) == (aai.TranscriptStatus.completed, None)
    assert (transcript.audio_url, transcript.json_response["punctuate"]) == (AUDIO, False)
    assert " ".join(word.text for word in transcript.words) == transcript.text
    assert (transcript.audio_duration, transcript.confidence) == (2, 0.98)


def test_a_file_is_uploaded_and_transcribed(transcriber, tmp_path):
    audio = tmp_path / "audio.mp3"
    audio.write_bytes(b"sound" * 100_000)
    transcript = transcriber.transcribe(str(audio))
    assert transcript.text
    assert transcript.audio_url == transcriber.upload_file(audio.read_bytes())
    assert transcript.audio_url != transcriber.upload_file(b"other sound")


def test_several_are_transcribed_as_a_group(transcriber):
    group, failures = transcriber.transcribe_group([AUDIO, b"sound"], return_failures=True)
    assert (group.status, failures) == (aai.TranscriptStatus.completed, [])
    assert len({transcript.id for transcript in group}) == 2


def test_a_transcript_has_the_text_that_the_sandbox_chose(transcriber, sandbox):
    sandbox.change_sandbox(output="Hello!")
    assert transcriber.transcribe(AUDIO).text == "Hello!"


def test_a_transcript_has_sentences_and_paragraphs(transcriber):
    transcript = transcriber.transcribe(AUDIO)
    for [part] in (transcript.get_sentences(), transcript.get_paragraphs()):
        assert part.text == transcript.text == " ".join(word.text for word in part.words)


def test_a_pending_transcript_has_neither(transcriber, sandbox):
    sandbox.change_sandbox(paused=True)
    transcript = transcriber.submit(AUDIO)
    assert (transcript.status, transcript.text) == (aai.TranscriptStatus.queued, None)
    for call in (transcript.get_sentences, transcript.get_paragraphs):
        with pytest.raises(aai.TranscriptError, match="The transcript is queued"):
            call()


def test_a_failed_transcript_says_why(transcriber, sandbox):
    sandbox.change_sandbox(error_probability=1)
    transcript = transcriber.transcribe(AUDIO)
    assert (transcript.status, transcript.text) == (aai.TranscriptStatus.error, None)
    assert transcript.error == sandbox.job(transcript.id)["error_message"]


def test_transcripts_are_listed_page_by_page(transcriber):
    made = [transcriber.transcribe(AUDIO).id for _ in range(3)]
    page = transcriber.list_transcripts(aai.ListTranscriptParameters(limit=2))
    assert [one.id for one in page.transcripts] == made[:0:-1]
    assert (page.page_details.limit, page.page_details.result_count) == (2, 2)
    assert {one.status for one in page.transcripts} == {aai.TranscriptStatus.completed}
    assert all(one.completed >= one.created and one.audio_url == AUDIO for one in page.transcripts)
    older = aai.ListTranscriptParameters(limit=2, before_id=page.page_details.before_id_of_prev_url)
    page = transcriber.list_transcripts(older)
    assert [one.id for one in page.transcripts] == made[:1]
    assert page.page_details.before_id_of_prev_url is None
    for status, listed in (("completed", made[::-1]), ("error", [])):
        page = transcriber.list_transcripts(aai.ListTranscriptParameters(status=status))
        assert [one.id for one in page.transcripts] == listed


def test_a_deleted_transcript_is_gone(client, transcriber):
    transcript = transcriber.transcribe(AUDIO)
    deleted = aai.api.delete_transcript(client.http_client, transcript.id)
    assert (deleted.id, deleted.text) == (transcript.id, "Deleted by user.")
    assert transcriber.list_transcripts().transcripts == []
    with pytest.raises(aai.TranscriptError) as caught:
        transcript.wait_for_completion()
    assert caught.value.status_code == 404


def test_a_wrong_key_is_refused(open_client):
    with pytest.raises(aai.TranscriptError, match="credentials") as caught:
        aai.Transcriber(client=open_client("wrong")).transcribe(AUDIO)
    assert caught.value.status_code == 401


def test_an_unknown_id_is_not_found(client):
    with pytest.raises(aai.TranscriptError) as caught:
        aai.Transcript("unknown", client=client).wait_for_completion()
    assert caught.value.status_code == 404


def test_client_gets_there_when_the_server_is_flaky_and_the_caller_goes_on_waiting(transcriber, sandbox):
    """The client repeats no request."""

    def insisting(call):
        while True:
            try:
                return call()
            except (aai.AssemblyAIError, httpx.TransportError):
                continue

    sandbox.change_sandbox(scenario="flaky", seed=1)
    for _ in range(3):
        transcript = insisting(lambda: transcriber.submit(AUDIO))
        insisting(transcript.wait_for_completion)
        assert transcript.status == aai.TranscriptStatus.completed
    sandbox.change_sandbox(scenario="perfect")
    assert any(record["faults"] for record in sandbox.requests())


def test_webhook_is_posted_with_the_header_of_the_caller(transcriber):
    with receiving() as receiver:
        config = aai.TranscriptionConfig().set_webhook(receiver.url, "X-My-Secret", "mine")
        transcript = transcriber.submit(AUDIO, config=config)
        [received] = receiver.take()
    assert received.body == {"transcript_id": transcript.id, "status": "completed"}
    assert received.headers["x-my-secret"] == "mine"
