"""The golden transcripts: flows receive their replies and have to send their requests."""

import json
from pathlib import Path

import pytest

import translation_client
from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.dialects import CURRENT, DIALECTS
from translation_client.core.effects import Done, Reply, Send
from translation_client.core.requests import FlowOptions
from translation_client.core.schedule import Exponential
from translation_client.core.status import Status

JOB_ID = "4f69cc76-5b9f-4b46-a514-bdd2c0e3314a"
SAMPLES = {
    "<job_id>": JOB_ID,
    "<time>": "2026-01-02T03:04:05.678Z",
    "<number>": 0.25,
    "<text>": "the video has no sound",
}
TRANSCRIPTS = [
    json.loads(path.read_text()) for path in sorted((Path(__file__).parents[2] / "tests" / "contract").glob("*.json"))
]
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


def flow_options(dialect):
    return FlowOptions(
        schedule=Exponential(1, 1, 1),
        initial_delay=1,
        max_delay=1,
        backoff_factor=1,
        max_retries=0,
        request_timeout=10,
        random=lambda: 0,
        dialect=DIALECTS[dialect],
    )


def reply(exchange):
    answer = filled(exchange["reply"])
    return Reply(answer["code"], answer["headers"], json.dumps(answer["json"]).encode(), 0.0)


def feed(flow, *exchanges):
    """Runs a flow that has to send exactly the requests of the exchanges; returns its statuses."""
    left, statuses = list(exchanges), []
    effect = next(flow)
    try:
        while True:
            if isinstance(effect, Send):
                request = filled(left[0]["request"])
                assert (effect.method, effect.path, effect.json) == (
                    request["method"],
                    request["path"],
                    request.get("json"),
                )
                assert effect.query == {}
                effect = flow.send(reply(left.pop(0)))
                continue
            if isinstance(effect, Status):
                statuses.append(effect)
            effect = flow.send(Done(0.0))
    except StopIteration:
        assert left == []
    return statuses


def begin(dialect, exchange):
    """Returns the flow for one exchange: a submission, or a poll of the job in the path."""
    request = filled(exchange["request"])
    if exchange["when"] == "submit":
        return wait_one.submit(flow_options(dialect), FlowTime(0.0), "key", request.get("json", {}))
    job_id = request["path"].rsplit("/", 1)[1] if DIALECTS[dialect].by_id else CURRENT
    return wait_one.poll(flow_options(dialect), FlowTime(0.0), job_id)


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
    )
    assert status.raw == document


@pytest.mark.parametrize(("dialect", "exchange"), EXCHANGES)
def test_dialect_has_the_fields_of_the_transcript(dialect, exchange):
    if "raises" in exchange["means"]:
        return
    definition, document = DIALECTS[dialect], exchange["reply"]["json"]
    template = definition.answer if exchange["when"] == "submit" else definition.job
    assert template.keys() <= document.keys()
    assert not definition.by_id or template.keys() == document.keys()


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript["dialect"])
@pytest.mark.parametrize("end", ["completed", "error", "cancelled"])
def test_run_follows_the_transcript(transcript, end):
    exchanges = {exchange["when"]: exchange for exchange in transcript["exchanges"]}
    fields = exchanges["submit"]["request"].get("json", {})
    flow = wait_one.run(flow_options(transcript["dialect"]), FlowTime(0.0), "key", fields)
    statuses = feed(flow, *(exchanges[when] for when in ("submit", "pending", "pending", end)))
    assert [status.state for status in statuses][-1] == end
    assert {status.state for status in statuses[:-1]} == {"pending"}


def test_every_dialect_has_a_transcript():
    assert {transcript["dialect"] for transcript in TRANSCRIPTS} == DIALECTS.keys()
