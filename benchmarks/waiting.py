"""How well schedules wait: requests per job and lateness, in a simulation with virtual time.

    python benchmarks/waiting.py           the tables; exit status 1 if a target is missed
    python benchmarks/waiting.py --json    the same for programs
    python benchmarks/waiting.py --write   also writes the tables and the plot into docs/

There are three kinds of jobs, 20,000 of each, with fixed seeds. A wait costs `POLL_COST` for each request and one for
each second of lateness. The optimum knows the distribution of the durations; dynamic programming computes it.
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
from statistics import mean

from tables import DOCS, write
from translation_client import Hinted, Learned, Observation, Progressive, State, Status
from translation_client.core.estimator import History
from translation_client.core.schedule import Plan
from translation_server.core.delays import Delays, Exponential, LogNormal, Uniform
from translation_server.core.hints import MIN_HINT, phase, plan

JOBS = 20_000
LEARNED_FROM = 20  # jobs
PLANS = 400  # a schedule is made anew for each part of the jobs
POLL_COST = 0.25  # seconds of lateness that one request is worth: the default of both sides
ENDLESS = 1e7  # seconds
FRONTIER = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

KINDS: dict[str, tuple[Delays, float]] = {
    "uniform 10–60 s": (Uniform(10, 60), 100 / 9),
    "exponential, mean 30 s": (Exponential(30), 15.0),
    "lognormal, median 600 s, σ 0.5": (LogNormal(600, 0.5), 249.0),
}
"""The kinds of jobs, each with the least N·L of a timer that knows only their distribution: ½(∫√(f·S)dt)²."""

Delayed = Iterator[float]
"""The seconds before each poll."""


@dataclass(frozen=True)
class Result:
    """The means of a schedule on a kind of jobs; waits that it gave up count only as such.

    Attributes:
        cost: Relative to the optimum's.
        efficiency: The least N·L of a timer, divided by this schedule's.
    """

    kind: str
    schedule: str
    ours: bool
    requests: float
    lateness: float
    cost: float
    efficiency: float
    gave_up: int


def growing(first: float, factor: float, most: float, *, spread: float = 0.0, draw: random.Random) -> Delayed:
    """Yields delays that grow up to a limit, with a random spread."""
    delay = first
    while True:
        yield delay * draw.uniform(1 - spread, 1 + spread)
        delay = min(delay * factor, most)


def peers(draw: random.Random) -> dict[str, Callable[[], Delayed]]:
    """Returns the default schedules of other libraries."""

    def jittered(factor: float, first: float, most: float) -> Delayed:
        delay = first
        while True:
            yield draw.uniform(0, delay)
            delay = min(delay * factor, most)

    def smithy() -> Delayed:
        return (draw.uniform(2, min(2.0 * 2.0 ** min(n, 10), 120)) for n in count())

    def stamina() -> Delayed:
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
        "earlier system: 1 s ×1.5 ≤ 30 s": lambda: growing(1, 1.5, 30, draw=draw),
        "earlier system: 1 s ×2 ≤ 8 s": lambda: growing(1, 2, 8, draw=draw),
        "tenacity: full jitter, 1 s ×2": lambda: jittered(2, 1, ENDLESS),
        "stamina: 0.1 s ×2 ≤ 5 s, 10 times": stamina,
    }


def wait(delays: Delayed, ends_at: float) -> tuple[int, float] | None:
    """Returns the requests and the lateness of one wait, or None if the schedule gives up."""
    now = 0.0
    for requests, delay in enumerate(delays, 1):
        now += delay
        if now >= ends_at:
            return requests, now - ends_at
    return None


def poll_times(plan: Plan, job_id: str, hint: Callable[[float], float] | None, until: float) -> list[float]:
    """Returns the times at which the client's own schedule polls a pending job, to the first one after `until`."""
    schedule, now, times = plan(), 0.0, list[float]()
    next(schedule)
    status = Status(job_id, State.PENDING)
    while now < until:
        now += schedule.send(Observation(status, now, None if hint is None else hint(now), "k"))
        times.append(now)
    return times


def wait_with(times: Sequence[float], ends_at: float) -> tuple[int, float]:
    """Returns the requests and the lateness of a wait that polls at these times."""
    index = bisect_left(times, ends_at)
    return index + 1, times[index] - ends_at


