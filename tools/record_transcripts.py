"""Records the golden transcripts of the shipped APIs from a running server: `make generate`.

Each kind of job has four stories: a job completes, fails, is cancelled, and requests are refused.
`tests/contract/submissions.toml` has the submissions. The expected result of each answer in the client is computed from
the server's own templates.
"""

import datetime as dt
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.golden import FOLDER, SECONDS, GoldenServer, pretty  # noqa: E402 - the folder of the tests is no package
from translation_server.config.dialect_files import shipped  # noqa: E402 - after the path is set
from translation_server.core.dialects.dialect import Dialect  # noqa: E402 - after the path is set
from translation_server.core.dialects.operations import Operation, RequestPattern  # noqa: E402 - after the path is set
from translation_server.core.dialects.template import fill, names, paths, value_at  # noqa: E402 - after the path is set
from translation_server.core.job import ERROR_MESSAGE, State  # noqa: E402 - after the path is set

SUBMISSIONS = ROOT / "tests" / "contract" / "submissions.toml"
BEGIN, APART = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), dt.timedelta(hours=1)
NATIVE = ("job_id", "source_language", "target_language")
RESULTS = (State.COMPLETED, State.ERROR)  # the states in which our client asks for the result
UNKNOWN, FAILED_AT = "unknown", 50
RAISED = {401: "AuthenticationError", 403: "AuthenticationError", 404: "NotFound", 429: "TransportError"}


class Recorder:
    """Records the stories of one API on a running server; ``submissions`` are those of each of its kinds."""

    def __init__(self, api: str, server: GoldenServer, submissions: Mapping[str, Any]) -> None:
        self._api, self.server, self._submissions = api, server, submissions
        self.stories: list[dict[str, Any]] = []

    def record(self) -> list[dict[str, Any]]:
        """Records all stories."""
        for dialect in self.server.dialects:
            kind = _Kind(self, dialect, self._submissions[dialect.kind])
            for name, play in kind.stories().items():
                self._begin(name, kind)
                play()
        self._begin("fixed")
        for operation in self.server.dialects[0].api.fixed:
            for pattern in operation.requests:
                self.add(0, "fixed", self.server.request(operation, pattern, {}, content="A sound."))
        if not self.stories[-1]["exchanges"]:
            self.stories.pop()
        return self.stories

    def jobs(self) -> Sequence[Mapping[str, Any]]:
        """Returns all jobs of the story, newest first."""
        jobs: Sequence[Mapping[str, Any]] = self.server.native("GET", "/jobs")["jobs"]
        return jobs

    def _begin(self, name: str, kind: "_Kind | None" = None) -> None:
        begins = BEGIN + len(self.stories) * APART
        story: dict[str, Any] = {"story": name, "begins": begins.isoformat()}
        if kind:
            story = {"kind": kind.dialect.kind, **story}
            story |= {"parameters": kind.parameters} if kind.parameters else {}
        self.stories.append({**story, "exchanges": []})
        self.server.begin(story, f"{self._api} {len(self.stories)}")

    def add(
        self, at: float, operation: str, request: Mapping[str, Any], before: object = (), **more: object
    ) -> dict[str, Any]:
        """Sends a request at a time and adds the exchange to the story."""
        exchange: dict[str, Any] = {"at": at, "operation": operation}
        if before:
            exchange["before"] = before
        exchange |= {**more, "request": request}
        exchange["reply"] = self.server.play(exchange)
        self.stories[-1]["exchanges"].append(exchange)
        return exchange


