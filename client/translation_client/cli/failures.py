"""The failures of many jobs in few lines: one for each kind of failure."""

from collections.abc import Iterable, Sequence

from translation_client.cli.tracking import TrackedJob
from translation_client.core.errors import TransportError
from translation_client.core.status import JobFailed, JobTimeout, State
from translation_client.core.text import one_line

NAMED = 3  # jobs of each kind whose ids are shown


def failure_lines(jobs: Iterable[TrackedJob]) -> list[str]:
    """Returns a line for each kind of failure, in the order of its first job."""
    kinds: dict[str, list[TrackedJob]] = {}
    for job in jobs:
        if job.failure:
            kinds.setdefault(_kind(job), []).append(job)
    lines = [str(alike[0].failure) if len(alike) == 1 else _line(kind, alike) for kind, alike in kinds.items()]
    return [line.replace("idempotency_key=", "--idempotency-key=") for line in lines]


def _line(kind: str, jobs: Sequence[TrackedJob]) -> str:
    ids = ", ".join(job.id for job in jobs[:NAMED] if job.id)
    more = ", …" if len(jobs) > NAMED else ""
    return f"{len(jobs)} jobs {kind.rstrip('.')}{f' ({ids}{more})' if ids else ''}."


def _kind(job: TrackedJob) -> str:
    """Returns the end of a sentence about jobs with the same failure, without their ids."""
    match job.failure:
        case JobFailed(status=status) if status.state is State.CANCELLED:
            return "were cancelled"
        case JobFailed(status=status):
            return f"ended with an error: {one_line(status.error or 'the server gave no reason')}"
        case JobTimeout(message=message, job_id=job_id):
            text = message.removeprefix(f"job {job_id} ")
            text = text.partition(". It goes on")[0].partition(". It may go on")[0]
            text = text.replace("client cancelled it", "client cancelled them").replace("cancel it:", "cancel them:")
            return f"were {text.removeprefix('was ')}" if text.startswith("was ") else text
        case TransportError(last=last):
            return f"failed: {last}; try again when the server is well"
    return f"failed: {str(job.failure).replace(job.id, 'ID') if job.id else job.failure}"
