"""The golden transcripts: flows receive their replies and have to send their requests."""

import json
from pathlib import Path

import pytest

import translation_client
from tests.flow_player import START, Answer, FlowPlayer, flow_options
from translation_client.core import wait_one
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import CURRENT
from translation_client.core.status import Status

JOB_ID = "4f69cc76-5b9f-4b46-a514-bdd2c0e3314a"
TIME, TEXT = "2026-01-02T03:04:05.678Z", "the video has no sound"
SAMPLES = {"<job_id>": JOB_ID, "<time>": TIME, "<number>": 0.25, "<text>": TEXT}
CONTRACT = Path(__file__).parents[2] / "tests" / "contract"
TRANSCRIPTS = [json.loads(path.read_text()) for path in sorted(CONTRACT.glob("*.json"))]
SUBMISSIONS = ("submit", "simulate")
EXCHANGES = [
    pytest.param(transcript["dialect"], exchange, id=f"{transcript['dialect']}-{exchange['when']}")
    for transcript in TRANSCRIPTS
    for exchange in transcript["exchanges"]
]


def filled(template):
    """Returns the template with samples for the values that differ from run to run."""
    if isinstance(template, dict):
        return {name: filled(value) for name, value in template.items()}
    if isinstance(template, str):
        return SAMPLES.get(template, template.replace("<job_id>", JOB_ID))
    return template


def options(dialect):
    return flow_options(max_retries=0, dialect=DIALECTS[dialect])


def answer(exchange):
    reply = filled(exchange["reply"])
    return Answer(reply["code"], reply["json"], reply["headers"])


def feed(flow, *exchanges):
    """Runs a flow that has to send exactly the requests of the exchanges; returns its statuses."""
    player = FlowPlayer().run(flow, map(answer, exchanges))
    requests = [filled(exchange["request"]) for exchange in exchanges]
    expected = [(request["method"], request["path"], request.get("json"), {}) for request in requests]
    assert [(send.method, send.path, send.json, send.query) for send in player.sends] == expected
    if player.error:
        raise player.error
    return player.statuses


def begin(dialect, exchange):
    """Returns the flow for one exchange: a submission, or a poll of the job in the path."""
    request = filled(exchange["request"])
    if exchange["when"] in SUBMISSIONS:
        return wait_one.submit(options(dialect), FlowTime(START), "key", request.get("json", {}))
    job_id = request["path"].rsplit("/", 1)[1] if DIALECTS[dialect].by_id else CURRENT
    return wait_one.poll(options(dialect), FlowTime(START), job_id)


@pytest.mark.parametrize(("dialect", "exchange"), EXCHANGES)
def test_client_follows_the_transcript(dialect, exchange):
    means, document = exchange["means"], filled(exchange["reply"]["json"])
    if "raises" in means:
        with pytest.raises(getattr(translation_client, means["raises"])):
            feed(begin(dialect, exchange), exchange)
        return
    [status] = feed(begin(dialect, exchange), exchange)
    failed = means["state"] in {"error", "cancelled"}
    assert status == Status(
        id=JOB_ID if DIALECTS[dialect].by_id else CURRENT,
        state=means["state"],
        progress=document.get("progress"),
        elapsed=document.get("elapsed_time") if dialect != "result" else None,
        error=document.get("error_message") if failed else None,
        error_code=document.get("error_code") if failed else None,
    )
    assert status.raw == document


@pytest.mark.parametrize(("dialect", "exchange"), EXCHANGES)
def test_dialect_has_the_fields_of_the_transcript(dialect, exchange):
    if "raises" in exchange["means"]:
        return
    definition, document = DIALECTS[dialect], exchange["reply"]["json"]
    submits = exchange["when"] in SUBMISSIONS
    operation = definition.operation("submit") if submits and definition.operation("submit") else definition.poll
    template = operation.answers["pending"].body
    assert template.keys() <= document.keys()
    assert not definition.by_id or template.keys() == document.keys()


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript["dialect"])
@pytest.mark.parametrize("end", ["completed", "error", "cancelled"])
def test_run_follows_the_transcript(transcript, end):
    exchanges = {exchange["when"]: exchange for exchange in transcript["exchanges"]}
    fields = exchanges["submit"]["request"].get("json", {})
    flow = wait_one.run(options(transcript["dialect"]), FlowTime(START), "key", fields)
    statuses = feed(flow, *(exchanges[when] for when in ("submit", "pending", "pending", end)))
    assert [status.state for status in statuses][-1] == end
    assert {status.state for status in statuses[:-1]} == {"pending"}


def test_every_dialect_has_a_transcript():
    assert {transcript["dialect"] for transcript in TRANSCRIPTS} == DIALECTS.keys()
