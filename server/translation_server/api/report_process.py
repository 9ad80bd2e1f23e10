"""The process that grades a long request log: `python -m translation_server.api.report_process`.

A thread would keep the server from answering, since Python runs one thread at a time. The process has a low priority,
and the kernel ends it first when memory is short.

Protocol: the process reads a line with the card's media type, the numbers for `report` and the attempts to deliver
events, then the records, the oldest first, and an empty line. It writes lines with ids of submitted jobs, and reads for
each line when these jobs ended. Then it writes an empty list, and the card.
"""

import gc
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from translation_server.api.report_render import pieces
from translation_server.core.report.deliveries import ReportedAttempt
from translation_server.core.report.report import report
from translation_server.documents import RECORD

IDS = 500  # how many job ids a line has
NICE = 10  # how much the process yields to the server


def main() -> None:
    """Grades the records on standard input."""
    gc.disable()  # nothing becomes garbage before the end
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    lines, answer = sys.stdin.buffer, sys.stdout.buffer
    media_type, dropped, refused, rows = json.loads(lines.readline())
    attempts = [ReportedAttempt(*row) for row in rows]
    records = [RECORD.validate_json(line) for line in iter(lines.readline, b"\n")]
    submitted = list({job.job_id for record in records if record.action == "submit" for job in record.jobs})
    ends: dict[str, float] = {}
    for start in range(0, len(submitted), IDS):
        answer.write(json.dumps(submitted[start : start + IDS]).encode() + b"\n")
        answer.flush()
        ends |= json.loads(lines.readline())
    answer.write(b"[]\n")
    answer.writelines(piece.encode() for piece in pieces(report(records, ends, dropped, refused, attempts), media_type))
    answer.flush()
    os._exit(0)  # skips freeing the objects one by one


if __name__ == "__main__":
    main()
