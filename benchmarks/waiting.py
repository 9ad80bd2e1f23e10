"""How well plans wait: requests per job against lateness, simulated with a clock of its own.

    python benchmarks/waiting.py           the tables; exit status 1 if a target is missed
    python benchmarks/waiting.py --json    the same for programs
    python benchmarks/waiting.py --write   also puts the tables and the plot into docs/

Three kinds of jobs, 20,000 of each, with fixed seeds. A wait costs `WORTH` seconds for each request and one for each
second of lateness. The optimum knows the distribution of the durations; it is computed by dynamic programming.
"""

import argparse
import json
import math
import random
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count, repeat
from pathlib import Path
from statistics import mean

from translation_client import Hinted, Learned, Observation, Progressive, State, Status
from translation_client.core.estimator import History
from translation_client.core.schedule import Plan
from translation_server.core.delays import Delays, Exponential, LogNormal, Uniform
from translation_server.core.hints import phase, seconds_to_next_poll

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- waiting:begin -->", "<!-- waiting:end -->"

JOBS = 20_000
LEARNED_FROM = 20
SETS = 400  # times that a plan learns anew
WORTH = 0.25  # seconds of lateness that one request is worth: the default of both sides
ENDLESS = 1e7  # seconds
FRONTIER = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

KINDS: dict[str, tuple[Delays, float]] = {
    "uniform 10–60 s": (Uniform(10, 60), 100 / 9),
    "exponential, mean 30 s": (Exponential(30), 15.0),
    "lognormal, median 600 s, σ 0.5": (LogNormal(600, 0.5), 249.0),
}
"""The kinds of jobs, and for each the least N·L of a timer that does not know more: ½(∫√(f·S)dt)²."""

Delaying = Iterator[float]


@dataclass(frozen=True)
class Result:
    """How a plan did on a kind of jobs; of those that gave up, nothing else counts."""

    kind: str
    who: str
    ours: bool
    requests: float
    lateness: float
    cost: float
    efficiency: float
    gave_up: int


def growing(first: float, factor: float, most: float, *, spread: float = 0.0, draw: random.Random) -> Delaying:
    """A delay that grows, give or take a part of it."""
    delay = first
    while True:
        yield delay * draw.uniform(1 - spread, 1 + spread)
        delay = min(delay * factor, most)


def peers(draw: random.Random) -> dict[str, Callable[[], Delaying]]:
    """The default schedules of what others wait with: delays, from the start of a job on."""

    def jittered(factor: float, first: float, most: float) -> Delaying:
        delay = first
        while True:
            yield draw.uniform(0, delay)
            delay = min(delay * factor, most)

    def smithy() -> Delaying:
        return (draw.uniform(2, min(2.0 * 2.0 ** min(n, 10), 120)) for n in count())

    def stamina() -> Delaying:
        return (min(5.0, 0.1 * 2.0**n + draw.uniform(0, 1)) for n in range(9))

    return {
        "azure-core: 30 s": lambda: repeat(30.0),
        "google-api-core: full jitter, 1 s ×1.5 ≤ 20 s": lambda: jittered(1.5, 1, 20),
        "botocore: 15 s, 40 times": lambda: chain([0.0], repeat(15.0, 39)),
        "Smithy: random(2, 2·2ⁿ) ≤ 120 s": smithy,
        "openai: 1 s": lambda: repeat(1.0),
        "replicate: 0.5 s": lambda: repeat(0.5),
        "fal: 0.1 s": lambda: repeat(0.1),
        "HeyGen: 2 s ×2 ≤ 30 s ± 25 %": lambda: growing(2, 2, 30, spread=0.25, draw=draw),
        "doubling: 1 s ×2 ≤ 30 s": lambda: growing(1, 2, 30, draw=draw),
        "seed: 1 s ×1.5 ≤ 30 s": lambda: growing(1, 1.5, 30, draw=draw),
        "seed: 1 s ×2 ≤ 8 s": lambda: growing(1, 2, 8, draw=draw),
        "tenacity: full jitter, 1 s ×2": lambda: jittered(2, 1, ENDLESS),
        "stamina: 0.1 s ×2 ≤ 5 s, 10 times": stamina,
    }


def wait(delays: Delaying, ends_at: float) -> tuple[int, float] | None:
    """Requests and lateness of one wait; None for one that gave up."""
    now = 0.0
    for requests, delay in enumerate(delays, 1):
        now += delay
        if now >= ends_at:
            return requests, now - ends_at
    return None