def optimum(delays: Delays, poll_cost: float, points: int = 3000) -> tuple[float, float]:
    """Returns the requests and the lateness of the best schedule, which polls at points of an even grid.

    Dynamic programming, backwards from the last point: S(i) is the probability that the job is pending at i, and
    best(i) = poll_cost·S(i) + min over j > i of (expected lateness of the ends in (i, j] + best(j)).
    """
    last = min(delays.latest, delays.quantile(1 - 1e-6))
    grid = [last * point / points for point in range(points + 1)]
    ended = [*(delays.cdf(time) for time in grid[:-1]), 1.0]
    mean_end = [0.0]  # the part of the mean duration that jobs contribute which end by this point
    for begin, end, before, after in zip(grid, grid[1:], ended, ended[1:], strict=False):
        mean_end.append(mean_end[-1] + (after - before) * (begin + end) / 2)
    best, requests, lateness, choice = ([0.0] * (points + 1) for _ in range(4))
    for i in range(points - 1, -1, -1):
        pending = 1 - ended[i]
        reach = min(points, int(choice[i + 1] or points) + points // 30)
        least = math.inf
        for j in range(i + 1, reach + 1):
            late = grid[j] * (ended[j] - ended[i]) - (mean_end[j] - mean_end[i])
            if late + best[j] < least:
                least, choice[i] = late + best[j], j
                requests[i], lateness[i] = pending + requests[j], late + lateness[j]
        best[i] = poll_cost * pending + least
    return requests[0], lateness[0]


def measure() -> tuple[list[Result], dict[str, list[tuple[float, float]]]]:
    """Returns the results of all schedules on all kinds, and the frontier of each kind."""
    results, frontiers = list[Result](), dict[str, list[tuple[float, float]]]()
    for kind, (delays, least) in KINDS.items():
        draw = random.Random(f"jobs of {kind}")
        durations = [delays.quantile(draw.random()) for _ in range(JOBS)]
        longest = max(durations)
        frontiers[kind] = [optimum(delays, poll_cost) for poll_cost in FRONTIER]
        best_requests, best_lateness = optimum(delays, POLL_COST)
        best = POLL_COST * best_requests + best_lateness

        def add(schedule: str, waits: Sequence[tuple[int, float] | None], *, ours: bool) -> None:
            ended = [wait for wait in waits if wait is not None]
            requests, late = (mean(wait[n] for wait in ended) if ended else math.inf for n in (0, 1))
            cost, efficiency = (POLL_COST * requests + late) / best, least / (requests * late)
            gave_up = len(waits) - len(ended)
            results.append(Result(kind, schedule, ours, requests, late, cost, efficiency, gave_up))

        def add_plan(schedule: str, make: Callable[[int], Planned]) -> None:
            add(schedule, by_plans(durations, longest, make), ours=True)

        efficiency = least / (best_requests * best_lateness)
        results.append(Result(kind, "the optimum", False, best_requests, best_lateness, 1.0, efficiency, 0))
        add("hints, in milliseconds", hinted(delays, durations, whole=False), ours=True)
        add("hints, in whole seconds", hinted(delays, durations, whole=True), ours=True)
        add_plan("Hinted: our client with hints", lambda number: hinting(delays, number))
        add_plan(f"Learned, after {LEARNED_FROM} jobs", lambda number: learned(delays, number))
        add_plan("Progressive: nothing known", lambda _: (Progressive(POLL_COST), None))
        for name, schedule in peers(random.Random("peers")).items():
            add(name, [wait(schedule(), duration) for duration in durations], ours=False)
    return results, frontiers


def hinted(delays: Delays, durations: Sequence[float], *, whole: bool) -> list[tuple[int, float] | None]:
    """Returns the waits of a plain client that obeys the server's hints and does nothing else."""

    def delayed(of: float) -> Delayed:
        now = 0.0
        while True:
            hint = seconds_to_next_poll(delays, now, of)
            delay = max(1, math.ceil(hint)) if whole else math.ceil(1000 * hint) / 1000
            now += delay
            yield delay

    return [wait(delayed(phase("admin", number)), duration) for number, duration in enumerate(durations, 1)]


Planned = tuple[Plan, Callable[[float], float] | None]
"""A plan of the client, and the server's hints, if any."""


def by_plans(
    durations: Sequence[float], longest: float, make: Callable[[int], Planned]
) -> list[tuple[int, float] | None]:
    """Returns the waits of several plans that share the jobs; each has a job id, hence a phase, of its own."""
    waits = list[tuple[int, float] | None]()
    for number in range(PLANS):
        plan, hint = make(number)
        times = poll_times(plan, f"job {number}", hint, longest)
        waits += [wait_with(times, duration) for duration in durations[number::PLANS]]
    return waits


def learned(delays: Delays, number: int) -> Planned:
    """Returns a plan that has learned from some jobs."""
    draw, history = random.Random(f"history {number}"), History()
    for _ in range(LEARNED_FROM):
        history.add("k", delays.quantile(draw.random()))
    return Learned(history, POLL_COST), None


def seconds_to_next_poll(delays: Delays, elapsed: float, phase: float) -> float:
    """Returns the hint of a server for a job of this age."""
    due, _ = plan(delays, POLL_COST, elapsed, phase)
    return max(MIN_HINT, due - elapsed)


def hinting(delays: Delays, number: int) -> Planned:
    """Returns the client's own plan on a server that gives hints."""
    of = phase("admin", number)
    return Hinted(), lambda now: seconds_to_next_poll(delays, now, of)


def missed_targets(results: Sequence[Result]) -> list[str]:
    """Returns a line for each missed target."""
    missed = list[str]()
    max_cost = {"hints, in milliseconds": 1.05, "Hinted": 1.05, "Learned": 1.10, "Progressive": 1.75}
    for ours in (result for result in results if result.ours):
        name = f"{ours.schedule} on {ours.kind}"
        for prefix, cost in max_cost.items():
            if ours.schedule.startswith(prefix) and ours.cost > cost:
                missed.append(f"{name}: {ours.cost:.3f} × the optimum's cost, more than {cost}")
        if ours.schedule.startswith("Learned") and ours.efficiency < 0.8:
            missed.append(f"{name}: an efficiency of {ours.efficiency:.2f}, less than 0.8")
        missed += [
            f"{name}: {peer.schedule} needs no more requests and is no later"
            for peer in results
            if not (peer.ours or peer.gave_up)
            and peer.kind == ours.kind
            and peer.schedule != "the optimum"
            and peer.requests <= ours.requests
            and peer.lateness <= ours.lateness
        ]
    return missed


def tables(results: Sequence[Result]) -> str:
    """Returns the results as tables in Markdown."""
    lines = list[str]()
    for kind in KINDS:
        heads = "| schedule | requests per job | lateness, s | cost ÷ optimum | η | gave up |"
        lines += [f"**Jobs: {kind}**", "", heads, "|---|---|---|---|---|---|"]
        for result in results:
            if result.kind == kind:
                name = f"**{result.schedule}**" if result.ours else result.schedule
                gave_up = f"{result.gave_up / JOBS:.1%}" if result.gave_up else ""
                numbers = (result.requests, result.lateness, result.cost, result.efficiency)
                cells = [f"{number:.2f}" for number in numbers] if result.gave_up < JOBS else ["", "", "", ""]
                lines.append(f"| {' | '.join([name, *cells, gave_up])} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def plot(results: Sequence[Result], frontiers: dict[str, list[tuple[float, float]]]) -> None:
    """Draws requests against lateness, as a PNG and an SVG in docs/."""
    import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "waiting"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of the backend

    figure, panels = plt.subplots(1, 3, figsize=(16, 6), layout="constrained")
    for panel, kind in zip(panels, KINDS, strict=True):
        panel.plot(*zip(*frontiers[kind], strict=True), color="black", label="the optimum")
        for result in results:
            if result.kind == kind and result.schedule != "the optimum" and result.gave_up < JOBS:
                color, marker = ("tab:green", "o") if result.ours else ("tab:gray", "x")
                panel.scatter(result.requests, result.lateness, color=color, marker=marker)
                name = result.schedule.partition(":")[0].partition(",")[0] + (" †" if result.gave_up else "")
                panel.annotate(
                    name if name not in {"hints", "Hinted"} else "",  # their marks lie on that of Learned
                    (result.requests, result.lateness),
                    fontsize=7,
                    xytext=(4, 3),
                    textcoords="offset points",
                )
        panel.set(xscale="log", yscale="log", title=kind, xlabel="requests per job", ylabel="lateness, seconds")
        panel.grid(alpha=0.3, which="both")
    figure.suptitle("Waiting: fewer requests to the left, less lateness below († some gave up)")
    figure.savefig(DOCS / "waiting.svg", metadata={"Date": None})
    figure.savefig(DOCS / "waiting.png", dpi=110, metadata={"Software": None})


def main() -> int:
    """Measures, prints, and writes the results into the page if asked to."""
    parser = argparse.ArgumentParser(description="Measure how well schedules wait.")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="also write the tables and the plot into docs/")
    options = parser.parse_args()
    results, frontiers = measure()
    missed = missed_targets(results)
    if options.json:
        print(json.dumps({"results": [asdict(result) for result in results], "missed": missed}, indent=1))
    else:
        print(tables(results), *(f"MISSED: {line}" for line in missed), sep="\n")
    if options.write:
        plot(results, frontiers)
        write("waiting.md", "waiting", tables(results))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
