"""A wait that cancels its job when it gives up, so that nobody pays for a job that nobody waits for.

The cancellation takes at most `CANCEL_TIME` seconds more. What it finds decides how the wait ends:

- The job had ended before it could be cancelled: the wait returns its final status. The caller gets what was paid for.
- The job is cancelled: `JobTimeout`, with `cancelled=True`.
- Anything else: `JobTimeout`, with `cancelled=False`. Its message says why.

An API may accept a cancellation before it ends the job, or refuse the one of a job that has ended. So the job is polled
after either. A wait that ends with another exception, or is interrupted, cancels nothing.
"""

from contextlib import suppress
from dataclasses import replace
from itertools import count

from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Flow
from translation_client.core.errors import InvalidRequest, NotFound, ProtocolError, TranslationError, TransportError
from translation_client.core.requests import FlowOptions, Step, sleep
from translation_client.core.status import Cost, JobTimeout, State, Status
from translation_client.core.wait_one import GOES_ON, Answer, cancel_job, poll_job, result_of

CANCEL_TIME = 5.0  # seconds
MAY_GO_ON = ". It may go on: cancel it again with its id."
FIRST_PAUSE = 0.1  # seconds between polls of a job whose cancellation was accepted; each pause is twice the last one


def or_cancel(options: FlowOptions, time: FlowTime, flow: Flow) -> Flow:
    """Runs the flow of a wait for one job, and cancels the job if the time is up."""
    try:
        yield from flow
    except JobTimeout as error:
        yield (yield from cancelled_late(options, time, error, time.now + CANCEL_TIME))


def cancelled_late(options: FlowOptions, time: FlowTime, error: JobTimeout, end: float) -> Step[Status]:
    """Tries until `end` to cancel the job of a wait that timed out. Returns the job's status if it has ended before.

    Raises:
        JobTimeout: The job is cancelled now, or could not be cancelled.
    """
    late = time.until(end)
    try:
        status = yield from _end(options, late, error.job_id)
    except TranslationError as problem:
        last = problem.last if isinstance(problem, TransportError) else problem.message.rstrip(".")
        why = f", and the client could not cancel it: {last}"
        raise _timeout(error, f"{why}{MAY_GO_ON}", error.status) from problem
    finally:
        time.now = late.now
    if not status.state.ended:
        why = "; the server accepted its cancellation, but has not ended it yet"
        raise _timeout(error, f"{why}. Check it again with its id.", status) from error.__cause__
    options.remembered.pop(status.id, None)
    if status.state is State.CANCELLED:
        raise _timeout(error, "; the client cancelled it.", status, cancelled=True) from error.__cause__
    return replace(status, cost=Cost(late.polls, late.bytes, late.asleep))


def _end(options: FlowOptions, time: FlowTime, job_id: str) -> Step[Status]:
    """Cancels a job and polls it until it has ended or the time is up; returns its status."""
    try:
        answer: Answer = yield from cancel_job(options, time, job_id, confirmed=True)
    except (InvalidRequest, NotFound):
        answer = yield from poll_job(options, time, job_id, confirmed=True)
        if not answer[1].status.state.ended:
            raise
    for number in count():
        _, parsed = answer
        if parsed.status.state.ended or not time.left:
            break
        yield from sleep(time, FIRST_PAUSE * 2**number)
        with suppress(JobTimeout, TransportError, ProtocolError):  # the cancellation was accepted
            answer = yield from poll_job(options, time, job_id, confirmed=True)
    return (yield from result_of(options, time, parsed))


def _timeout(error: JobTimeout, end: str, status: Status | None, *, cancelled: bool = False) -> JobTimeout:
    return replace(error, message=f"{error.message.removesuffix(GOES_ON)}{end}", status=status, cancelled=cancelled)
