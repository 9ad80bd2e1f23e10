"""The golden transcripts of the shipped APIs: flows receive their replies and have to send their requests."""

import io
import json
from functools import partial
from pathlib import Path

import httpx
import pytest

import translation_client
from tests.flow_player import START, Answer, FlowPlayer, flow_options
from translation_client import validation
from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.decode import read_accepted, read_cancelled, read_job
from translation_client.core.dialects import batch_polling
from translation_client.core.effects import Send, Upload
from translation_client.core.lists import read_batch
from translation_client.dialect_files import find_dialect
from translation_client.drivers.base import BaseDriver

FOLDER = Path(__file__).parents[2] / "tests" / "contract" / "transcripts"
TRANSCRIPTS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
USER, KEY, HOST = "admin", "secretpassword", "http://127.0.0.1:8000"
BODY = {"json", "form", "files", "content"}
SENT = ("submit", "poll", "result", "cancel", "delete", "list")
NOTHING = Send("GET", "/")
STORIES = [
    pytest.param(transcript, story, id=f"{transcript['api']}-{story['kind']}-{story['story'].replace(' ', '-')}")
    for transcript in TRANSCRIPTS
    for story in transcript["stories"]
    if "kind" in story
]


class StoryPlayer(FlowPlayer):
    """Plays a story to the flows of a client: answers each request with the next reply to it.

    Attributes:
        sent: The numbers of the exchanges whose requests a flow has sent.
    """

    def __init__(self, transcript, story):
        super().__init__()
        self.exchanges = story["exchanges"]
        self.dialect = find_dialect(f"{transcript['api']}#{story['kind']}")
        self.options = flow_options(max_retries=0, dialect=self.dialect, parameters=story.get("parameters", {}))
        self.base_url = HOST + transcript["mount"]
        self.sent, self._number = set(), 0

    def follow(self, number, flow):
        """Runs a flow from an exchange on; returns its statuses, and the exchange of its last request.

        Raises:
            TranslationError: The flow did.
        """
        self._number, self.error, self.effects = number, None, []
        self.play(flow)
        if self.error:
            raise self.error
        return self.statuses, self.exchanges[self._number]

    def answer(self, send):
        """Returns the reply to a request, which has to be that of the exchange or of one after it."""
        begin = self._number
        while not self.is_request(send, self.exchanges[self._number]["request"]):
            self._number += 1
            assert self._number < len(self.exchanges), (send, self.exchanges[begin]["request"])
        self.sent.add(self._number)
        return self.reply(self.exchanges[self._number])

    def reply(self, exchange):
        """Returns the reply of an exchange as a flow gets it."""
        reply = exchange["reply"]
        body = b"" if "json" not in reply else json.dumps(reply["json"]).encode()
        return Answer(reply["code"], body, reply["headers"]).result(self.now, NOTHING)

    def is_request(self, send, request):
        """Returns whether httpx makes this request of what a flow sends."""
        key = "wrong" if any("wrong" in text for text in request["headers"].values()) else KEY
        given = (USER, key, None) if self.dialect.auth == "sigv4" else (None, None, key)
        driver = BaseDriver(http=None, base_url=self.base_url, auth=validation.auth(self.dialect, *given))
        files = {name: upload.source for name, upload in (send.files or {}).items()}
        arguments = driver.request(send, files)
        made = {name: arguments[name] for name in ("method", "url", "params", "headers", "json")}
        made = next(driver.auth.auth_flow(httpx.Request(**made)))
        headers = {name: made.headers.get(name) for name in request["headers"]}
        if self.dialect.auth == "sigv4" and headers["Authorization"].startswith("AWS4-HMAC-SHA256 "):
            headers["Authorization"] = "<signature>" if key == KEY else "<wrong signature>"
        return (made.method, made.url.path, dict(made.url.params), headers, body_of(send)) == (
            request["method"],
            httpx.URL(self.base_url + request["path"]).path,
            request.get("query", {}),
            request["headers"],
            {name: value for name, value in request.items() if name in BODY},
        )


def body_of(send):
    """Returns the body of a request as transcripts have it."""
    files = {name: one.source.getvalue().decode() for name, one in (send.files or {}).items()}
    if send.form is not None:
        shown = {name: [send.files[name].name, text, "text/plain"] for name, text in files.items()}
        return {"form": [list(pair) for pair in send.form], "files": shown}
    if files:
        return {"content": "".join(files.values())}
    return {} if send.json is None else {"json": send.json}


def uploads(files):
    return {name: Upload(f"{name}.txt", io.BytesIO(text.encode()), len(text.encode())) for name, text in files.items()}


def shown(status):
    """Returns a status as transcripts have it."""
    names = ("id", "state", "progress", "elapsed", "error", "error_code", "output", "hint")
    return {name: value for name in names if (value := getattr(status, name)) is not None}


def flow_of(player, exchange):
    """Returns the flow that sends the request of an exchange; None if none of our flows does."""
    options, time, job_id = player.options, FlowTime(START), exchange.get("job_id")
    if exchange.get("unsent"):
        return None
    match exchange["operation"]:
        case "submit" if "call" in exchange:
            fields = {name: value for name, value in exchange["call"].items() if name != "files"}
            return wait_one.submit(options, time, "key-1", fields, uploads(exchange["call"].get("files", {})))
        case "poll":
            return wait_one.poll(options, time, job_id)
        case "cancel":
            return wait_one.cancel(options, time, job_id)
        case "list":
            return wait_one.list_jobs(options, time)
    return None


def read(player, exchange):
    """Returns what a reply alone says of a job."""
    dialect, reply, job_id = player.dialect, player.reply(exchange), exchange.get("job_id")
    match exchange["operation"]:
        case "submit":
            return read_accepted(dialect, reply, job_id)
        case "cancel":
            return read_cancelled(dialect, reply, job_id)
        case _:
            return read_job(dialect, reply, job_id, dialect.operation(exchange["operation"]))


@pytest.mark.parametrize(("transcript", "story"), STORIES)
def test_client_follows_the_story(transcript, story):
    player = StoryPlayer(transcript, story)
    for number, exchange in enumerate(player.exchanges):
        means = exchange.get("means")
        flow = flow_of(player, exchange)
        if exchange["operation"] == "delete":
            deletion = wait_one.delete(player.options, FlowTime(START), exchange["job_id"])
            assert player.follow(number, deletion)[0] == []
        if means is None or number in player.sent:
            continue
        if "raises" in means:
            receive = partial(player.follow, number, flow) if flow else partial(read, player, exchange)
            with pytest.raises(getattr(translation_client, means["raises"])) as raised:
                receive()
            assert getattr(raised.value, "code", None) == means.get("code")
            assert (means["says"] or "").rstrip(".") in str(raised.value)
        elif "jobs" in means and flow:
            statuses, _ = player.follow(number, flow)
            assert [shown(status) for status in statuses] == means["jobs"]
        elif "jobs" in means:
            ids = exchange["ids"]
            assert player.is_request(batch_polling(player.dialect, ids, story.get("parameters")), exchange["request"])
            found = read_batch(player.dialect, player.dialect.batches, player.reply(exchange), ids)
            assert [shown(found[one].status) for one in ids if not isinstance(found[one], Exception)] == means["jobs"]
        elif flow:
            [*_, status], last = player.follow(number, flow)
            assert shown(status) == last.get("means", means), exchange["request"]
        elif parsed := read(player, exchange):
            assert shown(parsed.status) == means, exchange["request"]
    if story["story"] == "completed":
        sent = {player.exchanges[number]["operation"] for number in player.sent}
        assert sent == {one.action for one in player.dialect.operations} & {*SENT}
