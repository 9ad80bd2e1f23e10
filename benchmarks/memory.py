"""A million polls with the request log on: does the server's memory stay flat?

    python benchmarks/memory.py            a table; exit status 1 if memory grows by more than a tenth
    python benchmarks/memory.py 100000     with fewer polls

Linux, wrk. Growth counts from the first tenth on: by then, the request log is full and every pool has its size.
"""

import sys
import time

import harness

POLLS, STEPS, JOBS = 1_000_000, 10, 100
MAX_GROWTH = 1.1


def main(polls: int) -> int:
    """Prints the table and returns the exit status."""
    harness.require_tools()
    sizes = list[float]()
    with harness.ours() as server:
        requests, answered, began = harness.submit_jobs(server, JOBS), 0, time.monotonic()
        print("| polls | seconds | MiB |\n|---|---|---|")
        for step in range(1, STEPS + 1):
            while answered < polls * step / STEPS:
                answered += harness.load(server, requests, 1).requests
            sizes.append(server.memory())
            print(f"| {answered:,} | {time.monotonic() - began:.0f} | {sizes[-1]:.1f} |", flush=True)
    growth = max(sizes) / sizes[0]
    print(f"\nThe maximum is {growth:.3f} times the first; at most {MAX_GROWTH} counts as flat.")
    return int(growth > MAX_GROWTH)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else POLLS))
