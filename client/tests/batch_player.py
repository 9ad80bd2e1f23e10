"""Runs the flow for several jobs by hand against a scripted server."""

import json

from translation_client import Fixed, State, Status
from translation_client.core.builtin_dialects import DIALECTS
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Chunk, Done, Failure, Listen, Reply, Send, Sleep, WaitFailed, Warn
from translation_client.core.requests import FlowOptions
from translation_client.core.wait_many import as_completed


class BatchPlayer:
    """Runs the flow against `script`, which answers requests and reads.

    The caller spends `caller` seconds on each WaitFailed.
    """

    def __init__(self, script, *, ids=("a", "b", "c"), timeout=None, dialect="start", caller=0.0, **options):
        chosen = {"initial_delay": 1.0, "max_delay": 8.0, "backoff_factor": 2.0, "max_retries": 2} | options
        chosen = {"schedule": Fixed(10), "request_timeout": 5.0, "long_poll": 25.0} | chosen
        self.options = FlowOptions(**chosen, random=lambda: 0.5, dialect=DIALECTS[dialect])
        self.now, self.requests, self.results, self.warnings = 0.0, [], [], []
        time = FlowTime(0.0) if timeout is None else FlowTime(0.0, timeout)
        flow, result = as_completed(self.options, time, ids), None
        while True:
            try:
                effect = next(flow) if result is None else flow.send(result)
            except StopIteration:
                break
            match effect:
                case Send() | Listen():
                    if not isinstance(effect, Listen) or effect.send:
                        self.requests.append(effect)
                    result = script(self, effect)
                    self.now = max(self.now, result.at)
                case Sleep():
                    assert effect.seconds >= 0
                    self.now += effect.seconds
                    result = Done(self.now)
                case Status() | WaitFailed():
                    self.results.append(effect)
                    self.now += caller if isinstance(effect, WaitFailed) else 0.0
                    result = Done(self.now)
                case Warn():
                    self.warnings.append(effect.text)
                    result = Done(self.now)

    def reply(self, document, code=200, *, takes=0.0, **headers):
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(code, lines, json.dumps(document).encode(), self.now + takes, takes)

    def batch_answer(self, effect, statuses, unknown=(), **more):
        ids = effect.query["job_id"]
        jobs = [job(job_id, statuses.get(job_id, "pending")) for job_id in ids if job_id not in unknown]
        return self.reply({"jobs": jobs, "unknown": [job_id for job_id in ids if job_id in unknown]}, **more)

    def job_answer(self, effect, statuses):
        job_id = effect.path.rpartition("/")[2]
        return self.reply(job(job_id, statuses.get(job_id, "pending")))

    @property
    def streams(self):
        return [effect.send.headers for effect in self.requests if isinstance(effect, Listen)]

    @property
    def polls(self):
        return [effect for effect in self.requests if isinstance(effect, Send)]

    @property
    def ends(self):
        return {
            result.id: type(result.error) if isinstance(result, WaitFailed) else result.state
            for result in self.results
            if isinstance(result, WaitFailed) or result.state.ended
        }

    def cost(self, job_id):
        [end] = [result for result in self.results if result.id == job_id and result.state.ended]
        return end.cost


def job(job_id, status="pending", **fields):
    return {"job_id": job_id, "status": status} | fields


def is_job_poll(effect):
    return isinstance(effect, Send) and effect.path.startswith("/status/")


def events(*documents):
    return "".join(f"id: 7\nevent: x\ndata: {json.dumps(document)}\n\n" for document in documents).encode()


def no_stream(polls, code=404):
    """Returns a server without a stream; `polls` answers the other requests."""
    return lambda player, effect: player.reply({}, code) if isinstance(effect, Listen) else polls(player, effect)


def without_stream(statuses=lambda _: {}, **more):
    """Returns a server with batch polls but no stream; `statuses` gives the states of the jobs at a time."""
    return no_stream(lambda player, effect: player.batch_answer(effect, statuses(player.now), **more))


def streaming(reads, statuses=lambda _: {}):
    """Returns a server with batch polls and a stream; `statuses` gives the states of the jobs for a poll.

    Each read of the stream brings the next of `reads`; at None it breaks off. Or `reads` is a function that answers.
    """
    left = None if callable(reads) else iter(reads)

    def script(player, effect):
        if not isinstance(effect, Listen):
            return player.batch_answer(effect, statuses(player))
        if effect.send:
            return Chunk(b"", player.now)
        if left is None:
            return reads(player, effect)
        data = next(left)
        return Failure("it ended", player.now) if data is None else Chunk(data, player.now)

    return script


COMPLETED = dict.fromkeys("abc", "completed")
ALL_COMPLETED = dict.fromkeys("abc", State.COMPLETED)


def completed_at(seconds):
    """Returns a function that gives the states of three jobs that complete at a time."""
    return lambda player: COMPLETED if player.now >= seconds else {}


def silent(player, effect):
    return Failure("nothing came", player.now + effect.timeout)


UNREADABLE = [(200, {}), (200, []), (200, None), (204, None), (302, None), (520, None), (530, None)]
UNREADABLE.append((200, {"jobs": 7, "unknown": []}))
