"""Looks that tell what is not so: a true look in a false wire format, or a false look in a true one."""

from collections.abc import Mapping
from dataclasses import replace

from translation_server.core.dialects.dialect import Dialect, Template
from translation_server.core.faults.rules import FalseAnswer, Rule, UnknownStatus
from translation_server.core.job import JobSnapshot, State


def false_answer(rule: Rule, dialect: Dialect, snapshot: JobSnapshot) -> tuple[Dialect, JobSnapshot]:
    """What to tell by a rule, and in which format, instead of a look; the same, where the rule has no lie for it."""
    match rule:
        case UnknownStatus(word=word):
            return replace(dialect, words=dict.fromkeys(State, (word,))), snapshot
        case FalseAnswer(kind="back-to-pending") if snapshot.state is not State.PENDING:
            job = snapshot.job
            before = JobSnapshot(replace(job, paused_at=None), job.created_at + job.paused_for + job.fate.delay / 2)
            return dialect, before if before.state is State.PENDING else snapshot
        case FalseAnswer(kind="bare") if snapshot.state is not State.PENDING:
            return replace(
                dialect, name=f"bare {dialect.name}", job=_only_the_word(dialect.job)
            ), snapshot  # another body, another tag
    return dialect, snapshot


def _only_the_word(template: Template) -> Template:
    kept = {name: _only_the_word(value) if isinstance(value, Mapping) else value for name, value in template.items()}
    return {
        name: value
        for name, value in kept.items()
        if value in {"{job_id}", "{status}"} or (value and isinstance(value, Mapping))
    }