class _Kind:
    """Records the stories of one kind of job; ``given`` are its submissions."""

    def __init__(self, recorder: Recorder, dialect: Dialect, given: Mapping[str, Any]) -> None:
        self.dialect, self._recorder, self._given = dialect, recorder, given
        self._error: Mapping[str, str] = given.get("error", {"message": ERROR_MESSAGE})
        self.parameters: Mapping[str, str] = given.get("parameters", {})
        self._values = {**given.get("values", {}), **self.parameters}
        self._submitted = 0
        self._known: Sequence[str] = ()  # the jobs of the story

    def stories(self) -> Mapping[str, Any]:
        """Returns the stories by their names."""
        words = self.dialect.words
        is_possible = any(self._all("cancel")) or words[State.CANCELLED] != words[State.ERROR]
        cancelled = {"cancelled": self._cancelled} if is_possible else {}
        several = len(self._submit.requests) > 1 or "more" in self._given
        others = {"other submissions": self._others} if several else {}
        return {"completed": self._completed, "error": self._failed, **cancelled, "refused": self._refused, **others}

    @property
    def _unknown(self) -> str:
        """An id that no job has, in the form that the API's paths need."""
        return self.dialect.id.partition("{")[0] + UNKNOWN if "/" in self.dialect.id else UNKNOWN

    @property
    def _submit(self) -> Operation:
        return self._operation("submit")

    def _operation(self, action: str) -> Operation:
        return next(one for one in self.dialect.operations if one.action == action)

    def _all(self, *actions: str) -> Iterator[Operation]:
        return (one for one in self.dialect.operations if one.action in actions)

    def _start(self, before: Sequence[object] = ()) -> str:
        """Submits the first job of a story; returns its id."""
        self._known, self._submitted = (), 0
        call = {name: self._given[name] for name in (*NATIVE, "input", "files") if name in self._given}
        exchange = self._submission(self._chosen(self._submit), self._given, before=before, call=call)
        return str(exchange["means"]["id"])

    def _chosen(self, operation: Operation) -> RequestPattern:
        """Returns the request that our client sends: the one with the most parameters, all of which it has."""
        known = {"job_id", *self.parameters}
        possible = [one for one in operation.requests if known.issuperset(one.parameters)] or operation.requests
        return max(possible, key=lambda one: len(one.parameters))

    def _submission(self, pattern: RequestPattern, given: Mapping[str, Any], **more: object) -> dict[str, Any]:
        """Submits a job."""
        sent = fill(self.dialect.send, given.get)
        fields = {name: value for name, value in sent.items() if value not in (None, [None])} | given.get("input", {})
        headers: dict[str, str] = {}
        self._submitted += 1
        key, place = f"key-{self._submitted}", self.dialect.api.idempotency
        if place and place.source == "header":
            headers[place.name] = key
        elif place:
            fields[place.name] = key
        accepts, files, body = self._submit.accepts, given.get("files"), dict[str, Any]()
        if files and "multipart" in accepts:
            shown = {name: [f"{name}.txt", text, "text/plain"] for name, text in files.items()}
            body = {"form": _form(fields), "files": shown}
        elif files:
            body = {"content": "".join(files.values())}
            headers["Content-Type"] = "text/plain"
        elif "json" in accepts:
            body = {"json": fields or None}
        else:
            body = {"form": _form(fields)} | ({} if "form" in accepts else {"files": {}})
        job_id = given.get("job_id") if self._submit.job_id.source != "path" else None
        request = self._recorder.server.request(
            self._submit, pattern, self._values, job_id=job_id, headers=headers, **body
        )
        exchange = self._recorder.add(0, "submit", request, **more)
        reply = exchange["reply"]
        jobs = [job["job_id"] for job in self._recorder.jobs()]
        job_id = jobs[-1 - len(self._known)]
        self._known = jobs
        exchange["means"] = self._means(self._submit, reply, job_id, State.PENDING, 0)
        return exchange

    def _completed(self) -> None:
        """A job completes; every operation is asked for."""
        job_id = self._start()
        words = self.dialect.words[State.PENDING]
        for number in range(len(words)):
            at = 5 * round((number + 0.5) / len(words) * SECONDS / 5)
            self._poll(at, job_id, State.PENDING)
        for operation in self._all("result", "view", "download"):
            self._ask(at, operation, job_id, State.PENDING)
        self._poll(SECONDS, job_id, State.COMPLETED)
        for operation in self._all("view", "download"):
            self._ask(SECONDS, operation, job_id, State.COMPLETED)
        self._several(SECONDS, job_id, State.COMPLETED)
        for operation in self._all("cancel"):
            self._ask(SECONDS, operation, job_id, State.COMPLETED)
            self._poll(SECONDS, job_id, State.COMPLETED)
        for operation in self._all("delete"):
            self._ask(SECONDS, operation, job_id, State.COMPLETED)
            request = self._recorder.server.request(
                self.dialect.poll, self._chosen(self.dialect.poll), self._values, job_id=job_id
            )
            self._refusal(404, "poll", request, at=SECONDS, job_id=job_id)

    def _failed(self) -> None:
        """A job fails: when it is finished, or by chance if its id does not fit into the path of the sandbox."""
        by_chance = "/" in self.dialect.id
        job_id = self._start([["PATCH", "/sandbox", {"error_probability": 1}]] if by_chance else ())
        finish = {"do": "finish", "outcome": "error", **self._error}
        at = SECONDS if by_chance else FAILED_AT
        self._poll(at, job_id, State.ERROR, () if by_chance else [["POST", f"/sandbox/jobs/{job_id}", finish]])
        for operation in self._all("view", "download"):
            self._ask(at, operation, job_id, State.ERROR)
        self._several(at, job_id, State.ERROR)

    def _cancelled(self) -> None:
        """A job is cancelled, twice; without an operation for it, by the server's own API."""
        job_id, operations = self._start(), [*self._all("cancel")]
        for operation in operations:
            self._ask(FAILED_AT, operation, job_id, State.CANCELLED)
        before = [] if operations else [["DELETE", f"/jobs/{job_id}", None]]
        self._poll(FAILED_AT, job_id, State.CANCELLED, before)
        for operation in operations:
            self._ask(FAILED_AT + 10, operation, job_id, State.CANCELLED)
            self._poll(FAILED_AT + 10, job_id, State.CANCELLED)
        for operation in self._all("result"):
            self._ask(FAILED_AT + 10, operation, job_id, State.CANCELLED)
        self._several(FAILED_AT, job_id, State.CANCELLED)

    def _refused(self) -> None:
        """Requests are refused: for a wrong key, an unknown job, missing fields, and too many requests."""
        poll = self.dialect.poll
        unknown = self._unknown
        [pattern, *_] = poll.requests
        request = self._recorder.server.request(poll, pattern, self._values, job_id=unknown, key="wrong")
        self._refusal(401, "poll", request)
        request = self._recorder.server.request(poll, pattern, self._values, job_id=unknown)
        self._refusal(404, "poll", request)
        if self.dialect.required:
            [pattern, *_] = [one for one in self._submit.requests if set(one.parameters) <= self._values.keys()]
            body: dict[str, Any] = {"json": {}} if "json" in self._submit.accepts else {"form": [], "files": {}}
            self._refusal(422, "submit", self._recorder.server.request(self._submit, pattern, self._values, **body))
        rule = {"kind": "status", "code": 429, "route": ["poll"]}
        self._refusal(429, "poll", request, [["PATCH", "/sandbox", {"faults": [rule]}]])

    def _others(self) -> None:
        """Jobs are submitted in all other ways."""
        self._known, self._submitted = (), 0
        for pattern in self._submit.requests:
            self._submission(pattern, self._given)
        for given in self._given.get("more", ()):
            patterns = [one for one in self._submit.requests if str(one) == given.get("request")]
            self._submission([*patterns, *self._submit.requests][0], given)

    def _poll(self, at: float, job_id: str, state: State, before: Sequence[object] = ()) -> None:
        """Polls a job in all ways, and asks for its result."""
        for number, pattern in enumerate(self.dialect.poll.requests):
            self._ask_by(pattern, at, self.dialect.poll, job_id, state, () if number else before)
        if state in RESULTS:
            polled = self._recorder.stories[-1]["exchanges"][-1]["means"]
            for operation in self._all("result"):
                self._ask(at, operation, job_id, state)
                means = self._recorder.stories[-1]["exchanges"][-1]["means"]
                stored = {name: polled[name] for name in ("elapsed", "error", "error_code") if name in polled}
                means |= {name: value for name, value in stored.items() if name not in means}

    def _ask(self, at: float, operation: Operation, job_id: str, state: State) -> None:
        for pattern in operation.requests:
            self._ask_by(pattern, at, operation, job_id, state)

    def _ask_by(  # noqa: PLR0913, PLR0917 - all that is in an exchange
        self,
        pattern: RequestPattern,
        at: float,
        operation: Operation,
        job_id: str,
        state: State,
        before: Sequence[object] = (),
    ) -> None:
        request = self._recorder.server.request(operation, pattern, self._values, job_id=job_id)
        unsent = {} if pattern is self._chosen(operation) else {"unsent": True}
        exchange = self._recorder.add(at, operation.action, request, before, job_id=job_id, **unsent)
        reply = exchange["reply"]
        if operation.action in {"poll", "cancel"} or (operation.action == "result" and state in RESULTS):
            exchange["means"] = self._means(operation, reply, job_id, state, at)

    def _several(self, at: float, job_id: str, state: State) -> None:
        """Asks for several jobs."""
        for operation in self._all("list", "batch_poll"):
            for pattern in operation.requests:
                query = {operation.ids: f"{job_id},{UNKNOWN}"} if operation.ids else {}
                body: dict[str, Any] = {"json": {}} if pattern.method == "POST" else {}
                request = self._recorder.server.request(operation, pattern, self._values, query=query, **body)
                ids = {"ids": [job_id, UNKNOWN]} if operation.ids else {}
                exchange = self._recorder.add(at, operation.action, request, **ids)
                shown = operation.each or self.dialect.poll
                document = value_at(exchange["reply"]["json"], paths(operation.answer.body)["jobs"])
                item = document[0] if isinstance(document, list) else exchange["reply"]["json"][0]
                for key in reversed((operation.item or "").split(".") if operation.item else ()):
                    item = {key: item}
                exchange["means"] = {"jobs": [self._means(shown, {"json": item}, job_id, state, at)]}

    def _refusal(  # noqa: PLR0913 - all that is in an exchange
        self,
        code: int,
        operation: str,
        request: Mapping[str, Any],
        before: Sequence[object] = (),
        *,
        at: float = 0,
        job_id: str | None = None,
    ) -> None:
        """Sends a request that the server refuses; ``code`` is its own code for this."""
        about = {"job_id": job_id or self._unknown} if operation == "poll" else {}
        exchange = self._recorder.add(at, operation, request, before, **about)
        exchange["means"] = self._raised(code, exchange["reply"])

    def _raised(self, code: int, reply: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the exception that a client raises, with the values at the places of the API's errors."""
        form, document = self.dialect.api.error, reply["json"]
        own = form.when.get(code) if form else None
        is_clear = own is not None and form is not None and own.body != form.answer.body
        raised, places = RAISED.get(code if is_clear else reply["code"], "InvalidRequest"), {"detail": "detail"}
        if form:
            places = paths(form.answer.body) | paths(form.when.get(code, form.answer).body)
        values = {name: value_at(document, place.replace("[", ".").replace("]", "")) for name, place in places.items()}
        said = {"raises": raised, "says": values.get("reason", values.get("detail"))}
        return said | ({} if raised == "TransportError" else {"code": values.get("error_type")})

    def _means(
        self, operation: Operation, reply: Mapping[str, Any], job_id: str, state: State, at: float
    ) -> dict[str, Any]:
        """Returns the status that a client reads from an answer. It has only what the template shows."""
        dialect, document = self.dialect, reply.get("json")
        at = min(at, FAILED_AT) if state is State.CANCELLED else at
        words = dialect.words[State.PENDING]
        word = words[int(at / SECONDS * len(words))] if state is State.PENDING else dialect.words[state][0]
        answer = operation.answer_for(state, word)
        known, failed = names(answer.body), state is State.ERROR
        error = {"code": dialect.defaults.get("error_code"), **self._error} if failed else {}
        place = paths(answer.body).get("output") if state is State.COMPLETED else None
        progress = 1.0 if state in {State.COMPLETED, State.ERROR} else at / SECONDS
        hinted = state is State.PENDING and dialect.api.hints != {} and operation.action in {"submit", "poll"}
        means = {
            "id": job_id,
            "state": state.value,
            "progress": progress if "progress" in known else None,
            "elapsed": float(at) if "elapsed_time" in known else None,
            "error": error.get("message") if "error_message" in known else None,
            "error_code": error.get("code") and str(error["code"]) if "error_code" in known else None,
            "output": None if place is None else value_at(document, place) if place else document,
            "hint": SECONDS - at if hinted else None,
        }
        return {name: value for name, value in means.items() if value is not None}


def _form(fields: Mapping[str, Any]) -> list[list[str]]:
    pairs = [(name, one) for name, value in fields.items() for one in (value if isinstance(value, list) else [value])]
    return [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in pairs]


def record(api: str) -> str:
    """Returns the transcript of an API as text."""
    submissions = tomllib.loads(SUBMISSIONS.read_text(encoding="utf-8"))
    with GoldenServer(api).running() as server:
        recorder = Recorder(api, server, submissions[api])
        stories = recorder.record()
    document = {"api": api, "mount": server.dialects[0].api.mount, "stories": stories}
    return pretty(document) + "\n"


def main() -> None:
    """Records all transcripts, or those of the APIs that the command line names."""
    FOLDER.mkdir(exist_ok=True)
    for api in sys.argv[1:] or shipped():
        (FOLDER / f"{api}.json").write_text(record(api), encoding="utf-8")
    for path in FOLDER.glob("*.json"):
        if path.stem not in shipped():
            path.unlink()


if __name__ == "__main__":
    main()
