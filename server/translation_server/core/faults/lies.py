"""Looks that tell what is not so: a true look in a false wire format, or a false look in a true one."""

from collections.abc import Mapping
from dataclasses import replace

from translation_server.core.dialects.dialect import Dialect, Template
from translation_server.core.faults.rules import Lie, Rule, UnknownStatus
from translation_server.core.job import Look, State


def lie(rule: Rule, row: Dialect, look: Look) -> tuple[Dialect, Look]:
    """What to tell by a rule, and in which format, instead of a look; the same, where the rule has no lie for it."""
    match rule:
        case UnknownStatus(word=word):
            return replace(row, words=dict.fromkeys(State, (word,))), look
        case Lie(kind="back-to-pending") if look.state is not State.PENDING:
            job = look.job
            before = Look(replace(job, held_at=None), job.created_at + job.held_for + job.fate.delay / 2)
            return row, before if before.state is State.PENDING else look
        case Lie(kind="bare") if look.state is not State.PENDING:
            return replace(row, name=f"bare {row.name}", job=_only_the_word(row.job)), look  # another body, another tag
    return row, look


def _only_the_word(template: Template) -> Template:
    kept = {name: _only_the_word(value) if isinstance(value, Mapping) else value for name, value in template.items()}
    return {
        name: value
        for name, value in kept.items()
        if value in {"{job_id}", "{status}"} or (value and isinstance(value, Mapping))
    }
