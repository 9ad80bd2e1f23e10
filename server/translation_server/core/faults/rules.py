"""Fault rules: faults, and the conditions for them.

Whether a rule fires is drawn from the sandbox's seed, for each job and each request about it. So the same seed gives
the same faults, even if the requests are served in another order or by another process. The first rule that fires
decides; latencies add up before it. A rule fires only for requests to which its kind is applicable (`APPLICABILITY`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple, get_args

from annotated_types import Interval, Len

from translation_server.core.delays import Delays, Exponential
from translation_server.core.entropy import uniform
from translation_server.core.job import State

Action = Literal["submit", "poll", "batch_poll", "list", "cancel", "events", "result", "download", "webhook"]
"""The action of a request; ``batch_poll`` is a poll of many jobs, ``webhook`` an attempt to deliver an event."""

ACTIONS: tuple[Action, ...] = get_args(Action)
WEBHOOKS: tuple[Action, ...] = ("webhook",)
REQUESTS: tuple[Action, ...] = tuple(action for action in ACTIONS if action not in WEBHOOKS)
"""The actions of requests to this server."""

MOST_RULES = 100
LONGEST = 3600.0  # how long a fault may take, in seconds
BODILESS = frozenset({204, 205, 304})  # the status codes of answers without a body
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?")
FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
"""The headers that say where an answer ends; only the server sets them."""

Forgery = Literal["bad-signature", "no-signature", "old-timestamp", "other-job", "changed-body"]
"""What is wrong with a forged delivery; see `Forged`."""

Count = Annotated[int, Interval(ge=1, le=10**9)]
Rate = Annotated[float, Interval(ge=1e-3, le=1e6)]
Since = Annotated[float, Interval(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """The requests that a rule is for.

    ``nth`` counts the requests of the same route about the same job, from 1 since the rules were set; of webhooks, the
    attempts of each delivery. ``after`` and ``until`` are in seconds since then, on the sandbox's clock.
    """

    targets: ClassVar[tuple[Action, ...]] = REQUESTS  # the actions that the rule is for if it names none
    possible: ClassVar[tuple[Action, ...]] = REQUESTS  # the actions that it may name

    route: tuple[Action, ...] = ()  # their actions; empty for `targets`
    dialect: Annotated[str, Len(1, 100)] | None = None  # their wire format; None for any
    method: Literal["GET", "HEAD", "POST", "DELETE"] | None = None  # None for any
    nth: Annotated[tuple[Count, ...], Len(0, 1000)] = ()
    probability: Annotated[float, Interval(ge=0, le=1)] = 1.0  # how likely the rule fires for a matching request
    after: Since = 0.0
    until: Since | None = None
    times: Count | None = None  # how often the rule may fire in all

    def __post_init__(self) -> None:
        """Raises ValueError if the rule names a webhook that it cannot affect, or anything else that only they have."""
        if "webhook" in self.route and "webhook" not in self.possible:
            raise ValueError("a rule of this kind cannot affect the route webhook")
        if self.targets == WEBHOOKS and not set(self.route).issubset(WEBHOOKS):
            raise ValueError("a rule of this kind can only affect the route webhook")

    def matches(self, request: "FaultContext", fired: int) -> bool:
        """Whether the rule, which has fired ``fired`` times, matches a request."""
        return (
            request.action in (self.route or self.targets)
            and (self.dialect is None or self.dialect in request.dialects)
            and self.method in {None, request.method}
            and (not self.nth or request.nth in self.nth)
            and self.after <= request.seconds
            and (self.until is None or request.seconds < self.until)
            and (self.times is None or fired < self.times)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Matcher):
    """The answer has this status code; the request is not served."""

    code: Annotated[int, Interval(ge=200, le=599)]
    body: Annotated[str, Len(0, 65536)] | None = None
    headers: Annotated[Mapping[str, str], Len(0, 50)] = field(default_factory=dict)
    retry_after: Annotated[int, Interval(ge=0, le=10**9)] | None = None
    kind: Literal["status"] = "status"

    def __post_init__(self) -> None:
        """Raises ValueError if the headers or the body cannot be sent."""
        Matcher.__post_init__(self)
        if self.body is not None and self.code in BODILESS:
            raise ValueError(f"an answer with the status {self.code} has no body")
        for name, value in self.headers.items():
            if not HEADER.fullmatch(name) or not VALUE.fullmatch(value) or name.lower() in FRAMING:
                raise ValueError(f"the header {name!r} cannot be sent with this value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Matcher):
    """The answer, or the delivery of a webhook, comes later; other rules may fire as well."""

    possible: ClassVar[tuple[Action, ...]] = ACTIONS
    delay: Delays = field(default_factory=lambda: Exponential(1.0), metadata={"discriminator": "kind"})
    kind: Literal["latency"] = "latency"

    def seconds(self, entropy: bytes) -> float:
        """Draws a delay of at most an hour from 16 random bytes."""
        return min(LONGEST, self.delay.quantile(uniform(entropy[8:])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Matcher):
    """The request is served, but the connection is reset, or closed, or the answer has a malformed chunk."""

    kind: Literal["reset", "empty", "malformed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Matcher):
    """The request is served, but the connection is closed after this share of the body; or the delivery is cut off."""

    possible: ClassVar[tuple[Action, ...]] = ACTIONS
    keep: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    kind: Literal["truncate"] = "truncate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Matcher):
    """The request is served, but the answer is this many random bytes."""

    size: Annotated[int, Interval(ge=1, le=65536)] = 64
    kind: Literal["garbage"] = "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip(Matcher):
    """The answer comes at this many bytes a second."""

    rate: Rate = 20.0
    kind: Literal["drip"] = "drip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Matcher):
    """The request is served, but nothing is sent for this many seconds; then the connection is closed."""

    seconds: Annotated[float, Interval(ge=1e-3, le=LONGEST)] = 300.0
    kind: Literal["hang"] = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownStatus(Matcher):
    """The answer has a status word that no client knows."""

    word: Annotated[str, Len(1, 100)] = "archiving"
    kind: Literal["unknown-status"] = "unknown-status"


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAnswer(Matcher):
    """The answer is not true.

    ``back-to-pending``: an ended job is pending again. ``no-details``: an ended job has only its id and its status.
    ``not-found``: there is no such job. ``unauthorized``: the credentials are wrong. ``expired``: the file's URL has
    expired.
    """

    kind: Literal["back-to-pending", "no-details", "not-found", "unauthorized", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongType(Matcher):
    """The answer, or the delivery, has another Content-Type."""

    possible: ClassVar[tuple[Action, ...]] = ACTIONS
    content_type: Annotated[str, Len(1, 200)] = "text/html"
    kind: Literal["wrong-type"] = "wrong-type"

    def __post_init__(self) -> None:
        """Raises ValueError if the content type cannot be sent."""
        Matcher.__post_init__(self)
        if not VALUE.fullmatch(self.content_type):
            raise ValueError(f"the content type {self.content_type!r} cannot be sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeRetryAfter(Matcher):
    """The answer about a pending job has this Retry-After, in seconds."""

    seconds: Annotated[int, Interval(ge=1, le=10**9)] = 86_400
    kind: Literal["huge-retry-after"] = "huge-retry-after"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMatcher(Matcher):
    """The deliveries of webhooks that a rule is for."""

    targets: ClassVar[tuple[Action, ...]] = WEBHOOKS
    possible: ClassVar[tuple[Action, ...]] = WEBHOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(WebhookMatcher):
    """The attempt never reaches the receiver. It counts as failed, so the next one follows as usual."""

    kind: Literal["lost"] = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled(WebhookMatcher):
    """The delivery is made this many times: at once, or every ``delay`` seconds on the sandbox's clock."""

    copies: Annotated[int, Interval(ge=2, le=20)] = 2
    delay: Annotated[float, Interval(ge=0, le=LONGEST)] = 0.0
    kind: Literal["doubled"] = "doubled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged(WebhookMatcher):
    """A forged delivery comes before the true one.

    ``bad-signature``: signed with another secret. ``no-signature``: not signed. ``old-timestamp``: signed an hour ago.
    ``other-job``: about another job, with the signature of the true one. ``changed-body``: with another outcome, and
    the signature of the true one.
    """

    kind: Forgery


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale(WebhookMatcher):
    """After the delivery of an end, another one shows the job as it was before: pending, with progress 0.5."""

    kind: Literal["stale"] = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeBody(WebhookMatcher):
    """The body of the delivery has this many bytes: spaces follow the JSON."""

    size: Annotated[int, Interval(ge=1, le=2**24)] = 2**20
    kind: Literal["huge-body"] = "huge-body"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfOrder(WebhookMatcher):
    """The delivery of an event before the job's end comes after that of the end."""

    kind: Literal["out-of-order"] = "out-of-order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst(WebhookMatcher):
    """Deliveries come together, every so many seconds on the sandbox's clock."""

    seconds: Annotated[float, Interval(ge=0.1, le=LONGEST)] = 10.0
    kind: Literal["burst"] = "burst"


