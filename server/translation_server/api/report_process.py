"""Makes the report card of a long request log: `python -m translation_server.api.report_process`, its own process.

In a thread it would keep the server from answering: Python runs one thread at a time, and does not let go within what
takes longest here. The process gets little of a busy processor, and where memory is short it is the first to go.

Lines come in: one with the card's media type and the numbers that `report` is given; then the requests, the oldest
first, and an empty line. Lines go out with the ids of submitted jobs, each of which is answered with when they ended;
after an empty list comes the card.
"""

import gc
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from translation_server.api.report_render import pieces
from translation_server.core.report.report import report
from translation_server.documents import RECORD

IDS = 500
"""Ids of jobs in a line."""

NICE = 10
"""How far behind the server the process stands where both want the processor."""


def main() -> None:
    """Grades what comes in."""
    gc.disable()  # nothing becomes garbage before the end
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    lines, answer = sys.stdin.buffer, sys.stdout.buffer
    media_type, *numbers = json.loads(lines.readline())
    records = [RECORD.validate_json(line) for line in iter(lines.readline, b"\n")]
    submitted = list({told.job_id for record in records if record.action == "submit" for told in record.jobs})
    ends: dict[str, float] = {}
    for start in range(0, len(submitted), IDS):
        answer.write(json.dumps(submitted[start : start + IDS]).encode() + b"\n")
        answer.flush()
        ends |= json.loads(lines.readline())
    answer.write(b"[]\n")
    answer.writelines(piece.encode() for piece in pieces(report(records, ends, *numbers), media_type))
    answer.flush()
    os._exit(0)  # without giving back, object by object, what goes with the process


if __name__ == "__main__":
    main()
