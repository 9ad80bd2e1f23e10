"""What goes wrong for which request.

A plan is a list of rules. Whether a rule fires is drawn from the sandbox's seed, for each job and each of its requests,
so the same seed gives the same faults, in whatever order and by whichever process the requests are served. The first
rule that fires is what happens; a latency adds to what follows it. A rule whose kind can do nothing to a request, as
`APPLICABILITY` has it, does not fire for it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, get_args

from annotated_types import Interval, Len

from translation_server.core.delays import Delays, Exponential
from translation_server.core.entropy import uniform
from translation_server.core.job import State

Action = Literal["submit", "poll", "batch_poll", "list", "cancel", "events"]
"""What a request asks for; ``bulk`` is a look at many jobs."""

ACTIONS: tuple[Action, ...] = get_args(Action)

MOST_RULES = 100

LONGEST = 3600.0
"""Seconds that a fault may take."""

BODILESS = frozenset({204, 205, 304})
"""The statuses of answers without a body."""

HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?")
FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
"""The headers that say where an answer ends, which only the server can."""

Count = Annotated[int, Interval(ge=1, le=10**9)]
Rate = Annotated[float, Interval(ge=1e-3, le=1e6)]
Since = Annotated[float, Interval(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """Which requests a rule is for.

    Attributes:
        route: What they ask for; anything, unless told.
        dialect: In which wire format.
        method: By which method.
        nth: Which of the requests of their route for the same job, counted from 1 since the rules came into force.
        probability: How likely the rule fires for one that fits.
        after: Seconds on the sandbox's clock, since the rules came into force, from which on it may fire.
        until: The seconds from which on it no longer may.
        times: How often it may fire in all.
    """

    route: tuple[Action, ...] = ()
    dialect: Annotated[str, Len(1, 100)] | None = None
    method: Literal["GET", "HEAD", "POST", "DELETE"] | None = None
    nth: Annotated[tuple[Count, ...], Len(0, 1000)] = ()
    probability: Annotated[float, Interval(ge=0, le=1)] = 1.0
    after: Since = 0.0
    until: Since | None = None
    times: Count | None = None

    def matches(self, request: "FaultContext", fired: int) -> bool:
        """Whether the rule, which has fired so often, is for a request."""
        return (
            request.action in (self.route or ACTIONS)
            and (self.dialect is None or self.dialect in request.dialects)
            and self.method in {None, request.method}
            and (not self.nth or request.nth in self.nth)
            and self.after <= request.seconds
            and (self.until is None or request.seconds < self.until)
            and (self.times is None or fired < self.times)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Matcher):
    """The answer is an HTTP error, or any other status; nothing is done."""

    code: Annotated[int, Interval(ge=200, le=599)]
    body: Annotated[str, Len(0, 65536)] | None = None
    headers: Annotated[Mapping[str, str], Len(0, 50)] = field(default_factory=dict)
    retry_after: Annotated[int, Interval(ge=0, le=10**9)] | None = None
    kind: Literal["status"] = "status"

    def __post_init__(self) -> None:
        """Refuses headers, and a body, that cannot be sent.

        Raises:
            ValueError: there is such a one.
        """
        if self.body is not None and self.code in BODILESS:
            raise ValueError(f"an answer with the status {self.code} has no body")
        for name, value in self.headers.items():
            if not HEADER.fullmatch(name) or not VALUE.fullmatch(value) or name.lower() in FRAMING:
                raise ValueError(f"the header {name!r} cannot be sent with this value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Matcher):
    """The answer comes later; what else goes wrong goes wrong then."""

    delay: Delays = field(default_factory=lambda: Exponential(1.0), metadata={"discriminator": "kind"})
    kind: Literal["latency"] = "latency"

    def seconds(self, entropy: bytes) -> float:
        """Draws from 16 random bytes how much later: an hour at most."""
        return min(LONGEST, self.delay.quantile(uniform(entropy[8:])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Matcher):
    """The request is served, and instead of its answer comes a connection reset, or its end; or a malformed chunk."""

    kind: Literal["reset", "empty", "malformed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Matcher):
    """The request is served, and the connection ends after this part of the answer's body."""

    keep: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    kind: Literal["truncate"] = "truncate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Matcher):
    """The request is served, and instead of its answer come so many bytes that are none."""

    size: Annotated[int, Interval(ge=1, le=65536)] = 64
    kind: Literal["garbage"] = "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip(Matcher):
    """The answer comes at so many bytes a second."""

    rate: Rate = 20.0
    kind: Literal["drip"] = "drip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Matcher):
    """The request is served, and nothing comes for so many seconds; then the connection ends."""

    seconds: Annotated[float, Interval(ge=1e-3, le=LONGEST)] = 300.0
    kind: Literal["hang"] = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownStatus(Matcher):
    """A look tells a status that no one has heard of."""

    word: Annotated[str, Len(1, 100)] = "archiving"
    kind: Literal["unknown-status"] = "unknown-status"


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAnswer(Matcher):
    """A look tells what is not so.

    ``back-to-pending``: an ended job is pending again. ``bare``: an ended job has nothing but its id and its status.
    ``forgotten``: there is no such job. ``unauthorized``: the credentials are wrong.
    """

    kind: Literal["back-to-pending", "bare", "forgotten", "unauthorized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongType(Matcher):
    """The answer says that it is of another content type."""

    content_type: Annotated[str, Len(1, 200)] = "text/html"
    kind: Literal["wrong-type"] = "wrong-type"

    def __post_init__(self) -> None:
        """Refuses a content type that cannot be sent.

        Raises:
            ValueError: it is one.
        """
        if not VALUE.fullmatch(self.content_type):
            raise ValueError(f"the content type {self.content_type!r} cannot be sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeRetryAfter(Matcher):
    """A pending answer says to come back in so many seconds."""

    seconds: Annotated[int, Interval(ge=1, le=10**9)] = 86_400
    kind: Literal["huge-retry-after"] = "huge-retry-after"


Rule = (
    Status
    | Latency
    | Break
    | Truncate
    | Garbage
    | Drip
    | Hang
    | UnknownStatus
    | FalseAnswer
    | WrongType
    | HugeRetryAfter
)

KINDS: tuple[str, ...] = tuple(
    kind for rule in get_args(Rule) for kind in get_args(rule.__dataclass_fields__["kind"].type)
)
"""Everything that can go wrong."""


class Applicability(NamedTuple):
    """What a kind can strike.

    Attributes:
        routes: What is asked for.
        states: In which of them a job must be that the answer tells of; none need be, unless told.
        body: Whether the answer must have a body; those to HEAD have none.
    """

    routes: tuple[Action, ...] = ACTIONS
    states: AbstractSet[State] | None = None
    body: bool = False


SNAPSHOT_ROUTES: tuple[Action, ...] = ("poll", "batch_poll", "list", "cancel")
"""What is answered with how jobs stand."""

PENDING = frozenset({State.PENDING})
EVERY = frozenset(State)

APPLICABILITY: Mapping[str, Applicability] = MappingProxyType(
    {
        **dict.fromkeys(("status", "latency", "reset", "empty", "garbage", "hang"), Applicability()),
        **dict.fromkeys(("forgotten", "unauthorized"), Applicability()),
        **dict.fromkeys(("malformed", "truncate", "drip", "wrong-type"), Applicability(body=True)),
        "unknown-status": Applicability(SNAPSHOT_ROUTES, EVERY, body=True),
        **dict.fromkeys(("back-to-pending", "bare"), Applicability(SNAPSHOT_ROUTES, EVERY - PENDING, body=True)),
        "huge-retry-after": Applicability(("submit", "poll", "batch_poll"), PENDING),
    }
)
"""What each kind can strike."""


class FaultContext(NamedTuple):
    """A request, as far as rules go by it.

    Attributes:
        action: What it asks for.
        dialects: The wire formats that it may be in.
        method: How it was sent.
        long_poll: Whether the server may hold it until its job is in another state.
        nth: Which it is of its route and job.
        seconds: When it came, on the sandbox's clock, since the rules came into force.
        states: In which a job may be that its answer tells of.
    """

    action: Action
    dialects: AbstractSet[str]
    method: str
    long_poll: bool = False
    nth: int = 1
    seconds: float = 0.0
    states: AbstractSet[State] = EVERY

    def is_applicable(self, kind: str) -> bool:
        """Whether there is something that a kind can strike."""
        routes, states, body = APPLICABILITY[kind]
        return (
            self.action in routes
            and (states is None or not states.isdisjoint(self.states))
            and not (body and self.method == "HEAD")
        )


def counted_as(action: Action, ordinal: int) -> str:
    """Under which name requests of a kind that are about an owner's n-th job are counted; 0 is for those about none."""
    return f"{action} {ordinal}"


class Firing(NamedTuple):
    """A rule that fires, and the 16 random bytes for what it draws; one without a number is not counted."""

    number: int | None
    rule: Rule
    entropy: bytes


def decide(
    rules: Sequence[Rule], request: FaultContext, fired: Sequence[int], entropy: Callable[[int], bytes]
) -> list[Firing]:
    """The rules that fire for a request: any latencies, and at most one other, which is the last.

    Args:
        rules: The plan.
        request: What was asked.
        fired: How often each rule has fired.
        entropy: Gives the 16 random bytes of each rule, by its number, for this request.
    """
    firings = []
    for number, (rule, count) in enumerate(zip(rules, fired, strict=True)):
        matches = rule.matches(request, count) and request.is_applicable(rule.kind)
        if matches and uniform((drawn := entropy(number))[:8]) < rule.probability:
            firings.append(Firing(number, rule, drawn))
            if rule.kind != "latency":
                break
    return firings
