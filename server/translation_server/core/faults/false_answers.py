"""False answers: a true snapshot in a falsified wire format, or a false snapshot in the true format."""

from collections.abc import Mapping
from dataclasses import replace

from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.template import BodyTemplate
from translation_server.core.faults.rules import FalseAnswer, FaultRule, UnknownStatus
from translation_server.core.job import JobSnapshot, State


def false_answer(rule: FaultRule, dialect: Dialect, snapshot: JobSnapshot) -> tuple[Dialect, JobSnapshot]:
    """Returns what a rule makes of a snapshot and its wire format; both unchanged if the rule does not apply."""
    match rule:
        case UnknownStatus(word=word):
            return replace(dialect, words=dict.fromkeys(State, (word,))), snapshot
        case FalseAnswer(kind="back-to-pending") if snapshot.state is not State.PENDING:
            job = snapshot.job
            halfway = VirtualTime(job.created_at + job.paused_for + job.fate.delay / 2)
            before = JobSnapshot(replace(job, paused_at=None), halfway)
            return dialect, before if before.state is State.PENDING else snapshot
        case FalseAnswer(kind="bare") if snapshot.state is not State.PENDING:
            name = f"bare {dialect.name}"  # another body, another tag
            return replace(dialect, name=name, job=_id_and_status(dialect.job)), snapshot
    return dialect, snapshot


def _id_and_status(template: BodyTemplate) -> BodyTemplate:
    """Returns a body template with the fields of the id and the status only."""
    reduced = {name: _id_and_status(value) if isinstance(value, Mapping) else value for name, value in template.items()}
    return {
        name: value
        for name, value in reduced.items()
        if value in {"{job_id}", "{status}"} or (value and isinstance(value, Mapping))
    }