FaultRule = (
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
    | Lost
    | Doubled
    | Forged
    | Stale
    | HugeBody
    | OutOfOrder
    | Burst
)

KINDS: tuple[str, ...] = tuple(
    kind for rule in get_args(FaultRule) for kind in get_args(rule.__dataclass_fields__["kind"].type)
)
"""The kinds of all rules."""

FORGED: tuple[Forgery, ...] = get_args(Forgery)


class Applicability(NamedTuple):
    """The requests to which a kind of rule is applicable."""

    routes: tuple[Action, ...] = REQUESTS  # their actions
    states: AbstractSet[State] | None = None  # the states that a job of the answer must have; None for any answer
    body: bool = False  # whether the answer must have a body. The answer to a HEAD request has none


SNAPSHOT_ROUTES: tuple[Action, ...] = (
    "poll",
    "batch_poll",
    "list",
    "cancel",
    "result",
)  # the routes whose answers show jobs
PENDING = frozenset({State.PENDING})
EVERY = frozenset(State)

APPLICABILITY: Mapping[str, Applicability] = MappingProxyType(
    {
        **dict.fromkeys(("status", "reset", "empty", "garbage", "hang"), Applicability()),
        **dict.fromkeys(("not-found", "unauthorized"), Applicability()),
        "latency": Applicability(ACTIONS),
        **dict.fromkeys(("truncate", "wrong-type"), Applicability(ACTIONS, body=True)),
        **dict.fromkeys(("malformed", "drip"), Applicability(body=True)),
        "unknown-status": Applicability(SNAPSHOT_ROUTES, EVERY, body=True),
        **dict.fromkeys(("back-to-pending", "no-details"), Applicability(SNAPSHOT_ROUTES, EVERY - PENDING, body=True)),
        "expired": Applicability(("download",)),
        "huge-retry-after": Applicability(("submit", "poll", "batch_poll"), PENDING),
        "stale": Applicability(WEBHOOKS, EVERY - PENDING),
        "out-of-order": Applicability(WEBHOOKS, PENDING),
        **dict.fromkeys(("lost", "doubled", *FORGED, "huge-body", "burst"), Applicability(WEBHOOKS)),
    }
)
"""The applicability of each kind."""

