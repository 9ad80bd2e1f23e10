"""Runs a flow by hand against a scripted transcript: no network, no clock, no sleeping."""

import json
from dataclasses import dataclass, field
from math import inf

from translation_client.core import wait_one
from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Done, Failure, Reply, Send, Sleep, Warn
from translation_client.core.errors import TranslationError
from translation_client.core.requests import FlowOptions
from translation_client.core.status import Status

START = 1000.0  # when every flow begins
SOONEST = 0.05  # seconds: the least delay
TRIP = 0.01  # seconds: the default round trip


def flow_options(**options):
    """Returns the client's defaults, without chance: every pause after a failure is half of the longest."""
    defaults = {"initial_delay": 0.5, "max_delay": 8.0, "backoff_factor": 2.0, "max_retries": 7}
    return FlowOptions(**defaults | {"request_timeout": 10.0, "random": lambda: 0.5, "schedule": doubling} | options)


def doubling():
    """Polls after 0.5, 1, 2, 4, 8, 8, ... seconds, unless the server asks for another delay."""
    delay, observation = 0.5, (yield 0.0)
    while True:
        observation = yield delay if observation.hint is None else max(observation.hint, SOONEST)
        delay = min(delay * 2, 8.0)


@dataclass
class Answer:
    """An answer of a transcript, and its round trip; without a code there is no answer, or not even a server."""

    code: int | None = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    takes: float = TRIP
    absent: bool = False
    unsent: bool = False

    def result(self, now, send):
        if self.takes > send.timeout:
            return Failure("timed out", now + send.timeout)
        if self.code is None:
            return Failure("connection refused", now + self.takes, self.absent, self.absent or self.unsent)
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Reply(self.code, self.headers, body, now + self.takes, self.takes)


def job(status="pending", *, takes=TRIP, retry_after=None, **fields):
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Answer(200, {"job_id": "j1", "status": status, **fields}, headers, takes)


def failing(code=None, *, takes=TRIP, **headers):
    """Returns a refusal, or no answer at all."""
    return Answer(code, None, {name.replace("_", "-"): value for name, value in headers.items()}, takes)


@dataclass
class FlowPlayer:
    """Runs a flow against the answers of a transcript, whose last one repeats, and records its effects."""

    effects: list = field(default_factory=list)
    now: float = START
    error: TranslationError | None = None

    def run(self, flow, answers):
        self.answers = list(answers)
        return self.play(flow)

    def answer(self, send):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer.result(self.now, send)

    def play(self, flow):
        effect = next(flow)
        try:
            while True:
                self.effects.append(effect)
                if isinstance(effect, Send):
                    result = self.answer(effect)
                    self.now = result.at
                else:
                    self.now += effect.seconds if isinstance(effect, Sleep) else 0
                    result = Done(self.now)
                effect = flow.send(result)
        except StopIteration:
            pass
        except TranslationError as error:
            self.error = error
        return self

    @property
    def sends(self):
        return [effect for effect in self.effects if isinstance(effect, Send)]

    @property
    def sleeps(self):
        return [round(effect.seconds, 6) for effect in self.effects if isinstance(effect, Sleep)]

    @property
    def statuses(self):
        return [effect for effect in self.effects if isinstance(effect, Status)]

    @property
    def states(self):
        return [status.state for status in self.statuses]

    @property
    def warnings(self):
        return [effect.text for effect in self.effects if isinstance(effect, Warn)]


def ask(flow, *arguments, answers, **options):
    """Runs one of the flows for one job."""
    return FlowPlayer().run(flow(flow_options(**options), FlowTime(START), *arguments), answers)


def watch(*answers, timeout=inf, **options):
    return FlowPlayer().run(wait_one.watch(flow_options(**options), FlowTime(START, START + timeout), "j1"), answers)


def run(*answers, timeout=inf, **options):
    return FlowPlayer().run(wait_one.run(flow_options(**options), FlowTime(START, START + timeout), "key", {}), answers)
