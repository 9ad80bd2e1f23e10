"""False answers: a true snapshot in a falsified wire format, or a false snapshot in the true format."""

import math
from collections.abc import Mapping
from dataclasses import replace

from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.operations import Answer
from translation_server.core.dialects.template import Node, Placeholder
from translation_server.core.faults.rules import FalseAnswer, FaultRule, UnknownStatus
from translation_server.core.job import Job, JobSnapshot, State

SOME_DELAY = 2.0  # seconds: shown as the delay of a job that had none


def false_answer(rule: FaultRule, dialect: Dialect, snapshot: JobSnapshot) -> tuple[Dialect, JobSnapshot]:
    """Returns a snapshot and its wire format as a rule changes them; both unchanged if the rule does not apply."""
    match rule:
        case UnknownStatus(word=word):
            return replace(dialect, words=dict.fromkeys(State, (word,))), snapshot
        case FalseAnswer(kind="back-to-pending") if snapshot.state is not State.PENDING:
            return dialect, halfway(snapshot.job)
        case FalseAnswer(kind="no-details") if snapshot.state is not State.PENDING:
            operations = [replace(one, answers=_without_details(one.answers), phases={}) for one in dialect.operations]
            brief = replace(
                dialect, name=f"no-details {dialect.name}", operations=operations
            )  # another body, another tag
            return brief, snapshot
    return dialect, snapshot


def halfway(job: Job) -> JobSnapshot:
    """Returns a job as it stood after half of its delay, or would have stood if it had had one."""
    delay = job.fate.delay if 0.0 < job.fate.delay < math.inf else SOME_DELAY
    running = replace(job, cancelled_at=None, paused_at=None, fate=replace(job.fate, delay=delay, after_polls=None))
    return JobSnapshot(running, VirtualTime(job.created_at + job.paused_for + delay / 2))


def _without_details(answers: Mapping[State, Answer]) -> Mapping[State, Answer]:
    return {state: replace(answer, body=_id_and_status(answer.body)) for state, answer in answers.items()}


def _id_and_status(node: Node) -> Node:
    """Returns the template of a body with the fields of the id and the status only."""
    if not isinstance(node, Mapping):
        return node
    reduced = {name: _id_and_status(value) for name, value in node.items()}
    return {name: value for name, value in reduced.items() if _stays(value)}


def _stays(node: Node) -> bool:
    return (
        node.name in {"job_id", "status"} if isinstance(node, Placeholder) else bool(node) and isinstance(node, Mapping)
    )