REQUEST_KINDS = tuple(kind for kind in KINDS if APPLICABILITY[kind].routes != WEBHOOKS)
"""The kinds of rules that may fire for requests to this server."""


class FaultContext(NamedTuple):
    """The properties of a request that decide which rules match it."""

    action: Action  # the action of the request
    dialects: AbstractSet[str]  # the wire formats that it may be in
    method: str  # its HTTP method
    long_poll: bool = False  # whether the server may hold it until its job changes
    nth: int = 1  # its number among the requests of its route about the same job
    seconds: float = 0.0  # when it came, in seconds since the rules were set, on the sandbox's clock
    states: AbstractSet[State] = EVERY  # the states that a job of its answer may have
    excluded: AbstractSet[str] = frozenset()  # the kinds that cannot affect this delivery of a webhook

    def is_applicable(self, kind: str) -> bool:
        """Whether a kind is applicable to the request."""
        routes, states, body = APPLICABILITY[kind]
        return (
            self.action in routes
            and kind not in self.excluded
            and (states is None or not states.isdisjoint(self.states))
            and not (body and self.method == "HEAD")
        )


def counted_as(action: Action, ordinal: int) -> str:
    """Returns the name under which requests about an owner's n-th job are counted; 0 is for those about no job."""
    return f"{action} {ordinal}"


class Firing(NamedTuple):
    """A rule that fires, and 16 random bytes for its draws. A firing without a number is not counted."""

    number: int | None
    rule: FaultRule
    entropy: bytes


def decide(
    rules: Sequence[FaultRule], request: FaultContext, fired: Sequence[int], entropy: Callable[[int], bytes]
) -> list[Firing]:
    """Returns the rules that fire for a request: any latencies, then at most one other.

    ``fired`` is how often each rule has fired; ``entropy`` returns 16 random bytes for the number of a rule.
    """
    firings = []
    for number, (rule, count) in enumerate(zip(rules, fired, strict=True)):
        matches = rule.matches(request, count) and request.is_applicable(rule.kind)
        if matches and uniform((drawn := entropy(number))[:8]) < rule.probability:
            firings.append(Firing(number, rule, drawn))
            if rule.kind != "latency":
                break
    return firings