def snapshots(plan: Plan, job_id: str, hint: Callable[[float], float] | None, until: float) -> list[float]:
    """When a plan looks at a job, to the first look past a moment: the schedule of the client itself."""
    schedule, now, found = plan(), 0.0, list[float]()
    next(schedule)
    status = Status(job_id, State.PENDING)
    while now < until:
        now += schedule.send(Observation(status, now, None if hint is None else hint(now), "k"))
        found.append(now)
    return found


def of_plan(times: Sequence[float], ends_at: float) -> tuple[int, float]:
    """Requests and lateness of a wait that looks at these moments."""
    at = bisect_left(times, ends_at)
    return at + 1, times[at] - ends_at


def optimum(delays: Delays, worth: float, points: int = 3000) -> tuple[float, float]:
    """Requests and lateness of the best plan that there is, looks on a grid of equal steps.

    Backwards from the last moment: best(i) = worth·S(i) + min over j > i of the lateness of ends in (i, j] + best(j).
    """
    last = min(delays.latest, delays.quantile(1 - 1e-6))
    grid = [last * point / points for point in range(points + 1)]
    ended = [*(delays.cdf(time) for time in grid[:-1]), 1.0]
    moments = [0.0]
    for begin, end, before, after in zip(grid, grid[1:], ended, ended[1:], strict=False):
        moments.append(moments[-1] + (after - before) * (begin + end) / 2)
    best, requests, lateness, choice = ([0.0] * (points + 1) for _ in range(4))
    for here in range(points - 1, -1, -1):
        pending = 1 - ended[here]
        reach = min(points, int(choice[here + 1] or points) + points // 30)
        least = math.inf
        for there in range(here + 1, reach + 1):
            late = grid[there] * (ended[there] - ended[here]) - (moments[there] - moments[here])
            if late + best[there] < least:
                least, choice[here] = late + best[there], there
                requests[here], lateness[here] = pending + requests[there], late + lateness[there]
        best[here] = worth * pending + least
    return requests[0], lateness[0]


def measure() -> tuple[list[Result], dict[str, list[tuple[float, float]]]]:
    """Everybody on every kind, and the frontier of each kind."""
    results, frontiers = list[Result](), dict[str, list[tuple[float, float]]]()
    for kind, (delays, least) in KINDS.items():
        draw = random.Random(f"jobs of {kind}")
        durations = [delays.quantile(draw.random()) for _ in range(JOBS)]
        frontiers[kind] = [optimum(delays, worth) for worth in FRONTIER]
        best_requests, best_lateness = optimum(delays, WORTH)
        best = WORTH * best_requests + best_lateness

        def add(who: str, ends: Sequence[tuple[int, float] | None], *, ours: bool) -> None:
            seen = [end for end in ends if end is not None]
            requests, late = (mean(end[n] for end in seen) if seen else math.inf for n in (0, 1))
            cost = (WORTH * requests + late) / best
            results.append(
                Result(kind, who, ours, requests, late, cost, least / (requests * late), len(ends) - len(seen))
            )

        product = best_requests * best_lateness
        results.append(Result(kind, "the optimum", False, best_requests, best_lateness, 1.0, least / product, 0))
        longest = max(durations)
        add("hints, in milliseconds", hinted(delays, durations, whole=False), ours=True)
        add("hints, in whole seconds", hinted(delays, durations, whole=True), ours=True)
        add("Hinted: our client with hints", by_plans(durations, longest, lambda n: hinting(delays, n)), ours=True)
        add(
            f"Learned, after {LEARNED_FROM} jobs", by_plans(durations, longest, lambda n: learned(delays, n)), ours=True
        )
        add("Progressive: nothing known", by_plans(durations, longest, lambda _: (Progressive(WORTH), None)), ours=True)
        for who, plan in peers(random.Random("peers")).items():
            add(who, [wait(plan(), duration) for duration in durations], ours=False)
    return results, frontiers


def hinted(delays: Delays, durations: Sequence[float], *, whole: bool) -> list[tuple[int, float] | None]:
    """A plain client that obeys the server's hints and does nothing else."""

    def delaying(of: float) -> Delaying:
        now = 0.0
        while True:
            hint = seconds_to_next_poll(delays, WORTH, now, of)
            delay = max(1, math.ceil(hint)) if whole else math.ceil(1000 * hint) / 1000
            now += delay
            yield delay

    return [wait(delaying(phase("admin", number)), duration) for number, duration in enumerate(durations, 1)]


Made = tuple[Plan, Callable[[float], float] | None]


def by_plans(durations: Sequence[float], longest: float, make: Callable[[int], Made]) -> list[tuple[int, float] | None]:
    """Jobs in as many parts as there are plans, each with a job id of its own, hence a phase of its own."""
    ends = list[tuple[int, float] | None]()
    for number in range(SETS):
        plan, hint = make(number)
        times = snapshots(plan, f"job {number}", hint, longest)
        ends += [of_plan(times, duration) for duration in durations[number::SETS]]
    return ends


def learned(delays: Delays, number: int) -> Made:
    """A plan that has seen some jobs end."""
    draw, history = random.Random(f"history {number}"), History()
    for _ in range(LEARNED_FROM):
        history.add("k", delays.quantile(draw.random()))
    return Learned(history, WORTH), None


def hinting(delays: Delays, number: int) -> Made:
    """The client's own plan on a server that gives hints."""
    of = phase("admin", number)
    return Hinted(), lambda now: seconds_to_next_poll(delays, WORTH, now, of)


def faults(results: Sequence[Result]) -> list[str]:
    """The targets that were missed."""
    missed = list[str]()
    most = {"hints, in milliseconds": 1.05, "Hinted": 1.05, "Learned": 1.10, "Progressive": 1.75}
    for result in results:
        for who, cost in most.items():
            if result.ours and result.who.startswith(who) and result.cost > cost:
                missed.append(f"{result.who} on {result.kind}: {result.cost:.3f} × the optimum's cost, over {cost}")
        if result.who.startswith("Learned") and result.efficiency < 0.8:
            missed.append(f"{result.who} on {result.kind}: an efficiency of {result.efficiency:.2f}, under 0.8")
    for ours in results:
        for peer in results:
            if (
                ours.ours
                and not peer.ours
                and peer.kind == ours.kind
                and peer.who != "the optimum"
                and peer.requests <= ours.requests
                and peer.lateness <= ours.lateness
                and not peer.gave_up
            ):
                missed.append(f"{peer.who} on {peer.kind}: better on both axes than {ours.who}")
    return missed


def tables(results: Sequence[Result]) -> str:
    """The results as tables in Markdown."""
    lines = list[str]()
    for kind in KINDS:
        lines += [f"**Jobs: {kind}**", "", "| who | requests per job | lateness, s | cost ÷ optimum | η | gave up |"]
        lines += ["|---|---|---|---|---|---|"]
        for result in results:
            if result.kind == kind:
                name = f"**{result.who}**" if result.ours else result.who
                gave_up = f"{result.gave_up / JOBS:.1%}" if result.gave_up else ""
                numbers = (result.requests, result.lateness, result.cost, result.efficiency)
                cells = [f"{number:.2f}" for number in numbers] if result.gave_up < JOBS else ["", "", "", ""]
                lines.append(f"| {' | '.join([name, *cells, gave_up])} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def plot(results: Sequence[Result], frontiers: dict[str, list[tuple[float, float]]]) -> None:
    """Requests against lateness, as a PNG and an SVG in docs/."""
    import matplotlib as mpl  # noqa: PLC0415 - only who plots needs it

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "waiting"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - likewise

    figure, places = plt.subplots(1, 3, figsize=(16, 6), layout="constrained")
    for place, kind in zip(places, KINDS, strict=True):
        place.plot(*zip(*frontiers[kind], strict=True), color="black", label="the optimum")
        for result in results:
            if result.kind == kind and result.who != "the optimum" and result.gave_up < JOBS:
                color, marker = ("tab:green", "o") if result.ours else ("tab:gray", "x")
                place.scatter(result.requests, result.lateness, color=color, marker=marker)
                name = result.who.partition(":")[0].partition(",")[0] + (" †" if result.gave_up else "")
                place.annotate(
                    name if name not in {"hints", "Hinted"} else "",  # their marks lie where that of Learned does
                    (result.requests, result.lateness),
                    fontsize=7,
                    xytext=(4, 3),
                    textcoords="offset points",
                )
        place.set(xscale="log", yscale="log", title=kind, xlabel="requests per job", ylabel="lateness, seconds")
        place.grid(alpha=0.3, which="both")
    figure.suptitle("Waiting: fewer requests to the left, less lateness below († some gave up)")
    figure.savefig(DOCS / "waiting.svg", metadata={"Date": None})
    figure.savefig(DOCS / "waiting.png", dpi=110, metadata={"Software": None})


def main() -> int:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description="Measure how well plans wait.")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables and the plot into docs/")
    options = parser.parse_args()
    results, frontiers = measure()
    missed = faults(results)
    if options.json:
        print(json.dumps({"results": [asdict(result) for result in results], "missed": missed}, indent=1))
    else:
        print(tables(results), *(f"MISSED: {fault}" for fault in missed), sep="\n")
    if options.write:
        plot(results, frontiers)
        page = DOCS / "waiting.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}", encoding="utf-8")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
