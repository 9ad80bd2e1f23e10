"""Two sandboxes on one server do not influence each other: each user gets the same answers as alone on a server."""

import itertools

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from translation_server import TranslationServer

USERS = ["ann", "bob"]
DELAYS = st.builds(
    lambda least, more: {"kind": "uniform", "min": least, "max": least + more}, *[st.integers(0, 50)] * 2
)
FAULTS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.just("status"),
            "code": st.sampled_from([404, 429, 500]),
            "probability": st.sampled_from([0.3, 0.7]),
        },
        optional={"route": st.just(["poll"]), "times": st.integers(1, 3), "after": st.integers(0, 60)},
    ),
    max_size=3,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "delay": DELAYS,
        "error_probability": st.sampled_from([0, 0.5, 1]),
        "paused": st.booleans(),
        "seed": st.sampled_from(["s", "t"]),
        "scenario": st.sampled_from(["perfect", "liar"]),
        "faults": FAULTS,
    },
)
numbers = itertools.count()

COMPARED = {
    "job",
    "status",
    "progress",
    "elapsed_time",
    "error_message",
    "error_code",
    "output",
    "fired",
    "scenario",
    "seed",
    "paused",
    "faults",
    "user",
    "jobs",
    "unknown",
}


class User:
    """A user and all answers that they got. Job ids are replaced by the jobs' numbers, to be comparable."""

    def __init__(self, url, name):
        self.http = httpx.Client(base_url=url, auth=(name, "x"), timeout=60)
        self.jobs = []
        self.trace = []
        self.do("PATCH", "/sandbox", {"seed": "s", "delay": {"kind": "uniform", "min": 0, "max": 100}})
        self.do("POST", "/sandbox/clock", {"frozen": True})

    def do(self, method, path, content=None, job=None):
        if job is not None:
            path = path.format(self.jobs[job % len(self.jobs)] if self.jobs else "none")
        answer = self.http.request(method, path, json=content)
        body = answer.json()
        if method == "POST" and path == "/start" and answer.status_code == 202:
            self.jobs.append(body["job_id"])
        self.trace.append([method, answer.status_code, self._comparable(body)])

    def _comparable(self, body):
        match body:
            case dict():
                fields = {name: self._comparable(body[name]) for name in body.keys() & COMPARED}
                return fields | ({"job": self.jobs.index(body["job_id"])} if body.get("job_id") in self.jobs else {})
            case list():
                return [self._comparable(item) for item in body]
        return body


FATES = st.one_of(
    st.none(),
    st.fixed_dictionaries({"delay": st.integers(0, 50)}),
    st.fixed_dictionaries({"after_polls": st.integers(1, 3)}),
)


class TwoSandboxes(RuleBasedStateMachine):
    """Both users send requests; at the end each sends the same requests again, alone on a server."""

    @initialize()
    def begin(self):
        self.names = {user: f"{user}-{next(numbers)}" for user in USERS}
        self.users = {user: User(SHARED.url, name) for user, name in self.names.items()}
        self.requests = {user: [] for user in USERS}

    def do(self, user, *request):
        self.requests[user].append(request)
        self.users[user].do(*request)

    @rule(user=st.sampled_from(USERS), simulate=FATES)
    def submit(self, user, simulate):
        self.do(user, "POST", "/start", {"simulate": simulate})

    @rule(user=st.sampled_from(USERS), job=st.integers(0, 9))
    def poll(self, user, job):
        self.do(user, "GET", "/status/{}", None, job)

    @rule(user=st.sampled_from(USERS))
    def list(self, user):
        self.do(user, "GET", "/jobs")

    @rule(user=st.sampled_from(USERS), job=st.integers(0, 9))
    def cancel(self, user, job):
        self.do(user, "DELETE", "/jobs/{}", None, job)

    @rule(user=st.sampled_from(USERS), job=st.integers(0, 9), do=st.sampled_from(["pause", "unpause", "finish"]))
    def act(self, user, job, do):
        self.do(user, "POST", "/sandbox/jobs/{}", {"do": do}, job)

    @rule(user=st.sampled_from(USERS), settings=SETTINGS)
    def set(self, user, settings):
        self.do(user, "PATCH", "/sandbox", settings)

    @rule(user=st.sampled_from(USERS), seconds=st.integers(0, 60))
    def advance(self, user, seconds):
        self.do(user, "POST", "/sandbox/clock", {"advance": seconds})

    @rule(user=st.sampled_from(USERS))
    def reset(self, user):
        self.do(user, "POST", "/sandbox/reset")
        self.do(user, "PATCH", "/sandbox", {"seed": "s"})  # without a seed, answers would differ
        self.do(user, "POST", "/sandbox/clock", {"frozen": True})

    def teardown(self):
        for user, name in getattr(self, "names", {}).items():
            alone = User(ALONE.url, name)
            for request in self.requests[user]:
                alone.do(*request)
            assert alone.trace == self.users[user].trace
            alone.http.close()
            self.users[user].http.close()


SHARED, ALONE = TranslationServer(1000, 0), TranslationServer(1000, 0)
TwoSandboxes.TestCase.settings = settings(
    max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestTwoSandboxes(TwoSandboxes.TestCase):
    """The state machine, with both servers running."""

    @classmethod
    def setUpClass(cls):
        for server in (SHARED, ALONE):
            server.__enter__()

    @classmethod
    def tearDownClass(cls):
        for server in (SHARED, ALONE):
            server.__exit__()
